//! The traits of others, on the same types: older versions of rand_core, and rustls.
//!
//! Each is a feature of its own, since each is somebody else's public interface. Nothing here
//! makes bytes.

#[cfg(feature = "rand_core_06")]
mod rand_core_06;
#[cfg(feature = "rand_core_09")]
mod rand_core_09;
#[cfg(feature = "rustls")]
pub(crate) mod rustls;
