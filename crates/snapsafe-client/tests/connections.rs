//! Calls and locks, with daemons that answer, that do not, and that do harm.
#![cfg(target_os = "linux")]

mod common;

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use common::{Daemon, is_held, nobody, state, wait_for_the_end};
use serde_json::json;
use snapsafe_client::wire::manager::{Abort, Inhibit, ListInhibitors, Register, Status, Subscribe};
use snapsafe_client::wire::{self, Mode, Reply, State};
use snapsafe_client::{Client, Error, Inhibitor, What};

#[test]
fn without_a_daemon_everything_says_that_it_is_not_running_and_how_to_go_on() {
    let error = Client::connect_to(nobody()).unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error:?}");
    let words = error.to_string();
    assert!(words.contains("systemctl start snapsafed"), "{words}");
    assert!(words.contains("go on without it"), "{words}");

    let error = Inhibitor::take_at(nobody(), What::Both, "a", "b", Mode::Delay).unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error:?}");
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_no_daemon() {
    let mut daemon = Daemon::new();
    daemon.stop();
    assert!(daemon.socket().exists());
    let error = Client::connect_to(&daemon.socket()).unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error:?}");
}

#[test]
fn a_path_that_no_socket_address_can_hold_is_an_error() {
    let error = Client::connect_to("x".repeat(200).as_ref()).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[test]
fn an_error_answer_leaves_the_connection_usable_and_another_failure_does_not() {
    let daemon = Daemon::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = daemon.accept();
            peer.expect::<Abort>();
            let refusal = wire::Error::Busy { state: State::Running, transition: 3 };
            peer.reply(&Reply::from(refusal), vec![]);
            peer.expect::<ListInhibitors>();
            peer.reply(&json!({ "parameters": { "inhibitors": [] } }), vec![]);
            peer.expect::<ListInhibitors>();
            peer.reply(&json!({ "parameters": { "inhibitors": 5 } }), vec![]);
            assert!(peer.message().is_none());
        });
        let mut client = Client::connect_to(&daemon.socket()).unwrap();
        let error = client.call(&Abort {}).unwrap_err();
        assert!(
            matches!(&error, Error::Refused(wire::Error::Busy { transition: 3, .. })),
            "{error:?}"
        );
        assert!(error.to_string().contains("snapsafectl abort"), "{error}");
        assert!(client.call(&ListInhibitors {}).unwrap().inhibitors.is_empty());
        let error = client.call(&ListInhibitors {}).unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        let error = client.call(&ListInhibitors {}).unwrap_err();
        assert!(matches!(error, Error::Closed), "{error:?}");
    });
}

#[test]
fn a_daemon_that_dies_before_its_answer_or_within_it_has_closed() {
    for part in [&b""[..], b"{\"parameters\":{"] {
        let daemon = Daemon::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut peer = daemon.accept();
                peer.expect::<Abort>();
                peer.channel.stream().write_all(part).unwrap();
            });
            let error = Client::connect_to(&daemon.socket()).unwrap().call(&Abort {}).unwrap_err();
            assert!(matches!(error, Error::Closed), "{error:?}");
        });
    }
}

#[test]
fn a_hostile_daemon_costs_an_error_and_no_memory() {
    let endless = "x".repeat(200_000);
    let deep = format!("{{\"parameters\":{}", "[".repeat(60_000)) + "\0";
    for text in [endless.as_str(), deep.as_str(), "\0", "[]\0", "{\"continues\":7}\0"] {
        let daemon = Daemon::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut peer = daemon.accept();
                peer.expect::<Status>();
                // It fails when the client has had enough.
                let _ = peer.channel.stream().write_all(text.as_bytes());
            });
            let error = Client::connect_to(&daemon.socket()).unwrap().call(&Status {}).unwrap_err();
            assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        });
    }
}

#[test]
fn an_answer_that_does_not_come_in_time_never_becomes_the_answer_to_the_next_call() {
    let daemon = Daemon::new();
    let mut client = Client::connect_to(&daemon.socket()).unwrap();
    client.set_timeout(Some(Duration::from_millis(1)));
    let error = client.call(&Abort {}).unwrap_err();
    assert!(matches!(error, Error::TimedOut), "{error:?}");
    let mut peer = daemon.accept();
    peer.expect::<Abort>();
    let error = client.call(&ListInhibitors {}).unwrap_err();
    assert!(matches!(error, Error::Closed), "{error:?}");
    assert!(peer.message().is_none());
}

