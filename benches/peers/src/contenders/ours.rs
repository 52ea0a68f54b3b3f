//! snaprng, in every way in which a Rust program asks for bytes.

use core::convert::Infallible;
use std::hint::black_box;

use rand_core::{Rng, TryRng};
use snaprng::{Config, Rounds};

use super::{Field, Kind, drawing, filling, name};
use crate::measure::Batch;

/// A handle made for each call.
struct PerCall;

impl TryRng for PerCall {
    type Error = Infallible;

    #[inline(always)]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(snaprng::rng().next_u32())
    }

    #[inline(always)]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(snaprng::rng().next_u64())
    }

    #[inline(always)]
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        snaprng::rng().fill_bytes(out);
        Ok(())
    }
}

pub(super) fn enter(field: &mut Field, rounds: Rounds) {
    field.add(Kind::Ours, name::HELD, |size| Some(drawing(snaprng::rng(), size)));
    field.add(Kind::Ours, name::PER_CALL, |size| Some(drawing(PerCall, size)));
    field.add(Kind::Ours, "snaprng::bytes::<N>()", bytes);
    field.add(Kind::Ours, "snaprng::fill", |size| {
        Some(filling(|out| snaprng::fill(out).expect("bytes"), size))
    });
    // An owned generator chooses for itself.
    let owned = move || Config { rounds, ..Config::default() }.build();
    match owned() {
        Ok(_) => field.add(Kind::Ours, OWNED, move |size| Some(drawing(owned().ok()?, size))),
        Err(error) => field.misses(OWNED, error.to_string()),
    }
}

const OWNED: &str = "SnapRng, owned";

fn bytes(size: usize) -> Option<Batch> {
    fn batch<const N: usize>() -> Batch {
        Box::new(|calls| {
            for _ in 0..calls {
                black_box(snaprng::bytes::<N>());
            }
        })
    }
    Some(match size {
        4 => batch::<4>(),
        8 => batch::<8>(),
        16 => batch::<16>(),
        32 => batch::<32>(),
        256 => batch::<256>(),
        _ => return None,
    })
}
