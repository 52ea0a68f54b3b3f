//! Policy and sources: what an embedder chooses, and the one configuration of the process.
//!
//! Sources belong to the process: witnesses are mapped once, before the first use, and never taken
//! away. What an owned generator may choose for itself is its policy, which weaker witnesses it
//! accepts, and its personalization.

#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::cipher::{Key, Rounds};
use crate::entropy;
use crate::environment;
use crate::error::Error;
use crate::generator::Embedder;
use crate::policy::{Policy, Terms};
use crate::sync::{self, AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::world::{self, Installation};

/// Where the `vmclock` page is to be had.
#[derive(Debug, Default)]
pub enum VmClock {
    /// The device `/dev/vmclock0`.
    #[default]
    Default,
    /// A device or, as a stand-in, a file: a regular file of at least 4096 bytes on a tmpfs, owned
    /// by root or this user and writable by nobody else, like every directory above it, and
    /// reached through no symbolic link. Its first 4096 bytes must have been written, if only with
    /// zeros: a hole is refused. Its owner must not truncate or replace it while it is in use; see
    /// "Files as witnesses" in the manual.
    Path(PathBuf),
    /// An open descriptor of the device or, as a stand-in, of a memfd sealed with `F_SEAL_SHRINK`.
    /// For processes that give up their privileges before they draw bytes.
    #[cfg(unix)]
    Fd(OwnedFd),
    /// Do not look for one. CRIU cannot dump a process that maps the device.
    Off,
}

/// Where another witness is to be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Its usual path: `/dev/sysgenid`, `/run/snapsafe/generation`.
    #[default]
    Default,
    /// Another path. Files must obey the rules given at [`VmClock::Path`].
    Path(PathBuf),
    /// Do not look for it.
    Off,
}

/// The configuration of the process, or of one owned generator.
///
/// ```
/// use snaprng::{Config, Policy};
///
/// // Once, early in main:
/// Config { policy: Policy::Prefer, ..Config::default() }.install()?;
///
/// // Later, anywhere:
/// let mut rng = Config { personalization: b"ticket keys".to_vec(), ..Config::default() }.build()?;
/// # use snaprng::rand_core::Rng;
/// let key = rng.next_u64();
/// # Ok::<(), snaprng::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Config {
    /// What to do where there is no synchronous witness.
    pub policy: Policy,
    /// The synchronous witness.
    pub vmclock: VmClock,
    /// A late witness of Amazon's kernels.
    pub sysgenid: Source,
    /// A late witness written by an agent in this machine.
    pub agent_page: Source,
    /// Buffer although `vmclock` has no VM generation counter, on its disruption marker alone
    /// (QEMU up to 11.1). The marker moves with every load of a snapshot there, but no
    /// specification says that it must.
    pub accept_marker: bool,
    /// Buffer although the only witnesses are late: outputs between the moment the machine runs
    /// again and the moment the agent writes **are shared by clones**.
    pub accept_late: bool,
    /// How many rounds of ChaCha make the output: twenty, unless this says otherwise.
    pub rounds: Rounds,
    /// Bytes that are mixed into every key: a name, a purpose, a serial number. Any length; not
    /// secret, and no replacement for entropy.
    pub personalization: Vec<u8>,
}

