//! Why the last call of libc failed.
//!
//! `std::io::Error` says so too, but has a destructor that frees memory: its callers would reach an
//! allocator, which no request may.
#![allow(unsafe_code, reason = "libc gives a pointer")]

/// The number that this thread's last failed call left.
pub(crate) fn last() -> i32 {
    // SAFETY: takes nothing and cannot fail.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it points to a variable of this thread, for as long as that lives.
    unsafe { *errno }
}
