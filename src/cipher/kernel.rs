//! Which kernel makes the keystream: the fastest that this CPU has, or the one that is forced.
//!
//! All of them give the same bytes for the same key. What is chosen is one word of the process; it
//! needs no lock, for whoever races to choose comes to the same choice.

#![allow(unsafe_code, reason = "calls the kernels that need features of the CPU")]

use core::sync::atomic::{AtomicU8, Ordering};

use super::block::{self, BLOCK};
use super::{Key, Rounds, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512, registers};
#[cfg(target_arch = "x86_64")]
use crate::features::{self, Feature};
#[cfg(target_arch = "x86_64")]
use crate::wipe::wipe;

/// Up to here one block after the other beats all kernels.
const SINGLE: usize = 2 * BLOCK;

/// Up to here the portable kernel, which makes four blocks at a time, beats those that make eight and
/// more.
#[cfg(target_arch = "x86_64")]
const FEW: usize = 4 * BLOCK;

/// An implementation of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kernel {
    /// Everywhere. Zero is none, and not chosen yet.
    Portable = 1,
    #[cfg(target_arch = "x86_64")]
    Avx2 = 2,
    #[cfg(target_arch = "x86_64")]
    Avx512 = 3,
}

/// All kernels that this build has, the fastest last.
pub(crate) const ALL: &[Kernel] = &[
    Kernel::Portable,
    #[cfg(target_arch = "x86_64")]
    Kernel::Avx2,
    #[cfg(target_arch = "x86_64")]
    Kernel::Avx512,
];

static IN_USE: AtomicU8 = AtomicU8::new(0);

/// Uses this kernel from now on; false if this build or this CPU does not have it.
pub(crate) fn force(name: &[u8]) -> bool {
    let named = ALL.iter().find(|kernel| kernel.name().as_bytes() == name);
    let Some(kernel) = named.filter(|kernel| kernel.is_available()) else { return false };
    IN_USE.store(*kernel as u8, Ordering::Relaxed);
    true
}

impl Kernel {
    /// The kernel of this process.
    #[inline]
    pub(crate) fn in_use() -> Self {
        let code = IN_USE.load(Ordering::Relaxed);
        ALL.iter().copied().find(|kernel| *kernel as u8 == code).unwrap_or_else(choose)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this CPU has what the kernel needs, and its operating system allows it.
    pub(crate) fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => features::has(Feature::Avx2),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => features::has(Feature::Avx512),
        }
    }

    /// Overwrites `out` with the keystream of `key`.
    pub(super) fn keystream(self, rounds: Rounds, key: &Key, out: &mut [u8]) {
        match self {
            _ if out.len() <= SINGLE => block::keystream(rounds, key, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 | Self::Avx512 if out.len() > FEW => {
                self.keystream_from(0, rounds, key, out)
            }
            _ => portable::keystream(rounds, key, out),
        }
    }

    /// The keystream of a SIMD kernel, from a block whose number is a multiple of sixteen.
    #[cfg(target_arch = "x86_64")]
    fn keystream_from(self, first: u64, rounds: Rounds, key: &Key, out: &mut [u8]) {
        let double_rounds = rounds.count() / 2;
        debug_assert!(self.is_available());
        match self {
            Self::Portable => {}
            Self::Avx2 => in_groups::<{ avx2::GROUP }>(first, out, |first, whole| {
                // SAFETY: this kernel is in use, so it is available; groups and block numbers are
                // whole ones.
                unsafe { avx2::groups(double_rounds, key, first, whole) }
            }),
            Self::Avx512 => in_groups::<{ avx512::GROUP }>(first, out, |first, whole| {
                // SAFETY: as above.
                unsafe { avx512::groups(double_rounds, key, first, whole) }
            }),
        }
    }
}

#[cold]
fn choose() -> Kernel {
    let fastest = ALL.iter().copied().rfind(|kernel| kernel.is_available());
    let kernel = fastest.unwrap_or(Kernel::Portable);
    IN_USE.store(kernel as u8, Ordering::Relaxed);
    kernel
}

