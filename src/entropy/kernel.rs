//! The kernel's randomness, its clocks, and what is known about its reseeding.
//!
//! On Linux the raw `getrandom` system call, never libc's function: glibc 2.41 keeps a buffer of
//! its own in user space, which old checkpoint tools restore. After `ENOSYS` or `EPERM` (a sandbox)
//! `/dev/random` is polled, which waits for the pool to be seeded once, and then `/dev/urandom` is
//! read. Elsewhere the `getrandom` crate.
//!
//! The kernel is not asked whether it has reseeded since the machine was restored: it does not
//! say. It can be made to (`RNDRESEEDCRNG`), with `CAP_SYS_ADMIN`.

use core::sync::atomic::{AtomicU64, Ordering};

use super::FULL;
use super::stamp::Stamp;
use crate::error::Error;
use crate::world::Epoch;

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{fill, now, now_coarse, reseed, settling_time, wall_clock};
#[cfg(target_os = "linux")]
pub(crate) use linux::prepare;
#[cfg(target_os = "linux")]
pub(super) use linux::{fill, now, now_coarse, reseed, settling_time, wall_clock};

/// How many gathers this lineage of processes has made, about.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Not one step, for that costs more than what it is for: two threads at once may get the same
/// number, and have stacks of their own.
pub(super) fn count() -> u64 {
    let count = COUNT.load(Ordering::Relaxed);
    COUNT.store(count.wrapping_add(1), Ordering::Relaxed);
    count
}

crate::sync::statics! {
    /// When a generator of this process first looked at the machine that it is on.
    static SETTLING_BEGAN: Stamp = Stamp::new();
}

pub(super) fn settling_began(epoch: &Epoch, now: u64) -> u64 {
    SETTLING_BEGAN.get(epoch).unwrap_or_else(|| {
        SETTLING_BEGAN.set(epoch, now);
        now
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_are_counted() {
        assert!(count() < count());
    }

    #[test]
    fn settling_begins_when_a_machine_is_first_seen() {
        let counter = 0x5e77;
        let epoch = Epoch {
            counter,
            marker: 0,
            process: 1,
            sysgenid: 0,
            agent: 0,
            copy: 0,
            machine: counter,
        };
        assert_eq!(settling_began(&epoch, 77), 77);
    }
}
