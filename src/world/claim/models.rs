use super::*;
use crate::sync::explore;
use loom::sync::Arc;
use loom::thread;

/// A process that claims, one that does not exist any more, and a thread that does not.
const HERE: u32 = 7;
const ELSEWHERE: u64 = 3 << 32 | 1;
const ENDED: u32 = 9;

/// The claim, what the winner makes, and how many won.
struct Work {
    claim: Claim,
    made: AtomicU64,
    won: AtomicU64,
}

impl Work {
    fn new(claim: u64) -> Self {
        Self {
            claim: Claim(AtomicU64::new(claim)),
            made: AtomicU64::new(0),
            won: AtomicU64::new(0),
        }
    }

    fn attempt_by(&self, thread: u32) {
        match self.claim.attempt_by(HERE, thread, |holder| holder != ENDED) {
            Attempt::Won => {
                assert_eq!(self.won.fetch_add(1, Ordering::Relaxed), 0, "two winners");
                self.made.store(1, Ordering::Relaxed);
                self.claim.finish();
            }
            Attempt::Done => assert_eq!(self.made.load(Ordering::Relaxed), 1, "half-made"),
            Attempt::Busy => {}
        }
        if self.claim.is_done() {
            assert_eq!(self.made.load(Ordering::Relaxed), 1, "half-made");
        }
    }
}

fn explore_attempts(name: &str, claim: u64) {
    explore(name, 3, move || {
        let work = Arc::new(Work::new(claim));
        let others = [1, 2].map(|id| {
            let work = Arc::clone(&work);
            thread::spawn(move || work.attempt_by(id))
        });
        work.attempt_by(3);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(work.claim.is_done());
        assert_eq!(work.won.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn one_wins_and_nobody_sees_its_work_half_made() {
    explore_attempts("a claim", OPEN);
}

#[test]
fn one_takes_over_what_a_dead_parent_had_claimed() {
    explore_attempts("a dead parent's claim", ELSEWHERE);
}

#[test]
fn one_takes_over_what_a_thread_that_has_ended_had_claimed() {
    explore_attempts("a dead thread's claim", u64::from(HERE) << 32 | u64::from(ENDED));
}
