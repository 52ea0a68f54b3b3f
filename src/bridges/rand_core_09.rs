//! rand_core 0.9: for rand 0.9 and its generation.

use rand_core_09::{CryptoRng, RngCore, TryCryptoRng, TryRngCore};

use crate::{Error, SnapRng, ThreadRng, TrySnapRng};

macro_rules! implement {
    ($type:ty) => {
        impl RngCore for $type {
            infallible_methods!();
        }

        impl CryptoRng for $type {}
    };
}

implement!(SnapRng);
implement!(ThreadRng);

impl TryRngCore for TrySnapRng {
    type Error = Error;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Error> {
        rand_core::TryRng::try_next_u32(self)
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Error> {
        rand_core::TryRng::try_next_u64(self)
    }

    #[inline]
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.fill(out)
    }
}

impl TryCryptoRng for TrySnapRng {}
