//! The C ABI. It translates and does nothing else.
//!
//! The documentation of the functions is written for C readers: it becomes the comments of
//! `include/snaprng.h`, which is generated from this room and checked in.
//!
//! Rules of the boundary: no panic crosses it (a panic in an `extern "C"` function aborts the
//! process; the cold functions, which allocate, turn one into `SNAPRNG_EINTERNAL`); every pointer
//! is checked for null; a null buffer is fine with a length of 0; lengths over `SSIZE_MAX` are
//! refused before anything is written; structs carry their own size. Requests reach no panic at
//! all, which `tests/capi/call-graph` proves from the machine code.
#![allow(unsafe_code, reason = "reads and writes memory of C callers")]
#![allow(non_camel_case_types, reason = "C names")]
#![allow(clippy::missing_safety_doc, reason = "the contract is documented for C readers")]

mod buffers;
mod config;
mod generation;
mod owned;
mod process;
mod report;
mod sized;

pub use buffers::*;
pub use config::*;
pub use generation::*;
pub use owned::*;
pub use process::*;
pub use report::*;

use core::ffi::{c_char, c_int, c_void};

use crate::error::Error;

/// Success.
pub const SNAPRNG_OK: c_int = 0;
/// The kernel gave no randomness.
pub const SNAPRNG_EENTROPY: c_int = -1;
/// The policy requires more protection than this machine has.
pub const SNAPRNG_ENOTPROTECTED: c_int = -2;
/// The policy requires diversity, and nothing tells this clone from its siblings yet.
pub const SNAPRNG_ENOTYETDIVERSE: c_int = -3;
/// The witnesses kept moving.
pub const SNAPRNG_EUNSTABLE: c_int = -4;
/// Another thread is installing the witnesses.
pub const SNAPRNG_EINSTALLING: c_int = -5;
/// A configuration is already in force.
pub const SNAPRNG_EINSTALLED: c_int = -6;
/// An owned generator asked for sources that are not those of the process.
pub const SNAPRNG_ESOURCES: c_int = -7;
/// SNAPRNG_POLICY in the environment has an unknown value, or SNAPRNG_KERNEL names no kernel of this
/// CPU.
pub const SNAPRNG_EENVIRONMENT: c_int = -8;
/// A signal handler asked to reseed the generator that it interrupted.
pub const SNAPRNG_EREENTERED: c_int = -9;
/// An argument is not acceptable: a null pointer, a wrong size, an unknown flag, a length over
/// SSIZE_MAX.
pub const SNAPRNG_EINVAL: c_int = -10;
/// Something went wrong inside the library. Nothing was handed out.
pub const SNAPRNG_EINTERNAL: c_int = -11;

/// Major version of the library that this header belongs to.
pub const SNAPRNG_VERSION_MAJOR: c_int = 0;
/// Minor version.
pub const SNAPRNG_VERSION_MINOR: c_int = 1;
/// Patch version.
pub const SNAPRNG_VERSION_PATCH: c_int = 0;

// Numbers, for cbindgen evaluates nothing.
const _: () = assert!(
    is(env!("CARGO_PKG_VERSION_MAJOR"), SNAPRNG_VERSION_MAJOR)
        && is(env!("CARGO_PKG_VERSION_MINOR"), SNAPRNG_VERSION_MINOR)
        && is(env!("CARGO_PKG_VERSION_PATCH"), SNAPRNG_VERSION_PATCH),
    "SNAPRNG_VERSION_* must be the version in Cargo.toml"
);

const fn is(text: &str, number: c_int) -> bool {
    matches!(c_int::from_str_radix(text, 10), Ok(parsed) if parsed == number)
}

/// The code of an error.
fn code(error: Error) -> c_int {
    match error {
        Error::EntropyUnavailable(_) => SNAPRNG_EENTROPY,
        Error::NotProtected(_) => SNAPRNG_ENOTPROTECTED,
        Error::NotYetDiverse => SNAPRNG_ENOTYETDIVERSE,
        Error::WorldUnstable => SNAPRNG_EUNSTABLE,
        Error::Installing => SNAPRNG_EINSTALLING,
        Error::AlreadyInstalled => SNAPRNG_EINSTALLED,
        Error::SourcesAreProcessWide => SNAPRNG_ESOURCES,
        Error::BadEnvironment => SNAPRNG_EENVIRONMENT,
        Error::BadPath => SNAPRNG_EINVAL,
        Error::Reentered => SNAPRNG_EREENTERED,
    }
}

