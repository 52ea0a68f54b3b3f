//! The generation token.

use core::ffi::c_int;

use super::{SNAPRNG_EINVAL, SNAPRNG_OK};
use crate::Generation;

/// A token for the copy of the machine and the process that it was taken in. Opaque; copy it, but
/// do not send or store it: it is equal in sibling clones and means nothing elsewhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct snaprng_generation_t {
    /// Not for callers.
    pub opaque: [u64; 8],
}

/// Takes the generation that this process is in.
///
/// generation: where it goes.
///
/// Returns: SNAPRNG_OK, or SNAPRNG_EINVAL for NULL.
/// Threads, signals, forks: safe anywhere. No system call once the library has been used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_generation(generation: *mut snaprng_generation_t) -> c_int {
    if generation.is_null() {
        return SNAPRNG_EINVAL;
    }
    let opaque = crate::generation().to_words();
    // SAFETY: writable by the caller's contract.
    unsafe { generation.write_unaligned(snaprng_generation_t { opaque }) };
    SNAPRNG_OK
}

/// Whether a generation is the one that this process is in: false after a VM clone or restore that
/// a witness shows, in a forked child, and after snaprng_notify_restored.
///
/// generation: what snaprng_generation gave.
///
/// Returns: 1 or 0; SNAPRNG_EINVAL for NULL.
/// Threads, signals, forks: as snaprng_generation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_generation_is_current(
    generation: *const snaprng_generation_t,
) -> c_int {
    if generation.is_null() {
        return SNAPRNG_EINVAL;
    }
    // SAFETY: readable by the caller's contract.
    let generation = unsafe { generation.read_unaligned() };
    c_int::from(Generation::from_words(generation.opaque).is_current())
}
