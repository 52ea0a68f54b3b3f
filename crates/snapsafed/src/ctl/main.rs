//! The command `snapsafectl`: asks the daemon, and shows what it answers.
//!
//! It must never say that something was done which was not: the exit code is 0 only if it was.
#![deny(unsafe_code)]
#![cfg_attr(not(target_os = "linux"), allow(unused, reason = "there is nothing to ask"))]

#[cfg(target_os = "linux")]
mod arguments;
#[cfg(target_os = "linux")]
mod failure;
#[cfg(target_os = "linux")]
mod inhibit;
#[cfg(target_os = "linux")]
mod monitor;
#[cfg(target_os = "linux")]
mod paint;
#[cfg(target_os = "linux")]
mod show;
#[cfg(target_os = "linux")]
mod transitions;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("snapsafectl: needs Linux");
    std::process::exit(1);
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use arguments::{Arguments, Command};
    use clap::Parser;

    let Arguments { socket, json, command } = Arguments::parse();
    let view = show::View::new(json);
    let outcome = match command {
        Command::Status => show::status(&socket, view),
        Command::Quiesce(options) => transitions::quiesce(&socket, view, options),
        Command::Unquiesce(options) => transitions::unquiesce(&socket, view, options),
        Command::Abort => transitions::abort(&socket, view),
        Command::Inhibit(options) => inhibit::run(&socket, options),
        Command::ListInhibitors => show::inhibitors(&socket, view),
        Command::ListParticipants => show::participants(&socket, view),
        Command::Monitor => monitor::run(&socket, view),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(view),
    }
}
