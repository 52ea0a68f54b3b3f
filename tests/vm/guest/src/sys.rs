//! The few system calls that no safe wrapper offers.

use std::io;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Keep the calling thread on this CPU, with a real-time priority that starves every ordinary task of the kernel and of
/// user space there.
pub(crate) fn hold_cpu(cpu: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only)?;
    become_real_time(libc::SCHED_FIFO, 80)
}

/// Give the calling thread a priority above the hogs', in turns with others of the same. Threads it starts inherit it.
pub(crate) fn outrank_hogs() -> io::Result<()> {
    become_real_time(libc::SCHED_RR, 90)
}

fn become_real_time(policy: i32, priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: 0 is the calling thread; the structure is initialized and only read.
    match unsafe { libc::sched_setscheduler(0, policy, &parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Give up root for good, as a daemon does: no supplementary groups, user and group `nobody`.
///
/// Through libc, because it makes every thread of the process follow.
pub(crate) fn become_nobody() -> io::Result<()> {
    const NOBODY: u32 = 65534;
    let check = |result| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: a length of zero reads no memory through the pointer.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) })?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) })
}
