//! Time stamps that need no system call, so that taking them does not change when the kernel gets to run.

use std::arch::x86_64::_rdtsc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The CPU's time-stamp counter.
pub(crate) fn ticks() -> u64 {
    // SAFETY: every x86-64 CPU has the instruction, and Linux leaves it enabled for user space.
    unsafe { _rdtsc() }
}

/// Sleep until CLOCK_MONOTONIC has reached `nanoseconds`.
pub(crate) fn sleep_until(nanoseconds: u64) {
    while let Some(left) = nanoseconds.checked_sub(monotonic()).filter(|left| *left > 0) {
        std::thread::sleep(Duration::from_nanos(left));
    }
}

/// The moment a worker first knew of the resume, from which its time stamps are counted.
#[derive(Clone, Copy)]
pub(crate) struct Zero {
    pub(crate) monotonic: u64,
    pub(crate) ticks: u64,
}

impl Zero {
    pub(crate) fn now() -> Self {
        Self { monotonic: monotonic(), ticks: ticks() }
    }

    /// How many ticks a millisecond has, measured from this moment until now.
    pub(crate) fn ticks_per_millisecond(&self) -> f64 {
        let elapsed = (monotonic() - self.monotonic) as f64 / 1e6;
        ticks().saturating_sub(self.ticks) as f64 / elapsed.max(1e-3)
    }
}
