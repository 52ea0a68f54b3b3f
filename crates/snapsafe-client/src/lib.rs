//! Takes part in system-wide snapshot safety.
//!
//! `snapsafed` takes a whole machine through a snapshot: running → quiescing → quiesced →
//! unquiescing → running. Before the snapshot it asks applications to get ready, and cuts the
//! network; in every clone it tells them that the world is another one, and opens the network only
//! after those that it must wait for have adapted. This library is for those applications:
//!
//! - [`Participant`]: two closures, before and after. [`Registration`] is the same for event loops
//!   that answer later. For C: feature `capi`, `include/snapsafe.h`.
//! - [`Inhibitor`]: a lock that holds snapshots up for a while.
//! - [`Client`]: any call, for tools; [`wire`] has the messages, for both sides.
//!
//! Where no daemon runs, all of them say [`Error::NotRunning`], and the application goes on. A
//! daemon that is restarted finds its participants and locks again.
//!
//! # Who must not register
//!
//! A library that adapts *when it is called*, such as a random number generator that looks for a
//! clone before each output: `snaprng` does not register. It has nothing to do in advance. And if
//! it registered it would be waited for, and be called only after the network opens, for which it
//! is waited: a deadlock. Nor does anything register that has no point in its event loop at which
//! it can answer.
//!
//! # What it does not do
//!
//! No thread, no signal handler, no environment variable. A child process that was forked holds
//! copies of the descriptors: a registration and a lock end when those are closed, too (exec closes
//! them).
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

#[cfg(feature = "capi")]
pub mod capi;
mod connection;
mod error;
mod inhibitor;
mod participant;
mod registration;
pub mod wire;

pub use connection::{Client, Replies};
pub use error::Error;
pub use inhibitor::{Inhibitor, What};
pub use participant::{Builder, Participant};
pub use registration::{Asked, Options, Registration};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
