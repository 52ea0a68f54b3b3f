//! What the provider did: per context, and in the whole process.
//!
//! They are the proof that a program's bytes came from here, and are gettable as parameters of a
//! context and of the provider. They count, and nothing else depends on them, so relaxed atomics
//! do. There is no lock: a child that a threaded process forked must be able to count.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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

    #[inline(always)]
    fn served(&self, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The counts of one context, and its share of the process's.
#[derive(Debug)]
pub(crate) struct Meter {
    own: Counts,
    share: &'static Counts,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { own: Counts::new(), share: &SHARES[next % SHARES.len()].0 }
    }

    /// A request was served.
    #[inline(always)]
    pub(crate) fn served(&self, bytes: usize) {
        self.own.served(bytes as u64);
        self.share.served(bytes as u64);
    }

    pub(crate) fn reseeded(&self) {
        self.own.reseeds.fetch_add(1, Ordering::Relaxed);
        self.share.reseeds.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.own.failures.fetch_add(1, Ordering::Relaxed);
        self.share.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts of this context.
    pub(crate) fn totals(&self) -> Totals {
        self.own.totals()
    }
}

/// The counts of the process, over all contexts that ever were: those of a process that was forked
/// include its parent's up to then.
pub(crate) fn of_process() -> Totals {
    SHARES.iter().map(|share| share.0.totals()).fold(Totals::default(), |sum, share| Totals {
        requests: sum.requests + share.requests,
        bytes: sum.bytes + share.bytes,
        reseeds: sum.reseeds + share.reseeds,
        failures: sum.failures + share.failures,
    })
}

/// Threads have contexts of their own, which are dealt shares in turn, so that counting does not
/// make processors wait for each other's caches.
static SHARES: [Share; 32] = [const { Share(Counts::new()) }; 32];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Two cache lines: processors fetch them in pairs.
#[repr(align(128))]
struct Share(Counts);

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
        let mut counts = [0; 3];
        // SAFETY: there is room for three.
        assert_eq!(unsafe { snaprng_openssl_counts(counts.as_mut_ptr(), 3) }, 4);
        assert!(counts[1] >= 12);
    }
}
