//! The protection levels: the vocabulary in which everything else is said.

use core::fmt;
use core::str::FromStr;

/// How well outputs are guarded against a copy of the machine. What each level promises is in the
/// [manual](crate#protection-levels).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Level {
    /// No witness of a VM clone is in use, or none that is synchronous: every request draws fresh
    /// kernel and CPU randomness and nothing is served from a buffer.
    PerCall = 0,
    /// A weaker witness is in use because the embedder accepted it by name.
    Accepted = 1,
    /// No virtual machine here, or the embedder says that it is never cloned: buffered; forks and
    /// process restores are watched for.
    ProcessOnly = 2,
    /// A synchronous witness, the VM generation counter of `vmclock`, is looked at before and
    /// after every output: buffered.
    Synchronous = 3,
}

impl Level {
    /// Whether outputs may be served from a buffer at this level.
    pub(crate) fn buffers(self) -> bool {
        self != Self::PerCall
    }

    /// Whether a VM clone is something that this level reckons with.
    pub(crate) fn reckons_with_clones(self) -> bool {
        self != Self::ProcessOnly
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Synchronous => "synchronous",
            Self::Accepted => "accepted",
            Self::PerCall => "per-call",
            Self::ProcessOnly => "process-only",
        })
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        match text {
            "synchronous" => Ok(Self::Synchronous),
            "accepted" => Ok(Self::Accepted),
            "per-call" => Ok(Self::PerCall),
            "process-only" => Ok(Self::ProcessOnly),
            _ => Err(UnknownLevel),
        }
    }
}

/// The text names no protection level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a protection level: use synchronous, accepted, per-call or process-only")
    }
}

impl core::error::Error for UnknownLevel {}
