//! Participants through whole transitions, with daemons that live, die, forget and insist.
#![cfg(target_os = "linux")]

mod common;

use std::sync::mpsc::{Receiver, channel};
use std::thread;

use common::{Daemon, asks, is_held, nobody, state, wait_for_the_end};
use snapsafe_client::wire::manager::{Ack, Register};
use snapsafe_client::wire::{self, Mode, Outcome, Phase, Reply, State};
use snapsafe_client::{Asked, Builder, Error, Options, Participant, Registration};

/// A participant that reports what it is asked, and how often its closures ran.
fn reporting(daemon: &Daemon) -> (Builder, Receiver<Asked>) {
    let (sender, receiver) = channel();
    let other = sender.clone();
    let builder = Participant::register("beacon")
        .socket(&daemon.socket())
        .before(move |asked| sender.send(*asked))
        .after(move |asked| other.send(*asked));
    (builder, receiver)
}

/// Goes on until so many requests were answered.
fn answer(participant: &mut Participant, requests: usize) {
    let mut count = 0;
    while count < requests {
        count += participant.wait(None).unwrap();
    }
    assert_eq!(count, requests);
}

/// Goes on until something is true of it.
fn until(participant: &mut Participant, what: impl Fn(&Registration) -> bool) {
    while !what(participant.registration()) {
        participant.wait(None).unwrap();
    }
}

fn phases(receiver: &Receiver<Asked>) -> Vec<Phase> {
    receiver.try_iter().map(|asked| asked.phase).collect()
}

#[test]
fn without_a_daemon_the_application_is_told_and_runs_on() {
    let error = Participant::register("a").socket(nobody()).start().unwrap_err();
    assert!(matches!(error, Error::NotRunning { .. }), "{error:?}");
}

#[test]
fn a_refused_registration_says_why() {
    let daemon = Daemon::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = daemon.accept();
            let asked = peer.expect::<Register>();
            assert_eq!((asked.mode, asked.order), (Some(Mode::Block), Some(10)));
            let refusal = wire::Error::NotPermitted { why: "block is root's".to_owned() };
            peer.reply(&Reply::from(refusal), vec![]);
        });
        let builder = Participant::register("a").mode(Mode::Block).order(10);
        let error = builder.socket(&daemon.socket()).start().unwrap_err();
        assert_eq!(error.to_string(), "not permitted: block is root's");
    });
}

#[test]
fn a_participant_goes_through_a_restored_snapshot_and_its_answers_name_everything() {
    let daemon = Daemon::new();
    let (builder, receiver) = reporting(&daemon);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut line, _pipe) = daemon.register("secret");
            line.tell(&state(State::Running));
            line.tell(&asks(Phase::Quiesce));
            let quiesced = daemon.acked();
            line.tell(&state(State::Quiesced));
            line.tell(&asks(Phase::Restored));
            (quiesced, daemon.acked())
        });
        let mut participant = builder.start().unwrap();
        answer(&mut participant, 2);
        let (quiesced, restored) = server.join().unwrap();
        let wanted = Ack {
            id: "secret".to_owned(),
            transition: 7,
            generation: 1,
            phase: Some(Phase::Quiesce),
            ok: Some(true),
            why: None,
        };
        assert_eq!(quiesced, wanted);
        assert_eq!(restored, Ack { generation: 2, phase: Some(Phase::Restored), ..wanted });
        assert_eq!(participant.registration().generation(), 2);
    });
    let asked: Vec<Asked> = receiver.try_iter().collect();
    assert_eq!(asked[0].phase, Phase::Quiesce);
    assert_eq!((asked[0].outcome, asked[0].deadline_ms), (None, Some(1000)));
    assert_eq!((asked[1].phase, asked[1].outcome), (Phase::Restored, Some(Outcome::Restored)));
}

#[test]
fn a_closure_that_fails_or_panics_is_a_veto_and_the_next_request_is_answered_again() {
    let daemon = Daemon::new();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut line, _pipe) = daemon.register("secret");
            line.tell(&asks(Phase::Quiesce));
            let panicked = daemon.acked();
            line.tell(&asks(Phase::Aborted));
            let failed = daemon.acked();
            // The same again, as after an unquiesce that failed.
            line.tell(&asks(Phase::Aborted));
            (panicked, failed, daemon.acked())
        });
        let mut tries = 0;
        let mut participant = Participant::register("beacon")
            .socket(&daemon.socket())
            .before(|_| -> Result<(), String> { panic!("on {}", "purpose") })
            .after(move |_| {
                tries += 1;
                if tries == 1 { Err("the database is away") } else { Ok(()) }
            })
            .start()
            .unwrap();
        answer(&mut participant, 3);
        let (panicked, failed, again) = server.join().unwrap();
        assert_eq!(panicked.ok, Some(false));
        assert_eq!(panicked.why.unwrap(), "it panicked: on purpose");
        assert_eq!((failed.ok, failed.why), (Some(false), Some("the database is away".to_owned())));
        assert_eq!((again.ok, again.why), (Some(true), None));
    });
}

