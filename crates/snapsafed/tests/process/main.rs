//! The daemon as a process: private runtime directories, a fake gate, real clients, real deaths.
//!
//! Each test has a daemon of its own. Nothing waits for a time to pass where it can wait for a thing
//! to happen; a test that hangs has found something.
#![cfg(target_os = "linux")]

mod daemon;
mod deaths;
mod failures;
mod hooks;
mod host;
mod hostile;
mod interop;
mod main_path;
mod numbers;
mod permissions;
