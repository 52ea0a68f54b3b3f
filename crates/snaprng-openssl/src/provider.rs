//! The provider itself: what it is called, what it offers, and how it ends.

use core::ffi::{CStr, c_int, c_void};
use core::ptr;

use snaprng::Level;

use crate::abi::Item;
use crate::abi::dispatch::{Algorithm, Dispatch, OPERATION_RAND};
use crate::abi::params::{Param, answer_all};
use crate::boundary::guarded;
use crate::counts;
use crate::rand;
use crate::refusal::REASONS;
use crate::settings::Unloadable;
use crate::upcalls::{Core, place};

/// What OpenSSL passes to everything that does not have a context yet.
#[derive(Debug)]
pub(crate) struct Provider {
    core: Core,
    unusable: Option<Unloadable>,
}

impl Provider {
    pub(crate) fn new(core: Core) -> Self {
        Self { core, unusable: None }
    }

    /// A provider that refuses everything, and says why each time.
    pub(crate) fn refusing(core: Core, why: Unloadable) -> Self {
        Self { core, unusable: Some(why) }
    }

    /// The core, for a new context. `None`, and an error on the stack, if there can be none.
    pub(crate) fn core_for_context(&self) -> Option<Core> {
        match &self.unusable {
            None => Some(self.core),
            Some(why) => {
                self.core.raise(place!(c"SNAPRNG"), why.reason(), why);
                None
            }
        }
    }
}

pub(crate) static FUNCTIONS: [Dispatch; 6] = [
    Dispatch::provider_teardown(teardown),
    Dispatch::provider_gettable_params(gettable_params),
    Dispatch::provider_get_params(get_params),
    Dispatch::provider_query_operation(query_operation),
    Dispatch::provider_get_reason_strings(get_reason_strings),
    Dispatch::END,
];

static ALGORITHMS: [Algorithm; 3] = [
    Algorithm::new(
        c"SNAPRNG",
        c"provider=snaprng",
        &rand::FUNCTIONS,
        c"random bytes that no clone of this machine and no copy of this process will see",
    ),
    Algorithm::new(
        c"SNAPRNG-SEED",
        c"provider=snaprng",
        &rand::FUNCTIONS,
        c"fresh seeds for OpenSSL's own DRBGs, which do not notice by themselves that their machine was cloned",
    ),
    Algorithm::END,
];

/// OpenSSL tears a provider down when the last thing that came from it has been freed. What the
/// library keeps for threads and for the process stays: it is used again at the next load.
unsafe extern "C" fn teardown(provider: *mut c_void) {
    if !provider.is_null() {
        // SAFETY: made by `Box::into_raw` in `OSSL_provider_init`, and not used any more.
        guarded(|| drop(unsafe { Box::from_raw(provider.cast::<Provider>()) }));
    }
}

unsafe extern "C" fn query_operation(
    _provider: *mut c_void,
    operation: c_int,
    no_cache: *mut c_int,
) -> *const Algorithm {
    if !no_cache.is_null() {
        // SAFETY: OpenSSL's to hold the answer: what is offered never changes.
        unsafe { no_cache.write(0) };
    }
    if operation == OPERATION_RAND { ALGORITHMS.as_ptr() } else { ptr::null() }
}

unsafe extern "C" fn get_reason_strings(_provider: *mut c_void) -> *const Item {
    REASONS.as_ptr()
}

/// `openssl/core_names.h`, `OSSL_PROV_PARAM_*`; then the counts of the process, and what protects it.
static GETTABLE: [Param; 11] = [
    Param::text(c"name"),
    Param::text(c"version"),
    Param::text(c"buildinfo"),
    Param::number(c"status"),
    Param::number(c"requests"),
    Param::number(c"bytes"),
    Param::number(c"reseeds"),
    Param::number(c"failures"),
    Param::number(c"rekeys"),
    Param::text(c"level"),
    Param::END,
];

unsafe extern "C" fn gettable_params(_provider: *mut c_void) -> *const Param {
    GETTABLE.as_ptr()
}

unsafe extern "C" fn get_params(provider: *mut c_void, params: *mut Param) -> c_int {
    // SAFETY: OpenSSL passes what `OSSL_provider_init` gave it and `teardown` has not had.
    let provider = unsafe { provider.cast::<Provider>().as_ref() };
    let runs = provider.is_some_and(|provider| provider.unusable.is_none());
    // SAFETY: OpenSSL's contract: an array that ends with a null key, and ours during the call.
    let all = guarded(|| unsafe { answer_all(params, |param| get_param(runs, param)) });
    c_int::from(all == Some(true))
}

fn get_param(runs: bool, param: &mut Param) -> bool {
    enum Answer {
        Text(&'static CStr),
        Number(u64),
    }
    // SAFETY: an entry before the end of its array.
    let answer = match unsafe { param.key() } {
        b"name" => Answer::Text(c"snaprng: random bytes that survive VM clones"),
        b"version" => Answer::Text(VERSION),
        b"buildinfo" => Answer::Text(BUILD_INFO),
        b"status" => Answer::Number(runs.into()),
        b"requests" => Answer::Number(counts::of_process().requests),
        b"bytes" => Answer::Number(counts::of_process().bytes),
        b"reseeds" => Answer::Number(counts::of_process().reseeds),
        b"failures" => Answer::Number(counts::of_process().failures),
        b"rekeys" => Answer::Number(snaprng::protection().rekeys()),
        b"level" => Answer::Text(level()),
        _ => return true,
    };
    match answer {
        // SAFETY: OpenSSL's contract: an entry points to as much memory as its type and size say.
        Answer::Text(text) => unsafe { param.set_text(text) },
        // SAFETY: as above.
        Answer::Number(number) => unsafe { param.set_number(number) },
    }
}

const VERSION: &CStr = c_str(concat!(env!("CARGO_PKG_VERSION"), "\0"));
const BUILD_INFO: &CStr = c_str(concat!("snaprng ", env!("CARGO_PKG_VERSION"), "\0"));

const fn c_str(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("it ends with the only zero"),
    }
}

/// The level of the calling thread's generator, by the name that reports use.
fn level() -> &'static CStr {
    match snaprng::protection().level() {
        Level::Synchronous => c"synchronous",
        Level::Accepted => c"accepted",
        Level::ProcessOnly => c"process-only",
        Level::PerCall => c"per-call",
        _ => c"unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_has_the_name_that_reports_use() {
        assert_eq!(level().to_str(), Ok(snaprng::protection().level().to_string().as_str()));
    }

    #[test]
    fn everything_that_is_said_to_be_gettable_is() {
        for entry in &GETTABLE[..GETTABLE.len() - 1] {
            // SAFETY: not the end.
            let key = unsafe { entry.key() }.to_vec();
            let mut asked = [Param::number(c"?"), Param::END];
            // SAFETY: a copy of a constant without data.
            asked[0] = unsafe { ptr::read(entry) };
            assert!(get_param(true, &mut asked[0]), "{}", String::from_utf8_lossy(&key));
        }
    }

    #[test]
    fn only_random_generators_are_offered() {
        let mut no_cache = 7;
        // SAFETY: the answer has a place.
        let rand = unsafe { query_operation(ptr::null_mut(), OPERATION_RAND, &raw mut no_cache) };
        assert_eq!((rand, no_cache), (ALGORITHMS.as_ptr(), 0));
        for operation in [1, 2, 3, 4, 10, 22] {
            // SAFETY: null is no place.
            let none = unsafe { query_operation(ptr::null_mut(), operation, ptr::null_mut()) };
            assert!(none.is_null());
        }
    }
}
