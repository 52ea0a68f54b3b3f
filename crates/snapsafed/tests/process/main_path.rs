//! Through a snapshot, and nothing goes wrong.

use snapsafe_client::wire::manager::{Abort, Quiesce, Unquiesce};
use snapsafe_client::wire::{Expectation, Mode, Outcome, Phase, State};

use super::daemon::{App, Daemon, subscribe};

#[test]
fn the_gate_is_shut_while_the_machine_is_quiesced_and_open_before_and_after() {
    let daemon = Daemon::start();
    assert!(!daemon.gate_is_shut());
    let quiesced = daemon.quiesce().unwrap();
    assert!(daemon.gate_is_shut());
    let state = std::fs::read_to_string(daemon.runtime().join("state")).unwrap();
    assert_eq!(state, format!("quiesced {} {}\n", quiesced.transition, quiesced.generation));
    let status = daemon.status();
    assert!(status.gate.shut && status.state == State::Quiesced);

    let running = daemon.unquiesce(Expectation::Any).unwrap();
    assert!(!daemon.gate_is_shut());
    assert_eq!(running.outcome, Outcome::Restored);
    assert_eq!(running.transition, quiesced.transition);
    assert_eq!(running.generation, quiesced.generation + 1);
    assert_eq!(daemon.gate_history(), ["shut", "open"]);
}

#[test]
fn participants_get_ready_before_the_gate_shuts_and_adapt_before_it_opens() {
    let daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    let event = app.asked_for(Phase::Quiesce);
    assert!(!daemon.gate_is_shut());
    assert_eq!(daemon.status().waiting_for, ["app"]);
    app.answer(&event, None).unwrap();
    let quiesced = quiescing.join().unwrap().unwrap();
    assert!(daemon.gate_is_shut());

    let unquiescing = daemon.unquiescing(Expectation::Any);
    let event = app.asked_for(Phase::Restored);
    assert!(daemon.gate_is_shut());
    assert_eq!(event.generation, quiesced.generation + 1);
    app.answer(&event, None).unwrap();
    assert_eq!(unquiescing.join().unwrap().unwrap().outcome, Outcome::Restored);
    assert!(!daemon.gate_is_shut());
}

#[test]
fn roots_word_that_the_machine_goes_on_is_taken_where_nothing_contradicts() {
    let daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let quiescing = daemon.quiescing();
    app.consent(Phase::Quiesce);
    let quiesced = quiescing.join().unwrap().unwrap();
    let unquiescing = daemon.unquiescing(Expectation::Resumed);
    app.consent(Phase::Resumed);
    let running = unquiescing.join().unwrap().unwrap();
    assert_eq!(running.outcome, Outcome::Resumed);
    assert_eq!(running.generation, quiesced.generation);
}

#[test]
fn groups_get_ready_from_the_highest_down_and_adapt_from_the_lowest_up() {
    let daemon = Daemon::start();
    let mut low = App::join_with(&daemon, "low", Mode::Delay, Some(10)).unwrap();
    let mut high = App::join_with(&daemon, "high", Mode::Delay, Some(90)).unwrap();
    let quiescing = daemon.quiescing();
    let event = high.asked_for(Phase::Quiesce);
    assert_eq!(daemon.status().waiting_for, ["high"]);
    high.answer(&event, None).unwrap();
    low.consent(Phase::Quiesce);
    quiescing.join().unwrap().unwrap();

    let unquiescing = daemon.unquiescing(Expectation::Any);
    let event = low.asked_for(Phase::Restored);
    assert_eq!(daemon.status().waiting_for, ["low"]);
    low.answer(&event, None).unwrap();
    high.consent(Phase::Restored);
    unquiescing.join().unwrap().unwrap();
}

#[test]
fn subscribers_see_every_state_once() {
    let daemon = Daemon::start();
    let mut events = subscribe(&daemon.socket(), None).unwrap();
    assert_eq!(events.next(None).unwrap().unwrap().state, State::Running);
    daemon.quiesce().unwrap();
    daemon.unquiesce(Expectation::Any).unwrap();
    let mut states = Vec::new();
    while states.last() != Some(&State::Running) {
        states.push(events.next(None).unwrap().unwrap().state);
    }
    states.dedup();
    let all = [State::Quiescing, State::Quiesced, State::Unquiescing, State::Running];
    assert_eq!(states, all);
}