#[test]
fn a_daemon_with_a_full_queue_of_connections_is_waited_for() {
    let daemon = Daemon::new();
    let one = Client::connect_to(&daemon.socket()).unwrap();
    let listener = UnixListener::bind(daemon.socket().with_extension("short")).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let path = daemon.socket().with_extension("short");
    let _first = Client::connect_to(&path).unwrap();
    thread::scope(|scope| {
        let second = scope.spawn(|| Client::connect_to(&path));
        listener.accept().unwrap();
        assert!(second.join().unwrap().is_ok());
    });
    drop(one);
}

#[test]
fn events_come_one_by_one_until_the_last() {
    let daemon = Daemon::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = daemon.accept();
            peer.expect::<Subscribe>();
            peer.tell(&state(State::Running));
            peer.tell(&state(State::Quiescing));
            peer.reply(&Reply::of(&state(State::Running)), vec![]);
        });
        let client = Client::connect_to(&daemon.socket()).unwrap();
        let mut events = client.subscribe(&Subscribe::default()).unwrap();
        let mut states = Vec::new();
        while let Some(event) = events.next(None).unwrap() {
            states.push(event.state);
        }
        assert_eq!(states, [State::Running, State::Quiescing, State::Running]);
        assert!(events.is_over());
    });
}

#[test]
fn no_event_in_time_is_not_the_end() {
    let daemon = Daemon::new();
    let client = Client::connect_to(&daemon.socket()).unwrap();
    let mut events = client.subscribe(&Subscribe::default()).unwrap();
    assert_eq!(events.next(Some(Duration::ZERO)).unwrap(), None);
    assert!(!events.is_over());
    let mut peer = daemon.accept();
    peer.tell(&state(State::Quiesced));
    assert_eq!(events.next(None).unwrap().unwrap().state, State::Quiesced);
    drop(peer);
    let error = events.next(None).unwrap_err();
    assert!(matches!(error, Error::Closed), "{error:?}");
}

#[test]
fn a_lock_is_held_until_it_is_dropped_and_longer_where_a_copy_is() {
    let daemon = Daemon::new();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut peer = daemon.accept();
            let asked = peer.expect::<Inhibit>();
            assert_eq!((asked.what.as_str(), asked.mode), ("quiesce", Some(Mode::Block)));
            assert_eq!((asked.who.as_str(), asked.why.as_str()), ("backup", "a tape"));
            peer.inhibit()
        });
        let socket = daemon.socket();
        let lock =
            Inhibitor::take_at(&socket, What::Quiesce, "backup", "a tape", Mode::Block).unwrap();
        // The connection is closed by now, and the lock is not.
        let pipe = server.join().unwrap();
        assert!(is_held(&pipe));
        let copy = lock.into_fd();
        assert!(is_held(&pipe));
        drop(copy);
        wait_for_the_end(pipe);
    });
}

#[test]
fn an_answer_whose_descriptor_is_missing_or_another_is_refused() {
    for (index, given) in [(0, false), (1, true), (u64::MAX, true)] {
        let daemon = Daemon::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut peer = daemon.accept();
                peer.expect::<Inhibit>();
                let fds = given.then(|| std::io::pipe().unwrap().1.into()).into_iter().collect();
                peer.reply(&json!({ "parameters": { "fd": index } }), fds);
            });
            let socket = daemon.socket();
            let error = Inhibitor::take_at(&socket, What::Both, "a", "b", Mode::Delay).unwrap_err();
            assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        });
    }
}

#[test]
fn a_newer_daemon_may_say_more_than_is_known_here() {
    let reply: Reply = serde_json::from_value(json!({
        "parameters": {
            "id": "i", "state": "running", "transition": 1, "generation": 2, "fd": 0, "mood": "good"
        },
        "trace": 5
    }))
    .unwrap();
    let registered: Result<<Register as wire::Method>::Reply, _> = reply.read().unwrap();
    assert_eq!(registered.unwrap().generation, 2);
}
