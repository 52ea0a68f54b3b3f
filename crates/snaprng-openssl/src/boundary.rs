//! The line that no panic crosses, and what comes over it from C.
//!
//! Nothing behind the line panics as far as is known. If something does, OpenSSL sees a failed call
//! instead of an aborted process, and whoever asked for bytes has a wiped buffer.

use core::ffi::c_uchar;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `serve`; `None` if it panicked.
///
/// What `serve` changes must be sound to look at after a panic: counters, and a buffer that the
/// caller wipes.
#[inline(always)]
pub(crate) fn guarded<R>(serve: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(serve)).ok()
}

/// Bytes to be written to. `None` if there cannot be any: a null pointer with a length, or a length
/// beyond the address space.
///
/// # Safety
/// `at` is null, or points to `length` bytes that may be written and that nobody else uses for as
/// long as the slice lives.
#[inline]
pub(crate) unsafe fn output<'a>(at: *mut c_uchar, length: usize) -> Option<&'a mut [u8]> {
    if length == 0 {
        return Some(&mut []);
    }
    if at.is_null() || isize::try_from(length).is_err() {
        return None;
    }
    // SAFETY: neither null nor too long; the rest is the caller's word.
    Some(unsafe { core::slice::from_raw_parts_mut(at, length) })
}

/// Bytes to be read, likewise.
///
/// # Safety
/// `at` is null, or points to `length` bytes that nobody writes for as long as the slice lives.
#[inline]
pub(crate) unsafe fn input<'a>(at: *const c_uchar, length: usize) -> Option<&'a [u8]> {
    if length == 0 {
        return Some(&[]);
    }
    if at.is_null() || isize::try_from(length).is_err() {
        return None;
    }
    // SAFETY: neither null nor too long; the rest is the caller's word.
    Some(unsafe { core::slice::from_raw_parts(at, length) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_here() {
        assert_eq!(guarded(|| 7), Some(7));
        assert_eq!(guarded(|| -> i32 { panic!("on purpose") }), None);
    }

    #[test]
    fn null_is_a_buffer_only_if_it_is_empty() {
        // SAFETY: null.
        unsafe {
            assert_eq!(output(core::ptr::null_mut(), 0).map(|b| b.len()), Some(0));
        }
        // SAFETY: null.
        assert!(unsafe { output(core::ptr::null_mut(), 1) }.is_none());
        // SAFETY: null.
        assert!(unsafe { input(core::ptr::null(), 1) }.is_none());
        let one = [7];
        // SAFETY: too long, and therefore not looked at.
        assert!(unsafe { input(one.as_ptr(), usize::MAX) }.is_none());
        // SAFETY: one byte.
        assert_eq!(unsafe { input(one.as_ptr(), 1) }, Some(&[7][..]));
    }
}
