//! What the provider did: per context, and in the whole process.
//!
//! They are the proof that a program's bytes came from here, and are gettable as parameters of a
//! context and of the provider. They count, and nothing else depends on them, so relaxed atomics
//! do. There is no lock: a child that a threaded process forked must be able to count.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Four numbers, each of which only grows.
#[derive(Debug)]
pub(crate) struct Counts {
    requests: AtomicU64,
    bytes: AtomicU64,
    reseeds: AtomicU64,
    failures: AtomicU64,
}

/// What the numbers are at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Requests that were served: of bytes, nonces and seeds.
    pub(crate) requests: u64,
    /// Bytes that were handed out.
    pub(crate) bytes: u64,
    /// Rekeys that were asked for: by a reseed, by prediction resistance, by additional input, by
    /// a personalization string, for a seed.
    pub(crate) reseeds: u64,
    /// Requests that were refused.
    pub(crate) failures: u64,
}

impl Counts {
    pub(crate) const fn new() -> Self {
        Self {
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            reseeds: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            requests: self.requests.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            reseeds: self.reseeds.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

/// The counts of one context, and its share of the process's.
#[derive(Debug)]
pub(crate) struct Meter {
    own: Counts,
    share: &'static Share,
    /// Whether the share is this context's alone.
    exclusive: bool,
    /// Whether several threads may count at once.
    shared: AtomicBool,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let free = SHARES.iter().find(|share| share.take());
        Self {
            own: Counts::new(),
            share: free.unwrap_or(&OVERFLOW),
            exclusive: free.is_some(),
            shared: AtomicBool::new(false),
        }
    }

    /// From now on several threads may use the context at once. Until OpenSSL says so, only one
    /// does (EVP_RAND(7)): if several do all the same, counts are lost, and nothing else.
    pub(crate) fn share_between_threads(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    /// A request was served.
    #[inline(always)]
    pub(crate) fn served(&self, bytes: usize) {
        let alone = !self.shared.load(Ordering::Relaxed);
        add(&self.own.requests, 1, alone);
        add(&self.own.bytes, bytes as u64, alone);
        let alone = alone && self.exclusive;
        add(&self.share.counts.requests, 1, alone);
        add(&self.share.counts.bytes, bytes as u64, alone);
    }

    pub(crate) fn reseeded(&self) {
        add(&self.own.reseeds, 1, false);
        add(&self.share.counts.reseeds, 1, false);
    }

    pub(crate) fn refused(&self) {
        add(&self.own.failures, 1, false);
        add(&self.share.counts.failures, 1, false);
    }

    /// The counts of this context.
    pub(crate) fn totals(&self) -> Totals {
        self.own.totals()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.exclusive {
            // What was counted stays; whoever takes the share next sees all of it.
            self.share.taken.store(false, Ordering::Release);
        }
    }
}

/// Whoever is alone need not lock the bus, which takes longer than all else here.
#[inline(always)]
fn add(count: &AtomicU64, more: u64, alone: bool) {
    if alone {
        count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    } else {
        count.fetch_add(more, Ordering::Relaxed);
    }
}

/// The counts of the process, over all contexts that ever were: those of a process that was forked
/// include its parent's up to then.
pub(crate) fn of_process() -> Totals {
    let shares = SHARES.iter().chain([&OVERFLOW]);
    shares.map(|share| share.counts.totals()).fold(Totals::default(), |sum, share| Totals {
        requests: sum.requests + share.requests,
        bytes: sum.bytes + share.bytes,
        reseeds: sum.reseeds + share.reseeds,
        failures: sum.failures + share.failures,
    })
}

/// A context has one of its own for as long as it lives and while there are some, so that threads
/// do not wait for each other's caches. A child that was forked leaves those taken whose threads it
/// does not have.
static SHARES: [Share; 256] = [const { Share::new() }; 256];

/// Of all contexts that found none.
static OVERFLOW: Share = Share::new();

/// Two cache lines: processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Share {
    taken: AtomicBool,
    counts: Counts,
}

impl Share {
    const fn new() -> Self {
        Self { taken: AtomicBool::new(false), counts: Counts::new() }
    }

    fn take(&self) -> bool {
        !self.taken.load(Ordering::Relaxed) && !self.taken.swap(true, Ordering::Acquire)
    }
}

/// For debuggers and tests, which find it by name: the counts of the process, in the order in which
/// `docs/openssl.md` lists them.
///
/// Writes as many as there is room for, and returns how many there are.
///
/// # Safety
/// `counts` points to `room` numbers that may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn snaprng_openssl_counts(counts: *mut u64, room: usize) -> usize {
    let Totals { requests, bytes, reseeds, failures } = of_process();
    let all = [requests, bytes, reseeds, failures];
    for (place, count) in all.iter().enumerate().take(room) {
        // SAFETY: within the room that the caller vouches for.
        unsafe { counts.wrapping_add(place).write(*count) };
    }
    all.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_and_the_process_count_the_same_things() {
        let before = of_process();
        let meter = Meter::new();
        meter.served(5);
        meter.served(7);
        meter.reseeded();
        meter.refused();
        let own = meter.totals();
        assert_eq!(own, Totals { requests: 2, bytes: 12, reseeds: 1, failures: 1 });
        // Other tests count, too.
        assert!(of_process().bytes >= before.bytes + 12);
        drop(meter);
        assert!(of_process().bytes >= before.bytes + 12, "what was counted stays");
        let mut counts = [0; 3];
        // SAFETY: there is room for three.
        assert_eq!(unsafe { snaprng_openssl_counts(counts.as_mut_ptr(), 3) }, 4);
        assert!(counts[1] >= 12);
    }
    #[test]
    fn threads_that_share_a_context_lose_no_count() {
        let meter = Meter::new();
        meter.share_between_threads();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| meter.served(2)));
            }
        });
        assert_eq!(meter.totals(), Totals { requests: 40_000, bytes: 80_000, ..Totals::default() });
    }

    #[test]
    fn contexts_that_find_no_share_of_their_own_count_all_the_same() {
        let before = of_process();
        let meters: Vec<_> = (0..SHARES.len() + 10).map(|_| Meter::new()).collect();
        assert!(meters.iter().any(|meter| !meter.exclusive));
        meters.iter().for_each(|meter| meter.served(1));
        assert!(of_process().requests >= before.requests + meters.len() as u64);
        drop(meters);
        assert!(Meter::new().exclusive, "shares are given back");
    }
}
