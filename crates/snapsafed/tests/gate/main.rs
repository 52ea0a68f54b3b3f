//! The gates of nf_tables, in network namespaces of its own. As root only.
#![cfg(target_os = "linux")]
#![allow(missing_docs, reason = "tests")]

mod link;
mod namespace;
mod owners;
mod queues;
mod rules;
mod traffic;

use std::io::Write;
use std::process::Command;

use namespace::Namespace;
use snapsafed::gate::{Config, Gate, open_gate};

/// Seen without `--nocapture`, and counted by tests/run.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Namespaces; `None` where they cannot be had, which is said.
fn namespaces<const N: usize>(proof: &str) -> Option<[Namespace; N]> {
    for program in ["ip", "nft"] {
        if Command::new(program).arg("-V").output().is_err() {
            say(&format!("SKIPPED: {proof}: {program} is not installed"));
            return None;
        }
    }
    let mut made = Vec::new();
    for _ in 0..N {
        match Namespace::new() {
            Ok(namespace) => made.push(namespace),
            Err(errno) => {
                say(&format!("SKIPPED: {proof}: no network namespaces ({errno}): run as root"));
                return None;
            }
        }
    }
    made.try_into().ok()
}

/// A guest (.1) and what is outside of it (.2), by link 1.
fn guest_and_outside(proof: &str) -> Option<[Namespace; 2]> {
    let [guest, outside] = namespaces(proof)?;
    guest.link(&outside, 1);
    Some([guest, outside])
}

fn gate(config: &Config) -> Box<dyn Gate> {
    open_gate(config).unwrap()
}

fn ordinary() -> Config {
    Config { owned: false, ..Config::default() }
}

/// Shuts the namespace's gate, in a state that stays when the closure has ended.
fn shut(namespace: &Namespace, config: &Config) {
    let config = config.clone();
    namespace.run(move || {
        // Its end leaves an owned table without an owner, and shut.
        let mut gate = gate(&config);
        gate.shut().unwrap();
        assert!(gate.holds().unwrap());
        // The kernel itself sends now and then (neighbour discovery): nothing of it is on its way.
        while !gate.is_drained().unwrap() {}
    });
}

fn open(namespace: &Namespace) {
    open_as(namespace, &Config::default());
}

fn open_as(namespace: &Namespace, config: &Config) {
    let config = config.clone();
    namespace.run(move || {
        let mut gate = gate(&config);
        gate.open().unwrap();
        assert!(!gate.is_there().unwrap());
    });
}

/// In the present namespace.
fn try_nft(arguments: &str) -> bool {
    let output = std::process::Command::new("nft").args(arguments.split_whitespace()).output();
    output.unwrap().status.success()
}