fn answer(outcome: Result<(), Error>) -> c_int {
    outcome.map_or_else(code, |()| SNAPRNG_OK)
}

/// Runs what may allocate, and so may panic; and may close descriptors, at which threads are cancelled.
fn guarded(body: impl FnOnce() -> c_int) -> c_int {
    #[cfg(target_os = "linux")]
    let _whole = crate::cancellation::Uncancelled::begin();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(SNAPRNG_EINTERNAL)
}

/// The caller's buffer. Null is an empty buffer if the length is 0.
///
/// # Safety
/// A buffer that is not null is writable for `length` bytes and used by nobody else.
#[inline]
unsafe fn buffer<'a>(pointer: *mut c_void, length: usize) -> Result<&'a mut [u8], c_int> {
    if length == 0 {
        return Ok(&mut []);
    }
    if pointer.is_null() || length > isize::MAX as usize {
        return Err(SNAPRNG_EINVAL);
    }
    // SAFETY: not null, no longer than a slice may be, and writable by the caller's contract. The
    // bytes may be uninitialized: the library never reads them, and a request overwrites all.
    Ok(unsafe { core::slice::from_raw_parts_mut(pointer.cast(), length) })
}

/// The caller's input. Null is an empty one if the length is 0.
///
/// # Safety
/// An input that is not null is readable for `length` bytes, and nobody writes it meanwhile.
unsafe fn input<'a>(pointer: *const c_void, length: usize) -> Result<&'a [u8], c_int> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() || length > isize::MAX as usize {
        return Err(SNAPRNG_EINVAL);
    }
    // SAFETY: not null, no longer than a slice may be, and readable by the caller's contract.
    Ok(unsafe { core::slice::from_raw_parts(pointer.cast(), length) })
}

/// What an error code means, in English, with what to do next.
///
/// Returns: a string that is never freed; "unknown error" for a code that is none.
/// Threads, signals, forks: safe anywhere.
#[unsafe(no_mangle)]
pub extern "C" fn snaprng_strerror(error: c_int) -> *const c_char {
    let text = match error {
        SNAPRNG_OK => c"success",
        SNAPRNG_EENTROPY => {
            c"the kernel gave no randomness: allow getrandom, or leave /dev/urandom readable"
        }
        SNAPRNG_ENOTPROTECTED => {
            c"the policy requires a synchronous witness: let this process read /dev/vmclock0"
        }
        SNAPRNG_ENOTYETDIVERSE => {
            c"nothing tells this clone from its siblings yet: retry later, or call snaprng_notify_restored with unique bytes"
        }
        SNAPRNG_EUNSTABLE => c"the witnesses kept moving: the machine is restored over and over",
        SNAPRNG_EINSTALLING => {
            c"another thread is opening the witnesses: call snaprng_init early in main"
        }
        SNAPRNG_EINSTALLED => {
            c"a configuration is already in force: call snaprng_init once, before the first use"
        }
        SNAPRNG_ESOURCES => c"witnesses belong to the process: give their sources to snaprng_init",
        SNAPRNG_EENVIRONMENT => c"SNAPRNG_POLICY in the environment must be prefer or require, SNAPRNG_KERNEL a kernel of this CPU",
        SNAPRNG_EREENTERED => c"reseed outside of signal handlers",
        SNAPRNG_EINVAL => {
            c"unacceptable argument: null pointer, wrong size, unknown flag, or too long"
        }
        SNAPRNG_EINTERNAL => c"internal error: nothing was handed out",
        _ => c"unknown error",
    };
    text.as_ptr()
}

/// The version of the library that is loaded, as "MAJOR.MINOR.PATCH".
///
/// Returns: a string that is never freed.
/// Threads, signals, forks: safe anywhere.
#[unsafe(no_mangle)]
pub extern "C" fn snaprng_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}
