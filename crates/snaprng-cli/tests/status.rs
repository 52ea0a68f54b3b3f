//! `snaprng status`, as operators and readiness probes use it.
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;

use common::{
    assert_fails, code, json, lets_require_pass, run, snaprng, stderr, stdout, this_machine,
};
use serde_json::Value;
use snaprng::host::VmClockPage;

/// A vmclock page in a file on a tmpfs that nobody else may change.
struct StandIn {
    directory: PathBuf,
    page: VmClockPage,
}

impl StandIn {
    fn new(name: &str) -> Self {
        use std::os::unix::fs::DirBuilderExt;
        let directory =
            PathBuf::from(format!("/dev/shm/snaprng-cli-{name}-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&directory).expect("a directory on a tmpfs");
        let page = VmClockPage::create(directory.join("vmclock")).expect("a page");
        Self { directory, page }
    }

    fn path(&self) -> String {
        self.directory.join("vmclock").display().to_string()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn vmclock(report: &Value) -> &Value {
    let witnesses = report["witnesses"].as_array().expect("a list");
    witnesses.iter().find(|witness| witness["name"] == "vmclock").expect("vmclock is listed")
}

#[test]
fn the_report_names_level_witnesses_and_what_to_do() {
    let output = run(&["status"]);
    let (text, machine) = (stdout(&output), this_machine());
    assert_eq!(code(&output), 0);
    let level = machine["level"].as_str().expect("a level");
    assert!(text.starts_with(&format!("protection      {level}")), "{text}");
    for part in ["vmclock ", "sysgenid ", "agent page ", "process ", "forks ", "what to do "] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(text.ends_with('\n'));
}

#[test]
fn a_report_that_is_not_for_a_terminal_has_no_colours() {
    assert!(!stdout(&run(&["status", "--require", "per-call"])).contains('\x1b'));
}

#[test]
fn the_fields_of_the_json_report_are_stable() {
    let machine = this_machine();
    let names: BTreeSet<_> = machine.as_object().expect("an object").keys().cloned().collect();
    for name in [
        "level",
        "policy",
        "stand_in",
        "error",
        "rounds",
        "kernel",
        "fork_safety",
        "restore_safety",
        "witnesses",
        "diversity",
        "settled",
        "settling_for_seconds",
        "counts",
        "container",
        "next_steps",
        "required",
        "satisfied",
    ] {
        assert!(names.contains(name), "{name} is gone");
    }
    let levels = ["synchronous", "accepted", "per-call", "process-only"];
    assert!(levels.contains(&machine["level"].as_str().expect("a level")));
    assert_eq!(machine["policy"], "prefer");
    assert!(machine["counts"]["rekeys"].as_u64() >= Some(1));
    assert!(machine["counts"]["absorbs"].is_u64() && machine["counts"]["epoch_changes"].is_u64());
    for field in ["cpu_bits", "injected_bits"] {
        assert!(machine["diversity"][field].is_u64());
    }
    assert!(machine["diversity"]["none"].is_boolean());
    assert_eq!(vmclock(&machine)["path"], "/dev/vmclock0");
}

#[test]
fn what_is_required_decides_the_exit_code() {
    let machine = this_machine();
    let level = machine["level"].as_str().expect("a level");
    let satisfied_by = [
        ("synchronous", &["synchronous"] as &[_]),
        ("process-only", &["synchronous", "process-only"]),
        ("accepted", &["synchronous", "process-only", "accepted"]),
        ("per-call", &["synchronous", "process-only", "accepted", "per-call"]),
    ];
    for (required, levels) in satisfied_by {
        let output = run(&["status", "--json", "--require", required]);
        let report = json(&output);
        let satisfied = levels.contains(&level);
        assert_eq!(code(&output) == 0, satisfied, "{required} at {level}");
        assert_eq!(report["satisfied"], satisfied);
        assert_eq!(report["required"], required);
    }
}

#[test]
fn an_unknown_level_is_a_usage_error_that_lists_the_known_ones() {
    let output = run(&["status", "--require", "bulletproof"]);
    assert_fails(&output, 2, &["bulletproof", "synchronous", "process-only", "per-call"]);
}

#[test]
fn a_stand_in_gives_its_level_but_does_not_satisfy_synchronous() {
    let stand_in = StandIn::new("level");
    let path = stand_in.path();
    let output = run(&["status", "--json", "--vmclock", &path]);
    let report = json(&output);
    assert_eq!(code(&output), 0);
    assert_eq!(report["level"], "synchronous");
    assert_eq!(report["stand_in"], true);
    assert_eq!(vmclock(&report)["state"], "stand-in");

    let probe = run(&["status", "--require", "synchronous", "--vmclock", &path]);
    assert_eq!(code(&probe), 1);
    let verdict = stdout(&probe).lines().last().expect("a verdict");
    assert!(verdict.contains("not reached"), "{verdict}");
    assert!(verdict.contains(&format!("vmclock ({path}) is a stand-in")), "{verdict}");
}

#[test]
fn a_page_without_a_counter_is_accepted_by_name_only() {
    let mut stand_in = StandIn::new("marker");
    stand_in.page.set_flags(0);
    let path = stand_in.path();
    let plain = json(&run(&["status", "--json", "--vmclock", &path]));
    // Bare metal needs no witness, and takes none that is weaker.
    let bare_metal = plain["level"] == "process-only";
    assert!(bare_metal || plain["level"] == "per-call");
    let accepted = json(&run(&["status", "--json", "--vmclock", &path, "--accept-marker"]));
    assert_eq!(accepted["level"], if bare_metal { "process-only" } else { "accepted" });
    let unasked = run(&["status", "--require", "accepted", "--vmclock", &path]);
    assert_eq!(code(&unasked), i32::from(!bare_metal));
}

#[test]
fn a_page_that_is_no_vmclock_is_named_with_its_cause() {
    let output = run(&["status", "--json", "--vmclock", "/dev/zero"]);
    let report = json(&output);
    assert_eq!(vmclock(&report)["state"], "unusable");
    assert!(!vmclock(&report)["cause"].as_str().expect("a cause").is_empty());
    assert_ne!(report["level"], "synchronous");
}

#[test]
fn the_policy_require_fails_where_requests_would() {
    let output = run(&["status", "--json", "--policy", "require"]);
    let report = json(&output);
    assert_eq!(report["policy"], "require");
    if lets_require_pass() {
        assert_eq!(code(&output), 0);
        assert_eq!(report["error"], Value::Null);
    } else {
        assert_eq!(code(&output), 1);
        assert!(report["error"].as_str().expect("an error").contains("/dev/vmclock0"));
        assert_eq!(report["satisfied"], false);
    }
}

#[test]
fn the_environment_strengthens_the_policy_and_never_weakens_it() {
    let with = |value: &str, policy: &str| {
        let mut command = snaprng(&["status", "--json", "--policy", policy]);
        json(&command.env("SNAPRNG_POLICY", value).output().expect("the command starts"))["policy"]
            .clone()
    };
    assert_eq!(with("require", "prefer"), "require");
    assert_eq!(with("require", "assume-never-cloned"), "require");
    assert_eq!(with("prefer", "require"), "require");
    assert_eq!(with("prefer", "assume-never-cloned"), "assume-never-cloned");
}

#[test]
fn nonsense_in_the_environment_is_an_error_and_not_ignored() {
    let mut command = snaprng(&["status"]);
    let output = command.env("SNAPRNG_POLICY", "nonsense").output().expect("the command starts");
    assert_fails(&output, 2, &["SNAPRNG_POLICY", "require"]);
}

#[test]
fn in_a_container_without_the_device_the_report_says_how_to_pass_it() {
    let stand_in = StandIn::new("container");
    let missing = stand_in.directory.join("nothing").display().to_string();
    let mut command = snaprng(&["status", "--json", "--vmclock", &missing]);
    let output = command.env("container", "podman").output().expect("the command starts");
    let report = json(&output);
    assert!(report["container"].is_string());
    // Bare metal needs no device.
    let needs_it = report["level"] != "process-only";
    let steps = report["next_steps"].to_string();
    for part in ["podman: run with --device=/dev/vmclock0", "Kubernetes", "device plugin"] {
        assert_eq!(steps.contains(part), needs_it, "{part:?} in: {steps}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut command = snaprng(&["status"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command.stdout(writer).output().expect("the command starts");
    assert_fails(&output, 1, &["standard output"]);
    assert!(!stderr(&output).contains("panicked"));
}

#[test]
fn help_and_version_are_there() {
    for arguments in
        [&["--help"] as &[_], &["status", "--help"], &["bytes", "--help"], &["demo", "--help"]]
    {
        let output = run(arguments);
        assert_eq!(code(&output), 0);
        let lines = stdout(&output).to_ascii_lowercase();
        assert!(lines.contains("exit codes"), "{arguments:?}");
        assert!(lines.lines().all(|line| line.chars().count() <= 80), "{arguments:?}");
    }
    let version = run(&["--version"]);
    assert_eq!(stdout(&version), format!("snaprng {}\n", env!("CARGO_PKG_VERSION")));
    assert_fails(&run(&["guess"]), 2, &["guess"]);
}
