//! The few system calls that no safe wrapper offers.

use std::io;

/// Give the calling thread real-time priority, so that it starves every ordinary task of the kernel and of user space.
/// Threads it starts inherit this.
pub(crate) fn become_hog() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 90 };
    // SAFETY: 0 is the calling thread; the structure is initialized and only read.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) } {
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
