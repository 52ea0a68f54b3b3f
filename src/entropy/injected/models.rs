use super::*;
use crate::sync::explore;
use crate::world::{SystemWorld, World, begin_new_copy};
use loom::thread;

fn read_now(epoch: &Epoch) -> (Key, bool) {
    let mut cell = Key::default();
    let unique = read(epoch, &mut cell);
    (cell, unique)
}

#[test]
fn a_rekey_that_sees_the_word_moved_absorbs_what_was_handed_in_before() {
    // Another number of the same bytes would give another cell; this is the first one.
    let handed_in = hash(b"snaprng injected 1\0", 0, b"unique");
    explore("bytes handed in while another thread rekeys", 2, move || {
        let machine = Epoch { machine: 1, ..Epoch::default() };
        let before = SystemWorld.look().process;
        let rekey = thread::spawn(move || {
            if SystemWorld.look().process != before {
                assert_eq!(read_now(&machine), (handed_in, true));
            }
        });
        publish(b"unique", &machine);
        begin_new_copy();
        rekey.join().unwrap();
    });
}

#[test]
fn nothing_is_lost_of_what_two_hand_in_at_once() {
    explore("bytes handed in by two threads", 2, move || {
        let other = thread::spawn(|| publish(b"", &Epoch::default()));
        publish(b"", &Epoch::default());
        other.join().unwrap();
        let mut sum = Key::default();
        for (index, part) in sum.chunks_exact_mut(8).enumerate() {
            let word = |number| {
                let hash = hash(b"snaprng injected 1\0", number, b"");
                u64::from_le_bytes(hash[8 * index..][..8].try_into().unwrap())
            };
            part.copy_from_slice(&word(0).wrapping_add(word(1)).to_le_bytes());
        }
        assert_eq!(read_now(&Epoch::default()).0, sum);
    });
}
