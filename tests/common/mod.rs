//! What the integration tests share: fresh processes, copies of processes, and ways to stop the
//! library at an exact point.
//!
//! A configuration is installed once per process, and `cargo test` runs the tests of one file as
//! threads of one process. So a test that installs one runs in a *fresh process*: the test binary
//! starts itself again for this test alone.
#![allow(dead_code, reason = "every test binary uses a part of this")]

pub(crate) mod blocks;
pub(crate) mod clock;
pub(crate) mod copies;
pub(crate) mod draws;
pub(crate) mod faults;
pub(crate) mod interruption;
pub(crate) mod maps;
pub(crate) mod privileges;
pub(crate) mod scratch;
pub(crate) mod seccomp;
pub(crate) mod sources;
pub(crate) mod trace;
pub(crate) mod vdso;
pub(crate) mod worlds;

use std::any::type_name;
use std::io::Write;
use std::process::{Command, Output};

/// Set in a fresh process; its value names the variant of the scenario that it runs.
const VARIANT: &str = "SNAPRNG_TEST_VARIANT";

/// How a line begins that says that a test could not prove its sentence here. `tests/run` looks
/// for it.
const SKIPPED: &str = "SKIPPED: ";

/// How a line begins that says how much was compared.
const COUNTED: &str = "COUNTED: ";

/// Runs `scenario` in a process in which nothing has used the library yet.
pub(crate) fn in_a_fresh_process<F: FnOnce()>(scenario: F) {
    run(&test_name::<F>(), &["only"], &[], |_| scenario());
}

/// Runs `scenario` in one fresh process for each variant, which it is told.
pub(crate) fn in_fresh_processes<F: FnOnce(&str)>(variants: &[&str], scenario: F) {
    run(&test_name::<F>(), variants, &[], scenario);
}

/// Like [`in_a_fresh_process`], with these variables in the environment.
pub(crate) fn in_a_process_with<F: FnOnce()>(environment: &[(&str, &str)], scenario: F) {
    run(&test_name::<F>(), &["only"], environment, |_| scenario());
}

/// Runs the scenario if this is a fresh process, and starts them otherwise.
pub(crate) fn run(
    test: &str,
    variants: &[&str],
    environment: &[(&str, &str)],
    scenario: impl FnOnce(&str),
) {
    match std::env::var(VARIANT) {
        Ok(variant) => scenario(&variant),
        Err(_) => variants.iter().for_each(|variant| start(test, variant, environment)),
    }
}

/// The path of the test that `F` is a closure of: `file::test::{{closure}}` without the file and
/// the closures. Should a compiler name closures in another way, no test of that name is found,
/// and [`check`] fails.
pub(crate) fn test_name<F>() -> String {
    let name = type_name::<F>();
    let name = name.split_once("::").map_or(name, |(_, path)| path);
    name.split("::{{closure}}").next().unwrap_or(name).to_owned()
}

fn start(test: &str, variant: &str, environment: &[(&str, &str)]) {
    let itself = std::env::current_exe().expect("the test binary has a path");
    let output = command(itself, test, variant, environment).output().expect("it starts again");
    check(test, variant, &output);
}

/// The test binary at `path`, about to run `test` alone.
pub(crate) fn command(
    path: impl AsRef<std::ffi::OsStr>,
    test: &str,
    variant: &str,
    environment: &[(&str, &str)],
) -> Command {
    let mut command = Command::new(path);
    command
        .args([test, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
        .env_remove("SNAPRNG_POLICY")
        .env(VARIANT, variant)
        .envs(environment.iter().copied());
    command
}

/// Fails unless the fresh process ran its one test and that passed. Passes on what was skipped
/// and counted.
pub(crate) fn check(test: &str, variant: &str, output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    for line in errors.lines().filter(|line| line.starts_with(SKIPPED) || line.starts_with(COUNTED))
    {
        write_uncaptured(line);
    }
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{test} failed in a fresh process (variant {variant}, {}):\n{text}{errors}",
        output.status
    );
}

/// Says, so that it cannot be overlooked, that something could not be proven here.
pub(crate) fn skip(what: &str, why: &str) {
    write_uncaptured(&format!("{SKIPPED}{what}: {why}"));
}

/// Says how much was compared.
pub(crate) fn count(what: &str) {
    write_uncaptured(&format!("{COUNTED}{what}"));
}

/// Past libtest's capture, which takes what `eprintln!` writes.
fn write_uncaptured(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether this process may do what only root may.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
