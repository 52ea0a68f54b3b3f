//! The generation token.

use core::ffi::c_int;

use super::{SNAPRNG_EINVAL, answer};
use crate::Generation;

/// A token for the copy of the machine and the process that it was taken in. Opaque; copy it, but
/// do not send or store it: it is equal in sibling clones and means nothing elsewhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct snaprng_generation_t {
    /// Not for callers.
    pub opaque: [u64; 8],
}

const _: () = assert!(size_of::<snaprng_generation_t>() == 64, "part of the ABI");

/// Takes the generation that this process is in.
///
/// generation: where it goes.
///
/// Returns: SNAPRNG_OK; SNAPRNG_EINVAL for NULL; or another negative code if the witnesses are not
/// installed (SNAPRNG_EINSTALLING in a handler that interrupted the first use): the token is then
/// never current.
/// Threads, signals, forks: safe anywhere. No system call once the library has been used.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_generation(generation: *mut snaprng_generation_t) -> c_int {
    if generation.is_null() {
        return SNAPRNG_EINVAL;
    }
    let installed = crate::config::ensure_installed();
    let opaque = installed.map_or([0; 8], |()| crate::generation().to_words());
    // SAFETY: writable by the caller's contract.
    unsafe { generation.write_unaligned(snaprng_generation_t { opaque }) };
    answer(installed)
}

/// Whether a generation is the one that this process is in. It ends with a VM clone or restore that
/// a witness shows, in a forked child, and with snaprng_notify_restored.
///
/// generation: what snaprng_generation gave. One of zeros is never current.
///
/// Returns: 1 or 0; SNAPRNG_EINVAL for NULL.
/// Threads, signals, forks: as snaprng_generation.
#[must_use]
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
