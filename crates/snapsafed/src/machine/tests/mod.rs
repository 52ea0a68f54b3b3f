mod driver;
mod failures;
mod properties;
