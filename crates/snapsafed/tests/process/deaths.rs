//! `kill -9`, at every edge: of the daemon in each state, and of clients. The same transition goes on,
//! and nothing opens by accident.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use snapsafe_client::wire::manager::{Inhibit, ListInhibitors, ListParticipants};
use snapsafe_client::wire::{Error as Refusal, Expectation, Mode, Outcome, Phase, State};

use super::daemon::{App, Daemon, refusal};

#[test]
fn a_daemon_killed_while_running_finds_its_participants_and_locks_again() {
    let mut daemon = Daemon::start();
    let app = App::join(&daemon, "app");
    let lock = lock(&daemon, Mode::Delay);
    daemon.restart();
    let participants = daemon.client().call(&ListParticipants {}).unwrap().participants;
    assert_eq!(participants.len(), 1);
    assert_eq!((participants[0].name.as_str(), participants[0].required), ("app", true));
    assert_eq!(daemon.client().call(&ListInhibitors {}).unwrap().inhibitors.len(), 1);
    // Their deaths are seen after it.
    drop(app);
    drop(lock);
    loop {
        let participants = daemon.client().call(&ListParticipants {}).unwrap().participants;
        let inhibitors = daemon.client().call(&ListInhibitors {}).unwrap().inhibitors;
        if participants.is_empty() && inhibitors.is_empty() {
            break;
        }
    }
    assert_eq!(fs::read_dir(daemon.runtime().join("locks")).unwrap().count(), 0);
}

#[test]
fn clients_that_died_while_there_was_no_daemon_are_gone_when_there_is_one() {
    let mut daemon = Daemon::start();
    let app = App::join(&daemon, "app");
    let lock = lock(&daemon, Mode::Block);
    daemon.kill();
    drop(app);
    drop(lock);
    daemon.launch();
    assert!(daemon.client().call(&ListParticipants {}).unwrap().participants.is_empty());
    assert!(daemon.client().call(&ListInhibitors {}).unwrap().inhibitors.is_empty());
    daemon.quiesce().unwrap();
}

#[test]
fn a_daemon_killed_while_it_waits_for_a_participant_goes_on_to_quiesced() {
    let mut daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    let before = app.asked_for(Phase::Quiesce);
    daemon.restart();
    assert!(quiescing.join().unwrap().is_err());
    assert_eq!(daemon.state(), State::Quiescing);
    app.come_back();
    let again = app.consent(Phase::Quiesce);
    assert_eq!((again.transition, again.generation), (before.transition, before.generation));
    assert_eq!(daemon.until_state(State::Quiesced).transition, before.transition);
    assert!(daemon.gate_is_shut());
}

#[test]
fn a_daemon_killed_while_hooks_run_runs_them_again() {
    let mut daemon = Daemon::start();
    daemon.hook("10-slow", "echo $1 >> ran; while [ ! -e go ]; do sleep 0.01; done");
    let quiescing = daemon.quiescing();
    let ran = daemon.directory.join("ran");
    let lines = || fs::read_to_string(&ran).unwrap_or_default().lines().count();
    while lines() < 1 {
        std::thread::yield_now();
    }
    daemon.restart();
    assert!(quiescing.join().unwrap().is_err());
    while lines() < 2 {
        std::thread::yield_now();
    }
    assert!(!daemon.gate_is_shut());
    fs::write(daemon.directory.join("go"), "").unwrap();
    assert_eq!(daemon.until_state(State::Quiesced).transition, 1);
}

#[test]
fn a_daemon_killed_while_packets_leave_shuts_the_gate_all_the_same() {
    let mut daemon = Daemon::start();
    fs::write(daemon.gate_file(".busy"), "").unwrap();
    let quiescing = daemon.quiescing();
    while !daemon.gate_is_shut() {
        std::thread::yield_now();
    }
    assert_eq!(daemon.state(), State::Quiescing);
    daemon.restart();
    assert!(quiescing.join().unwrap().is_err());
    assert_eq!(daemon.state(), State::Quiescing);
    fs::remove_file(daemon.gate_file(".busy")).unwrap();
    daemon.until_state(State::Quiesced);
    assert!(daemon.never_opened());
}

#[test]
fn a_daemon_killed_while_quiesced_stays_quiesced() {
    let mut daemon = Daemon::start();
    let quiesced = daemon.quiesce().unwrap();
    for _ in 0..3 {
        daemon.restart();
        let status = daemon.status();
        assert_eq!((status.state, status.transition), (State::Quiesced, quiesced.transition));
        assert!(daemon.gate_is_shut() && daemon.never_opened());
    }
    let running = daemon.unquiesce(Expectation::Any).unwrap();
    assert_eq!(running.transition, quiesced.transition);
}

#[test]
fn a_daemon_killed_while_a_participant_adapts_asks_it_again_and_opens_only_then() {
    let mut daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    app.consent(Phase::Quiesce);
    let quiesced = quiescing.join().unwrap().unwrap();
    let unquiescing = daemon.unquiescing(Expectation::Any);
    let before = app.asked_for(Phase::Restored);
    daemon.restart();
    assert!(unquiescing.join().unwrap().is_err());
    assert_eq!(daemon.state(), State::Unquiescing);
    assert!(daemon.gate_is_shut() && daemon.never_opened());
    app.come_back();
    let again = app.asked_for(Phase::Restored);
    assert_eq!((again.transition, again.generation), (before.transition, before.generation));
    assert_eq!(again.transition, quiesced.transition);
    assert!(daemon.never_opened());
    app.answer(&again, None).unwrap();
    daemon.until_state(State::Running);
    assert_eq!(daemon.gate_history(), ["shut", "open"]);
}

