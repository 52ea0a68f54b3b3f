//! The traits of others, on the same types: older versions of rand_core, and rustls.
//!
//! Each is a feature of its own, since each is somebody else's public interface. Nothing here
//! makes bytes.

/// The methods that every version's infallible trait has, by those of the present one.
#[cfg(any(feature = "rand_core_06", feature = "rand_core_09"))]
macro_rules! infallible_methods {
    () => {
        #[inline]
        fn next_u32(&mut self) -> u32 {
            rand_core::Rng::next_u32(self)
        }

        #[inline]
        fn next_u64(&mut self) -> u64 {
            rand_core::Rng::next_u64(self)
        }

        #[inline]
        fn fill_bytes(&mut self, out: &mut [u8]) {
            rand_core::Rng::fill_bytes(self, out);
        }
    };
}

#[cfg(feature = "rand_core_06")]
mod rand_core_06;
#[cfg(feature = "rand_core_09")]
mod rand_core_09;
#[cfg(feature = "rustls")]
pub(crate) mod rustls;
