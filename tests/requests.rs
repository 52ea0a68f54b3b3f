//! Requests of every size are filled to their last byte, and no byte is given twice.
#![cfg(target_os = "linux")]

mod common;

use std::collections::HashSet;
use std::mem::MaybeUninit;

use common::blocks::{assert_nothing_repeats, numbered};
use common::in_a_fresh_process;
use common::worlds::{self, ALL, SYNCHRONOUS, in_worlds};
use snaprng::rand_core::TryRng;

/// Around every size at which the generator goes another way.
const LENGTHS: [usize; 22] = [
    0,
    1,
    2,
    15,
    16,
    17,
    31,
    32,
    63,
    64,
    65,
    510,
    511,
    512,
    513,
    991,
    992,
    993,
    1023,
    1024,
    4096,
    (1 << 20) + 3,
];

/// What stands around a request, and must stay.
const MARGIN: usize = 64;
const UNTOUCHED: u8 = 0xa5;

/// Fails unless `request` writes all of its bytes, and none around them.
fn assert_fills_exactly(length: usize, mut request: impl FnMut(&mut [u8])) {
    // A byte that is the same every time was not written: 2^-64 by chance.
    let mut always_the_same = vec![true; length];
    let mut first = vec![0; length];
    for round in 0..8 {
        let mut memory = vec![UNTOUCHED; length + 2 * MARGIN];
        let (before, rest) = memory.split_at_mut(MARGIN);
        let (out, after) = rest.split_at_mut(length);
        request(out);
        assert!(before.iter().chain(&*after).all(|&b| b == UNTOUCHED), "length {length}");
        if round == 0 {
            first.copy_from_slice(out);
        } else {
            for (same, (a, b)) in always_the_same.iter_mut().zip(first.iter().zip(&*out)) {
                *same &= a == b;
            }
        }
    }
    let unwritten = always_the_same.iter().filter(|&&same| same).count();
    assert_eq!(unwritten, 0, "bytes of {length} that are always the same");
}

#[test]
fn requests_of_every_size_are_filled_exactly() {
    in_worlds(&ALL, |_| {
        let mut owned = worlds::owned();
        for length in LENGTHS {
            assert_fills_exactly(length, |out| snaprng::fill(out).expect("bytes"));
            if length > 4096 {
                continue; // The others go the same way from here on.
            }
            assert_fills_exactly(length, |out| owned.fill(out).expect("bytes"));
            assert_fills_exactly(length, |out| owned.try_fill_bytes(out).expect("bytes"));
            assert_fills_exactly(length, |out| {
                let mut memory = vec![MaybeUninit::uninit(); out.len()];
                let filled = snaprng::fill_uninit(&mut memory).expect("bytes");
                out.copy_from_slice(filled);
            });
        }
    });
}

#[test]
fn no_byte_is_given_twice_by_requests_of_mixed_sizes() {
    in_worlds(&[SYNCHRONOUS, worlds::PROCESS_ONLY, worlds::PER_CALL], |_| {
        let mut owned = worlds::owned();
        let mut records = [Vec::new(), Vec::new()];
        for (number, length) in (0..6).flat_map(|_| LENGTHS).enumerate() {
            if length > 4096 {
                continue;
            }
            let mut out = vec![0; length];
            match number % 2 {
                0 => snaprng::fill(&mut out).expect("bytes"),
                _ => owned.fill(&mut out).expect("bytes"),
            }
            records[number % 2].extend(out);
        }
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        assert_nothing_repeats(&numbered("generator", &records));
    });
}

#[test]
fn numbers_are_drawn_from_the_same_stream_as_bytes() {
    in_worlds(&[SYNCHRONOUS], |_| {
        let mut rng = snaprng::rng();
        let mut drawn = HashSet::new();
        for _ in 0..10_000 {
            let Ok(number) = rng.try_next_u64();
            // Twice by chance: 2^-37 over all of them.
            assert!(drawn.insert(number));
        }
        // Every bit is sometimes set and sometimes not, in both kinds of numbers.
        let (mut all, mut any) = (u32::MAX, 0);
        for _ in 0..200 {
            let Ok(number) = rng.try_next_u32();
            all &= number;
            any |= number;
        }
        assert_eq!((all, any), (0, u32::MAX));
    });
}

/// More than the library makes under one key (1 GiB).
const HUGE: usize = (1 << 30) + 4096;

#[test]
#[ignore = "takes 1 GiB of memory, and a minute without optimization: tests/run runs it in release"]
fn a_request_of_more_than_a_gibibyte_repeats_nothing() {
    in_a_fresh_process(|| {
        let _page = worlds::enter(SYNCHRONOUS);
        let mut out = vec![0; HUGE];
        snaprng::fill(&mut out).expect("bytes");
        let (first, second) = out.split_at(1 << 30);
        assert_nothing_repeats(&numbered("key", &[&first[..4096], second]));
        // A block of every page, and of the end: twice by chance 2^-93.
        let mut seen = HashSet::new();
        for page in out.chunks(4096) {
            assert!(seen.insert(&page[page.len() - 16..]), "a page that was given before");
        }
        // Another one has other bytes.
        let before = seen.len();
        let mut other = vec![0; 1 << 20];
        snaprng::fill(&mut other).expect("bytes");
        seen.extend(other.chunks(4096).map(|page| &page[page.len() - 16..]));
        assert_eq!(seen.len(), before + (1 << 20) / 4096);
    });
}