/// Calls `make` for whole groups alone, with block numbers that share their upper half. The end
/// is cut from a group of its own.
#[cfg(target_arch = "x86_64")]
fn in_groups<const GROUP: usize>(
    mut first: u64,
    mut out: &mut [u8],
    make: impl Fn(u64, &mut [u8]),
) {
    while out.len() >= GROUP {
        let until_wrap = (1 << 32) - (first & u64::from(u32::MAX));
        let longest = usize::try_from(until_wrap).unwrap_or(usize::MAX).saturating_mul(BLOCK);
        let whole = (out.len() - out.len() % GROUP).min(longest);
        let (now, later) = out.split_at_mut(whole);
        make(first, now);
        first = first.wrapping_add((whole / BLOCK) as u64);
        out = later;
    }
    if !out.is_empty() {
        let mut last = [0; GROUP];
        make(first, &mut last);
        for (to, from) in out.iter_mut().zip(&last) {
            *to = *from;
        }
        wipe(&mut last);
        // The copy went through them.
        registers::wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: [Rounds; 3] = [Rounds::Twenty, Rounds::Twelve, Rounds::Eight];

    /// Runs `check` for each kernel that this CPU has, and says loudly which it has not.
    fn with_each_kernel(check: impl Fn(Kernel)) {
        for kernel in ALL {
            if kernel.is_available() {
                check(*kernel);
            } else {
                println!("SKIPPED: the {} kernel: this CPU does not have it", kernel.name());
            }
        }
    }

    /// What `rand_chacha` says, as its own generator and not as our portable kernel.
    fn oracle(rounds: Rounds, key: &Key, first: u64, out: &mut [u8]) {
        use rand_chacha::{ChaCha8Rng, ChaCha12Rng, ChaCha20Rng};
        use rand_core::{Rng, SeedableRng};
        macro_rules! fill {
            ($rng:ty) => {{
                let mut rng = <$rng>::from_seed(*key);
                rng.set_word_pos(u128::from(first) * 16);
                rng.fill_bytes(out);
            }};
        }
        match rounds {
            Rounds::Twenty => fill!(ChaCha20Rng),
            Rounds::Twelve => fill!(ChaCha12Rng),
            Rounds::Eight => fill!(ChaCha8Rng),
        }
    }

    const KEY: Key = super::super::OF_TESTS;

    #[test]
    fn every_kernel_makes_the_stream_of_the_oracle_at_every_length_and_number_of_rounds() {
        let mut expected = [0; 5000];
        for rounds in ROUNDS {
            oracle(rounds, &KEY, 0, &mut expected);
            with_each_kernel(|kernel| {
                for length in 0..=4200 {
                    let mut out = [0xa5; 4300];
                    kernel.keystream(rounds, &KEY, &mut out[..length]);
                    let (made, beyond) = out.split_at(length);
                    assert_eq!(made, &expected[..length], "{kernel:?} {rounds:?} {length}");
                    assert!(beyond.iter().all(|&b| b == 0xa5), "{kernel:?} {rounds:?} {length}");
                }
            });
        }
    }

    #[test]
    fn no_kernel_cares_for_the_alignment_of_its_output() {
        let mut expected = [0; 2600];
        oracle(Rounds::Twenty, &KEY, 0, &mut expected);
        with_each_kernel(|kernel| {
            for offset in 0..64 {
                let mut out = [0; 2700];
                kernel.keystream(Rounds::Twenty, &KEY, &mut out[offset..][..2600]);
                assert_eq!(out[offset..][..2600], expected, "{kernel:?} {offset}");
            }
        });
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_block_counter_has_64_bits_in_every_kernel() {
        for first in [0, 16, (1 << 32) - 32, (1 << 32) - 16, (7 << 32) - 64, 5 << 40] {
            let mut expected = [0; 6000];
            oracle(Rounds::Twenty, &KEY, first, &mut expected);
            with_each_kernel(|kernel| {
                if kernel != Kernel::Portable {
                    let mut out = [0; 6000];
                    kernel.keystream_from(first, Rounds::Twenty, &KEY, &mut out);
                    assert_eq!(out, expected, "{kernel:?} {first:#x}");
                }
            });
        }
    }

    #[test]
    fn only_kernels_that_this_cpu_has_can_be_forced() {
        let before = IN_USE.load(Ordering::Relaxed);
        assert!(!force(b"abacus"));
        assert!(!force(b"AVX2"));
        with_each_kernel(|kernel| assert!(force(kernel.name().as_bytes())));
        assert!(ALL.contains(&Kernel::in_use()));
        IN_USE.store(0, Ordering::Relaxed);
        assert!(Kernel::in_use().is_available());
        IN_USE.store(before, Ordering::Relaxed);
    }
}
