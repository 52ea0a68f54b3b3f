//! Seeds and nonces, for OpenSSL's own DRBGs that have a context of this provider as their parent.
//!
//! A seed is fresh: the calling thread's generator is rekeyed for every 32 bytes of it, from the
//! kernel and the CPU, so that each holds the 256 bits that OpenSSL takes it to hold. What the DRBG
//! makes of it later is out of reach here: it is not told when its machine is cloned.

use core::ffi::{c_int, c_uchar, c_uint, c_void};
use core::ptr::NonNull;

use zeroize::Zeroize;

use crate::boundary::{input, output};
use crate::context::{Context, check_strength};
use crate::rand::context;
use crate::refusal::Refusal;
use crate::upcalls::place;

/// What one rekey is good for.
const FRESH: usize = 32;

/// Memory of C's allocator, wiped before it is freed. OpenSSL gives it back by `clear_seed`.
struct Seed {
    at: NonNull<u8>,
    length: usize,
}

impl Seed {
    /// Zeros. A seed of no bytes has memory as well: OpenSSL takes null for a failure.
    fn new(length: usize) -> Result<Self, Refusal> {
        // SAFETY: any sizes may be asked for.
        let at = unsafe { libc::calloc(length.max(1), 1) };
        let at = NonNull::new(at.cast()).ok_or(Refusal::NoMemory(length))?;
        Ok(Self { at, length })
    }

    fn bytes(&mut self) -> Result<&mut [u8], Refusal> {
        // SAFETY: allocated with this length, and borrowed like `self`.
        unsafe { output(self.at.as_ptr(), self.length) }.ok_or(Refusal::BadArgument)
    }

    fn into_raw(self) -> *mut u8 {
        let at = self.at.as_ptr();
        core::mem::forget(self);
        at
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if let Ok(bytes) = self.bytes() {
            bytes.zeroize();
        }
        // SAFETY: allocated by `calloc`, and not freed by anybody else.
        unsafe { libc::free(self.at.as_ptr().cast()) };
    }
}

/// `entropy` is in bits; the seed has as many, and a length between the two given ones.
pub(crate) unsafe extern "C" fn get_seed(
    context: *mut c_void,
    seed: *mut *mut c_uchar,
    entropy: c_int,
    min_length: usize,
    max_length: usize,
    _prediction_resistance: c_int,
    additional: *const c_uchar,
    additional_length: usize,
) -> usize {
    // SAFETY: OpenSSL's contract.
    let Some(context) = (unsafe { self::context(context) }) else { return 0 };
    // SAFETY: OpenSSL's contract.
    let additional = unsafe { input(additional, additional_length) };
    let fresh = context.answer(place!(c"SNAPRNG get_seed"), || {
        let entropy = usize::try_from(entropy).unwrap_or(0).div_ceil(8);
        let length = entropy.max(min_length);
        if length > max_length || seed.is_null() {
            return Err(Refusal::BadArgument);
        }
        fresh_seed(context, length, additional.ok_or(Refusal::BadArgument)?)
    });
    let Some(fresh) = fresh else { return 0 };
    let length = fresh.length;
    // SAFETY: not null, and OpenSSL's to hold the result.
    unsafe { seed.write(fresh.into_raw()) };
    length
}

fn fresh_seed(context: &Context, length: usize, additional: &[u8]) -> Result<Seed, Refusal> {
    context.check_instantiated()?;
    let mut seed = Seed::new(length)?;
    let mut input = additional;
    for part in seed.bytes()?.chunks_mut(FRESH) {
        context.rekey(input)?;
        snaprng::fill(part)?;
        input = &[];
    }
    context.meter.served(length);
    Ok(seed)
}

/// OpenSSL calls it with a null pointer, too, for a seed that it did not get.
pub(crate) unsafe extern "C" fn clear_seed(
    _context: *mut c_void,
    seed: *mut c_uchar,
    length: usize,
) {
    if let Some(at) = NonNull::new(seed) {
        drop(Seed { at, length });
    }
}

/// A nonce of at least half the strength in bits (NIST SP 800-90A, 8.6.7), within the given
/// lengths. Without a buffer: how long it would be.
pub(crate) unsafe extern "C" fn nonce(
    context: *mut c_void,
    out: *mut c_uchar,
    strength: c_uint,
    min_length: usize,
    max_length: usize,
) -> usize {
    // SAFETY: OpenSSL's contract.
    let Some(context) = (unsafe { self::context(context) }) else { return 0 };
    // Never beyond what there is room for, whatever the minimum says.
    let length = (strength as usize).div_ceil(16).max(min_length).min(max_length);
    if out.is_null() {
        return length;
    }
    // SAFETY: OpenSSL's contract: there is room for the longest nonce that it asks for.
    let Some(out) = (unsafe { output(out, length) }) else { return 0 };
    let outcome = context.answer(place!(c"SNAPRNG nonce"), || {
        check_strength(strength)?;
        if length < min_length {
            return Err(Refusal::BadArgument);
        }
        context.generate(out, strength, false, &[])
    });
    if outcome.is_none() {
        out.zeroize();
        return 0;
    }
    length
}
