//! The functions of an EVP_RAND, as OpenSSL calls them: translation, and nothing else.
//!
//! OpenSSL's contract, which the `SAFETY` of each relies on (provider-rand(7)): a context is what
//! `newctx` returned and `freectx` has not yet had, or null; buffers are as long as their lengths
//! say, and are the callee's during the call; arrays of parameters end with a null key.

use core::alloc::Layout;
use core::ffi::{c_int, c_uchar, c_uint, c_void};
use core::ptr;
use std::alloc::alloc;

use zeroize::Zeroize;

use crate::abi::dispatch::Dispatch;
use crate::abi::params::{Param, answer_all};
use crate::boundary::{guarded, input, output};
use crate::context::{Context, MAX_REQUEST, STRENGTH};
use crate::provider::Provider;
use crate::refusal::Refusal;
use crate::seed;
use crate::upcalls::place;

/// `SNAPRNG`, and also `SNAPRNG-SEED`: a seed source may be asked for bytes as well, and a
/// generator be a DRBG's parent.
pub(crate) static FUNCTIONS: [Dispatch; 16] = [
    Dispatch::rand_newctx(newctx),
    Dispatch::rand_freectx(freectx),
    Dispatch::rand_instantiate(instantiate),
    Dispatch::rand_uninstantiate(uninstantiate),
    Dispatch::rand_generate(generate),
    Dispatch::rand_reseed(reseed),
    Dispatch::rand_nonce(seed::nonce),
    Dispatch::rand_enable_locking(enable_locking),
    Dispatch::rand_lock(lock),
    Dispatch::rand_unlock(unlock),
    Dispatch::rand_gettable_ctx_params(gettable_ctx_params),
    Dispatch::rand_get_ctx_params(get_ctx_params),
    Dispatch::rand_verify_zeroization(verify_zeroization),
    Dispatch::rand_get_seed(seed::get_seed),
    Dispatch::rand_clear_seed(seed::clear_seed),
    Dispatch::END,
];

/// The context that OpenSSL passes.
///
/// # Safety
/// `context` is null, or what `newctx` returned and `freectx` has not had, and outlives the result.
#[inline(always)]
pub(crate) unsafe fn context<'a>(context: *mut c_void) -> Option<&'a Context> {
    // SAFETY: the caller's word. Shared only: everything that changes in a context is atomic.
    unsafe { context.cast::<Context>().as_ref() }
}

/// The parent is not asked for anything: every thread's generator gathers for itself.
unsafe extern "C" fn newctx(
    provider: *mut c_void,
    _parent: *mut c_void,
    _parent_calls: *const Dispatch,
) -> *mut c_void {
    // SAFETY: OpenSSL passes what `OSSL_provider_init` gave it and `teardown` has not had.
    let Some(provider) = (unsafe { provider.cast::<Provider>().as_ref() }) else {
        return ptr::null_mut();
    };
    guarded(|| new_context(provider)).flatten().map_or(ptr::null_mut(), |context| context.cast())
}

/// On the heap. Where there is no memory OpenSSL is told so: `Box::new` would end the process.
fn new_context(provider: &Provider) -> Option<*mut Context> {
    let core = provider.core_for_context()?;
    // SAFETY: a context has a size.
    let memory = unsafe { alloc(Layout::new::<Context>()) }.cast::<Context>();
    if memory.is_null() {
        let refusal = Refusal::NoMemory(size_of::<Context>());
        core.raise(place!(c"SNAPRNG newctx"), refusal.reason(), refusal);
        return None;
    }
    // SAFETY: fresh memory of this layout.
    unsafe { memory.write(Context::new(core)) };
    Some(memory)
}

unsafe extern "C" fn freectx(context: *mut c_void) {
    if !context.is_null() {
        // SAFETY: made by `newctx` with the layout and allocator of a box, and not used any more.
        guarded(|| drop(unsafe { Box::from_raw(context.cast::<Context>()) }));
    }
}

/// Parameters are those of OpenSSL's DRBGs (a cipher, reseed intervals): there is nothing here that
/// they could set, and OpenSSL passes them to every generator.
unsafe extern "C" fn instantiate(
    context: *mut c_void,
    strength: c_uint,
    prediction_resistance: c_int,
    personalization: *const c_uchar,
    length: usize,
    _params: *const Param,
) -> c_int {
    // SAFETY: OpenSSL's contract.
    let Some(context) = (unsafe { self::context(context) }) else { return 0 };
    // SAFETY: OpenSSL's contract.
    let personalization = unsafe { input(personalization, length) };
    answer(context.answer(place!(c"SNAPRNG instantiate"), || {
        let personalization = personalization.ok_or(Refusal::BadArgument)?;
        context.instantiate(strength, prediction_resistance != 0, personalization)
    }))
}

