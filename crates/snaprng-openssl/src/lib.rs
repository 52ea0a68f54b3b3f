//! An OpenSSL 3 provider over [`snaprng`]: programs on the system's OpenSSL get random bytes that no
//! clone of their machine will see, by configuration alone.
//!
//! It offers the EVP_RAND `SNAPRNG`, and the seed source `SNAPRNG-SEED` for whoever must keep
//! OpenSSL's own DRBGs. How it is installed and configured, and what it does not reach, is in
//! `docs/openssl.md`.
//!
//! # How it is made
//! * The only way in is `OSSL_provider_init`; everything else is a function in a table that it
//!   hands out (`provider`, `rand`, `seed`). Nothing of libcrypto is linked: what OpenSSL does
//!   for a provider comes in a table as well (`upcalls`).
//! * There is no generator here and no lock: see `context`.
//! * No panic crosses into C: see `boundary`.
#![allow(unsafe_code, reason = "a C ABI in both directions")]

mod abi;
mod boundary;
mod context;
mod counts;
mod keys;
mod provider;
mod rand;
mod refusal;
mod seed;
mod settings;
mod upcalls;

use core::ffi::{c_int, c_void};

use crate::abi::CoreHandle;
use crate::abi::dispatch::Dispatch;
use crate::boundary::guarded;
use crate::provider::Provider;
use crate::settings::{Section, Settings};
use crate::upcalls::{Core, place};

/// Called by OpenSSL when the provider is loaded: reads and checks the configuration, opens and maps
/// every witness, and hands out the functions. Returns 1, or 0 with an error on the error stack.
///
/// # Safety
/// For OpenSSL to call, as `openssl/core.h` says (`OSSL_provider_init_fn`).
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the name that OpenSSL looks for")]
unsafe extern "C" fn OSSL_provider_init(
    handle: *const CoreHandle,
    offered: *const Dispatch,
    functions: *mut *const Dispatch,
    context: *mut *mut c_void,
) -> c_int {
    if functions.is_null() || context.is_null() {
        return 0;
    }
    // SAFETY: OpenSSL's contract.
    let core = unsafe { Core::new(handle, offered) };
    let Some(Some(provider)) = guarded(|| start(core)) else { return 0 };
    // SAFETY: not null, and OpenSSL's to hold the table.
    unsafe { functions.write(provider::FUNCTIONS.as_ptr()) };
    // SAFETY: not null, and OpenSSL's to hold what it passes to `teardown`.
    unsafe { context.write(Box::into_raw(provider).cast()) };
    1
}

/// A load that fails leaves an error on the stack. Where OpenSSL would drop it, the provider is
/// loaded and refuses everything: see `settings`.
fn start(core: Core) -> Option<Box<Provider>> {
    let section = Section::read(&core);
    let provider = match section.settings.and_then(Settings::put_in_force) {
        Ok(()) => Provider::new(core),
        Err(why) if section.activates => Provider::refusing(core, why),
        Err(why) => {
            core.raise(place!(c"OSSL_provider_init"), why.reason(), why);
            return None;
        }
    };
    Some(Box::new(provider))
}
