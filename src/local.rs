//! The per-thread generator behind [`rng`] and [`fill`].
//!
//! Whoever asks for bytes may be anywhere: in a signal handler that interrupted a request, in the
//! child of a threaded process, in a thread whose destructors are running. A thread's generator
//! serves one request at a time; whoever finds it busy, gone or not yet to be had takes the one-shot
//! path, which uses no state and never allocates.
//!
//! Outside of Linux there is no per-thread state at all: every request takes that path.

use core::convert::Infallible;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroize;

use crate::config::{self, ProcessTerms};
use crate::entropy::{self, SystemEntropy};
use crate::error::Error;
use crate::generator::{self, Condition, Embedder};
use crate::protection::Protection;
use crate::rng::refuse;
use crate::world::{Epoch, SystemWorld, World};

#[cfg(target_os = "linux")]
mod slab;
#[cfg(target_os = "linux")]
mod tls;

/// A handle on the generator of the thread that uses it.
///
/// Costs nothing to make and holds nothing. Implements rand_core's `Rng` and `CryptoRng` (and with
/// the `rand` crate in scope, all of its extension methods).
///
/// # Panics
/// A request panics where [`fill`] gives an error, with a message that says what to do.
#[derive(Clone, Copy)]
pub struct ThreadRng {
    /// Neither `Send` nor `Sync`: it would be another thread's generator there.
    _thread: PhantomData<*mut ()>,
}

/// A handle on this thread's generator.
///
/// ```
/// use rand::RngExt;
///
/// let dice = snaprng::rng().random_range(1..=6);
/// assert!((1..=6).contains(&dice));
/// ```
#[inline]
pub fn rng() -> ThreadRng {
    ThreadRng { _thread: PhantomData }
}

/// Fills `out` from this thread's generator.
///
/// Any length, from nothing to many GiB. May be called from signal handlers, after a fork in the
/// child of a threaded process, and in a thread that is ending: it takes no lock and allocates
/// nothing. At level `Synchronous` a small request costs nanoseconds and no system call.
///
/// # Errors
/// [`Error`] says why there are no bytes and what to do; `out` has then been wiped.
///
/// ```
/// let mut key = [0; 32];
/// snaprng::fill(&mut key)?;
/// # Ok::<(), snaprng::Error>(())
/// ```
#[inline]
pub fn fill(out: &mut [u8]) -> Result<(), Error> {
    #[cfg(target_os = "linux")]
    if let Some(outcome) = slab::with_generator(|generator| generator.fill(&mut *out)) {
        return outcome;
    }
    fill_without_generator(out)
}

/// Fills uninitialized memory, and returns it initialized. Otherwise like [`fill`].
///
/// # Errors
/// As [`fill`]; the memory has then been overwritten with zeros.
#[allow(unsafe_code, reason = "one cast of memory that was just initialized")]
pub fn fill_uninit(out: &mut [MaybeUninit<u8>]) -> Result<&mut [u8], Error> {
    // Written once more than needed: that is cheap beside keystream, and leaves one proof to make.
    out.fill(MaybeUninit::new(0));
    // SAFETY: every byte was initialized above, and the cast keeps length and lifetime.
    let out = unsafe { &mut *(&raw mut *out as *mut [u8]) };
    fill(out)?;
    Ok(out)
}

/// `N` bytes from this thread's generator.
///
/// # Panics
/// Where [`fill`] gives an error, with a message that says what to do.
///
/// ```
/// let session_id: [u8; 16] = snaprng::bytes();
/// ```
#[inline]
pub fn bytes<const N: usize>() -> [u8; N] {
    buffered().unwrap_or_else(bytes_slowly)
}

/// `N` bytes, if they are in the buffer and the world has not moved: in registers, a few
/// nanoseconds. Otherwise the caller asks [`fill`].
#[inline(always)]
pub(crate) fn buffered<const N: usize>() -> Option<[u8; N]> {
    #[cfg(target_os = "linux")]
    return slab::with_generator(|generator| generator.array_or_closed()).flatten();
    #[cfg(not(target_os = "linux"))]
    None
}

#[cold]
#[inline(never)]
fn bytes_slowly<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    match fill(&mut out) {
        Ok(()) => out,
        Err(error) => refuse(error),
    }
}

