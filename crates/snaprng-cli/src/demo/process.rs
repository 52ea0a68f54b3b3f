//! Child processes by fork, which neither the standard library nor rustix offers.
#![allow(unsafe_code, reason = "fork and _exit are libc's")]

use std::io;

use rustix::process::{Pid, WaitOptions};

/// A child process that must be waited for.
#[derive(Debug)]
pub(super) struct Child(Pid);

/// Which of two processes this is, after a fork.
pub(super) enum Side {
    Parent(Child),
    Child,
}

/// Forks. In a process that has other threads, the child may do only what a signal handler may.
///
/// Through libc and not by a raw system call: handlers of `pthread_atfork` must run, as they do in
/// the programs that this demonstrates for.
pub(super) fn fork() -> io::Result<Side> {
    // SAFETY: this program starts no threads, so the child lacks none that holds a lock.
    match unsafe { libc::fork() } {
        0 => Ok(Side::Child),
        id => match Pid::from_raw(id.max(0)) {
            Some(id) => Ok(Side::Parent(Child(id))),
            None => Err(io::Error::last_os_error()),
        },
    }
}

/// Ends a child. Nothing that its parent left in buffers is flushed twice.
pub(super) fn exit(outcome: &io::Result<()>) -> ! {
    // SAFETY: ends the process, at any point.
    unsafe { libc::_exit(outcome.is_err().into()) }
}

impl Child {
    /// Waits for the end, which must be a good one.
    pub(super) fn wait(self) -> io::Result<()> {
        let ended = loop {
            match rustix::process::waitpid(Some(self.0), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                ended => break ended?,
            }
        };
        match ended {
            Some((_, status)) if status.exit_status() == Some(0) => Ok(()),
            _ => Err(io::Error::other("a clone died")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child_that_ends_with(outcome: &io::Result<()>) -> Child {
        match fork().expect("a child") {
            Side::Parent(child) => child,
            Side::Child => exit(outcome),
        }
    }

    #[test]
    fn the_end_of_a_child_tells_whether_it_was_a_good_one() {
        let failure = Err(io::ErrorKind::Other.into());
        child_that_ends_with(&Ok(())).wait().expect("a good end");
        assert!(child_that_ends_with(&failure).wait().is_err());
    }
}
