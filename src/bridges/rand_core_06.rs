//! rand_core 0.6: for rand 0.8, and ed25519-dalek 2 and its generation.
//!
//! Only the infallible types: that version's traits have one method that can fail among four.

use core::num::NonZeroU32;

use rand_core_06::{CryptoRng, Error, RngCore};

use crate::{SnapRng, ThreadRng};

/// What rand_core calls a custom error code, and nobody else's meaning of it.
const CODE: NonZeroU32 = NonZeroU32::new(Error::CUSTOM_START + 1).unwrap();

macro_rules! implement {
    ($type:ty) => {
        impl RngCore for $type {
            infallible_methods!();

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
