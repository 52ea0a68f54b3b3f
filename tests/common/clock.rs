//! Makes time pass.
//!
//! With a time namespace the monotonic clock of this process jumps; where that is not allowed, the
//! test waits.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Lets this much time pass on CLOCK_MONOTONIC. This process must have one thread, as a child of
/// `fork` has.
pub(crate) fn pass(time: Duration) {
    if let Err(error) = jump(time) {
        super::skip("the shortcut of a time namespace", &format!("{error}: waiting instead"));
        std::thread::sleep(time);
    }
}

/// time_namespaces(7).
fn jump(time: Duration) -> std::io::Result<()> {
    let before = clock_gettime(ClockId::Monotonic).tv_sec;
    if unshare(libc::CLONE_NEWTIME).is_err() {
        // Who may not may have the right in a user namespace of its own.
        unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWTIME)?;
    }
    let seconds = offset()? + time.as_secs();
    std::fs::write("/proc/self/timens_offsets", format!("monotonic {seconds} 0\n"))?;
    let namespace = std::fs::File::open("/proc/self/ns/time_for_children")?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&namespace);
    // SAFETY: the descriptor is open; the kernel refuses processes with several threads.
    if unsafe { libc::setns(fd, libc::CLONE_NEWTIME) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let passed = clock_gettime(ClockId::Monotonic).tv_sec - before;
    assert!(passed >= time.as_secs().cast_signed(), "the clock moved by {passed} s");
    Ok(())
}

fn unshare(namespaces: i32) -> std::io::Result<()> {
    // SAFETY: takes no pointers; this process has one thread.
    match unsafe { libc::unshare(namespaces) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The offset that is in force for this process already.
fn offset() -> std::io::Result<u64> {
    let offsets = std::fs::read_to_string("/proc/self/timens_offsets")?;
    let line = offsets.lines().find_map(|line| line.trim().strip_prefix("monotonic"));
    Ok(line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0))
}