#[test]
fn the_agent_page_is_one_file_for_ever_and_moves_with_every_restore() {
    let mut daemon = Daemon::start();
    let path = daemon.runtime().join("generation");
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    let first = inode();
    let page = snaprng::host::AgentPage::open(&path).unwrap();
    let before = page.generation();
    daemon.quiesce().unwrap();
    assert_eq!(page.generation(), before);
    daemon.restart();
    daemon.unquiesce(Expectation::Any).unwrap();
    assert_eq!(page.generation(), before + 1);
    assert_eq!(inode(), first);
}

#[test]
fn another_token_makes_it_a_clone_whatever_root_says() {
    let daemon = Daemon::start();
    let token = |word: &str| Some(word.to_owned());
    let mut client = daemon.client();
    client.call(&Quiesce { token: token("a"), ..Quiesce::default() }).unwrap();
    let call =
        Unquiesce { token: token("b"), expect: Some(Expectation::Resumed), ..Unquiesce::default() };
    assert_eq!(client.call(&call).unwrap().outcome, Outcome::Restored);

    client.call(&Quiesce { token: token("a"), ..Quiesce::default() }).unwrap();
    let call = Unquiesce { token: token("a"), ..Unquiesce::default() };
    assert_eq!(client.call(&call).unwrap().outcome, Outcome::Resumed);
}

#[test]
fn a_snapshot_is_called_off_and_everybody_hears_of_it() {
    let daemon = Daemon::start();
    let mut ready = App::join_with(&daemon, "ready", Mode::Delay, Some(90)).unwrap();
    let mut slow = App::join(&daemon, "slow");
    let quiescing = daemon.quiescing();
    ready.consent(Phase::Quiesce);
    slow.asked_for(Phase::Quiesce);
    let aborted = daemon.client().call(&Abort {}).unwrap();
    assert_eq!(aborted.outcome, Outcome::Aborted);
    ready.asked_for(Phase::Aborted);
    slow.asked_for(Phase::Aborted);
    assert!(quiescing.join().unwrap().is_err());
    assert_eq!(daemon.state(), State::Running);
    assert!(!daemon.gate_is_shut());
}

#[test]
fn the_command_says_what_was_done_and_exits_accordingly() {
    let daemon = Daemon::start();
    let code = |arguments: &[&str]| daemon.ctl(arguments).status.code();
    assert_eq!(code(&["quiesce", "--timeout", "30s", "--token", "x"]), Some(0));
    assert_eq!(code(&["quiesce"]), Some(4));
    let status = daemon.ctl(&["--json", "status"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["state"], "quiesced");
    assert_eq!(code(&["unquiesce", "--expect", "restored", "--entropy", "/dev/zero"]), Some(0));
    assert_eq!(code(&["unquiesce"]), Some(4));
    assert_eq!(code(&["quiesce", "--timeout", "5"]), Some(2));
    assert_eq!(code(&["no-such-command"]), Some(2));
    let block = ["inhibit", "--mode", "block", "--who", "me", "--why", "a tape", "--"];
    let socket = daemon.socket().display().to_string();
    let ctl = daemon.directory.join("snapsafectl").display().to_string();
    let inside = |command: &[&str]| {
        let command = [&block[..], &[&ctl, "--socket", &socket], command].concat();
        daemon.ctl(&command)
    };
    let list = inside(&["list-inhibitors"]);
    assert!(String::from_utf8_lossy(&list.stdout).contains("a tape"));
    let vetoed = inside(&["quiesce"]);
    assert_eq!(vetoed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&vetoed.stderr).contains("me said no"));
    // The lock went with the command.
    assert_eq!(code(&["quiesce"]), Some(0));
    assert_eq!(code(&["abort"]), Some(0));
    let mut daemon = daemon;
    daemon.kill();
    assert_eq!(daemon.ctl(&["status"]).status.code(), Some(3));
}