unsafe extern "C" fn uninstantiate(context: *mut c_void) -> c_int {
    // SAFETY: OpenSSL's contract.
    let Some(context) = (unsafe { self::context(context) }) else { return 0 };
    context.uninstantiate();
    1
}

unsafe extern "C" fn generate(
    context: *mut c_void,
    out: *mut c_uchar,
    out_length: usize,
    strength: c_uint,
    prediction_resistance: c_int,
    additional: *const c_uchar,
    additional_length: usize,
) -> c_int {
    // SAFETY: OpenSSL's contract.
    let mut out = unsafe { output(out, out_length) };
    // SAFETY: OpenSSL's contract.
    let additional = unsafe { input(additional, additional_length) };
    // SAFETY: OpenSSL's contract.
    let outcome = unsafe { self::context(context) }.and_then(|context| {
        context.answer(place!(c"SNAPRNG generate"), || {
            let out = out.as_deref_mut().ok_or(Refusal::BadArgument)?;
            let additional = additional.ok_or(Refusal::BadArgument)?;
            context.generate(out, strength, prediction_resistance != 0, additional)
        })
    });
    if outcome.is_none()
        && let Some(out) = out
    {
        out.zeroize();
    }
    answer(outcome)
}

unsafe extern "C" fn reseed(
    context: *mut c_void,
    _prediction_resistance: c_int,
    entropy: *const c_uchar,
    entropy_length: usize,
    additional: *const c_uchar,
    additional_length: usize,
) -> c_int {
    // SAFETY: OpenSSL's contract.
    let Some(context) = (unsafe { self::context(context) }) else { return 0 };
    // SAFETY: OpenSSL's contract.
    let entropy = unsafe { input(entropy, entropy_length) };
    // SAFETY: OpenSSL's contract.
    let additional = unsafe { input(additional, additional_length) };
    answer(context.answer(place!(c"SNAPRNG reseed"), || {
        let entropy = entropy.ok_or(Refusal::BadArgument)?;
        context.reseed(entropy, additional.ok_or(Refusal::BadArgument)?)
    }))
}

/// Nothing needs a lock, so none is made: a lock that a thread holds while another one forks is
/// held in the child for ever. That threads share the context is good to know for the counts.
unsafe extern "C" fn enable_locking(context: *mut c_void) -> c_int {
    // SAFETY: OpenSSL's contract.
    let Some(context) = (unsafe { self::context(context) }) else { return 0 };
    context.meter.share_between_threads();
    1
}

unsafe extern "C" fn lock(_context: *mut c_void) -> c_int {
    1
}

unsafe extern "C" fn unlock(_context: *mut c_void) {}

/// A context holds no key at any time.
unsafe extern "C" fn verify_zeroization(_context: *mut c_void) -> c_int {
    1
}

/// `openssl/core_names.h`, `OSSL_RAND_PARAM_*`; and the counts of the context.
static GETTABLE: [Param; 8] = [
    Param::signed_number(c"state"),
    Param::number(c"strength"),
    Param::number(c"max_request"),
    Param::number(c"requests"),
    Param::number(c"bytes"),
    Param::number(c"reseeds"),
    Param::number(c"failures"),
    Param::END,
];

unsafe extern "C" fn gettable_ctx_params(
    _context: *mut c_void,
    _provider: *mut c_void,
) -> *const Param {
    GETTABLE.as_ptr()
}

/// OpenSSL asks for `max_request` before every request, so this is quick.
unsafe extern "C" fn get_ctx_params(context: *mut c_void, params: *mut Param) -> c_int {
    // SAFETY: OpenSSL's contract.
    let Some(context) = (unsafe { self::context(context) }) else { return 0 };
    // SAFETY: OpenSSL's contract.
    let all = unsafe { answer_all(params, |param| get_ctx_param(context, param)) };
    c_int::from(all)
}

#[inline]
fn get_ctx_param(context: &Context, param: &mut Param) -> bool {
    // SAFETY: an entry before the end of its array.
    let value = match unsafe { param.key() } {
        b"max_request" => MAX_REQUEST as u64,
        b"strength" => STRENGTH.into(),
        b"state" => context.state().into(),
        b"requests" => context.meter.totals().requests,
        b"bytes" => context.meter.totals().bytes,
        b"reseeds" => context.meter.totals().reseeds,
        b"failures" => context.meter.totals().failures,
        _ => return true,
    };
    // SAFETY: OpenSSL's contract: an entry points to as much memory as it says.
    unsafe { param.set_number(value) }
}

#[inline(always)]
fn answer(outcome: Option<()>) -> c_int {
    c_int::from(outcome.is_some())
}
