//! What crosses the socket: Varlink, as much of it as `io.snapsafe.Manager` needs, for both sides.
//!
//! A message is one JSON object and a NUL. [`Channel`] carries messages and descriptors and knows
//! nothing of their meaning; [`Call`] and [`Reply`] are the envelopes; [`manager`] and [`service`]
//! hold the methods' parameters and answers, and [`Request`] is any of them, read and checked.
//! Nothing here waits for more than one system call, and nothing trusts the peer: every message,
//! every queue and every number of descriptors has a limit.

mod channel;
mod envelope;
mod error;
pub mod manager;
mod request;
pub mod service;
mod words;

pub use channel::{
    Channel, Failure, Filled, MOST_DESCRIPTORS, MOST_MESSAGE_BYTES, MOST_QUEUED_BYTES, Message,
};
pub use envelope::{Call, Method, Reply};
pub use error::Error;
pub use request::Request;
pub use words::{Expectation, Mode, Outcome, Phase, State};

/// Where snapsafed listens.
pub const SOCKET: &str = "/run/snapsafe/io.snapsafe.Manager";

/// The interface's name.
pub const INTERFACE: &str = "io.snapsafe.Manager";

/// The interface's description, as `org.varlink.service.GetInterfaceDescription` gives it.
pub const DESCRIPTION: &str = include_str!("io.snapsafe.Manager.varlink");
