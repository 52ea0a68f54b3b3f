//! How much one user may have of the daemon, and all users together.
//!
//! The sums stay below what a process may open (1024 descriptors), and part of each is kept for
//! root, so that nobody else can keep root out.

use std::collections::HashMap;

use crate::machine::Millis;

/// Connections of everybody, and of everybody but root.
pub const MOST_CONNECTIONS: usize = 512;
pub const MOST_CONNECTIONS_OF_USERS: usize = 384;

/// Participants and inhibitors. All of them fit into one message, with names as long as allowed.
pub const MOST_PARTICIPANTS: usize = 256;
pub const MOST_PARTICIPANTS_OF_USERS: usize = 192;
pub const MOST_INHIBITORS: usize = 96;
pub const MOST_INHIBITORS_OF_USERS: usize = 64;

/// All of it fits into the descriptors of a process.
const _: () = assert!(MOST_CONNECTIONS + MOST_PARTICIPANTS + MOST_INHIBITORS + 64 < 1024);

/// What an inhibitor says of itself.
pub const MOST_WHO_BYTES: usize = 64;
pub const MOST_WHY_BYTES: usize = 128;

/// Users whose rate is remembered at a time.
const MOST_BUCKETS: usize = 1024;

/// Requests per second, by user. A user may save up one second's worth.
#[derive(Debug)]
pub struct Rates {
    per_second: u64,
    buckets: HashMap<u32, Bucket>,
}

/// Time saved up: a request costs `1000 / per_second` milliseconds, counted in microseconds.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    saved: u64,
    since: Millis,
}

const FULL: u64 = 1_000_000;

impl Rates {
    pub fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), buckets: HashMap::new() }
    }

    fn cost(&self) -> u64 {
        FULL / self.per_second.min(FULL)
    }

    fn bucket(&mut self, uid: u32, now: Millis) -> &mut Bucket {
        if self.buckets.len() >= MOST_BUCKETS {
            // Whoever has been silent for a second has a full one again, remembered or not.
            self.buckets.retain(|_, bucket| now.saturating_sub(bucket.since) < 1000);
        }
        let bucket = self.buckets.entry(uid).or_insert(Bucket { saved: FULL, since: now });
        let earned = now.saturating_sub(bucket.since).min(1000) * 1000;
        bucket.saved = (bucket.saved + earned).min(FULL);
        bucket.since = now;
        bucket
    }

    /// How long this user has to wait for the next request; 0: not at all.
    pub fn wait(&mut self, uid: u32, now: Millis) -> Millis {
        self.bucket(uid, now);
        self.look(uid, now)
    }

    /// The same without changing anything, for the daemon's wait.
    pub fn look(&self, uid: u32, now: Millis) -> Millis {
        self.buckets.get(&uid).map_or(0, |bucket| {
            let saved = bucket.saved + now.saturating_sub(bucket.since).min(1000) * 1000;
            self.cost().saturating_sub(saved).div_ceil(1000)
        })
    }

    pub fn may_ask(&self, uid: u32, now: Millis) -> bool {
        self.look(uid, now) == 0
    }

    /// Counts a request, whether or not it could be waited for.
    pub fn charge(&mut self, uid: u32, now: Millis) {
        let cost = self.cost();
        let bucket = self.bucket(uid, now);
        bucket.saved = bucket.saved.saturating_sub(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_requests_a_second_and_no_more() {
        let mut rates = Rates::new(200);
        let mut done = 0;
        for now in 0..10_000 {
            while rates.wait(1, now) == 0 {
                rates.charge(1, now);
                done += 1;
            }
        }
        // Those of ten seconds, and those saved up.
        assert!((2195..=2200).contains(&done), "{done}");
    }

    #[test]
    fn one_users_flood_is_not_anothers() {
        let mut rates = Rates::new(10);
        while rates.wait(1, 0) == 0 {
            rates.charge(1, 0);
        }
        assert_eq!(rates.wait(2, 0), 0);
        assert!(rates.wait(1, 0) > 0);
        assert_eq!(rates.wait(1, rates.cost()), 0);
    }

    #[test]
    fn users_without_end_take_no_memory_without_end() {
        let mut rates = Rates::new(10);
        for uid in 0..100_000 {
            rates.charge(uid, u64::from(uid) * 2);
        }
        assert!(rates.buckets.len() <= MOST_BUCKETS);
    }
}
