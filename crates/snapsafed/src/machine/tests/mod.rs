mod driver;
mod failures;
