//! RDRAND and RDSEED. Intel, Digital Random Number Generator Software Implementation Guide, 5.2.

use core::arch::x86_64::{_rdrand64_step, _rdseed64_step};

use crate::features::{self, Feature};

/// Intel's guide asks for 10 attempts at RDRAND; RDSEED may run dry for longer.
const RANDOM_TRIES: u32 = 10;
pub(super) const SEED_TRIES: u32 = 64;

pub(super) fn random() -> Option<u64> {
    if !features::has(Feature::Rdrand) {
        return None;
    }
    // SAFETY: the CPU has RDRAND.
    unsafe { rdrand() }
}

pub(super) fn seed(tries: u32) -> Option<u64> {
    if !features::has(Feature::Rdseed) {
        return None;
    }
    // SAFETY: the CPU has RDSEED.
    unsafe { rdseed(tries) }
}

#[target_feature(enable = "rdrand")]
fn rdrand() -> Option<u64> {
    let mut value = 0;
    (0..RANDOM_TRIES).find_map(|_| (_rdrand64_step(&mut value) == 1).then_some(value))
}

#[target_feature(enable = "rdseed")]
fn rdseed(tries: u32) -> Option<u64> {
    let mut value = 0;
    (0..tries).find_map(|_| {
        if _rdseed64_step(&mut value) == 1 {
            return Some(value);
        }
        core::hint::spin_loop();
        None
    })
}
