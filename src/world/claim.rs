//! Who may install: one winner, decided without a lock.
//!
//! The claim is a static word holding process and thread id of whoever is at work. It never
//! blocks: a loser yields a bounded number of times and then goes another way; a signal handler on
//! the winner's own thread goes that way at once. The claim of a thread that would finish it and
//! does not exist any more, or not here, is taken over: a child finds its parent's, and anybody
//! that of a thread which has ended in the middle (by `pthread_exit` in a signal handler).
//!
//! Limits: a child whose process and thread both have the ids of those that were at it, in a process
//! namespace of its own, takes that for what it has interrupted itself.

use crate::sync::{self, AtomicU64, Ordering};
use crate::syscall::{is_alive, thread_id};

const OPEN: u64 = 0;
const DONE: u64 = u64::MAX;

/// How often a loser yields its time slice before it gives up: a few milliseconds at most.
const YIELDS: u32 = if cfg!(all(test, loom)) { 2 } else { 256 };

/// A claim on work that is done once, or again each time it is opened.
pub(super) struct Claim(AtomicU64);

/// How an attempt to claim ended.
pub(super) enum Attempt {
    /// The caller must do the work and then [`finish`](Claim::finish).
    Won,
    /// The work has been done.
    Done,
    /// Somebody else is at it and did not finish in time.
    Busy,
}

impl Claim {
    sync::constructor! {
        pub(super) fn new() -> Self {
            Self(AtomicU64::new(OPEN))
        }
    }

    /// Whether the work has been done. Acquire: what the winner wrote is visible after it.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == DONE
    }

    pub(super) fn attempt(&self) -> Attempt {
        let process = rustix::process::getpid().as_raw_nonzero().get() as u32;
        self.attempt_by(process, thread_id(), is_alive)
    }

    fn attempt_by(&self, process: u32, thread: u32, is_alive: impl Fn(u32) -> bool) -> Attempt {
        let mine = u64::from(process) << 32 | u64::from(thread);
        for round in 0..=YIELDS {
            let seen = self.0.load(Ordering::Acquire);
            let holder = (seen >> 32) as u32;
            match seen {
                DONE => return Attempt::Done,
                seen if seen == mine => return Attempt::Busy,
                OPEN => {}
                _ if holder != process => {}
                _ if round == YIELDS && !is_alive(seen as u32) => {}
                _ => {
                    sync::yield_now();
                    continue;
                }
            }
            if self.0.compare_exchange(seen, mine, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Attempt::Won;
            }
        }
        Attempt::Busy
    }

    /// Publishes the work. Release: everything written before is visible to whoever sees it done.
    pub(super) fn finish(&self) {
        self.0.store(DONE, Ordering::Release);
    }

    /// Ends a piece of work that may be done again.
    pub(super) fn reopen(&self) {
        self.0.store(OPEN, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wins_and_the_others_see_it_done() {
        let claim = Claim::new();
        assert!(!claim.is_done());
        assert!(matches!(claim.attempt(), Attempt::Won));
        claim.finish();
        assert!(claim.is_done());
        assert!(matches!(claim.attempt(), Attempt::Done));
    }

    #[test]
    fn a_handler_on_the_winners_thread_is_told_at_once() {
        let claim = Claim::new();
        assert!(matches!(claim.attempt(), Attempt::Won));
        assert!(matches!(claim.attempt(), Attempt::Busy));
    }

    #[test]
    fn another_thread_waits_a_bounded_time() {
        let claim = Claim::new();
        assert!(matches!(claim.attempt(), Attempt::Won));
        std::thread::scope(|s| {
            s.spawn(|| assert!(matches!(claim.attempt(), Attempt::Busy)));
        });
    }

    #[test]
    fn a_dead_threads_claim_is_taken_over() {
        let claim = Claim::new();
        let by = |thread, is_alive| claim.attempt_by(7, thread, move |_| is_alive);
        assert!(matches!(by(1, true), Attempt::Won));
        assert!(matches!(by(2, true), Attempt::Busy));
        assert!(matches!(by(2, false), Attempt::Won));
        assert!(matches!(by(2, false), Attempt::Busy), "its own is what it interrupted");
    }

    #[test]
    fn whether_a_thread_lives_is_asked_once_and_of_this_process_alone() {
        let asked = core::cell::Cell::new(0);
        let lives = |_| {
            asked.set(asked.get() + 1);
            true
        };
        let claim = Claim::new();
        assert!(matches!(claim.attempt_by(7, 1, lives), Attempt::Won));
        assert!(matches!(claim.attempt_by(7, 2, lives), Attempt::Busy));
        assert_eq!(asked.get(), 1);
        // A thread here may have the id of one there.
        assert!(matches!(claim.attempt_by(8, 2, lives), Attempt::Won));
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn a_dead_parents_claim_is_taken_over() {
        let claim = Claim(AtomicU64::new(u64::from(u32::MAX - 1) << 32 | 1));
        assert!(matches!(claim.attempt(), Attempt::Won));
    }
}
