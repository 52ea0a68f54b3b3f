use super::*;
use crate::sync::explore;
use loom::thread;

/// One look as a generator makes it: the word first, then what came with it.
fn look() -> (u64, u64) {
    let word = word();
    assert_ne!(word, 0);
    (word, copy())
}

/// What one thread may see of the word: once it has another value, it never has an old one again.
fn watch(looks: usize) -> Vec<(u64, u64)> {
    let mut seen: Vec<(u64, u64)> = Vec::new();
    for _ in 0..looks {
        let now = look();
        if let Some(&last) = seen.last()
            && last.0 != now.0
        {
            assert!(seen.iter().all(|before| before.0 != now.0), "a word came back");
        }
        seen.push(now);
    }
    seen
}

/// What the kernel does to both pages in a child, and `notify_restored` here.
fn is_copied() {
    begin_new_copy();
}

#[test]
fn a_look_never_finds_zero_and_no_word_comes_back() {
    explore("arming, two threads and two copies", 2, || {
        let copier = thread::spawn(|| {
            is_copied();
            is_copied();
        });
        let other = thread::spawn(|| watch(2));
        watch(2);
        copier.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn whoever_sees_the_new_word_sees_the_new_copy() {
    explore("a copy that two threads look at", 2, || {
        let before = look();
        is_copied();
        let other = thread::spawn(move || {
            let now = look();
            assert_ne!(now.0, before.0, "a generator keyed before the copy would go on");
            assert_ne!(now.1, before.1, "the copy would pass for a dropped page");
            assert!(!is_still(before.0));
        });
        let now = look();
        assert_ne!(now.0, before.0);
        assert_ne!(now.1, before.1);
        other.join().unwrap();
    });
}

#[test]
fn a_look_during_the_copy_is_unmoved_only_until_the_word_is_cleared() {
    explore("a copy while another thread looks", 3, || {
        let before = look();
        let other = thread::spawn(move || {
            let now = look();
            if now.0 != before.0 {
                assert_ne!(now.1, before.1, "the copy would pass for a dropped page");
            }
        });
        is_copied();
        assert!(!is_still(before.0));
        let now = look();
        assert_ne!(now.0, before.0);
        assert_ne!(now.1, before.1);
        other.join().unwrap();
    });
}
