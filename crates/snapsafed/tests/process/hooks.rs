//! Hooks, as the daemon runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use snapsafe_client::wire::{Error as Refusal, Expectation, Outcome, Phase, State};

use super::daemon::{App, Daemon, refusal};

fn ran(daemon: &Daemon) -> Vec<String> {
    let ran = fs::read_to_string(daemon.directory.join("ran")).unwrap_or_default();
    ran.lines().map(str::to_owned).collect()
}

#[test]
fn hooks_run_between_participants_and_gate_before_and_backwards_after() {
    let daemon = Daemon::start();
    let note =
        "echo \"$(basename $0) $1 $(cat gate/state 2>/dev/null) $SNAPSAFE_GENERATION\" >> ran";
    daemon.hook("10-a", note);
    daemon.hook("20-b", note);
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    let event = app.asked_for(Phase::Quiesce);
    assert!(ran(&daemon).is_empty());
    app.answer(&event, None).unwrap();
    quiescing.join().unwrap().unwrap();
    let unquiescing = daemon.unquiescing(Expectation::Any);
    let event = app.asked_for(Phase::Restored);
    assert_eq!(ran(&daemon).len(), 2);
    app.answer(&event, None).unwrap();
    unquiescing.join().unwrap().unwrap();
    let expected =
        ["20-b quiesce  1", "10-a quiesce  1", "10-a restored shut 2", "20-b restored shut 2"];
    assert_eq!(ran(&daemon), expected);
}

#[test]
fn a_hook_that_fails_calls_the_snapshot_off_and_all_hooks_hear_of_it() {
    let daemon = Daemon::start();
    daemon.hook("10-no", "echo $1 >> ran; [ $1 != quiesce ]");
    match refusal(daemon.quiesce()) {
        Refusal::Vetoed { why, .. } => assert!(why.contains("10-no"), "{why}"),
        other => panic!("{other:?}"),
    }
    daemon.until_state(State::Running);
    assert_eq!(ran(&daemon), ["quiesce", "aborted"]);
}

#[test]
fn a_hook_that_fails_after_a_snapshot_keeps_the_gate_shut_until_it_works() {
    let daemon = Daemon::start();
    daemon.hook("10-no", "[ $1 = quiesce ] || [ -e fixed ]");
    let quiesced = daemon.quiesce().unwrap();
    assert!(matches!(refusal(daemon.unquiesce(Expectation::Any)), Refusal::Vetoed { .. }));
    assert!(daemon.gate_is_shut() && daemon.never_opened());
    assert!(daemon.status().degraded.unwrap().contains("10-no"));
    fs::write(daemon.directory.join("fixed"), "").unwrap();
    let running = daemon.unquiesce(Expectation::Any).unwrap();
    assert_eq!((running.transition, running.outcome), (quiesced.transition, Outcome::Restored));
}

#[test]
fn a_hook_that_hangs_is_killed_at_the_deadline_and_calls_the_snapshot_off() {
    let daemon = Daemon::with("quiesce_timeout = \"200ms\"");
    daemon.hook("10-hangs", "[ $1 = quiesce ] || exit 0; echo $$ > pid; exec sleep 1000");
    assert!(daemon.quiesce().is_err());
    daemon.until_state(State::Running);
    let Ok(pid) = fs::read_to_string(daemon.directory.join("pid")) else { return };
    while fs::exists(format!("/proc/{}", pid.trim())).unwrap() {
        std::thread::yield_now();
    }
}

#[test]
fn a_hook_that_others_could_have_written_is_refused_loudly() {
    let daemon = Daemon::start();
    daemon.hook("10-open", "echo $1 >> ran");
    let path = daemon.directory.join("hooks.d/10-open");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o757)).unwrap();
    match refusal(daemon.quiesce()) {
        Refusal::Vetoed { why, .. } => assert!(why.contains("10-open"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(ran(&daemon).is_empty());
    assert!(daemon.said().contains("10-open is refused"));
}

#[test]
fn calling_off_ends_hooks_that_still_run() {
    let daemon = Daemon::start();
    daemon.hook("10-slow", "[ $1 = quiesce ] || exit 0; echo $$ > pid; exec sleep 1000");
    let quiescing = daemon.quiescing();
    let file = daemon.directory.join("pid");
    let pid = loop {
        match fs::read_to_string(&file) {
            Ok(pid) if pid.ends_with('\n') => break pid.trim().to_owned(),
            _ => std::thread::yield_now(),
        }
    };
    assert!(daemon.ctl(&["abort"]).status.success());
    assert!(quiescing.join().unwrap().is_err());
    while fs::exists(format!("/proc/{pid}")).unwrap() {
        std::thread::yield_now();
    }
}
