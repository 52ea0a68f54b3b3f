//! Threads that others cancel (`pthread_cancel`).
//!
//! Such a thread ends at its next cancellation point, which is nearly every call of libc that may wait:
//! `open`, `read`, `poll`, even the `close` of a descriptor that goes out of scope. Its stack is then
//! unwound past destructors, and what it was at stays half done: an installation would stay taken
//! for ever, and every request of the process would go to the kernel. So whatever comes to such a
//! point is [`Uncancelled`]: no request is one, no installation, and no function of the C ABI.
//!
//! Limits: a thread that has made itself cancellable at any instruction
//! (`PTHREAD_CANCEL_ASYNCHRONOUS`) may call no function that does not allow it, and none here does.
#![allow(unsafe_code, reason = "calls libc")]

use core::ffi::c_int;

// The libcs that have it; under Miri no thread is cancelled.
#[cfg(all(any(target_env = "gnu", target_env = "musl", target_env = "uclibc"), not(miri)))]
fn set_state(state: c_int) -> c_int {
    unsafe extern "C" {
        fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    }
    let mut old = state;
    // SAFETY: writes one number, ours. No cancellation point itself, and safe in signal handlers
    // (POSIX.1-2024).
    let _ = unsafe { pthread_setcancelstate(state, &mut old) };
    old
}

#[cfg(not(all(any(target_env = "gnu", target_env = "musl", target_env = "uclibc"), not(miri))))]
fn set_state(state: c_int) -> c_int {
    state
}

/// `PTHREAD_CANCEL_DISABLE` of glibc, musl and uClibc.
const DISABLE: c_int = 1;

/// For as long as this lives, its thread is not cancelled; it is later, if somebody has asked for that.
pub(crate) struct Uncancelled {
    before: c_int,
}

impl Uncancelled {
    pub(crate) fn begin() -> Self {
        Self { before: set_state(DISABLE) }
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        set_state(self.before);
    }
}
