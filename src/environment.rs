//! What the environment says: `SNAPRNG_POLICY`, by which an operator may strengthen what a program
//! chose, and `SNAPRNG_KERNEL`, which forces one of the cipher's kernels (`portable`, `avx2`,
//! `avx512`; all make the same bytes) for tests and for tools that know no newer instructions.
//!
//! It is read once, by a constructor, before `main` and before threads: at a first use, which may
//! be in a signal handler, neither std's lock nor a racing `setenv` can be borne. It is ignored
//! where the kernel says that the process gained privileges (`AT_SECURE`).
#![allow(unsafe_code, reason = "reads the C environment without std's lock; a constructor")]

use core::sync::atomic::{AtomicU8, Ordering};

use crate::cipher;
use crate::error::Error;

static ASKED: AtomicU8 = AtomicU8::new(UNREAD);
const UNREAD: u8 = 0;
const NOTHING: u8 = 1;
const REQUIRE: u8 = 2;
const NONSENSE: u8 = 3;

/// Whether the environment asks for [`Policy::Require`](crate::Policy::Require).
pub(crate) fn requires() -> Result<bool, Error> {
    let mut asked = ASKED.load(Ordering::Relaxed);
    if asked == UNREAD {
        asked = read();
        ASKED.store(asked, Ordering::Relaxed);
    }
    match asked {
        NOTHING => Ok(false),
        REQUIRE => Ok(true),
        _ => Err(Error::BadEnvironment),
    }
}

/// What the variables ask for, and the kernel, put in use.
fn meaning(policy: Option<&[u8]>, kernel: Option<&[u8]>) -> u8 {
    let is_forced = kernel.is_none_or(|name| name.is_empty() || cipher::force(name));
    match policy {
        _ if !is_forced => NONSENSE,
        None | Some(b"" | b"prefer") => NOTHING,
        Some(b"require") => REQUIRE,
        Some(_) => NONSENSE,
    }
}

#[cfg(not(target_os = "linux"))]
fn read() -> u8 {
    let (policy, kernel) = (std::env::var_os("SNAPRNG_POLICY"), std::env::var_os("SNAPRNG_KERNEL"));
    let bytes = std::ffi::OsStr::as_encoded_bytes;
    meaning(policy.as_deref().map(bytes), kernel.as_deref().map(bytes))
}

#[cfg(target_os = "linux")]
use linux::read;

#[cfg(target_os = "linux")]
mod linux {
    use core::ffi::{CStr, c_char};
    use core::sync::atomic::Ordering;

    use super::{ASKED, NOTHING, meaning};

    unsafe extern "C" {
        /// environ(7): an array of `NAME=value` strings that ends with a null pointer.
        static environ: *const *const c_char;
    }

    pub(super) fn read() -> u8 {
        // SAFETY: getauxval only reads a static of libc.
        if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
            return NOTHING;
        }
        meaning(find(b"SNAPRNG_POLICY="), find(b"SNAPRNG_KERNEL="))
    }

    /// The rest of the entry that begins with `prefix`.
    fn find(prefix: &[u8]) -> Option<&'static [u8]> {
        // SAFETY: `environ` is set up before constructors run. It is read once, usually there, with
        // no other thread to change it; a program that calls setenv while it loads a library
        // races with every getenv in it as well.
        let mut entry = unsafe { environ };
        while !entry.is_null() {
            // SAFETY: within the array, which ends with a null pointer.
            let text = unsafe { *entry };
            if text.is_null() {
                return None;
            }
            // SAFETY: entries are NUL-terminated strings.
            let text = unsafe { CStr::from_ptr(text) };
            if let Some(value) = text.to_bytes().strip_prefix(prefix) {
                return Some(value);
            }
            // SAFETY: the entry was not the last.
            entry = unsafe { entry.add(1) };
        }
        None
    }

    extern "C" fn at_load() {
        ASKED.store(read(), Ordering::Relaxed);
    }

    // SAFETY: `.init_array` holds pointers to functions that the loader calls once before `main`,
    // or when the library is loaded; the arguments it passes may be ignored (System V gABI).
    #[used]
    #[cfg_attr(not(miri), unsafe(link_section = ".init_array"))]
    static AT_LOAD: extern "C" fn() = at_load;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_words_mean_something_as_a_policy() {
        let policy = |value| meaning(value, None);
        assert_eq!(policy(None), NOTHING);
        assert_eq!(policy(Some(b"")), NOTHING);
        assert_eq!(policy(Some(b"prefer")), NOTHING);
        assert_eq!(policy(Some(b"require")), REQUIRE);
        assert_eq!(policy(Some(b"Require")), NONSENSE);
        assert_eq!(policy(Some(b"assume-never-cloned")), NONSENSE);
    }

    #[test]
    fn a_kernel_that_does_not_exist_is_nonsense_and_so_is_everything_with_it() {
        assert_eq!(meaning(None, Some(b"")), NOTHING);
        assert_eq!(meaning(Some(b"require"), Some(b"")), REQUIRE);
        assert_eq!(meaning(None, Some(b"fastest")), NONSENSE);
        assert_eq!(meaning(Some(b"require"), Some(b"fastest")), NONSENSE);
    }
}
