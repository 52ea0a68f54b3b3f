//! [`Generation`]: a token for "this copy of the world".
//!
//! For values that must not be shared between clones, and for operations that must not be finished
//! twice: take the token before, ask it after.

use core::fmt;

use crate::config;
use crate::world::{Epoch, SystemWorld, World};

/// An opaque token for the copy of machine and process that it was taken in.
///
/// Ends with every VM clone or restore that a witness shows, every fork (in the child), every
/// process restore, and every [`notify_restored`](crate::notify_restored).
///
/// It is *equal in sibling clones*: it tells that a copy was made, not which one this is. So it is
/// never an identity, a lease or a key, and cannot be serialized. Where only a late witness of VM
/// clones is in use it ends late, and where there is none it does not end with them at all;
/// [`protection`](crate::protection) says so.
///
/// ```
/// let generation = snaprng::generation();
/// let request = format!("id={:016x}", u64::from_le_bytes(snaprng::bytes()));
/// // Just before it leaves the machine:
/// assert!(generation.is_current(), "this machine was cloned: make another request");
/// # let _ = request;
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// `None` if the witnesses could not be installed: such a token is never current.
    words: Option<GenerationWords>,
}

/// What of an epoch makes a generation: not the process word, which a mere page drop changes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct GenerationWords {
    machine: [u64; 5],
    copy: u64,
}

impl GenerationWords {
    fn of(epoch: &Epoch) -> Self {
        Self { machine: epoch.vm_words(), copy: epoch.copy }
    }
}

/// The generation that this process is in now.
///
/// No system call, no lock, no allocation once the library has been used; safe in signal handlers.
pub fn generation() -> Generation {
    Generation { words: now() }
}

fn now() -> Option<GenerationWords> {
    config::ensure_installed().ok()?;
    Some(GenerationWords::of(&SystemWorld.look()))
}

impl Generation {
    /// The token as the C ABI hands it out: eight words, the first of which is 1 if it can ever be
    /// current.
    #[cfg(feature = "capi")]
    pub(crate) fn to_words(self) -> [u64; 8] {
        let Some(GenerationWords { machine: [a, b, c, d, e], copy }) = self.words else {
            return [0; 8];
        };
        [1, a, b, c, d, e, copy, 0]
    }

    /// The token that the C ABI handed out.
    #[cfg(feature = "capi")]
    pub(crate) fn from_words([valid, a, b, c, d, e, copy, _]: [u64; 8]) -> Self {
        let words = GenerationWords { machine: [a, b, c, d, e], copy };
        Self { words: (valid == 1).then_some(words) }
    }

    /// Whether the token's copy of the world is the one that this code runs in.
    pub fn is_current(&self) -> bool {
        self.words.is_some() && self.words == now()
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Generation { .. }")
    }
}