#[test]
fn a_daemon_killed_while_hooks_adapt_opens_only_after_them() {
    let mut daemon = Daemon::start();
    let script = "[ $1 = quiesce ] && exit; echo $1 >> ran; while [ ! -e go ]; do sleep 0.01; done";
    daemon.hook("10-slow", script);
    daemon.quiesce().unwrap();
    let unquiescing = daemon.unquiescing(Expectation::Any);
    let ran = daemon.directory.join("ran");
    while !ran.exists() {
        std::thread::yield_now();
    }
    daemon.restart();
    assert!(unquiescing.join().unwrap().is_err());
    assert_eq!(daemon.state(), State::Unquiescing);
    assert!(daemon.never_opened());
    fs::write(daemon.directory.join("go"), "").unwrap();
    let status = daemon.until_state(State::Running);
    assert_eq!((status.transition, status.last_outcome), (1, Some(Outcome::Restored)));
}

#[test]
fn no_signal_that_ends_the_daemon_opens_the_gate() {
    for signal in ["TERM", "INT", "HUP", "QUIT", "SEGV", "ABRT", "USR1"] {
        let mut daemon = Daemon::start();
        daemon.quiesce().unwrap();
        let pid = daemon.pid().to_string();
        // Rust's handler for stack overflows takes the first one, and is gone after that.
        let ended = loop {
            let _ = Command::new("kill").args(["-s", signal, &pid]).stderr(Stdio::null()).status();
            if let Some(ended) = daemon.child().try_wait().unwrap() {
                break ended;
            }
        };
        assert!(ended.signal().is_some(), "{signal}: {ended}");
        assert!(daemon.gate_is_shut() && daemon.never_opened(), "{signal}");
        daemon.launch();
        assert_eq!(daemon.state(), State::Quiesced, "{signal}");
        assert!(daemon.never_opened(), "{signal}");
    }
}

#[test]
fn whoever_asked_and_died_does_not_end_the_transition() {
    let daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let mut host = Command::new(env!("CARGO_BIN_EXE_snapsafectl"))
        .arg("--socket")
        .arg(daemon.socket())
        .arg("quiesce")
        .spawn()
        .unwrap();
    let event = app.asked_for(Phase::Quiesce);
    host.kill().unwrap();
    host.wait().unwrap();
    app.answer(&event, None).unwrap();
    assert_eq!(daemon.until_state(State::Quiesced).transition, event.transition);
}

#[test]
fn a_daemon_whose_memory_is_lost_takes_a_shut_gate_for_another_world() {
    let mut daemon = Daemon::start();
    daemon.hook("10-hook", "echo $1 >> ran");
    daemon.quiesce().unwrap();
    daemon.kill();
    fs::remove_file(daemon.runtime().join("memory.json")).unwrap();
    daemon.launch();
    let status = daemon.until_state(State::Running);
    assert_eq!(status.last_outcome, Some(Outcome::Restored));
    let ran = fs::read_to_string(daemon.directory.join("ran")).unwrap();
    assert_eq!(ran.lines().collect::<Vec<_>>(), ["quiesce", "restored"]);
}

#[test]
fn a_memory_that_cannot_be_read_opens_nothing_that_is_not_adapted() {
    let mut daemon = Daemon::with("required = [\"app\"]");
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    app.consent(Phase::Quiesce);
    quiescing.join().unwrap().unwrap();
    daemon.kill();
    fs::write(daemon.runtime().join("memory.json"), "{").unwrap();
    daemon.launch();
    assert_eq!(daemon.state(), State::Unquiescing);
    assert!(daemon.gate_is_shut() && daemon.never_opened());
    let mut again = App::join(&daemon, "app");
    again.consent(Phase::Restored);
    daemon.until_state(State::Running);
}

#[test]
fn a_second_daemon_does_not_start_beside_the_first() {
    let daemon = Daemon::start();
    let second = Command::new(env!("CARGO_BIN_EXE_snapsafed"))
        .arg("--config")
        .arg(daemon.directory.join("config"))
        .arg("--runtime-directory")
        .arg(daemon.runtime())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another snapsafed"));
    assert_eq!(daemon.state(), State::Running);
}

#[test]
fn a_killed_client_leaves_nothing_behind() {
    let daemon = Daemon::start();
    let before = daemon.descriptors();
    let mut holder = Command::new(env!("CARGO_BIN_EXE_snapsafectl"))
        .arg("--socket")
        .arg(daemon.socket())
        .args(["inhibit", "--mode", "block", "--", "sleep", "5"])
        .spawn()
        .unwrap();
    while daemon.client().call(&ListInhibitors {}).unwrap().inhibitors.is_empty() {}
    assert!(matches!(refusal(daemon.quiesce()), Refusal::Vetoed { .. }));
    holder.kill().unwrap();
    holder.wait().unwrap();
    while !daemon.client().call(&ListInhibitors {}).unwrap().inhibitors.is_empty() {}
    while daemon.descriptors() > before {}
    daemon.quiesce().unwrap();
}

fn lock(daemon: &Daemon, mode: Mode) -> Vec<std::os::fd::OwnedFd> {
    let inhibit = Inhibit {
        what: "quiesce".to_owned(),
        who: "test".to_owned(),
        why: "because".to_owned(),
        mode: Some(mode),
    };
    daemon.client().call_for_descriptors(&inhibit).unwrap().1
}