impl Config {
    /// Opens and maps every source, and puts this configuration in force for the process: for the
    /// per-thread generators, and as the sources of all.
    ///
    /// Call it once, before the first use and before a sandbox, a chroot or a drop of privileges:
    /// nothing is opened later. Without it, the first use installs the default configuration.
    ///
    /// A source that cannot be used is no error here: [`protection`](crate::protection) names the
    /// cause.
    ///
    /// # Errors
    /// [`Error::AlreadyInstalled`] if a configuration is in force; [`Error::Installing`] if another
    /// thread is at it and does not finish within seconds; [`Error::BadEnvironment`];
    /// [`Error::BadPath`]. [`Error::NotProtected`] if
    /// [`Policy::Require`] is not met: the configuration is then in force all the same, and every
    /// request fails until the policy is met.
    pub fn install(self) -> Result<(), Error> {
        environment::requires()?;
        let terms = self.terms();
        match self.install_sources(move || store_terms(&terms))? {
            Installation::Made => {
                let terms = ProcessTerms.terms();
                terms.admit(terms.standing(&facts()).level)
            }
            Installation::Found => Err(Error::AlreadyInstalled),
            #[cfg(target_os = "linux")]
            Installation::Busy if wait_for_installation() => Err(Error::AlreadyInstalled),
            #[cfg(target_os = "linux")]
            Installation::Busy => Err(Error::Installing),
        }
    }

    /// The terms of an owned generator.
    ///
    /// # Errors
    /// As [`build`](Self::build), without a rekey.
    pub(crate) fn into_owned_terms(self) -> Result<Terms, Error> {
        match ensure_installed() {
            #[cfg(target_os = "linux")]
            Err(Error::Installing) if wait_for_installation() => {}
            outcome => outcome?,
        }
        if !self.has_sources_in_use()? {
            return Err(Error::SourcesAreProcessWide);
        }
        let mut terms = self.terms();
        terms.policy = terms.policy.strengthened(environment::requires()?);
        Ok(terms)
    }

    fn terms(&self) -> Terms {
        Terms {
            policy: self.policy,
            accept_marker: self.accept_marker,
            accept_late: self.accept_late,
            rounds: self.rounds,
            personalization: entropy::digest(&self.personalization),
        }
    }
}

#[cfg(target_os = "linux")]
mod sources {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;

    use super::{Config, Error, Installation, Source, VmClock, entropy, world};
    use world::{Place, Sources};

    impl Config {
        pub(super) fn install_sources(self, prepare: impl FnOnce()) -> Result<Installation, Error> {
            let sources = self.into_sources()?;
            Ok(world::install(sources, || {
                prepare();
                entropy::prepare();
            }))
        }

        pub(super) fn has_sources_in_use(&self) -> Result<bool, Error> {
            let vmclock = match &self.vmclock {
                VmClock::Fd(_) => return Ok(false),
                VmClock::Default => Place::Default,
                VmClock::Path(path) => Place::Path(c_string(path.clone())?),
                VmClock::Off => Place::Off,
            };
            Ok(world::are_in_use(&Sources {
                vmclock,
                vmclock_descriptor: None,
                sysgenid: place(self.sysgenid.clone())?,
                agent_page: place(self.agent_page.clone())?,
            }))
        }

        fn into_sources(self) -> Result<Sources, Error> {
            let (vmclock, vmclock_descriptor) = match self.vmclock {
                VmClock::Default => (Place::Default, None),
                VmClock::Path(path) => (Place::Path(c_string(path)?), None),
                VmClock::Fd(fd) => (Place::HandedIn, Some(fd)),
                VmClock::Off => (Place::Off, None),
            };
            Ok(Sources {
                vmclock,
                vmclock_descriptor,
                sysgenid: place(self.sysgenid)?,
                agent_page: place(self.agent_page)?,
            })
        }
    }

    fn place(source: Source) -> Result<Place, Error> {
        Ok(match source {
            Source::Default => Place::Default,
            Source::Path(path) => Place::Path(c_string(path)?),
            Source::Off => Place::Off,
        })
    }

    fn c_string(path: PathBuf) -> Result<CString, Error> {
        CString::new(path.into_os_string().into_vec()).map_err(|_| Error::BadPath)
    }
}

#[cfg(not(target_os = "linux"))]
mod sources {
    use super::{Config, Error, Installation, Source, VmClock, world};

    impl Config {
        pub(super) fn install_sources(self, prepare: impl FnOnce()) -> Result<Installation, Error> {
            Ok(world::install(prepare))
        }

