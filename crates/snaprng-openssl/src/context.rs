//! What stands behind an `EVP_RAND_CTX`: no generator, but the calling thread's.
//!
//! Every request is served by the generator of the thread that makes it ([`snaprng::fill`]), which
//! looks at the world before and after. So a context holds nothing secret and needs no lock: any
//! number of threads may use one at once, a child may use what its parent's other threads were
//! using when it was forked, and to free a context leaves nothing behind. What a context is given
//! (a personalization string, additional input, entropy) goes into the key of the thread that gives
//! it.

use core::sync::atomic::{AtomicU32, Ordering};

use zeroize::Zeroize;

use crate::boundary::guarded;
use crate::counts::Meter;
use crate::refusal::Refusal;
use crate::upcalls::{Core, Place};

/// Bits of security, and the most that may be asked for.
pub(crate) const STRENGTH: u32 = 256;

/// The longest request: longer ones are not cut by OpenSSL, since nothing is longer.
pub(crate) const MAX_REQUEST: usize = isize::MAX as usize;

/// `openssl/evp.h`, `EVP_RAND_STATE_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    Uninitialised = 0,
    Ready = 1,
    /// The last request failed. The next one starts from fresh entropy, and may succeed.
    Error = 2,
}

#[derive(Debug)]
pub(crate) struct Context {
    core: Core,
    state: AtomicU32,
    pub(crate) meter: Meter,
}

impl Context {
    pub(crate) fn new(core: Core) -> Self {
        Self { core, state: AtomicU32::new(State::Uninitialised as u32), meter: Meter::new() }
    }

    /// The number that OpenSSL knows the state by.
    #[inline]
    pub(crate) fn state(&self) -> u32 {
        self.state.load(Ordering::Relaxed)
    }

    #[inline]
    fn set_state(&self, state: State) {
        // Most often it is the one already there: leave the cache line to other readers.
        if self.state() != state as u32 {
            self.state.store(state as u32, Ordering::Relaxed);
        }
    }

    pub(crate) fn uninstantiate(&self) {
        self.set_state(State::Uninitialised);
    }

    /// Makes the context ready, if there are bytes to be had.
    pub(crate) fn instantiate(
        &self,
        strength: u32,
        prediction_resistance: bool,
        personalization: &[u8],
    ) -> Result<(), Refusal> {
        check_strength(strength)?;
        if prediction_resistance || !personalization.is_empty() {
            self.rekey(personalization)?;
        }
        let mut probe = [0; 32];
        let outcome = snaprng::fill(&mut probe);
        probe.zeroize();
        outcome?;
        self.set_state(State::Ready);
        Ok(())
    }

    /// Fills `out`. Prediction resistance and additional input rekey first.
    #[inline]
    pub(crate) fn generate(
        &self,
        out: &mut [u8],
        strength: u32,
        prediction_resistance: bool,
        additional: &[u8],
    ) -> Result<(), Refusal> {
        check_strength(strength)?;
        self.check_instantiated()?;
        if prediction_resistance || !additional.is_empty() {
            self.rekey(additional)?;
        }
        snaprng::fill(out)?;
        self.meter.served(out.len());
        self.set_state(State::Ready);
        Ok(())
    }

    /// Rekeys from fresh entropy and what is handed in.
    pub(crate) fn reseed(&self, entropy: &[u8], additional: &[u8]) -> Result<(), Refusal> {
        self.check_instantiated()?;
        if !entropy.is_empty() && !additional.is_empty() {
            self.rekey(entropy)?;
        }
        self.rekey(if additional.is_empty() { entropy } else { additional })?;
        self.set_state(State::Ready);
        Ok(())
    }

    /// A thread that is ending, and a handler that interrupted its thread's generator, have none to
    /// rekey. They are served from fresh entropy each time, which is all that prediction resistance
    /// asks for; but input would be lost, and is refused.
    pub(crate) fn rekey(&self, input: &[u8]) -> Result<(), Refusal> {
        match snaprng::reseed(input) {
            Ok(()) => {
                self.meter.reseeded();
                Ok(())
            }
            Err(snaprng::Error::Reentered) if input.is_empty() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    #[inline]
    pub(crate) fn check_instantiated(&self) -> Result<(), Refusal> {
        match self.state() {
            state if state == State::Uninitialised as u32 => Err(Refusal::NotInstantiated),
            _ => Ok(()),
        }
    }

    /// Serves one call from OpenSSL. What it refuses goes onto the error stack.
    #[inline]
    pub(crate) fn answer<R>(
        &self,
        place: Place,
        serve: impl FnOnce() -> Result<R, Refusal>,
    ) -> Option<R> {
        match guarded(serve) {
            Some(Ok(answer)) => Some(answer),
            Some(Err(refusal)) => self.refuse(place, refusal),
            None => self.refuse(place, Refusal::Panicked),
        }
    }

    #[cold]
    #[inline(never)]
    fn refuse<R>(&self, place: Place, refusal: Refusal) -> Option<R> {
        self.meter.refused();
        if matches!(refusal, Refusal::Library(_) | Refusal::Panicked)
            && self.check_instantiated().is_ok()
        {
            self.set_state(State::Error);
        }
        guarded(|| self.core.raise(place, refusal.reason(), refusal));
        None
    }
}

#[inline]
pub(crate) fn check_strength(strength: u32) -> Result<(), Refusal> {
    if strength > STRENGTH { Err(Refusal::Strength(strength)) } else { Ok(()) }
}
