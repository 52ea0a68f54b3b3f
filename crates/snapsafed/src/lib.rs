//! What `snapsafed` and `snapsafectl` are made of. Not an interface for others.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]
#![allow(
    missing_docs,
    reason = "nobody else uses this library; comments are where they say something"
)]

pub mod gate;
pub mod kernel;
pub mod machine;
pub mod witness;
