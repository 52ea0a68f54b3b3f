//! The command as its users run it: a process with arguments, an environment, pipes and a code.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The command with these arguments, without a policy in its environment.
pub(crate) fn snaprng(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snaprng"));
    command.args(arguments).env_remove("SNAPRNG_POLICY").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    snaprng(arguments).output().expect("the command starts")
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

pub(crate) fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).expect("text")
}

pub(crate) fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("text")
}

/// Asserts a failure with this code whose message has each of these parts, and no output.
pub(crate) fn assert_fails(output: &Output, expected: i32, parts: &[&str]) {
    let message = stderr(output);
    assert_eq!(code(output), expected, "{message}");
    assert!(output.stdout.is_empty(), "nothing may be printed beside an error");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What this machine has: tests run on bare metal, in containers, and on VMs with and without a
/// vmclock.
pub(crate) fn this_machine() -> Value {
    json(&run(&["status", "--json"]))
}

/// Whether the policy `require` lets programs work on this machine.
pub(crate) fn lets_require_pass() -> bool {
    matches!(this_machine()["level"].as_str(), Some("synchronous" | "process-only"))
}
