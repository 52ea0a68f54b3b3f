//! The command `snaprng`: shows an operator whether this machine is protected and why not, makes
//! bytes, and demonstrates.
//!
//! It uses the public API of the library and nothing else, so whatever it shows, a program can ask
//! for as well. It must never print a random byte that it was not asked for, nor succeed where it
//! could not do what it was asked to.
#![deny(unsafe_code)]

mod arguments;
mod bytes;
mod container;
#[cfg(target_os = "linux")]
mod demo;
#[cfg(not(target_os = "linux"))]
#[path = "demo_elsewhere.rs"]
mod demo;
mod failure;
mod openssl_conf;
mod paint;
mod progress;
mod size;
mod status;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Status(options) => status::run(options),
        Command::Bytes(options) => bytes::run(options),
        Command::Demo(options) => demo::run(options),
        Command::OpensslConf(options) => openssl_conf::run(&options),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
