//! What can be asked of the word without a fork. The rest is for processes.

use super::super::{SystemWorld, World};
use super::*;

#[test]
fn fresh_words_are_never_zero_and_never_repeat() {
    let mut words: Vec<u64> = (0..1000).map(|_| fresh_word()).collect();
    assert!(words.iter().all(|&w| w != 0));
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), 1000);
}

#[test]
fn words_differ_by_a_number_of_their_lineage_and_by_random_bits() {
    let (one, other) = (fresh_word(), fresh_word());
    // Others count, too.
    let later = ((other >> 32) as u32).wrapping_sub((one >> 32) as u32).cast_signed();
    assert!(later > 0, "{one:#x} {other:#x}");
    let bits: std::collections::HashSet<u32> = (0..8).map(|_| random_bits()).collect();
    // Two equal ones by chance: 28 in 2^32.
    assert!(bits.len() >= 7);
}

#[test]
fn whoever_looks_finds_at_once_that_nothing_has_moved() {
    // Other tests may move it in between, but not for ever.
    assert!((0..1000).any(|_| SystemWorld.unmoved(&SystemWorld.look().words())));
}
