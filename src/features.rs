//! What this CPU has that the library uses.
//!
//! What the standard library's detection finds out, from two CPUID leaves where that asks seven: each
//! traps to the hypervisor in a virtual machine, and takes microseconds there (3.9 on an AMD Zen 5,
//! more under a nested one). A process's first bytes wait for it. Asked once per process and kept in
//! one word; whoever races to ask finds the same.
//!
//! Sources: Intel SDM 2A, CPUID, and 1, 13.2 to 13.3 (XCR0); AMD APM 3, appendix E. x86-64 alone.

#[cfg(not(miri))]
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use core::sync::atomic::{AtomicU8, Ordering};

/// Something that a CPU may have, and that its operating system supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Feature {
    Avx = 1 << 0,
    Avx2 = 1 << 1,
    /// AVX512F.
    Avx512 = 1 << 2,
    Rdrand = 1 << 3,
    Rdseed = 1 << 4,
    /// Not of the CPU: a hypervisor says that it is there.
    Hypervisor = 1 << 5,
}

/// The features found, and whether anybody has asked yet.
static FOUND: AtomicU8 = AtomicU8::new(0);
const ASKED: u8 = 1 << 7;

/// Whether this machine has it. One load.
#[inline]
pub(crate) fn has(feature: Feature) -> bool {
    let mut found = FOUND.load(Ordering::Relaxed);
    if found == 0 {
        found = ask();
    }
    found & feature as u8 != 0
}

#[cold]
#[inline(never)]
fn ask() -> u8 {
    let found = features_of(&Leaves::of_this_cpu()).fold(ASKED, |all, feature| all | feature as u8);
    FOUND.store(found, Ordering::Relaxed);
    found
}

/// The registers that say so.
#[derive(Clone, Copy, Default)]
struct Leaves {
    /// Leaf 1.
    ecx_1: u32,
    /// Leaf 7.
    ebx_7: u32,
    /// Which registers the operating system saves.
    xcr0: u64,
}

impl Leaves {
    /// Miri has no CPU.
    #[cfg(miri)]
    fn of_this_cpu() -> Self {
        Self::default()
    }

    #[cfg(not(miri))]
    #[allow(unsafe_code, reason = "reads an extended control register")]
    fn of_this_cpu() -> Self {
        let ecx_1 = __cpuid(1).ecx;
        // A CPU with XSAVE has leaf 13, so leaf 7: leaf 0, which says so, need not be asked.
        let ebx_7 = if is_set(ecx_1, XSAVE) { __cpuid_count(7, 0).ebx } else { 0 };
        // SAFETY: where OSXSAVE is set there is XGETBV, and with it register 0.
        let xcr0 = if is_set(ecx_1, OSXSAVE) { unsafe { _xgetbv(0) } } else { 0 };
        Self { ecx_1, ebx_7, xcr0 }
    }
}

// Leaf 1, ECX.
const XSAVE: u32 = 26;
const OSXSAVE: u32 = 27;
const AVX: u32 = 28;
const RDRAND: u32 = 30;
const HYPERVISOR: u32 = 31;
// Leaf 7, EBX.
const AVX2: u32 = 5;
const AVX512F: u32 = 16;
const RDSEED: u32 = 18;

/// XCR0: SSE and AVX registers; and the masks, upper halves and further registers of AVX-512.
const AVX_STATE: u64 = 0b110;
const AVX512_STATE: u64 = 0b1110_0000 | AVX_STATE;

fn is_set(register: u32, bit: u32) -> bool {
    register >> bit & 1 == 1
}

fn features_of(leaves: &Leaves) -> impl Iterator<Item = Feature> {
    let Leaves { ecx_1, ebx_7, xcr0 } = *leaves;
    let avx = is_set(ecx_1, AVX) && xcr0 & AVX_STATE == AVX_STATE;
    let avx512 = avx && xcr0 & AVX512_STATE == AVX512_STATE;
    [
        (Feature::Avx, avx),
        (Feature::Avx2, avx && is_set(ebx_7, AVX2)),
        (Feature::Avx512, avx512 && is_set(ebx_7, AVX512F)),
        (Feature::Rdrand, is_set(ecx_1, RDRAND)),
        (Feature::Rdseed, is_set(ebx_7, RDSEED)),
        (Feature::Hypervisor, is_set(ecx_1, HYPERVISOR)),
    ]
    .into_iter()
    .filter_map(|(feature, is_there)| is_there.then_some(feature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(miri))]
    fn what_is_found_is_what_the_standard_library_finds() {
        use std::arch::is_x86_feature_detected as detected;
        assert_eq!(has(Feature::Avx), detected!("avx"));
        assert_eq!(has(Feature::Avx2), detected!("avx2"));
        assert_eq!(has(Feature::Avx512), detected!("avx512f"));
        assert_eq!(has(Feature::Rdrand), detected!("rdrand"));
        assert_eq!(has(Feature::Rdseed), detected!("rdseed"));
        assert_eq!(has(Feature::Hypervisor), __cpuid(1).ecx >> 31 == 1);
    }

    fn found(leaves: Leaves) -> Vec<Feature> {
        features_of(&leaves).collect()
    }

    #[test]
    fn a_cpu_whose_operating_system_does_not_save_its_registers_does_not_have_them() {
        let all = Leaves { ecx_1: u32::MAX, ebx_7: u32::MAX, xcr0: u64::MAX };
        assert_eq!(found(all).len(), 6);
        let randomness = [Feature::Rdrand, Feature::Rdseed, Feature::Hypervisor];
        for xcr0 in [0, 0b010, 0b100, 0b1110_0000] {
            assert_eq!(found(Leaves { xcr0, ..all }), randomness, "{xcr0:#b}");
        }
        let avx = [Feature::Avx, Feature::Avx2];
        for xcr0 in [0b110, 0b0110_0110, 0b1100_0110, 0b1010_0110] {
            assert_eq!(found(Leaves { xcr0, ..all })[..2], avx, "{xcr0:#b}");
            assert!(!found(Leaves { xcr0, ..all }).contains(&Feature::Avx512), "{xcr0:#b}");
        }
    }

    #[test]
    fn each_feature_has_a_bit_of_its_own() {
        assert_eq!(found(Leaves::default()), []);
        let saved = Leaves { xcr0: AVX512_STATE, ..Leaves::default() };
        assert_eq!(found(Leaves { ecx_1: 1 << 28, ..saved }), [Feature::Avx]);
        assert_eq!(found(Leaves { ecx_1: 1 << 30, ..saved }), [Feature::Rdrand]);
        assert_eq!(found(Leaves { ecx_1: 1 << 31, ..saved }), [Feature::Hypervisor]);
        assert_eq!(found(Leaves { ebx_7: 1 << 18, ..saved }), [Feature::Rdseed]);
        assert_eq!(found(Leaves { ebx_7: 1 << 5 | 1 << 16, ..saved }), [], "not without AVX");
        let avx = Leaves { ecx_1: 1 << 28, ..saved };
        assert_eq!(found(Leaves { ebx_7: 1 << 5, ..avx }), [Feature::Avx, Feature::Avx2]);
        assert_eq!(found(Leaves { ebx_7: 1 << 16, ..avx }), [Feature::Avx, Feature::Avx512]);
    }
}
