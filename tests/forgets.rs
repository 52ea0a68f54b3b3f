//! Backtracking resistance: neither what was handed out nor a key that made it is anywhere in the
//! memory of the generator. What comes next is, which shows that this is the place to look.
#![cfg(target_os = "linux")]

mod common;

use std::collections::HashSet;

use rand_chacha::ChaCha20Rng;
use snaprng::rand_core::{Rng, SeedableRng};

use common::maps::{DROPPABLE, NOT_DUMPED, WIPED_ON_FORK, mappings};
use common::worlds::{PROCESS_ONLY, SYNCHRONOUS, in_worlds};

/// A generator's buffer: a refill comes before this much more has been drawn.
const BUFFER: usize = 1024;

/// A copy of the memory that generators of threads are in.
fn generators() -> Vec<u8> {
    let mut copy = Vec::new();
    for mapping in mappings() {
        if mapping.has(WIPED_ON_FORK) && mapping.has(NOT_DUMPED) && !mapping.has(DROPPABLE) {
            let start = std::ptr::with_exposed_provenance::<u8>(mapping.start);
            // SAFETY: a readable mapping that is never unmapped; no other thread uses a generator.
            copy.extend(unsafe { std::slice::from_raw_parts(start, mapping.length) });
        }
    }
    copy
}

fn draw(bytes: usize) -> Vec<u8> {
    let mut output = vec![0; bytes];
    output.chunks_mut(32).for_each(|chunk| snaprng::fill(chunk).expect("bytes"));
    output
}

fn blocks(output: &[u8]) -> HashSet<&[u8]> {
    output.chunks_exact(16).collect()
}

/// Whether some of `output` stands in `memory`.
fn holds(memory: &[u8], output: &[u8]) -> bool {
    let blocks = blocks(output);
    memory.windows(16).any(|window| blocks.contains(window))
}

/// Whether anything in `memory`, taken for a key, makes some of `output`.
fn holds_a_key_of(memory: &[u8], output: &[u8]) -> bool {
    let blocks = blocks(output);
    let (words, _) = memory.as_chunks::<8>();
    words.windows(4).any(|words| {
        let mut key = [0; 32];
        key.copy_from_slice(words.as_flattened());
        if key == [0; 32] {
            return false;
        }
        let mut stream = [0; BUFFER];
        ChaCha20Rng::from_seed(key).fill_bytes(&mut stream);
        stream.windows(16).any(|window| blocks.contains(window))
    })
}

/// Whether it is so in one of several attempts. Settling absorbs at five moments, and what would
/// have come is then no more.
fn where_nothing_absorbs(attempt: impl Fn() -> bool) -> bool {
    (0..6).any(|_| attempt())
}

#[test]
fn bytes_that_were_handed_out_are_gone_from_the_buffer() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        let mut seen_before = 0;
        for _ in 0..40 {
            let before = generators();
            let output = draw(32);
            seen_before += usize::from(holds(&before, &output));
            assert!(!holds(&generators(), &output), "they still are there");
        }
        // All but those in front of which a refill came, one in thirty.
        assert!(seen_before > 20, "{seen_before} of 40 were there before");
    });
}

#[test]
fn a_key_that_made_earlier_bytes_is_gone() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        let is_next_in_memory = || {
            let earlier = draw(4 * BUFFER);
            let memory = generators();
            let later = draw(2 * BUFFER);
            assert!(!holds(&memory, &earlier));
            assert!(!holds_a_key_of(&memory, &earlier), "what was given can be made again");
            holds_a_key_of(&memory, &later)
        };
        assert!(where_nothing_absorbs(is_next_in_memory), "the place to look for the next key");
    });
}

#[test]
fn nothing_of_a_thread_that_has_ended_is_left() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        let others = generators();
        let others: HashSet<&[u8]> = others.windows(16).collect();
        let alive = std::thread::spawn(|| {
            draw(32);
            generators()
        });
        let alive = alive.join().expect("a thread");
        let (buffered, _) = alive.as_chunks::<16>();
        let random = |block: &&[u8; 16]| {
            block.iter().filter(|&&byte| byte != 0).count() > 10 && !others.contains(&block[..])
        };
        let buffered = buffered.iter().filter(random).flatten().copied().collect::<Vec<u8>>();
        assert!(buffered.len() > BUFFER / 2, "{} bytes of what would have come", buffered.len());
        assert!(!holds(&generators(), &buffered), "its buffer or its key");
    });
}

#[test]
fn the_key_of_a_large_request_is_gone_with_it() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        let was_next_in_the_buffer = || {
            draw(32);
            let mut large = [0; BUFFER];
            let before = generators();
            snaprng::fill(&mut large).expect("bytes");
            let after = generators();
            assert!(!holds_a_key_of(&after, &large), "it can be made again");
            holds_a_key_of(&before, &large)
        };
        assert!(where_nothing_absorbs(was_next_in_the_buffer), "its key was in the buffer");
    });
}
