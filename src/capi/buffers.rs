//! Bytes and numbers from the calling thread's generator.

use core::ffi::{c_int, c_uchar, c_void};

use super::{SNAPRNG_OK, answer, buffer};

/// Fills a buffer with random bytes.
///
/// buf: where they go; may be NULL if len is 0.
/// len: how many bytes; any number up to SSIZE_MAX.
///
/// Returns: SNAPRNG_OK, or a negative SNAPRNG_E code; buf has then been wiped (SNAPRNG_EINVAL:
/// nothing was written).
/// Threads: any number at once. Signals: safe in handlers, also in one that interrupted this
/// function. Forks: safe in the child of a threaded process; parent and child share no output.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_fill(buf: *mut c_void, len: usize) -> c_int {
    // SAFETY: the caller's contract.
    let out = match unsafe { buffer(buf, len) } {
        Ok(out) => out,
        Err(code) => return code,
    };
    // The usual lengths of keys and ids, as one value.
    if put_buffered::<16>(out) || put_buffered::<32>(out) {
        return SNAPRNG_OK;
    }
    answer(crate::fill(out))
}

/// Fills `out` if it has this length and the bytes are in the buffer.
#[inline(always)]
fn put_buffered<const N: usize>(out: &mut [u8]) -> bool {
    let Ok(out) = <&mut [u8; N]>::try_from(out) else { return false };
    crate::local::buffered().map(|bytes| *out = bytes).is_some()
}

/// OpenSSL's contract for RAND_bytes, over the same generator as snaprng_fill.
///
/// buf: where the bytes go; may be NULL if num is 0.
/// num: how many bytes.
///
/// Returns: 1 on success, 0 on failure; buf has then been wiped. 0 also if num is negative, or if
/// buf is NULL and num is not 0; nothing was written then.
/// Threads, signals, forks: as snaprng_fill.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_RAND_bytes(buf: *mut c_uchar, num: c_int) -> c_int {
    let Ok(length) = usize::try_from(num) else { return 0 };
    // SAFETY: the caller's contract.
    let outcome = unsafe { snaprng_fill(buf.cast(), length) };
    c_int::from(outcome == SNAPRNG_OK)
}

/// The same as snaprng_RAND_bytes: there is one generator for public and private values, since
/// nothing can be learnt about one output from others.
///
/// buf, num, returns, threads, signals, forks: as snaprng_RAND_bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_RAND_priv_bytes(buf: *mut c_uchar, num: c_int) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { snaprng_RAND_bytes(buf, num) }
}

/// Fills a buffer with random bytes, or ends the process with abort().
///
/// For a libc or a runtime that has to provide arc4random_buf, which cannot fail.
///
/// buf: where they go; may be NULL if len is 0.
/// len: how many bytes; any number up to SSIZE_MAX.
///
/// Threads, signals, forks: as snaprng_fill.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_arc4random_buf(buf: *mut c_void, len: usize) {
    // SAFETY: the caller's contract.
    if unsafe { snaprng_fill(buf, len) } != SNAPRNG_OK {
        std::process::abort();
    }
}

/// A random 32-bit number. Ends the process with abort() if there is no entropy.
///
/// Threads, signals, forks: as snaprng_fill.
#[unsafe(no_mangle)]
pub extern "C" fn snaprng_u32() -> u32 {
    u32::from_le_bytes(crate::local::buffered().unwrap_or_else(or_abort))
}

/// A random 64-bit number. Ends the process with abort() if there is no entropy.
///
/// Threads, signals, forks: as snaprng_fill.
#[unsafe(no_mangle)]
pub extern "C" fn snaprng_u64() -> u64 {
    u64::from_le_bytes(crate::local::buffered().unwrap_or_else(or_abort))
}

/// A random number below upper, each equally likely. Ends the process with abort() if there is no
/// entropy.
///
/// upper: the bound, as for arc4random_uniform; 0 and 1 give 0.
///
/// Threads, signals, forks: as snaprng_fill.
#[unsafe(no_mangle)]
pub extern "C" fn snaprng_uniform(upper: u32) -> u32 {
    if upper < 2 {
        return 0;
    }
    // Lemire's method: the high half of a product is the number; its low half tells the draws that
    // would favour some numbers, fewer than `upper` of 2^32.
    let threshold = upper.wrapping_neg() % upper;
    loop {
        let product = u64::from(snaprng_u32()) * u64::from(upper);
        if product as u32 >= threshold {
            return (product >> 32) as u32;
        }
    }
}

#[cold]
fn or_abort<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if crate::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    bytes
}
