//! RDRAND and RDSEED. Intel, Digital Random Number Generator Software Implementation Guide, 5.2.
//!
//! In assembly: functions that need a feature of the CPU are never inlined into those that do not,
//! and every rekey draws four words.

use core::arch::asm;

use crate::features::{self, Feature};

/// Intel's guide asks for 10 attempts at RDRAND; RDSEED may run dry for longer.
const RANDOM_TRIES: u32 = 10;
pub(super) const SEED_TRIES: u32 = 64;

/// An instruction that puts a random number into a register, and into the carry flag whether it is
/// one. All that it may change is named.
macro_rules! step {
    ($instruction:literal) => {{
        let (value, is_one): (u64, u8);
        asm!(
            concat!($instruction, " {value}"),
            "setc {is_one}",
            value = out(reg) value,
            is_one = out(reg_byte) is_one,
            options(nomem, nostack),
        );
        (is_one == 1).then_some(value)
    }};
}

#[inline]
pub(super) fn random() -> Option<u64> {
    if !features::has(Feature::Rdrand) {
        return None;
    }
    // SAFETY: the CPU has RDRAND.
    (0..RANDOM_TRIES).find_map(|_| unsafe { step!("rdrand") })
}

#[inline]
pub(super) fn seed(tries: u32) -> Option<u64> {
    if !features::has(Feature::Rdseed) {
        return None;
    }
    (0..tries).find_map(|_| {
        // SAFETY: the CPU has RDSEED.
        let step = unsafe { step!("rdseed") };
        if step.is_none() {
            core::hint::spin_loop();
        }
        step
    })
}
