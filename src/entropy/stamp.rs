//! A value that holds for one VM epoch: a process-wide record without a lock.
//!
//! Epoch and value are several words, so a sequence number tells a reader that a writer was at
//! work; it then finds nothing, which every user of this room treats as the careful answer. A
//! writer that finds another one of its process at work gives up for the same reason; one that was
//! only copied here by a fork, in the middle of its work, is overtaken.

use crate::sync::{self, AtomicU32, AtomicU64, Ordering, fence};
use crate::world::Epoch;

/// A record of `(VM epoch, value)`; empty at first.
pub(super) struct Stamp {
    /// Even: at rest, odd: being written. 0: never written.
    sequence: AtomicU64,
    /// The process whose thread is writing; 0 at rest.
    writer: AtomicU32,
    words: [AtomicU64; 5],
    value: AtomicU64,
}

impl Stamp {
    sync::constructor! {
        pub(super) fn new() -> Self {
            Self {
                sequence: AtomicU64::new(0),
                writer: AtomicU32::new(0),
                words: sync::array![AtomicU64::new(0); 5],
                value: AtomicU64::new(0),
            }
        }
    }

    /// Records `value` for `epoch`. The value is stored before the epoch that vouches for it.
    pub(super) fn set(&self, epoch: &Epoch, value: u64) {
        let process = std::process::id();
        let held_by = self.writer.load(Ordering::Relaxed);
        if held_by == process
            || self
                .writer
                .compare_exchange(held_by, process, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        // Odd from here on, whether or not a writer of the parent process had left it odd.
        let writing = self.sequence.load(Ordering::Relaxed) | 1;
        self.sequence.store(writing, Ordering::Relaxed);
        // A reader that sees one of the words below must see the odd number too.
        fence(Ordering::Release);
        self.value.store(value, Ordering::Relaxed);
        for (to, word) in self.words.iter().zip(epoch.vm_words()) {
            to.store(word, Ordering::Relaxed);
        }
        self.sequence.store(writing.wrapping_add(1), Ordering::Release);
        self.writer.store(0, Ordering::Release);
    }

    /// The value on record for `epoch`'s machine.
    pub(super) fn get(&self, epoch: &Epoch) -> Option<u64> {
        let before = self.sequence.load(Ordering::Acquire);
        if before == 0 || before & 1 == 1 {
            return None;
        }
        let value = self.value.load(Ordering::Relaxed);
        let same = self
            .words
            .iter()
            .zip(epoch.vm_words())
            .all(|(on_record, word)| on_record.load(Ordering::Relaxed) == word);
        fence(Ordering::Acquire);
        let still = self.sequence.load(Ordering::Relaxed) == before;
        (same && still).then_some(value)
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch =
        Epoch { counter: 1, marker: 2, process: 3, sysgenid: 4, agent: 5, copy: 6, machine: 7 };

    #[test]
    fn a_stamp_holds_for_its_machine_and_for_no_other() {
        let stamp = Stamp::new();
        assert_eq!(stamp.get(&EPOCH), None);
        stamp.set(&EPOCH, 42);
        assert_eq!(stamp.get(&EPOCH), Some(42));
        assert_eq!(stamp.get(&Epoch { process: 9, copy: 9, ..EPOCH }), Some(42), "a fork");
        assert_eq!(stamp.get(&Epoch { machine: 8, ..EPOCH }), None);
        assert_eq!(stamp.get(&Epoch { marker: 8, ..EPOCH }), None);
    }

    #[test]
    fn an_empty_stamp_does_not_vouch_for_the_zero_epoch() {
        assert_eq!(Stamp::new().get(&Epoch::default()), None);
    }

    #[test]
    fn a_writer_that_was_only_copied_here_is_overtaken() {
        let stamp = Stamp::new();
        stamp.set(&EPOCH, 1);
        stamp.sequence.fetch_add(1, Ordering::Relaxed);
        stamp.writer.store(std::process::id() + 1, Ordering::Relaxed);
        assert_eq!(stamp.get(&EPOCH), None, "half-written");
        stamp.set(&EPOCH, 2);
        assert_eq!(stamp.get(&EPOCH), Some(2));
    }

    #[test]
    fn a_second_writer_of_the_same_process_gives_up() {
        let stamp = Stamp::new();
        stamp.writer.store(std::process::id(), Ordering::Relaxed);
        stamp.set(&EPOCH, 1);
        assert_eq!(stamp.get(&EPOCH), None);
    }
}
