//! rand_core 0.6: for rand 0.8, and ed25519-dalek 2 and its generation.
//!
//! Only the infallible types: that version's traits have one method that can fail among four.

use core::num::NonZeroU32;

use rand_core_06::{CryptoRng, Error, RngCore};

use crate::rng::refuse;
use crate::{SnapRng, ThreadRng};

/// What rand_core calls a custom error code, and nobody else's meaning of it.
const CODE: NonZeroU32 = match NonZeroU32::new(Error::CUSTOM_START + 1) {
    Some(code) => code,
    None => NonZeroU32::MAX,
};

macro_rules! implement {
    ($type:ty) => {
        impl RngCore for $type {
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
                self.try_fill(out).unwrap_or_else(refuse);
            }

            #[inline]
            fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
                self.try_fill(out).map_err(|_| Error::from(CODE))
            }
        }

        impl CryptoRng for $type {}
    };
}

implement!(SnapRng);
implement!(ThreadRng);
