//! The table of failures, a row a test or more. Its words are in the names.

use std::fs;

use snapsafe_client::wire::manager::{Inhibit, Quiesce, Unquiesce};
use snapsafe_client::wire::{Error as Refusal, Expectation, Mode, Outcome, Phase, State};

use super::daemon::{App, Daemon, refusal};

#[test]
fn a_client_that_dies_holding_a_lock_releases_it() {
    let daemon = Daemon::start();
    let inhibit = Inhibit {
        what: "quiesce".to_owned(),
        who: "tape".to_owned(),
        why: "half written".to_owned(),
        mode: Some(Mode::Delay),
    };
    let (_, lock) = daemon.client().call_for_descriptors(&inhibit).unwrap();
    let quiescing = daemon.quiescing();
    assert_eq!(daemon.until_state(State::Quiescing).waiting_for, ["tape"]);
    drop(lock);
    quiescing.join().unwrap().unwrap();
}

#[test]
fn a_required_client_that_dies_is_a_failure_until_it_registers_and_acknowledges_again() {
    let daemon = Daemon::with("required = [\"db\"]");
    assert!(matches!(refusal(daemon.quiesce()), Refusal::Vetoed { .. }));

    let mut db = App::join(&daemon, "db");
    let quiescing = daemon.quiescing();
    db.asked_for(Phase::Quiesce);
    drop(db);
    assert!(matches!(refusal(quiescing.join().unwrap()), Refusal::Aborted { .. }));
    assert_eq!(daemon.until_state(State::Running).last_outcome, Some(Outcome::Aborted));

    let mut db = App::join(&daemon, "db");
    let quiescing = daemon.quiescing();
    db.consent(Phase::Quiesce);
    quiescing.join().unwrap().unwrap();
    let unquiescing = daemon.unquiescing(Expectation::Any);
    db.asked_for(Phase::Restored);
    drop(db);
    let mut db = App::join(&daemon, "db");
    let event = db.asked_for(Phase::Restored);
    assert!(daemon.gate_is_shut());
    db.answer(&event, None).unwrap();
    unquiescing.join().unwrap().unwrap();
}

#[test]
fn a_required_client_that_was_started_again_before_its_end_was_seen_is_the_one_that_counts() {
    let daemon = Daemon::with("required = [\"db\"]");
    let mut old = App::join(&daemon, "db");
    let quiescing = daemon.quiescing();
    old.consent(Phase::Quiesce);
    quiescing.join().unwrap().unwrap();
    let unquiescing = daemon.unquiescing(Expectation::Any);
    old.asked_for(Phase::Restored);
    let mut new = App::join(&daemon, "db");
    let event = new.asked_for(Phase::Restored);
    drop(old);
    daemon.until(|status| status.waiting_for == ["db"]);
    assert!(daemon.gate_is_shut() && daemon.never_opened());
    new.answer(&event, None).unwrap();
    unquiescing.join().unwrap().unwrap();
}

#[test]
fn a_slow_client_calls_quiescing_off_and_is_told_so() {
    let daemon = Daemon::with("quiesce_timeout = \"50ms\"");
    let mut slow = App::join(&daemon, "slow");
    match refusal(daemon.quiesce()) {
        Refusal::Expired { holders, .. } => assert_eq!(holders, ["slow"]),
        other => panic!("{other:?}"),
    }
    slow.asked_for(Phase::Quiesce);
    slow.asked_for(Phase::Aborted);
    daemon.until_state(State::Running);
    assert!(!daemon.gate_is_shut());
}

