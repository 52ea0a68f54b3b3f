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
fn threads_have_other_ids() {
    let other = std::thread::spawn(thread_id).join().unwrap();
    assert_ne!(other, thread_id());
}

/// In one test, for the words belong to the process.
#[test]
fn the_child_handler_clears_both_words_of_a_process_that_uses_the_library() {
    let set = || {
        pages::word().store(5, Ordering::Release);
        pages::intact().store(1, Ordering::Release);
    };
    let words = || (pages::word().load(Ordering::Acquire), pages::intact().load(Ordering::Acquire));
    set();
    clear_in_child();
    assert_eq!((KIND.load(Ordering::Relaxed), words()), (NOT_INSTALLED, (5, 1)));
    KIND.store(WIPE_ON_FORK, Ordering::Relaxed);
    clear_in_child();
    assert_eq!(words(), (0, 0));

    // Whoever sees it cleared begins a copy of its own, each time another one.
    record_copy();
    let one = copy();
    record_copy();
    assert!(one != 0 && copy() != one && words() == (0, 1));
    KIND.store(NOT_INSTALLED, Ordering::Relaxed);

    // And whoever looks finds that it has moved.
    let epoch = SystemWorld.look();
    assert!(SystemWorld.unmoved(&epoch.words()));
    begin_new_copy();
    assert!(!SystemWorld.unmoved(&epoch.words()) && SystemWorld.look() != epoch);
    begin_new_copy();
}
