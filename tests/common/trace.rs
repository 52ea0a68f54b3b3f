//! The system calls that a piece of code makes, seen from outside with ptrace(2).

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

use super::copies::{Way, child};

/// How often each system call was made.
pub(crate) type Calls = BTreeMap<libc::c_long, usize>;

/// Runs `prepare` and `work` in a child, and tells which system calls `work` made.
pub(crate) fn calls_of(prepare: impl FnOnce(), work: impl FnOnce(), after: impl FnOnce()) -> Calls {
    let tracee = child(Way::Fork, || {
        prepare();
        request(libc::PTRACE_TRACEME, 0, 0);
        // SAFETY: stops this process until the tracer lets it go on.
        unsafe { libc::raise(libc::SIGSTOP) };
        mark();
        work();
        mark();
        after();
    });
    let pid = tracee.pid();
    assert!(libc::WIFSTOPPED(wait(pid)), "the child did not get that far");
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SETOPTIONS, pid, options as usize);
    let mut calls = Calls::new();
    let mut marks = 0;
    loop {
        request(libc::PTRACE_SYSCALL, pid, 0);
        let status = wait(pid);
        if !libc::WIFSTOPPED(status) {
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
            break;
        }
        let Some(call) = entered(pid) else { continue };
        match call {
            MARK => marks += 1,
            // Between the first mark and the second.
            call if marks == 1 => *calls.entry(call).or_default() += 1,
            _ => {}
        }
    }
    assert_eq!(marks, 2, "the work has a beginning and an end");
    calls
}

/// A system call that nobody makes by accident.
const MARK: libc::c_long = libc::SYS_getpgid;

fn mark() {
    // SAFETY: takes no pointers.
    unsafe { libc::syscall(MARK, 0) };
}

fn wait(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the status is written to a local.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

fn request(what: libc::c_uint, pid: libc::pid_t, data: usize) {
    // SAFETY: none of the requests made here takes a pointer.
    let answer = unsafe { libc::ptrace(what, pid, null_mut::<libc::c_void>(), data) };
    assert_eq!(answer, 0, "ptrace: {}", std::io::Error::last_os_error());
}

/// The system call that the stopped child is entering, if that is why it stopped.
fn entered(pid: libc::pid_t) -> Option<libc::c_long> {
    let mut info = MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    let size = size_of_val(&info);
    // SAFETY: writes at most `size` bytes to `info`.
    let length =
        unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, size, info.as_mut_ptr()) };
    assert!(length > 0, "ptrace: {}", std::io::Error::last_os_error());
    // SAFETY: all zeros is a valid value, and the kernel wrote a valid one over its beginning.
    let info = unsafe { info.assume_init() };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: at an entry this is the member that is there.
    let number = unsafe { info.u.entry.nr };
    libc::c_long::try_from(number).ok()
}