/// Rekeys this thread's generator now, from a full gather and `additional` input.
///
/// # Errors
/// As [`fill`]; [`Error::Reentered`] in a signal handler that interrupted this thread's generator,
/// and in a thread that is ending: there is nothing to reseed.
pub fn reseed(additional: &[u8]) -> Result<(), Error> {
    config::ensure_installed()?;
    #[cfg(target_os = "linux")]
    return slab::with_generator(|generator| generator.rekey(additional))
        .unwrap_or(Err(Error::Reentered));
    // No state outside of Linux: the input goes to the cell that every request absorbs.
    #[cfg(not(target_os = "linux"))]
    {
        entropy::publish_injected(additional, &SystemWorld.look());
        Ok(())
    }
}

/// Tells the library that this process or machine was restored from a snapshot, and hands in bytes
/// that no other clone has.
///
/// For a host that signals restores by its own means, for CRaC and similar hooks, and for machines
/// without CPU randomness. Every generator of the process rekeys at its next request, starts to
/// settle anew, and every [`Generation`](crate::Generation) ends. `unique` is taken at its word:
/// bytes that clones share make the report claim a diversity that is not there. Empty bytes only
/// report the restore. Witnesses that were missing are looked for again.
///
/// Does not allocate. Safe in signal handlers and from any thread.
pub fn notify_restored(unique: &[u8]) {
    if config::ensure_installed().is_err() {
        // Nothing may be looked at yet. The bytes are kept, and credited to nobody.
        entropy::publish_injected(unique, &Epoch::default());
        return;
    }
    #[cfg(target_os = "linux")]
    {
        crate::world::rediscover();
        // First the machine, so that the bytes are on record for the one they belong to; then the
        // bytes; then the process word, which makes everybody absorb them.
        crate::world::host_says_restored();
        entropy::publish_injected(unique, &SystemWorld.look());
        crate::world::begin_new_copy();
    }
    #[cfg(not(target_os = "linux"))]
    entropy::publish_injected(unique, &SystemWorld.look());
}

/// Looks again for witnesses that were absent or unusable when the configuration was installed.
/// Those in use stay.
///
/// Generators take a witness into account at their next rekey, within a minute.
///
/// # Errors
/// [`Error::Installing`] if another thread is at it, and as [`fill`] before the first use.
pub fn rediscover() -> Result<(), Error> {
    config::ensure_installed()?;
    #[cfg(target_os = "linux")]
    if !crate::world::rediscover() {
        return Err(Error::Installing);
    }
    Ok(())
}

/// The protection that this thread's generator, and the process, have: which witness, how strong,
/// and why not stronger.
///
/// Rekeys first where the next request would. Allocates: not for signal handlers.
///
/// ```
/// println!("{}", snaprng::protection());
/// ```
pub fn protection() -> Protection {
    let condition = match config::ensure_installed() {
        Ok(()) => condition(),
        Err(error) => Condition::unknown(error, ProcessTerms.terms().policy),
    };
    Protection::of(&condition)
}

fn condition() -> Condition {
    #[cfg(target_os = "linux")]
    if let Some(condition) = slab::with_generator(generator::Generator::condition) {
        return condition;
    }
    generator::Generator::new(SystemWorld, SystemEntropy, ProcessTerms).condition()
}

/// Bytes for whoever has no generator: a handler, an ending thread, a first use under way.
#[cold]
#[inline(never)]
fn fill_without_generator(out: &mut [u8]) -> Result<(), Error> {
    match config::ensure_installed() {
        Ok(()) => generator::one_shot(&SystemWorld, &SystemEntropy, &ProcessTerms.terms(), out),
        #[cfg(target_os = "linux")]
        Err(Error::Installing) => {
            generator::one_shot_without_a_look(&SystemEntropy, &ProcessTerms.terms(), out)
        }
        Err(error) => {
            out.zeroize();
            Err(error)
        }
    }
}

impl ThreadRng {
    #[cfg(feature = "rand_core_06")]
    pub(crate) fn try_fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        fill(out)
    }
}

impl TryRng for ThreadRng {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(bytes()))
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(bytes()))
    }

    #[inline]
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        fill(out).or_else(refuse)
    }
}

impl TryCryptoRng for ThreadRng {}

impl fmt::Debug for ThreadRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadRng { .. }")
    }
}
