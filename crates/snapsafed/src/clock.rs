//! The clock of all deadlines: it never goes back, and goes on while the machine sleeps.

use rustix::time::{ClockId, clock_gettime};

use crate::machine::Millis;

/// Now.
pub fn now() -> Millis {
    let time = clock_gettime(ClockId::Boottime);
    // Neither is ever negative on this clock.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1000 + nanos / 1_000_000
}