#[test]
fn a_hung_application_keeps_the_gate_shut_and_a_retry_after_it_recovers_works() {
    let daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    app.consent(Phase::Quiesce);
    let quiesced = quiescing.join().unwrap().unwrap();
    let impatient = Unquiesce { timeout_ms: Some(50), ..Unquiesce::default() };
    match refusal(daemon.client().call(&impatient)) {
        Refusal::Expired { state, holders } => {
            assert_eq!((state, holders), (State::Quiesced, vec!["app".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
    let status = daemon.status();
    assert!(status.degraded.unwrap().contains("app"));
    assert!(daemon.gate_is_shut() && daemon.never_opened());
    app.asked_for(Phase::Restored);

    let unquiescing = daemon.unquiescing(Expectation::Any);
    app.consent(Phase::Restored);
    let running = unquiescing.join().unwrap().unwrap();
    assert_eq!(running.transition, quiesced.transition);
    assert_eq!(daemon.status().degraded, None);
}

#[test]
fn a_daemon_that_dies_in_the_middle_goes_on_with_the_same_transition_and_never_opens() {
    let mut daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    let first = app.asked_for(Phase::Quiesce);
    for phase in [Phase::Quiesce, Phase::Restored] {
        daemon.restart();
        app.come_back();
        let event = app.asked_for(phase);
        assert_eq!(event.transition, first.transition);
        assert!(daemon.never_opened());
        app.answer(&event, None).unwrap();
        if phase == Phase::Quiesce {
            daemon.until_state(State::Quiesced);
            daemon.restart();
            app.come_back();
            drop(daemon.unquiescing(Expectation::Any));
            app.asked_for(Phase::Restored);
        }
    }
    assert_eq!(daemon.until_state(State::Running).transition, first.transition);
    drop(quiescing);
}

#[test]
fn a_host_that_never_thaws_is_aborted_only_where_the_counter_did_not_move() {
    let (daemon, _page) = Daemon::with_vmclock("quiesced_max = \"100ms\"");
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    app.consent(Phase::Quiesce);
    quiescing.join().unwrap().unwrap();
    app.asked_for(Phase::Aborted);
    let status = daemon.until_state(State::Running);
    assert_eq!(status.last_outcome, Some(Outcome::Aborted));
    assert!(!daemon.gate_is_shut());
}

#[test]
fn a_host_that_never_thaws_means_restored_where_nothing_can_be_proven() {
    let daemon = Daemon::with("quiesced_max = \"100ms\"");
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    app.consent(Phase::Quiesce);
    quiescing.join().unwrap().unwrap();
    let event = app.asked_for(Phase::Restored);
    // No timer opens it.
    assert!(daemon.gate_is_shut() && daemon.never_opened());
    app.answer(&event, None).unwrap();
    let status = daemon.until_state(State::Running);
    assert_eq!(status.last_outcome, Some(Outcome::Restored));
}

#[test]
fn a_restore_into_quiesced_waits_for_the_host() {
    let (daemon, mut page) = Daemon::with_vmclock("");
    daemon.quiesce().unwrap();
    page.advance_counter();
    let running = daemon.unquiesce(Expectation::Resumed).unwrap();
    assert_eq!(running.outcome, Outcome::Restored, "a changed counter outweighs root's word");
}

#[test]
fn a_restore_into_quiesced_begins_by_itself_with_auto_unquiesce() {
    let (daemon, mut page) = Daemon::with_vmclock("auto_unquiesce = true");
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    app.consent(Phase::Quiesce);
    quiescing.join().unwrap().unwrap();
    page.advance_counter();
    let event = app.asked_for(Phase::Restored);
    assert!(daemon.gate_is_shut() && daemon.never_opened());
    app.answer(&event, None).unwrap();
    daemon.until_state(State::Running);
}

#[test]
fn a_snapshot_taken_without_quiesce_shuts_the_gate_first_and_opens_it_after_the_acknowledgements() {
    let (daemon, mut page) = Daemon::with_vmclock("");
    let mut app = App::join(&daemon, "app");
    daemon.hook("10-hook", "echo $1 >> ran");
    page.advance_counter();
    let event = app.asked_for(Phase::Restored);
    assert!(daemon.gate_is_shut());
    app.answer(&event, None).unwrap();
    let status = daemon.until_state(State::Running);
    assert_eq!(status.last_outcome, Some(Outcome::Restored));
    assert_eq!(fs::read_to_string(daemon.directory.join("ran")).unwrap(), "restored\n");
    assert_eq!(daemon.gate_history(), ["shut", "open"]);
}

#[test]
fn a_rewind_cannot_be_told_from_a_clone_and_counts_as_restored() {
    let (daemon, mut page) = Daemon::with_vmclock("");
    daemon.quiesce().unwrap();
    let before = page.counter();
    page.set_counter(before.wrapping_sub(1));
    assert_eq!(daemon.unquiesce(Expectation::Any).unwrap().outcome, Outcome::Restored);
}

#[test]
fn an_unchanged_counter_that_must_change_proves_that_the_machine_goes_on() {
    let (daemon, _page) = Daemon::with_vmclock("");
    daemon.quiesce().unwrap();
    assert_eq!(daemon.unquiesce(Expectation::Any).unwrap().outcome, Outcome::Resumed);
}

#[test]
fn of_two_hosts_that_race_the_second_gets_busy() {
    let daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let first = daemon.quiescing();
    let event = app.asked_for(Phase::Quiesce);
    match refusal(daemon.quiesce()) {
        Refusal::Busy { state, transition } => {
            assert_eq!((state, transition), (State::Quiescing, event.transition));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(refusal(daemon.unquiesce(Expectation::Any)), Refusal::Busy { .. }));
    app.answer(&event, None).unwrap();
    first.join().unwrap().unwrap();
    assert!(matches!(refusal(daemon.quiesce()), Refusal::Busy { .. }));
}

#[test]
fn of_many_hosts_that_race_one_wins() {
    let daemon = Daemon::start();
    let hosts: Vec<_> = (0..16).map(|_| daemon.quiescing()).collect();
    let won = hosts.into_iter().map(|host| host.join().unwrap()).filter(Result::is_ok).count();
    assert_eq!(won, 1);
    assert_eq!(daemon.status().transition, 1);
}

#[test]
fn an_answer_to_another_question_is_stale() {
    let daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    let event = app.asked_for(Phase::Quiesce);
    let mut other = event.clone();
    other.transition += 1;
    assert!(matches!(refusal(app.answer(&other, None)), Refusal::Stale { .. }));
    let mut other = event.clone();
    other.generation += 1;
    assert!(matches!(refusal(app.answer(&other, None)), Refusal::Stale { .. }));
    let mut other = event.clone();
    other.phase = Some(Phase::Restored);
    assert!(matches!(refusal(app.answer(&other, None)), Refusal::Stale { .. }));
    assert_eq!(daemon.state(), State::Quiescing);
    app.answer(&event, None).unwrap();
    quiescing.join().unwrap().unwrap();

    // And one that is repeated after the restore counts for nothing.
    let unquiescing = daemon.unquiescing(Expectation::Any);
    let restored = app.asked_for(Phase::Restored);
    assert!(matches!(refusal(app.answer(&event, None)), Refusal::Stale { .. }));
    assert!(daemon.gate_is_shut());
    app.answer(&restored, None).unwrap();
    unquiescing.join().unwrap().unwrap();
}

#[test]
fn a_veto_of_a_required_participant_counts_and_is_named() {
    let daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    let event = app.asked_for(Phase::Quiesce);
    app.answer(&event, Some("in the middle of something")).unwrap();
    match refusal(quiescing.join().unwrap()) {
        Refusal::Vetoed { by, why } => {
            assert_eq!((by.as_str(), why.as_str()), ("app", "in the middle of something"));
        }
        other => panic!("{other:?}"),
    }
    app.asked_for(Phase::Aborted);
}

#[test]
fn force_goes_on_without_those_that_do_not_answer_and_they_are_logged() {
    let daemon = Daemon::start();
    let _hung = App::join(&daemon, "hung");
    let call = Quiesce { timeout_ms: Some(50), force: Some(true), ..Quiesce::default() };
    daemon.client().call(&call).unwrap();
    assert!(daemon.said().contains("hung"));
    assert!(daemon.gate_is_shut());
}

#[test]
fn a_gate_that_somebody_opens_is_shut_again_and_reported() {
    let daemon = Daemon::start();
    daemon.quiesce().unwrap();
    fs::write(daemon.gate_file(""), "open").unwrap();
    while !daemon.gate_is_shut() {
        std::thread::yield_now();
    }
    // The answer comes after the line.
    assert_eq!(daemon.state(), State::Quiesced);
    assert!(daemon.said().contains("gate"), "{}", daemon.said());
}

#[test]
fn a_gate_that_cannot_be_shut_calls_the_snapshot_off() {
    let daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    fs::write(daemon.gate_file(".fail-shut"), "no such table").unwrap();
    let quiescing = daemon.quiescing();
    app.consent(Phase::Quiesce);
    match refusal(quiescing.join().unwrap()) {
        Refusal::GateFailed { why } => assert!(why.contains("no such table")),
        other => panic!("{other:?}"),
    }
    app.asked_for(Phase::Aborted);
    daemon.until_state(State::Running);
}

#[test]
fn packets_that_do_not_leave_in_time_call_the_snapshot_off() {
    let daemon = Daemon::with("quiesce_timeout = \"100ms\"");
    fs::write(daemon.gate_file(".busy"), "").unwrap();
    assert!(daemon.quiesce().is_err());
    daemon.until_state(State::Running);
    assert!(!daemon.gate_is_shut());
}

#[test]
fn what_cannot_be_remembered_is_not_done() {
    let mut daemon = Daemon::start();
    // A directory cannot be replaced by a file.
    let memory = daemon.runtime().join("memory.json");
    fs::remove_file(&memory).unwrap();
    fs::create_dir(&memory).unwrap();
    assert!(daemon.quiesce().is_err());
    assert!(!daemon.child().wait().unwrap().success());
    assert!(daemon.gate_history().is_empty());
    fs::remove_dir(&memory).unwrap();
    daemon.launch();
    assert_eq!(daemon.state(), State::Running);
}
