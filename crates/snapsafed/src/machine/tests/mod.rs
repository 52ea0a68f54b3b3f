mod driver;
mod failures;
mod properties;
mod refusals;
