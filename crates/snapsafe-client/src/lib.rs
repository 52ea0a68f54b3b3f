//! Takes part in system-wide snapshot safety.
//!
//! `snapsafed` takes a whole machine through a snapshot: running → quiescing → quiesced →
//! unquiescing → running. This library is for those it asks and tells.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

pub mod wire;
