//! What concerns the whole process.

use core::ffi::{c_int, c_void};

use super::{SNAPRNG_OK, answer, input};

/// Tells the library that this process or machine was restored from a snapshot, and hands in bytes
/// that no other clone has.
///
/// Every generator rekeys at its next request, and every generation ends.
///
/// unique: the bytes, taken at their word; NULL if len is 0, which only reports the restore.
/// len: how many bytes.
///
/// Returns: SNAPRNG_OK; SNAPRNG_EINVAL for NULL with a len other than 0, or one over SSIZE_MAX.
/// Threads, signals, forks: safe anywhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_notify_restored(unique: *const c_void, len: usize) -> c_int {
    // SAFETY: the caller's contract.
    match unsafe { input(unique, len) } {
        Ok(unique) => {
            crate::notify_restored(unique);
            SNAPRNG_OK
        }
        Err(code) => code,
    }
}

/// Looks again for witnesses that were missing when the configuration was installed.
///
/// Returns: SNAPRNG_OK, or a negative SNAPRNG_E code.
/// Threads, signals, forks: safe anywhere.
#[unsafe(no_mangle)]
pub extern "C" fn snaprng_rediscover() -> c_int {
    answer(crate::rediscover())
}
