//! Why something could not be done, and what to do next.

use std::io;
use std::path::PathBuf;

use crate::wire;

/// Why something could not be done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No snapsafed listens there. An application goes on without it.
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// It cannot be reached, though something is there.
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// snapsafed answered with an error.
    Refused(wire::Error),
    /// It did not answer in time. The connection was closed.
    TimedOut,
    /// It went away, or is being restarted.
    Closed,
    /// It, or whoever listens there, does not keep to the protocol.
    Protocol(wire::Failure),
    /// The system refused something else: descriptors, memory.
    System(io::Error),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotRunning { socket } => write!(
                f,
                "snapsafed is not running: nothing listens on {}; start it with `systemctl start \
                 snapsafed`, or go on without it",
                socket.display()
            ),
            Self::Unreachable { socket, cause } => write!(
                f,
                "snapsafed cannot be reached at {}: {cause}; see the permissions of its folder and \
                 the limits of this process",
                socket.display()
            ),
            Self::Refused(error) => error.fmt(f),
            Self::TimedOut => f.write_str(
                "snapsafed did not answer in time; see `systemctl status snapsafed`, and try again",
            ),
            Self::Closed => f.write_str(
                "snapsafed closed the connection: it was stopped or is being restarted; connect \
                 again",
            ),
            Self::Protocol(failure) => {
                write!(f, "{failure}; do this library and snapsafed have the same version?")
            }
            Self::System(cause) => cause.fmt(f),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unreachable { cause, .. } | Self::System(cause) => Some(cause),
            Self::Refused(error) => Some(error),
            Self::Protocol(failure) => Some(failure),
            Self::NotRunning { .. } | Self::TimedOut | Self::Closed => None,
        }
    }
}

impl From<wire::Failure> for Error {
    fn from(failure: wire::Failure) -> Self {
        match failure {
            wire::Failure::Cut => Self::Closed,
            wire::Failure::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                Self::Closed
            }
            wire::Failure::Io(error) => Self::System(error),
            other => Self::Protocol(other),
        }
    }
}
