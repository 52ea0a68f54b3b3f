//! What is root's, and what everybody may.

use snapsafe_client::wire::{Phase, State};

use super::daemon::{App, Daemon, OTHER, can_be_others};
use super::hostile::as_other;

#[test]
fn transitions_are_roots() {
    if !can_be_others() {
        return;
    }
    let daemon = Daemon::start();
    for verb in ["quiesce", "unquiesce", "abort"] {
        let output = daemon.ctl_as(OTHER, &[verb]);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("not permitted"), "{verb}");
    }
    assert!(daemon.gate_history().is_empty());
    assert_eq!(daemon.ctl_as(OTHER, &["status"]).status.code(), Some(0));
    assert_eq!(daemon.ctl_as(OTHER, &["list-participants"]).status.code(), Some(0));
    daemon.quiesce().unwrap();
    assert_eq!(daemon.ctl_as(OTHER, &["abort"]).status.code(), Some(1));
    assert_eq!(daemon.state(), State::Quiesced);
}

#[test]
fn to_block_and_to_choose_an_order_is_roots() {
    if !can_be_others() {
        return;
    }
    let daemon = Daemon::start();
    let block = ["inhibit", "--mode", "block", "--", "true"];
    assert_eq!(daemon.ctl_as(OTHER, &block).status.code(), Some(1));
    let delay = ["inhibit", "--mode", "delay", "--", "true"];
    assert_eq!(daemon.ctl_as(OTHER, &delay).status.code(), Some(0));
    as_other(&daemon, "asks_for_what_is_roots").succeed();
}

#[test]
fn a_required_name_is_its_users_and_roots() {
    if !can_be_others() {
        return;
    }
    let daemon = Daemon::with(&format!("required = [\"roots\", \"theirs:{OTHER}\"]"));
    as_other(&daemon, "registers_required_names").succeed();
    let _roots = App::join(&daemon, "roots");
    let _theirs = App::join(&daemon, "theirs");
}

#[test]
fn an_id_is_of_no_use_to_another_user() {
    if !can_be_others() {
        return;
    }
    let daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    std::fs::write(daemon.directory.join("id"), &app.id).unwrap();
    // It is asked at this moment, and the other user knows all that an answer takes.
    let quiescing = daemon.quiescing();
    let event = app.asked_for(Phase::Quiesce);
    assert_eq!((event.transition, event.generation), (1, 1));
    as_other(&daemon, "uses_anothers_id").succeed();
    assert_eq!(daemon.state(), State::Quiescing);
    app.answer(&event, None).unwrap();
    quiescing.join().unwrap().unwrap();
}

#[test]
fn what_is_secret_is_roots_and_what_is_public_is_everybodys() {
    let daemon = Daemon::start();
    let _app = App::join(&daemon, "app");
    let mode = |name: &str| {
        let path = daemon.runtime().join(name);
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap()) & 0o777
    };
    assert_eq!(mode("memory.json"), 0o600);
    assert_eq!(mode("locks"), 0o700);
    assert_eq!(mode("state"), 0o644);
    assert_eq!(mode("generation"), 0o644);
    assert_eq!(mode("io.snapsafe.Manager"), 0o666);
    let agent = std::fs::metadata(daemon.directory.join("agent")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&agent) & 0o777, 0o600);
}
