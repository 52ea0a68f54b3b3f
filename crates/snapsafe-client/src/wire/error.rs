//! The errors that a service answers: those of `io.snapsafe.Manager`, and Varlink's own.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::State;

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "error", content = "parameters")]
#[non_exhaustive]
pub enum Error {
    /// Another transition is in progress, or the state does not allow this one.
    #[serde(rename = "io.snapsafe.Manager.Busy")]
    Busy {
        /// Where the machine is.
        state: State,
        /// The transition in progress, or the last one.
        transition: u64,
    },
    /// Not for this user.
    #[serde(rename = "io.snapsafe.Manager.NotPermitted")]
    NotPermitted {
        /// What would be needed.
        why: String,
    },
    /// Time ran out.
    #[serde(rename = "io.snapsafe.Manager.Expired")]
    Expired {
        /// Where the machine is now.
        state: State,
        /// Who was waited for.
        holders: Vec<String>,
    },
    /// Somebody said no.
    #[serde(rename = "io.snapsafe.Manager.Vetoed")]
    Vetoed {
        /// Who.
        by: String,
        /// In their words.
        why: String,
    },
    /// Called off by somebody else, or by the death of who was required.
    #[serde(rename = "io.snapsafe.Manager.Aborted")]
    Aborted {
        /// By what.
        why: String,
    },
    /// What was acknowledged is not the present transition and generation.
    #[serde(rename = "io.snapsafe.Manager.Stale")]
    Stale {
        /// The present one.
        transition: u64,
        /// The present one.
        generation: u64,
    },
    /// No participant has this id, or another user's has.
    #[serde(rename = "io.snapsafe.Manager.UnknownParticipant")]
    UnknownParticipant {},
    /// A limit was reached.
    #[serde(rename = "io.snapsafe.Manager.TooMany")]
    TooMany {
        /// Of what.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The network could not be cut, or opened.
    #[serde(rename = "io.snapsafe.Manager.GateFailed")]
    GateFailed {
        /// The cause.
        why: String,
    },

    /// The service has no such interface.
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    InterfaceNotFound {
        /// Its name.
        interface: String,
    },
    /// The interface has no such method.
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    MethodNotFound {
        /// Its name.
        method: String,
    },
    /// The interface has the method, and this service does not.
    #[serde(rename = "org.varlink.service.MethodNotImplemented")]
    MethodNotImplemented {
        /// Its name.
        method: String,
    },
    /// A parameter is missing, unknown, or of the wrong type or value.
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    InvalidParameter {
        /// Its name.
        parameter: String,
    },
    /// Not for this user.
    #[serde(rename = "org.varlink.service.PermissionDenied")]
    PermissionDenied {},
    /// The method has to be called with `more`.
    #[serde(rename = "org.varlink.service.ExpectedMore")]
    ExpectedMore {},

    /// Another one: of a newer service, or not of its interfaces.
    #[serde(skip)]
    Unknown {
        /// With its interface.
        name: String,
        /// As they came.
        parameters: Map<String, Value>,
    },
}

impl Error {
    /// The error that is called so. [`Error::Unknown`] if none is, or its parameters are others.
    pub fn named(name: String, parameters: Map<String, Value>) -> Self {
        serde_json::from_value(json!({ "error": name, "parameters": parameters }))
            .unwrap_or(Self::Unknown { name, parameters })
    }

    /// Its name with the interface, and its parameters.
    pub fn into_parts(self) -> (String, Map<String, Value>) {
        if let Self::Unknown { name, parameters } = self {
            return (name, parameters);
        }
        let mut whole = serde_json::to_value(&self).unwrap_or_default();
        let name = whole["error"].as_str().unwrap_or_default().to_owned();
        let parameters = whole["parameters"].as_object_mut().map(std::mem::take);
        (name, parameters.unwrap_or_default())
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Busy { state, transition } => write!(
                f,
                "the machine is {state} (transition {transition}): wait for its end, or call it \
                 off with `snapsafectl abort`"
            ),
            Self::NotPermitted { why } => write!(f, "not permitted: {why}"),
            Self::Expired { state, holders } => write!(
                f,
                "time ran out waiting for {}; the machine is {state}: let them finish, or stop \
                 them, and try again",
                holders.join(", ")
            ),
            Self::Vetoed { by, why } => write!(f, "{by} said no: {why}"),
            Self::Aborted { why } => write!(f, "called off: {why}"),
            Self::Stale { transition, generation } => write!(
                f,
                "too late: the machine is in transition {transition} of generation {generation}"
            ),
            Self::UnknownParticipant {} => {
                f.write_str("no participant of this user has this id: register anew")
            }
            Self::TooMany { what, limit } => write!(
                f,
                "too many {what}: the limit is {limit}; close some, or raise it in snapsafed.toml"
            ),
            Self::GateFailed { why } => {
                write!(f, "the network could not be cut or opened: {why}")
            }
            Self::InterfaceNotFound { interface } => write!(f, "no interface {interface}"),
            Self::MethodNotFound { method } => {
                write!(f, "no method {method}: is snapsafed of an older version?")
            }
            Self::MethodNotImplemented { method } => write!(f, "{method} is not implemented"),
            Self::InvalidParameter { parameter } => {
                write!(f, "parameter {parameter} is missing, unknown, or of a wrong type or value")
            }
            Self::PermissionDenied {} => f.write_str("not permitted to this user"),
            Self::ExpectedMore {} => f.write_str("this has to be called with `more`"),
            Self::Unknown { name, parameters } => {
                write!(f, "{name} {}", Value::Object(parameters.clone()))
            }
        }
    }
}

impl core::error::Error for Error {}