#[test]
fn a_veto_of_any_length_fits_in_a_message() {
    let daemon = Daemon::new();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut line, _pipe) = daemon.register("secret");
            line.tell(&asks(Phase::Quiesce));
            daemon.acked()
        });
        let mut participant = Participant::register("beacon")
            .socket(&daemon.socket())
            .before(|_| Err("\u{1f40c}".repeat(100_000)))
            .start()
            .unwrap();
        answer(&mut participant, 1);
        assert!(server.join().unwrap().why.unwrap().starts_with('\u{1f40c}'));
    });
}

#[test]
fn dropping_a_participant_deregisters_it() {
    let daemon = Daemon::new();
    thread::scope(|scope| {
        let server = scope.spawn(|| daemon.register("secret"));
        let participant = Participant::register("a").socket(&daemon.socket()).start().unwrap();
        let (mut line, pipe) = server.join().unwrap();
        assert!(is_held(&pipe));
        drop(participant);
        wait_for_the_end(pipe);
        assert!(line.message().is_none());
    });
}

#[test]
fn a_restarted_daemon_finds_its_participant_and_goes_on_with_the_same_transition() {
    let mut daemon = Daemon::new();
    let (builder, receiver) = reporting(&daemon);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut line, pipe) = daemon.register("secret");
            line.tell(&asks(Phase::Quiesce));
            daemon.acked();
            line.tell(&state(State::Quiesced));
            daemon.stop();
            drop(line);
            assert!(is_held(&pipe));
            daemon.start_again();
            let mut line = daemon.accept();
            line.subscribed("secret");
            line.tell(&state(State::Quiesced));
            line.tell(&asks(Phase::Resumed));
            daemon.acked();
            assert!(is_held(&pipe));
        });
        let mut participant = builder.start().unwrap();
        answer(&mut participant, 2);
        server.join().unwrap();
    });
    assert_eq!(phases(&receiver), [Phase::Quiesce, Phase::Resumed]);
}

#[test]
fn an_answer_that_a_dead_daemon_did_not_hear_is_given_again_and_nothing_is_done_twice() {
    let mut daemon = Daemon::new();
    let (builder, receiver) = reporting(&daemon);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut line, _pipe) = daemon.register("secret");
            line.tell(&asks(Phase::Quiesce));
            let mut answers = daemon.accept();
            let ack = answers.expect::<Ack>();
            daemon.stop();
            drop((line, answers));
            daemon.start_again();
            // In any order: the line, and the answer that was not heard, once or twice.
            let mut line = None;
            let mut acks = Vec::new();
            while line.is_none() || acks.is_empty() {
                let mut peer = daemon.accept();
                let call = peer.call();
                if call.method.ends_with("Subscribe") {
                    peer.tell(&asks(Phase::Quiesce));
                    line = Some(peer);
                } else {
                    acks.push(call.read::<Ack>().unwrap());
                    peer.accept();
                }
            }
            assert!(acks.iter().all(|other| *other == ack), "{acks:?}");
            let mut line = line.unwrap();
            line.tell(&asks(Phase::Restored));
            while daemon.acked().phase != Some(Phase::Restored) {}
        });
        let mut participant = builder.start().unwrap();
        answer(&mut participant, 2);
        while !server.is_finished() {
            participant.wait(Some(std::time::Duration::from_millis(5))).unwrap();
        }
        server.join().unwrap();
    });
    assert_eq!(phases(&receiver), [Phase::Quiesce, Phase::Restored]);
}

#[test]
fn a_daemon_that_has_forgotten_its_participant_gets_it_back_and_the_world_counts_as_restored() {
    let mut daemon = Daemon::new();
    let (builder, receiver) = reporting(&daemon);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut line, old) = daemon.register("secret");
            line.tell(&asks(Phase::Quiesce));
            daemon.acked();
            daemon.stop();
            drop(line);
            daemon.start_again();
            let mut line = daemon.accept();
            line.subscribed("secret");
            line.reply(&Reply::from(wire::Error::UnknownParticipant {}), vec![]);
            assert_eq!(line.expect::<Register>().name, "beacon");
            let new = line.register("another secret");
            line.subscribed("another secret");
            line.tell(&state(State::Running));
            wait_for_the_end(old);
            assert!(is_held(&new));
            (line, new)
        });
        let mut participant = builder.start().unwrap();
        answer(&mut participant, 2);
        let kept = server.join().unwrap();
        until(&mut participant, |registration| registration.problem().is_none());
        drop(kept);
    });
    let asked: Vec<Asked> = receiver.try_iter().collect();
    assert_eq!((asked[1].phase, asked[1].missed), (Phase::Restored, true));
    assert_eq!(asked.len(), 2);
}