        pub(super) fn has_sources_in_use(&self) -> Result<bool, Error> {
            Ok(matches!(self.vmclock, VmClock::Default | VmClock::Off)
                && self.sysgenid == Source::Default
                && self.agent_page == Source::Default)
        }
    }
}

/// Installs the default configuration unless one is in force. Neither allocates nor locks.
pub(crate) fn ensure_installed() -> Result<(), Error> {
    let required = environment::requires();
    if world::is_installed() {
        return required.map(|_| ());
    }
    required?;
    // A child that takes over its parent's installation keeps the terms that were chosen there:
    // it must not fall back to a weaker policy.
    let store = || {
        if POLICY.load(Ordering::Acquire) == UNKNOWN {
            store_terms(&Terms::default());
        }
    };
    match Config::default().install_sources(store)? {
        Installation::Made | Installation::Found => Ok(()),
        #[cfg(target_os = "linux")]
        Installation::Busy => Err(Error::Installing),
    }
}

/// Waits for the thread that is installing. For calls that may take their time (they allocate, so
/// no signal handler makes them); false if it does not finish: it may be what this thread interrupted.
#[cfg(target_os = "linux")]
fn wait_for_installation() -> bool {
    const PAUSE: core::time::Duration = core::time::Duration::from_millis(1);
    const PAUSES: u32 = 5_000;
    let _whole = crate::cancellation::Uncancelled::begin();
    (0..PAUSES).any(|_| {
        std::thread::sleep(PAUSE);
        world::is_installed()
    })
}

fn facts() -> crate::policy::Facts {
    use crate::world::World;
    world::SystemWorld.facts()
}

// The terms in force for the per-thread generators. Atomics, for they are read in signal handlers;
// stored once, before the installation that vouches for them is published.
sync::statics! {
    static POLICY: AtomicU8 = AtomicU8::new(UNKNOWN);
    static ACCEPT_MARKER: AtomicBool = AtomicBool::new(false);
    static ACCEPT_LATE: AtomicBool = AtomicBool::new(false);
    static ROUNDS: AtomicU8 = AtomicU8::new(Rounds::Twenty as u8);
    static PERSONALIZATION: [AtomicU64; 4] = sync::array![AtomicU64::new(0); 4];
}

/// Not stored yet: taken for the strictest policy.
const UNKNOWN: u8 = u8::MAX;

fn store_terms(terms: &Terms) {
    for (cell, part) in PERSONALIZATION.iter().zip(terms.personalization.chunks_exact(8)) {
        let mut word = [0; 8];
        word.copy_from_slice(part);
        cell.store(u64::from_le_bytes(word), Ordering::Relaxed);
    }
    ACCEPT_MARKER.store(terms.accept_marker, Ordering::Relaxed);
    ACCEPT_LATE.store(terms.accept_late, Ordering::Relaxed);
    ROUNDS.store(terms.rounds as u8, Ordering::Relaxed);
    POLICY.store(terms.policy as u8, Ordering::Release);
}

/// The configuration of the process, as the embedder of its per-thread generators.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProcessTerms;

impl Embedder for ProcessTerms {
    fn terms(&self) -> Terms {
        let policy = Policy::from_code(POLICY.load(Ordering::Acquire));
        let mut personalization = Key::default();
        for (part, cell) in personalization.chunks_exact_mut(8).zip(PERSONALIZATION.iter()) {
            part.copy_from_slice(&cell.load(Ordering::Relaxed).to_le_bytes());
        }
        Terms {
            // What cannot be read in the environment strengthens.
            policy: policy.strengthened(environment::requires().unwrap_or(true)),
            accept_marker: ACCEPT_MARKER.load(Ordering::Relaxed),
            accept_late: ACCEPT_LATE.load(Ordering::Relaxed),
            rounds: Rounds::from_code(ROUNDS.load(Ordering::Relaxed)),
            personalization,
        }
    }
}

#[cfg(all(test, loom))]
mod models;
