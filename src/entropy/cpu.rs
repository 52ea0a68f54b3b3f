//! The CPU's own randomness: RDRAND and RDSEED on x86-64, RNDRRS on AArch64.
//!
//! In a freshly restored clone it is the one source that siblings do not share. Health rules: a
//! value of all zeros or all ones, or one that came just before, fails the whole draw (some AMD
//! processors answered all ones, with success, after a suspend). What fails is not credited and
//! not mixed.
//!
//! The instructions cannot be trapped by the kernel, so a draw costs no system call: about 110 ns
//! for RDRAND, 2.2 µs for RDSEED, for 32 bytes on an AMD Zen 4.
#![allow(unsafe_code, reason = "executes the instructions")]

use zeroize::Zeroize;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod none;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as words;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use none as words;
#[cfg(target_arch = "x86_64")]
use x86_64 as words;

/// Fills `out` from the CPU's generator; false, with `out` zero, if that cannot be had.
pub(super) fn fill(out: &mut [u8]) -> bool {
    draw(out, words::random)
}

/// Fills `out` from the CPU's conditioned noise source; false, with `out` zero, if it cannot.
///
/// All cores share that source, and those who draw from it much leave it empty: where this is not
/// `needed`, the first refusal ends it. (On an AMD Zen 5 whose other machines drew, 4 attempts in 100
/// succeeded, and insisting took 90 µs.)
pub(super) fn fill_seed(needed: bool, out: &mut [u8]) -> bool {
    let tries = if needed { words::SEED_TRIES } else { 1 };
    draw(out, || words::seed(tries))
}

/// Draws whole words, and holds them against the health rules.
fn draw(out: &mut [u8], mut word: impl FnMut() -> Option<u64>) -> bool {
    let mut before = 0;
    let (words, rest) = out.as_chunks_mut();
    let drawn = rest.is_empty()
        && words.iter_mut().all(|to: &mut [u8; 8]| {
            let healthy = |w: &u64| *w != 0 && *w != u64::MAX && *w != before;
            let Some(next) = word().filter(healthy) else { return false };
            before = next;
            *to = next.to_ne_bytes();
            true
        });
    if !drawn {
        out.zeroize();
    }
    drawn
}

/// The time stamp counter, or 0. Tells nothing to anybody: clones start from the same value.
pub(super) fn time_stamp() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 CPU has RDTSC.
    return unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripted(words: &[Option<u64>]) -> ([u8; 32], bool) {
        let mut words = words.iter().copied();
        let mut out = [0xaa; 32];
        let drawn = draw(&mut out, || words.next().flatten());
        (out, drawn)
    }

    #[test]
    fn healthy_words_are_taken_as_they_come() {
        let (out, drawn) = scripted(&[Some(1), Some(2), Some(3), Some(4)]);
        assert!(drawn);
        assert_eq!(out[..8], 1u64.to_ne_bytes());
        assert_eq!(out[24..], 4u64.to_ne_bytes());
    }

    #[test]
    fn stuck_zero_and_all_one_words_fail_the_whole_draw() {
        for bad in [Some(0), Some(u64::MAX), Some(7), None] {
            let (out, drawn) = scripted(&[Some(5), Some(7), bad, Some(9)]);
            assert!(!drawn, "{bad:?}");
            assert_eq!(out, [0; 32], "nothing of a failed draw is left");
        }
    }

    /// Two draws of this CPU, or none.
    fn drawn_twice(fill: fn(&mut [u8]) -> bool) -> Option<[[u8; 32]; 2]> {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        (fill(&mut a) && fill(&mut b)).then_some([a, b])
    }

    #[test]
    fn a_cpu_that_has_randomness_gives_it() {
        #[cfg(target_arch = "x86_64")]
        let has = (
            std::arch::is_x86_feature_detected!("rdrand"),
            std::arch::is_x86_feature_detected!("rdseed"),
        );
        #[cfg(target_arch = "aarch64")]
        let has = [std::arch::is_aarch64_feature_detected!("rand"); 2].into();
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let has = (false, false);
        let (random, seed) = (drawn_twice(fill), drawn_twice(|out| fill_seed(true, out)));
        assert_eq!((random.is_some(), seed.is_some()), has);
        for [a, b] in random.into_iter().chain(seed) {
            // Equal by chance: 2^-256.
            assert_ne!(a, b);
            assert_ne!(a, [0; 32]);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_time_stamp_goes_on() {
        let before = time_stamp();
        assert!(before > 1 && time_stamp() > before);
    }
}
