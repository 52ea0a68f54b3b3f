//! The host's lines, over the socket that stands for its side door.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use snapsafe_client::wire::{Phase, State};

use super::daemon::{App, Daemon};

fn connect(daemon: &Daemon) -> UnixStream {
    UnixStream::connect(daemon.directory.join("agent")).unwrap()
}

/// One request a connection, as a host does.
fn ask(daemon: &Daemon, line: &str) -> String {
    let mut stream = connect(daemon);
    writeln!(stream, "{line}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with('\n') && answer.lines().count() == 1, "{answer:?}");
    answer.trim().to_owned()
}

#[test]
fn a_host_takes_the_machine_through_a_snapshot_by_lines() {
    let daemon = Daemon::start();
    assert_eq!(ask(&daemon, "STATUS"), "OK running gen=1 transition=0");
    assert_eq!(ask(&daemon, "QUIESCE 5000"), "OK quiesced gen=1 transition=1");
    assert!(daemon.gate_is_shut());
    assert!(ask(&daemon, "STATUS").starts_with("OK quiesced gen=1 transition=1"));
    let answer = ask(&daemon, "UNQUIESCE restored entropy=00112233445566778899aabbccddeeff");
    assert!(answer.starts_with("OK running gen=2 transition=1 outcome=restored"), "{answer}");
    assert!(!daemon.gate_is_shut());
}

#[test]
fn a_host_that_asks_again_hears_that_it_is_so_already() {
    let daemon = Daemon::start();
    ask(&daemon, "QUIESCE");
    let again = ask(&daemon, "QUIESCE");
    assert!(again.starts_with("OK quiesced gen=1 transition=1") && again.ends_with("already"));
    assert_eq!(
        ask(&daemon, "UNQUIESCE resumed"),
        "OK running gen=1 transition=1 outcome=resumed reseeded=no"
    );
    assert!(ask(&daemon, "UNQUIESCE resumed").ends_with("already"));
    assert_eq!(daemon.gate_history(), ["shut", "open"]);
}

#[test]
fn failures_are_one_line_that_says_who() {
    let daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let mut first = connect(&daemon);
    writeln!(first, "QUIESCE 60000").unwrap();
    let event = app.asked_for(Phase::Quiesce);
    assert_eq!(ask(&daemon, "QUIESCE"), "ERR busy state=quiescing transition=1");
    app.answer(&event, Some("no\nOK quiesced")).unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "ERR vetoed by app: noOK quiesced\n");
    daemon.until_state(State::Running);
    assert_eq!(ask(&daemon, "QUIESCE 30"), "ERR expired state=running waiting=app");
    assert!(ask(&daemon, "FREEZE").starts_with("ERR usage"));
}

#[test]
fn a_line_without_an_end_is_refused_at_a_limit() {
    let daemon = Daemon::start();
    let mut stream = connect(&daemon);
    let _ = stream.write_all(&[b'x'; 10_000]);
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("ERR usage: the line is too long"), "{answer}");
    assert_eq!(daemon.state(), State::Running);
}

#[test]
fn a_host_that_hangs_up_does_not_end_the_transition() {
    let daemon = Daemon::start();
    let mut app = App::join(&daemon, "app");
    let mut host = connect(&daemon);
    writeln!(host, "QUIESCE").unwrap();
    let event = app.asked_for(Phase::Quiesce);
    drop(host);
    app.answer(&event, None).unwrap();
    daemon.until_state(State::Quiesced);
    assert!(ask(&daemon, "QUIESCE").contains("quiesced"));
}

#[test]
fn a_host_that_closes_its_half_is_answered() {
    let daemon = Daemon::start();
    let mut host = connect(&daemon);
    writeln!(host, "QUIESCE").unwrap();
    host.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    host.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "OK quiesced gen=1 transition=1\n");
}

#[test]
fn only_one_line_of_a_connection_is_done() {
    let daemon = Daemon::start();
    let mut host = connect(&daemon);
    host.write_all(b"QUIESCE\nUNQUIESCE\n").unwrap();
    let mut answer = String::new();
    let _ = host.read_to_string(&mut answer);
    assert_eq!(answer, "OK quiesced gen=1 transition=1\n");
    assert_eq!(daemon.state(), State::Quiesced);
}
