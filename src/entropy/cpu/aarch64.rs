//! RNDR and RNDRRS (FEAT_RNG; Arm Architecture Reference Manual for A-profile).

use core::arch::asm;

const TRIES: u32 = 10;
pub(super) const SEED_TRIES: u32 = TRIES;

/// RNDR: S3_3_C2_C4_0 (Arm ARM, FEAT_RNG). Sets the Z flag where no value is to be had.
pub(super) fn random() -> Option<u64> {
    if !std::arch::is_aarch64_feature_detected!("rand") {
        return None;
    }
    (0..TRIES).find_map(|_| {
        let (value, ready): (u64, u64);
        // SAFETY: the CPU has FEAT_RNG; the instruction writes one register and the flags.
        unsafe {
            asm!("mrs {v}, s3_3_c2_c4_0", "cset {r}, ne", v = out(reg) value, r = out(reg) ready,
                 options(nomem, nostack));
        }
        (ready == 1).then_some(value)
    })
}

/// RNDRRS: S3_3_C2_C4_1, reseeded from the noise source first.
pub(super) fn seed(tries: u32) -> Option<u64> {
    if !std::arch::is_aarch64_feature_detected!("rand") {
        return None;
    }
    (0..tries).find_map(|_| {
        let (value, ready): (u64, u64);
        // SAFETY: the CPU has FEAT_RNG; the instruction writes one register and the flags.
        unsafe {
            asm!("mrs {v}, s3_3_c2_c4_1", "cset {r}, ne", v = out(reg) value, r = out(reg) ready,
                 options(nomem, nostack));
        }
        (ready == 1).then_some(value)
    })
}
