//! Owned generators behind an opaque pointer.

use core::ffi::{c_int, c_void};

use super::{SNAPRNG_EINVAL, SNAPRNG_OK, answer, buffer, config, guarded, input};
use crate::TrySnapRng;

/// An owned generator. Opaque: its state is never on the caller's side.
///
/// One thread at a time may use it, and no signal handler that interrupted a use of it. A fork
/// leaves a usable generator in parent and child, which share no output.
pub struct snaprng_t {
    generator: TrySnapRng,
}

/// Makes an owned generator.
///
/// config: its policy, what it accepts, its personalization; NULL for the defaults. Its sources
/// must be left at their defaults, or be those of snaprng_init: they belong to the process.
/// generator: where the handle goes, for snaprng_free in the end; NULL on failure.
///
/// Returns: SNAPRNG_OK; SNAPRNG_ESOURCES; SNAPRNG_EINVAL; or what its first rekey answers.
/// Threads: any. Signals: not in handlers (allocates). Forks: see snaprng_t.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_new(
    config: *const config::snaprng_config,
    generator: *mut *mut snaprng_t,
) -> c_int {
    if generator.is_null() {
        return SNAPRNG_EINVAL;
    }
    // SAFETY: writable by the caller's contract.
    unsafe { generator.write_unaligned(core::ptr::null_mut()) };
    guarded(|| {
        // SAFETY: the caller's contract.
        let config = unsafe { config::translate_owned(config) };
        match config.and_then(|config| config::code_of(config.build_try())) {
            Ok(made) => {
                let handle = Box::into_raw(Box::new(snaprng_t { generator: made }));
                // SAFETY: writable by the caller's contract.
                unsafe { generator.write_unaligned(handle) };
                SNAPRNG_OK
            }
            Err(code) => code,
        }
    })
}

/// Fills a buffer from an owned generator.
///
/// generator: its handle; NULL is the calling thread's generator.
/// buf: where the bytes go; may be NULL if len is 0.
/// len: how many bytes; any number up to SSIZE_MAX.
///
/// Returns: SNAPRNG_OK, or a negative SNAPRNG_E code; buf has then been wiped (SNAPRNG_EINVAL:
/// nothing was written).
/// Threads: one at a time per handle. Signals: not in a handler that interrupted a use of the same
/// handle. Forks: safe; parent and child share no output.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_generate(
    generator: *mut snaprng_t,
    buf: *mut c_void,
    len: usize,
) -> c_int {
    // SAFETY: the caller's contract.
    let out = match unsafe { buffer(buf, len) } {
        Ok(out) => out,
        Err(code) => return code,
    };
    // SAFETY: null, or a handle that nobody else uses.
    match unsafe { generator.as_mut() } {
        Some(owned) => answer(owned.generator.fill(out)),
        None => answer(crate::fill(out)),
    }
}

/// Rekeys a generator now, from fresh entropy and additional input.
///
/// generator: its handle; NULL is the calling thread's generator.
/// additional: bytes that are mixed in; they cannot make a key worse. May be NULL if len is 0.
/// len: how many bytes.
///
/// Returns: SNAPRNG_OK, or a negative SNAPRNG_E code: the generator then rekeys at its next request.
/// SNAPRNG_EREENTERED, with a NULL handle, in a signal handler that interrupted this thread's
/// generator, and in a thread that is ending.
/// Threads, signals, forks: as snaprng_generate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_reseed(
    generator: *mut snaprng_t,
    additional: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: the caller's contract.
    let additional = match unsafe { input(additional, len) } {
        Ok(additional) => additional,
        Err(code) => return code,
    };
    // SAFETY: null, or a handle that nobody else uses.
    match unsafe { generator.as_mut() } {
        Some(owned) => answer(owned.generator.reseed(additional)),
        None => answer(crate::reseed(additional)),
    }
}

/// Wipes and frees an owned generator.
///
/// generator: its handle; NULL does nothing.
///
/// Threads: nobody may use the handle any more. Signals: not in handlers (frees memory). Forks: a
/// child frees its own copy, or leaves it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_free(generator: *mut snaprng_t) {
    if !generator.is_null() {
        // SAFETY: made by Box::into_raw in snaprng_new, by the caller's contract.
        drop(unsafe { Box::from_raw(generator) });
    }
}