#[test]
fn what_was_missed_while_the_daemon_was_away_counts_as_restored() {
    let daemon = Daemon::new();
    let (builder, receiver) = reporting(&daemon);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut line, _pipe) = daemon.register("secret");
            line.tell(&asks(Phase::Quiesce));
            daemon.acked();
            drop(line);
            let mut line = daemon.accept();
            line.subscribed("secret");
            line.tell(&state(State::Running));
            line
        });
        let mut participant = builder.start().unwrap();
        answer(&mut participant, 2);
        // Once, however often the line is lost after it.
        let line = server.join().unwrap();
        drop(line);
        until(&mut participant, |registration| registration.problem().is_some());
        let server = scope.spawn(|| {
            let mut line = daemon.accept();
            line.subscribed("secret");
            line.tell(&state(State::Running));
            line
        });
        until(&mut participant, |registration| registration.problem().is_none());
        server.join().unwrap();
    });
    assert_eq!(phases(&receiver), [Phase::Quiesce, Phase::Restored]);
}

#[test]
fn a_state_that_is_announced_before_the_request_is_no_request() {
    let daemon = Daemon::new();
    let (builder, receiver) = reporting(&daemon);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut line, _pipe) = daemon.register("secret");
            line.tell(&state(State::Running));
            line.tell(&asks(Phase::Quiesce));
            daemon.acked();
            line.tell(&state(State::Running));
            line.tell(&asks(Phase::Aborted));
            daemon.acked();
        });
        answer(&mut builder.start().unwrap(), 2);
    });
    assert_eq!(phases(&receiver), [Phase::Quiesce, Phase::Aborted]);
}

#[test]
fn a_daemon_that_talks_nonsense_is_left_and_tried_again() {
    let daemon = Daemon::new();
    let (builder, receiver) = reporting(&daemon);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            use std::io::Write;
            let (line, pipe) = daemon.register("secret");
            let mut lines = vec![line];
            for nonsense in ["\0", "{\"parameters\":{\"state\":\"odd\"}}\0", "{}\0"] {
                lines.last_mut().unwrap().channel.stream().write_all(nonsense.as_bytes()).unwrap();
                let mut line = daemon.accept();
                line.subscribed("secret");
                lines.push(line);
            }
            lines.last_mut().unwrap().tell(&asks(Phase::Quiesce));
            daemon.acked();
            assert!(is_held(&pipe));
        });
        let mut participant = builder.start().unwrap();
        answer(&mut participant, 1);
        server.join().unwrap();
    });
    assert_eq!(phases(&receiver), [Phase::Quiesce]);
}

#[test]
fn an_answer_that_is_refused_for_a_limit_is_given_again_and_one_that_is_late_is_not() {
    let daemon = Daemon::new();
    let (builder, _receiver) = reporting(&daemon);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut line, pipe) = daemon.register("secret");
            line.tell(&asks(Phase::Quiesce));
            let mut peer = daemon.accept();
            let first = peer.expect::<Ack>();
            let busy = wire::Error::TooMany { what: "requests".to_owned(), limit: 5 };
            peer.reply(&Reply::from(busy), vec![]);
            let mut peer = daemon.accept();
            assert_eq!(peer.expect::<Ack>(), first);
            let late = wire::Error::Stale { transition: 8, generation: 1 };
            peer.reply(&Reply::from(late), vec![]);
            assert!(peer.message().is_none());
            (line, pipe)
        });
        let mut participant = builder.start().unwrap();
        answer(&mut participant, 1);
        while !server.is_finished() {
            participant.wait(Some(std::time::Duration::from_millis(5))).unwrap();
        }
        let _line = server.join().unwrap();
        // Longer than the pauses between attempts are by then.
        for _ in 0..10 {
            participant.wait(Some(std::time::Duration::from_millis(20))).unwrap();
        }
        assert!(!daemon.is_called());
    });
}

#[test]
fn an_event_loop_answers_later_and_is_not_asked_twice_meanwhile() {
    let mut daemon = Daemon::new();
    thread::scope(|scope| {
        let options = Options { socket: daemon.socket(), ..Options::new("loop") };
        let server = scope.spawn(|| {
            let (mut line, pipe) = daemon.register("secret");
            line.tell(&asks(Phase::Quiesce));
            daemon.stop();
            drop(line);
            daemon.start_again();
            let mut line = daemon.accept();
            line.subscribed("secret");
            line.tell(&asks(Phase::Quiesce));
            line.tell(&asks(Phase::Aborted));
            (daemon.acked(), pipe)
        });
        let mut registration = Registration::new(options).unwrap();
        let mut asked = Vec::new();
        while asked.len() < 2 {
            registration.wait(None).unwrap();
            asked.extend(std::iter::from_fn(|| registration.take()));
        }
        assert_eq!(
            asked.iter().map(|asked| asked.phase).collect::<Vec<_>>(),
            [Phase::Quiesce, Phase::Aborted]
        );
        // The first request was replaced by the second: only that one is answered.
        registration.answer(&asked[0], Ok(()));
        registration.answer(&asked[1], Ok(()));
        let (ack, _pipe) = server.join().unwrap();
        assert_eq!(ack.phase, Some(Phase::Aborted));
    });
}

#[test]
fn a_participant_can_be_moved_to_a_thread() {
    fn can_be_moved<T: Send>() {}
    can_be_moved::<Participant>();
    can_be_moved::<Registration>();
}
