//! Locks that hold transitions up, as logind's hold up a shutdown.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crate::connection::Client;
use crate::error::Error;
use crate::wire::{Mode, SOCKET, manager};

/// How long the service may take to answer what needs no waiting.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// Which transitions a lock holds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// No snapshot is taken.
    Quiesce,
    /// The network stays cut after one.
    Unquiesce,
    /// Both.
    Both,
}

impl What {
    /// As on the wire, and on a command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quiesce => "quiesce",
            Self::Unquiesce => "unquiesce",
            Self::Both => "quiesce:unquiesce",
        }
    }
}

/// A lock. The descriptor *is* the lock: it ends when every copy of it has been closed, those in
/// child processes included, and survives a restart of the service.
///
/// ```no_run
/// use snapsafe_client::{Inhibitor, What, wire::Mode};
///
/// let lock = Inhibitor::take(What::Quiesce, "backup", "a tape is being written", Mode::Delay)?;
/// // ... what no snapshot must see half done ...
/// drop(lock);
/// # Ok::<(), snapsafe_client::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the lock ends when this is dropped"]
pub struct Inhibitor {
    lock: OwnedFd,
}

impl Inhibitor {
    /// Takes a lock of the system's snapsafed. [`Mode::Block`] is root's.
    ///
    /// # Errors
    /// [`Error::NotRunning`] where there is no snapsafed, [`Error::Refused`] if it refuses.
    pub fn take(what: What, who: &str, why: &str, mode: Mode) -> Result<Self, Error> {
        Self::take_at(Path::new(SOCKET), what, who, why, mode)
    }

    /// The same of another snapsafed.
    ///
    /// # Errors
    /// As [`Inhibitor::take`].
    pub fn take_at(
        socket: &Path,
        what: What,
        who: &str,
        why: &str,
        mode: Mode,
    ) -> Result<Self, Error> {
        let mut client = Client::connect_to(socket)?;
        client.set_timeout(Some(ANSWER));
        let (inhibited, descriptors) = client.call_for_descriptors(&manager::Inhibit {
            what: what.as_str().to_owned(),
            who: who.to_owned(),
            why: why.to_owned(),
            mode: Some(mode),
        })?;
        Ok(Self { lock: pick(descriptors, inhibited.fd)? })
    }

    /// The lock itself, to be given to a child process. It is closed on exec unless that is changed.
    pub fn into_fd(self) -> OwnedFd {
        self.lock
    }
}

impl AsFd for Inhibitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

/// The descriptor that an answer names.
pub(crate) fn pick(descriptors: Vec<OwnedFd>, index: u64) -> Result<OwnedFd, Error> {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    descriptors.into_iter().nth(index).ok_or(Error::Protocol(crate::wire::Failure::NoDescriptor))
}
