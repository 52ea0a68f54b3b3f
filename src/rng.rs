//! Owned generators: rand_core's traits over a [`Generator`].
//!
//! Neither type is `Clone` (two generators with one state are what this library exists to prevent)
//! nor can it be seeded or serialized. State is on the heap, is wiped on drop, and never shows in
//! `Debug`.

use core::convert::Infallible;
use core::fmt;
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};

use rand_core::{TryCryptoRng, TryRng};

use crate::config::Config;
use crate::entropy::SystemEntropy;
use crate::error::Error;
use crate::generator::Generator;
use crate::policy::Terms;
use crate::protection::Protection;
use crate::world::SystemWorld;

/// An owned generator whose requests can fail.
///
/// Implements [`TryRng`] with [`Error`]. Every output is looked at before and after: see the
/// [manual](crate). `Send` and `Sync`; a request needs `&mut self`. A fork, a VM clone or a process
/// restore makes it rekey by itself.
///
/// ```
/// use snaprng::rand_core::TryRng;
///
/// let mut rng = snaprng::TrySnapRng::new()?;
/// let nonce = rng.try_next_u64()?;
/// # Ok::<(), snaprng::Error>(())
/// ```
pub struct TrySnapRng {
    generator: Box<OwnedGenerator>,
}

type OwnedGenerator = Generator<SystemWorld, SystemEntropy, Terms>;

/// An unkeyed generator, made where it stays: one that was moved to the heap would take along, in
/// its padding, pieces of what functions that have returned left on the stack.
#[allow(unsafe_code, reason = "makes a value of memory that is all zeros")]
fn unkeyed(terms: Terms) -> Box<OwnedGenerator> {
    let layout = Layout::new::<OwnedGenerator>();
    // SAFETY: the type is not of size zero.
    let generator = unsafe { alloc_zeroed(layout) }.cast::<OwnedGenerator>();
    if generator.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: within memory of the type's size and alignment, which nobody else knows.
    let embedder = unsafe { &raw mut (*generator).embedder };
    // SAFETY: as above.
    unsafe { embedder.write(terms) };
    // SAFETY: from the global allocator, with the layout of the type; all zeros is a valid,
    // unkeyed generator, and its embedder was written.
    unsafe { Box::from_raw(generator) }
}

impl TrySnapRng {
    /// A generator under the default configuration.
    ///
    /// # Errors
    /// As [`Config::build`].
    pub fn new() -> Result<Self, Error> {
        Config::default().build_try()
    }

    fn with_terms(terms: Terms) -> Result<Self, Error> {
        let mut generator = unkeyed(terms);
        generator.rekey(&[])?;
        Ok(Self { generator })
    }

    /// Fills `out`.
    ///
    /// # Errors
    /// Any request may fail with [`Error`]; `out` has then been wiped.
    #[inline]
    pub fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.generator.fill(out)
    }

    /// Rekeys now, from a full gather and `additional` input.
    ///
    /// The input is mixed in and is credited with nothing: it cannot make a key worse, and what
    /// tells a clone from its siblings belongs to [`notify_restored`](crate::notify_restored).
    ///
    /// # Errors
    /// As a request. The generator then rekeys at the next one.
    pub fn reseed(&mut self, additional: &[u8]) -> Result<(), Error> {
        self.generator.rekey(additional)
    }

    /// The protection that this generator has. Rekeys first where the next request would.
    pub fn protection(&mut self) -> Protection {
        Protection::of(&self.generator.condition())
    }
}

impl TryRng for TrySnapRng {
    type Error = Error;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Error> {
        self.generator.convert(u32::from_le_bytes)
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Error> {
        self.generator.convert(u64::from_le_bytes)
    }

    #[inline]
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.fill(out)
    }
}

impl TryCryptoRng for TrySnapRng {}

impl fmt::Debug for TrySnapRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrySnapRng { .. }")
    }
}

/// An owned generator whose requests do not fail: it panics instead.
///
/// Implements `Rng` and `CryptoRng`, which is what most cryptographic libraries ask for. Otherwise
/// like [`TrySnapRng`].
///
/// # Panics
/// A request panics, with a message that says what to do, where that of a `TrySnapRng` would give
/// an [`Error`].
///
/// ```
/// use snaprng::rand_core::Rng;
///
/// let mut rng = snaprng::SnapRng::new()?;
/// let mut key = [0; 32];
/// rng.fill_bytes(&mut key);
/// # Ok::<(), snaprng::Error>(())
/// ```
pub struct SnapRng(TrySnapRng);

impl SnapRng {
    /// A generator under the default configuration.
    ///
    /// # Errors
    /// As [`Config::build`].
    pub fn new() -> Result<Self, Error> {
        Config::default().build()
    }

    #[cfg(feature = "rand_core_06")]
    pub(crate) fn try_fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.0.fill(out)
    }

    /// Rekeys now: see [`TrySnapRng::reseed`].
    ///
    /// # Errors
    /// As [`TrySnapRng::reseed`].
    pub fn reseed(&mut self, additional: &[u8]) -> Result<(), Error> {
        self.0.reseed(additional)
    }

    /// The protection that this generator has: see [`TrySnapRng::protection`].
    pub fn protection(&mut self) -> Protection {
        self.0.protection()
    }
}

impl TryRng for SnapRng {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32().or_else(refuse)
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64().or_else(refuse)
    }

    #[inline]
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(out).or_else(refuse)
    }
}

impl TryCryptoRng for SnapRng {}

impl fmt::Debug for SnapRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapRng { .. }")
    }
}

impl Config {
    /// An owned generator for the infallible traits of rand_core: it panics where
    /// [`TrySnapRng`] gives an error.
    ///
    /// Installs the default configuration if none is in force. Allocates.
    ///
    /// # Errors
    /// [`Error::SourcesAreProcessWide`] if this configuration names sources that are not in force,
    /// and whatever the generator's first rekey answers.
    pub fn build(self) -> Result<SnapRng, Error> {
        self.build_try().map(SnapRng)
    }

    /// An owned generator for the fallible traits of rand_core.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_try(self) -> Result<TrySnapRng, Error> {
        TrySnapRng::with_terms(self.into_owned_terms()?)
    }
}

/// The end of an infallible request that failed. Weak output is not an option.
#[cold]
#[inline(never)]
pub(crate) fn refuse<T>(error: Error) -> T {
    panic!("snaprng: no random bytes: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What functions that have returned leave behind.
    #[inline(never)]
    fn leave_something_on_the_stack() {
        core::hint::black_box(&mut [0xa5_u8; 64 << 10]);
    }

    #[test]
    #[allow(unsafe_code, reason = "looks at padding")]
    fn an_owned_generator_takes_nothing_along_from_the_stack() {
        leave_something_on_the_stack();
        let generator = unkeyed(Terms::default());
        let begin = (&raw const *generator).cast::<u8>();
        // SAFETY: the generator's memory; its padding, too, was zeros before it was one.
        let memory = unsafe { core::slice::from_raw_parts(begin, size_of::<OwnedGenerator>()) };
        assert_eq!(memory.iter().position(|&byte| byte != 0), None);
    }
}
