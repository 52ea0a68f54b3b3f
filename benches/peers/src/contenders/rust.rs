//! Generators written in Rust, none of which looks at anything: rand and what it is made of.

use core::convert::Infallible;

use rand::SeedableRng;
use rand_core::{Rng, TryRng};

use super::{Field, Kind, drawing, filling, name};
use crate::measure::Batch;

/// rand's handle, made for each call.
struct PerCall;

impl TryRng for PerCall {
    type Error = Infallible;

    #[inline(always)]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(rand::rng().next_u32())
    }

    #[inline(always)]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(rand::rng().next_u64())
    }

    #[inline(always)]
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        rand::rng().fill_bytes(out);
        Ok(())
    }
}

pub(super) fn enter(field: &mut Field) {
    field.add(Kind::Peer, name::RAND_HELD, |size| Some(drawing(rand::rng(), size)));
    field.add(Kind::Peer, name::RAND_PER_CALL, |size| Some(drawing(PerCall, size)));
    field.add(Kind::Peer, "rand StdRng", seeded::<rand::rngs::StdRng>);
    field.add(Kind::Peer, "rand_chacha ChaCha12Rng", seeded::<rand_chacha::ChaCha12Rng>);
    field.add(Kind::Peer, "rand_chacha ChaCha20Rng", seeded::<rand_chacha::ChaCha20Rng>);
    field.add(Kind::Peer, "chacha20 ChaCha12Rng", seeded::<chacha20::ChaCha12Rng>);
    field.add(Kind::Peer, "chacha20 ChaCha20Rng", seeded::<chacha20::ChaCha20Rng>);
    field.add(Kind::Peer, "getrandom crate", |size| {
        Some(filling(|out| getrandom::fill(out).expect("bytes"), size))
    });
    #[cfg(feature = "aws-lc")]
    field.add(Kind::Peer, "aws-lc-rs SystemRandom", |size| {
        use aws_lc_rs::rand::{SecureRandom, SystemRandom};
        let rng = SystemRandom::new();
        Some(filling(move |out| rng.fill(out).expect("bytes"), size))
    });
    #[cfg(feature = "ring")]
    field.add(Kind::Peer, "ring SystemRandom", |size| {
        use ring::rand::{SecureRandom, SystemRandom};
        let rng = SystemRandom::new();
        Some(filling(move |out| rng.fill(out).expect("bytes"), size))
    });
    #[cfg(not(feature = "aws-lc"))]
    field.misses("aws-lc-rs SystemRandom", super::libraries::NOT_BUILT);
    #[cfg(not(feature = "ring"))]
    field.misses("ring SystemRandom", super::libraries::NOT_BUILT);
}

fn seeded<R: SeedableRng + Rng + 'static>(size: usize) -> Option<Batch> {
    Some(drawing(R::from_rng(&mut rand::rng()), size))
}
