//! What was not done, and what to do next.

use std::fmt::Display;
use std::process::ExitCode;

use serde_json::json;
use snapsafe_client::{Error, wire};

use crate::show::View;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_RUNNING: u8 = 3;
const BUSY: u8 = 4;

#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    /// For programs: the error of the interface, if it is one.
    error: serde_json::Value,
}

impl Failure {
    pub(crate) fn failed(message: impl Display) -> Self {
        Self::new(FAILED, message)
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(USAGE, message)
    }

    fn new(code: u8, message: impl Display) -> Self {
        let message = message.to_string();
        Self { code, error: json!({ "message": message }), message }
    }

    /// Prints the message. Where there is nobody to read it, the code must do.
    pub(crate) fn report(&self, view: View) -> ExitCode {
        if view.json {
            let _ = crate::paint::print(&format!("{}\n", self.error));
        }
        let line = format_args!("snapsafectl: {}\n", self.message).to_string();
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        self.code.into()
    }
}

/// The library's errors say what to do by themselves.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NotRunning { .. } => NOT_RUNNING,
            Error::Refused(wire::Error::Busy { .. }) => BUSY,
            _ => FAILED,
        };
        let failure = Self::new(code, &error);
        match error {
            Error::Refused(refusal) => {
                let (name, parameters) = refusal.into_parts();
                let error =
                    json!({ "error": name, "parameters": parameters, "message": failure.message });
                Self { error, ..failure }
            }
            _ => failure,
        }
    }
}
