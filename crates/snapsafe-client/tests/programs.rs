//! The examples, in C on both libraries and in Rust: built without a warning, and run.
#![cfg(all(target_os = "linux", feature = "capi"))]

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use common::{Daemon, asks, nobody, wait_for_the_end};
use snapsafe_client::wire::Phase;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn must(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Where the C libraries are, built and installed once.
fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("snapsafe-installed");
        must(Command::new(root().join("dist/install-c")).arg("--snapsafe").arg(&prefix));
        prefix
    })
}

/// The example in C, on the shared or the static library.
fn in_c(is_static: bool) -> PathBuf {
    let lib = prefix().join("lib");
    let program = prefix().join(if is_static { "participant-static" } else { "participant" });
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c89", "-pedantic", "-Wall", "-Wextra", "-Werror"]);
    compiler.arg(root().join("examples/c/participant.c")).arg("-o").arg(&program);
    compiler.arg("-I").arg(prefix().join("include"));
    if is_static {
        compiler.arg(lib.join("libsnapsafe.a")).args(["-lpthread", "-lm", "-ldl", "-lgcc_s"]);
    } else {
        let rpath = format!("-Wl,-rpath,{}", lib.display());
        compiler.arg("-L").arg(&lib).arg(rpath).arg("-lsnapsafe");
    }
    must(&mut compiler);
    program
}

/// The example in Rust, as cargo builds it before it runs tests.
fn in_rust() -> PathBuf {
    // Beside `deps`, where this test is.
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/participant");
    assert!(program.exists(), "{} is not there: run all targets", program.display());
    program
}

/// A program that runs, killed at the end whatever comes.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn new(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn takes_part(program: &Path) {
    let daemon = Daemon::new();
    let mut running = Running::new(Command::new(program).arg("beacon").arg(daemon.socket()));
    let (mut line, pipe) = daemon.register("secret");
    assert_eq!(running.line(), "beacon registered");
    line.tell(&asks(Phase::Quiesce));
    assert_eq!(daemon.acked().ok, Some(true));
    assert_eq!(running.line(), "beacon quiesce transition=7 generation=1");
    // The daemon is restarted, and goes on.
    drop(line);
    let mut line = daemon.accept();
    line.subscribed("secret");
    line.tell(&asks(Phase::Restored));
    assert_eq!(daemon.acked().phase, Some(Phase::Restored));
    assert_eq!(running.line(), "beacon restored transition=7 generation=2");
    // Killed, it is gone: nothing but its descriptors was the registration.
    drop(running);
    wait_for_the_end(pipe);

    let alone = must(Command::new(program).arg("beacon").arg(nobody()));
    assert_eq!(alone.trim_end(), "beacon: no snapsafed here, going on without it");
    let usage = Command::new(program).output().unwrap();
    assert!(!usage.status.success());
    assert!(String::from_utf8_lossy(&usage.stderr).contains("NAME [SOCKET]"));
}

#[test]
fn the_example_in_c_takes_part_on_the_shared_library() {
    takes_part(&in_c(false));
}

#[test]
fn the_example_in_c_takes_part_on_the_static_library() {
    takes_part(&in_c(true));
}

#[test]
fn the_example_in_rust_takes_part() {
    takes_part(&in_rust());
}

#[test]
fn the_libraries_export_what_the_header_declares_and_nothing_else() {
    let header = std::fs::read_to_string(prefix().join("include/snapsafe.h")).unwrap();
    let mut declared: Vec<&str> = header
        .lines()
        .filter(|line| !line.starts_with([' ', '/', '#', '*']))
        .filter_map(|line| line.split_once('(').map(|(before, _)| before))
        .filter_map(|before| before.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("snapsafe_"))
        .collect();
    declared.sort_unstable();
    assert_eq!(declared.len(), 7, "{declared:?}");
    for (library, which) in [("libsnapsafe.so", "-D"), ("libsnapsafe.a", "-g")] {
        let library = prefix().join("lib").join(library);
        let listing = must(Command::new("nm").args([which, "--defined-only"]).arg(library));
        let mut shown: Vec<&str> = listing
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|columns| columns.len() == 3)
            .map(|columns| columns[2])
            .collect();
        shown.sort_unstable();
        assert_eq!(shown, declared);
    }
}
