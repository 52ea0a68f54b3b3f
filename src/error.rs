//! What can go wrong, in words that say what to do next.
//!
//! An error is a small `Copy` value: it is made in signal handlers and between a fork and an exec,
//! where nothing may be allocated. It never holds anything secret.

use core::fmt;

use crate::level::Level;

/// Why no random bytes could be given, or why a configuration was refused.
///
/// Whenever a request fails, the caller's buffer has been wiped. The next request starts again
/// from fresh entropy; a failure never leaves a generator that works by accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The kernel gave no randomness. Holds the error number of the last attempt.
    ///
    /// A sandbox that forbids `getrandom` without leaving `/dev/urandom` reachable does this.
    EntropyUnavailable(i32),
    /// Under [`Policy::Require`](crate::Policy::Require): this machine does not reach the level
    /// that the policy asks for.
    NotProtected(Level),
    /// Under [`Policy::Require`](crate::Policy::Require): nothing is known that would tell this
    /// clone from its siblings yet. It passes by itself once the kernel must have reseeded.
    NotYetDiverse,
    /// The witnesses moved during each of eight attempts at one request.
    WorldUnstable,
    /// Another thread is installing the witnesses and did not finish in time, and the policy
    /// forbids to go on without them.
    Installing,
    /// [`Config::install`](crate::Config::install) came too late: a configuration is in force.
    AlreadyInstalled,
    /// An owned generator asked for sources that are not those of the process.
    SourcesAreProcessWide,
    /// `SNAPRNG_POLICY` in the environment has a value that is neither `prefer` nor `require`, or
    /// `SNAPRNG_KERNEL` names no kernel that this build and this CPU have.
    BadEnvironment,
    /// The path of a source holds a NUL byte.
    BadPath,
    /// A signal handler asked to reseed the very generator that it interrupted.
    Reentered,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EntropyUnavailable(errno) => write!(
                f,
                "the kernel gave no randomness (error {errno}): allow the getrandom system call, or \
                 leave /dev/urandom readable"
            ),
            Self::NotProtected(level) => write!(
                f,
                "the policy requires a synchronous witness, but the level here is {level}: give \
                 the process read access to /dev/vmclock0 (`snaprng status` says why it has none), \
                 or choose another policy"
            ),
            Self::NotYetDiverse => f.write_str(
                "this machine was started or restored moments ago, it has no CPU randomness, and \
                 nothing tells its clones apart yet: retry later (it passes about a minute after \
                 the restore), or hand in unique bytes with notify_restored()",
            ),
            Self::WorldUnstable => f.write_str(
                "the witnesses kept moving during eight attempts: the machine is being restored \
                 over and over, or something other than a hypervisor writes the generation page",
            ),
            Self::Installing => f.write_str(
                "another thread is still opening the witnesses: call Config::install() early in \
                 main, before threads and signal handlers ask for bytes",
            ),
            Self::AlreadyInstalled => f.write_str(
                "a configuration is already in force: call Config::install() once, before the \
                 first use of any generator",
            ),
            Self::SourcesAreProcessWide => f.write_str(
                "witnesses belong to the whole process: give their sources to Config::install(), \
                 and leave them at their defaults in the Config of an owned generator",
            ),
            Self::BadEnvironment => f.write_str(
                "the environment asks for what cannot be: SNAPRNG_POLICY must be `prefer` or \
                 `require` (it can only strengthen the policy that the program chose), and \
                 SNAPRNG_KERNEL, which is for tests, one of the cipher's kernels that this CPU has \
                 (`portable`, `avx2`, `avx512`)",
            ),
            Self::BadPath => {
                f.write_str("the path of a source holds a NUL byte: no file has such a name")
            }
            Self::Reentered => f.write_str(
                "this thread's generator was interrupted in the middle of a request and cannot be \
                 reseeded from here: reseed outside of signal handlers",
            ),
        }
    }
}

impl core::error::Error for Error {}
