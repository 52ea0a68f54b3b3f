//! System calls that must be nothing else, by their numbers.
//!
//! rustix makes system calls itself where it has the assembly, and by libc on other machines (s390x,
//! POWER, LoongArch) or where a crate of the program asks for that (its feature `use-libc`). It then
//! looks for `getrandom` and `gettid` by `dlsym`, since older libcs lack them: in the middle of a
//! request, in a signal handler, in the child of a threaded process, where the loader's lock may
//! be held for ever. And glibc's `getrandom` is a cancellation point, at which a thread would end
//! in the midst of a rekey. The call by number is none of that. `errno` may change.
#![allow(unsafe_code, reason = "system calls")]

use crate::errno;

/// Fills `out`, or the beginning of it, and says how much; or the error's number.
pub(crate) fn getrandom(out: &mut [u8], flags: libc::c_uint) -> Result<usize, i32> {
    // SAFETY: the kernel writes `out.len()` bytes at most, to memory that is ours for as long.
    let answer = unsafe { libc::syscall(libc::SYS_getrandom, out.as_mut_ptr(), out.len(), flags) };
    usize::try_from(answer).map_err(|_| errno::last())
}

/// The id of this thread; one that no thread has where a filter forbids to ask.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: takes nothing.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// Whether a thread of this process with this id exists. Ids are reused: a living one proves
/// nothing, a dead one does.
pub(crate) fn is_alive(thread: u32) -> bool {
    let process = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: signal 0 is never delivered; the call only checks that the thread exists.
    let answer = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) };
    answer == 0 || errno::last() != libc::ESRCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_other_ids() {
        let other = std::thread::spawn(thread_id).join().unwrap();
        assert_ne!(other, thread_id());
    }

    #[test]
    fn an_error_of_the_kernel_is_its_number() {
        assert_eq!(getrandom(&mut [0; 4], libc::c_uint::MAX), Err(libc::EINVAL));
        assert_eq!(getrandom(&mut [0; 4], 0), Ok(4));
    }
}
