//! What a command answers when it could not do what it was asked to.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// Did not work out, or what was asked for is not the case.
pub(crate) const FAILED: u8 = 1;
/// Was not understood, or makes no sense. The code that clap uses too.
pub(crate) const USAGE: u8 = 2;

/// An error message, which says what to do next, and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub(crate) fn failed(message: impl Display) -> Self {
        Self { code: FAILED, message: message.to_string() }
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Self { code: USAGE, message: message.to_string() }
    }

    /// Prints the message. Where there is nobody to read it, the code must do.
    pub(crate) fn report(&self) -> ExitCode {
        let _ =
            io::Write::write_fmt(&mut io::stderr(), format_args!("snaprng: {}\n", self.message));
        self.code.into()
    }
}

/// The library's errors say what to do by themselves.
impl From<snaprng::Error> for Failure {
    fn from(error: snaprng::Error) -> Self {
        match error {
            snaprng::Error::BadEnvironment => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}
