//! What the fuzz targets share: an input that is read as a list of decisions, memory that ends at a
//! page which may not be touched, and a tmpfs of the process's own.

pub mod guarded;
pub mod input;
pub mod place;

pub use guarded::Guarded;
pub use input::Input;
