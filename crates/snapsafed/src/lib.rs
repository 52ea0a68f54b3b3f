//! What `snapsafed` and `snapsafectl` are made of. Not an interface for others.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]
#![allow(
    missing_docs,
    reason = "nobody else uses this library; comments are where they say something"
)]

pub mod agent;
pub mod child;
pub mod clock;
pub mod config;
pub mod driver;
pub mod gate;
pub mod hooks;
pub mod kernel;
pub mod locks;
pub mod log;
pub mod machine;
pub mod members;
pub mod memory;
pub mod notify;
pub mod retry;
pub mod runtime;
pub mod server;
pub mod target;
pub mod users;
pub mod witness;
