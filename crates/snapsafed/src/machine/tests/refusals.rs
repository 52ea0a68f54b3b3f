//! Who may say no, and what follows: hooks, locks, the gate itself; and who is not believed.

use super::super::*;
use super::driver::{World, rules};

/// What was done, but for what is written, said and waited for.
fn deeds(effects: &[Effect]) -> Vec<&Effect> {
    let is_deed = |one: &&Effect| {
        !matches!(one, Effect::Persist | Effect::Log(..) | Effect::Announce | Effect::WakeAt(_))
    };
    effects.iter().filter(is_deed).collect()
}

fn has_shut_the_gate(world: &World) -> bool {
    world.effects.iter().any(|one| matches!(one, Effect::ShutGate { .. }))
}

fn no(why: &str) -> Result<(), String> {
    Err(why.into())
}

fn lock(world: &mut World, what: &str, mode: Mode, required: bool) -> Member {
    let what = What { quiesce: what == "quiesce", unquiesce: what == "unquiesce" };
    let member = world.number();
    world.handle(Event::Inhibited { member, what, who: "upgrade".into(), mode, required });
    member
}

fn vetoed(by: &str, why: &str) -> Answer {
    Answer::Vetoed { by: by.into(), why: why.into() }
}

#[test]
fn a_hook_that_fails_calls_the_snapshot_off_before_the_gate_is_touched() {
    let mut world = World::new(rules(), Some(7));
    let member = world.join("service", Mode::Delay, true, 50);
    let request = world.quiesce(false, None);
    world.ack(member, Ok(()));
    assert_eq!(world.hooks, Some(Phase::Quiesce));
    world.work(no("10-freeze: exit code 1"));
    assert_eq!(world.hooks, Some(Phase::Aborted), "they are told, too");
    assert_eq!(world.asked(member), [Phase::Quiesce, Phase::Aborted]);
    world.settle();
    assert_eq!(world.answer(request), Some(&vetoed("hooks", "10-freeze: exit code 1")));
    assert_eq!(world.machine.state(), State::Running);
    assert!(!has_shut_the_gate(&world));
}

#[test]
fn a_hook_that_fails_in_a_clone_keeps_the_gate_shut_and_runs_again_at_the_retry() {
    let mut world = World::new(rules(), Some(7));
    let member = world.join("service", Mode::Delay, true, 50);
    world.quiesced(&[member]);
    world.facts.counter = Some(8);
    let request = world.unquiesce(Expectation::Any, None);
    world.settle();
    world.ack(member, Ok(()));
    world.work(no("20-address: exit code 2"));
    assert_eq!(world.answer(request), Some(&vetoed("hooks", "20-address: exit code 2")));
    assert!(world.gate_shut && world.machine.state() == State::Quiesced);
    let retry = world.unquiesce(Expectation::Any, None);
    assert_eq!(world.hooks, Some(Phase::Restored));
    world.settle();
    assert!(matches!(world.answer(retry), Some(Answer::Running { transition: 1, .. })));
    assert_eq!(world.asked(member), [Phase::Quiesce, Phase::Restored], "consent is kept");
    assert!(!world.gate_shut);
}

#[test]
fn a_hook_that_fails_at_an_abort_keeps_no_network_shut() {
    let mut world = World::new(rules(), Some(7));
    world.quiesced(&[]);
    let request = world.abort();
    world.work(no("10-freeze: exit code 1"));
    assert!(world.opening);
    world.settle();
    assert!(matches!(world.answer(request), Some(Answer::Running { .. })) && !world.gate_shut);
}

#[test]
fn a_gate_that_cannot_be_shut_calls_the_snapshot_off_and_is_opened() {
    let mut world = World::new(rules(), Some(7));
    let member = world.join("service", Mode::Delay, true, 50);
    let request = world.quiesce(false, None);
    world.ack(member, Ok(()));
    world.work(Ok(()));
    assert!(world.shutting);
    world.work(no("no netlink"));
    world.settle();
    assert_eq!(world.answer(request), Some(&Answer::GateFailed { why: "no netlink".into() }));
    assert_eq!(world.asked(member), [Phase::Quiesce, Phase::Aborted]);
    // Of what was begun something may be in force.
    assert!(world.effects.contains(&Effect::OpenGate));
    assert_eq!(world.machine.state(), State::Running);
}

#[test]
fn a_gate_that_cannot_be_shut_in_another_world_is_reported_and_delays_nobody_who_must_adapt() {
    let mut world = World::new(rules(), None);
    let member = world.join("service", Mode::Delay, true, 50);
    world.handle(Event::WorldChanged { witness: "kernel".into() });
    world.work(no("no netlink"));
    assert!(world.machine.degraded().unwrap().contains("no netlink"));
    world.settle();
    assert_eq!(world.asked(member), [Phase::Restored]);
    world.ack(member, Ok(()));
    world.settle();
    assert_eq!(world.machine.state(), State::Running);
    assert_eq!(world.machine.degraded(), None);
}

#[test]
fn a_gate_that_could_not_be_opened_counts_as_leaking_and_is_shut_before_anything_is_tried_again() {
    for restarts in [false, true] {
        let mut world = World::new(rules(), Some(7));
        let member = world.join("service", Mode::Delay, true, 50);
        world.quiesced(&[member]);
        let request = world.unquiesce(Expectation::Any, None);
        world.ack(member, Ok(()));
        world.work(Ok(()));
        assert!(world.opening);
        world.work(no("stuck"));
        assert_eq!(world.answer(request), Some(&Answer::GateFailed { why: "stuck".into() }));
        assert_eq!(world.machine.state(), State::Quiesced);
        assert!(world.shutting, "how much of it is open, nobody knows");
        if restarts {
            world.restart();
        }
        world.settle();
        assert!(world.gate_shut);
        let before = world.effects.len();
        let retry = world.unquiesce(Expectation::Any, None);
        let done = world.effects.split_off(before);
        assert!(matches!(deeds(&done)[..], [Effect::ShutGate { .. }]), "{done:?}");
        world.settle();
        assert!(matches!(world.answer(retry), Some(Answer::Running { .. })) && !world.gate_shut);
        assert_eq!(world.asked(member), [Phase::Quiesce, Phase::Resumed], "consent is kept");
    }
}

#[test]
fn a_gate_that_somebody_opened_is_reported_and_leaks_if_it_cannot_be_shut_again() {
    let mut world = World::new(rules(), Some(7));
    world.handle(Event::GateTampered(Ok(())));
    assert_eq!(world.machine.degraded(), None, "while the machine runs it is nobody's business");
    world.quiesced(&[]);
    world.handle(Event::GateTampered(Ok(())));
    assert!(world.machine.degraded().unwrap().contains("it is shut again"));
    world.handle(Event::GateTampered(no("no netlink")));
    assert!(world.machine.degraded().unwrap().contains("does not hold: no netlink"));
    world.unquiesce(Expectation::Any, None);
    assert!(world.shutting, "first of all");
}

/// How a transition ends whose `Quiesce` and `Unquiesce` had these tokens.
fn outcome(
    counters: (Option<u64>, Option<u64>),
    tokens: (Option<&str>, Option<&str>),
    expect: Expectation,
) -> Outcome {
    let mut world = World::new(rules(), counters.0);
    world.quiesce(false, tokens.0);
    world.settle();
    world.facts.counter = counters.1;
    world.unquiesce(expect, tokens.1);
    world.settle();
    world.machine.last_outcome().unwrap()
}

#[test]
fn the_same_token_again_means_the_same_machine_and_another_one_a_clone() {
    let any = |before, after| outcome((None, None), (before, after), Expectation::Any);
    assert_eq!(any(Some("a"), Some("a")), Outcome::Resumed);
    assert_eq!(any(Some("a"), Some("b")), Outcome::Restored);
    for (before, after) in [(None, None), (Some("a"), None), (None, Some("a"))] {
        assert_eq!(any(before, after), Outcome::Restored, "{before:?} {after:?}");
    }
    // Whoever says `resumed` of another token is mistaken.
    let mistaken = outcome((None, None), (Some("a"), Some("b")), Expectation::Resumed);
    assert_eq!(mistaken, Outcome::Restored);
    let cautious = outcome((None, None), (Some("a"), Some("a")), Expectation::Restored);
    assert_eq!(cautious, Outcome::Restored);
}

#[test]
fn no_token_is_believed_against_the_counter() {
    let same = (Some("a"), Some("a"));
    for after in [Some(8), None] {
        for expect in [Expectation::Any, Expectation::Resumed] {
            assert_eq!(outcome((Some(7), after), same, expect), Outcome::Restored, "{after:?}");
        }
    }
    // But another token is believed against a counter that did not change.
    let other = (Some("a"), Some("b"));
    assert_eq!(outcome((Some(7), Some(7)), other, Expectation::Any), Outcome::Restored);
}

#[test]
fn a_token_is_of_its_transition_and_survives_a_restart() {
    let mut world = World::new(rules(), None);
    world.quiesce(false, Some("a"));
    world.settle();
    world.restart();
    world.unquiesce(Expectation::Any, Some("a"));
    world.settle();
    assert_eq!(world.machine.last_outcome(), Some(Outcome::Resumed));
    world.quiesced(&[]);
    world.unquiesce(Expectation::Any, Some("a"));
    world.settle();
    assert_eq!(world.machine.last_outcome(), Some(Outcome::Restored), "this one had none");
}

/// An answer with the names that the participant gives it.
fn ack(world: &mut World, member: Member, names: (u64, u64, Option<Phase>)) -> Answer {
    let request = world.number();
    let (transition, generation, phase) = names;
    let answer = Ok(());
    world.handle(Event::Acked { request, member, transition, generation, phase, answer });
    world.answer(request).unwrap().clone()
}

#[test]
fn a_late_answer_to_quiesce_is_none_to_resumed() {
    let mut world = World::new(rules(), Some(7));
    let member = world.join("service", Mode::Delay, true, 50);
    world.quiesced(&[member]);
    world.unquiesce(Expectation::Any, None);
    // Of the same transition and generation: only the phase tells.
    let stale = Answer::Stale { transition: 1, generation: 1 };
    assert_eq!(ack(&mut world, member, (1, 1, Some(Phase::Quiesce))), stale);
    world.settle();
    assert!(world.gate_shut && world.machine.waiting_for() == ["service"]);
    assert_eq!(ack(&mut world, member, (1, 1, Some(Phase::Resumed))), Answer::Accepted);
    world.settle();
    assert!(!world.gate_shut);
}

#[test]
fn an_answer_that_names_another_transition_or_generation_is_stale() {
    let mut world = World::new(rules(), Some(7));
    let member = world.join("service", Mode::Delay, true, 50);
    world.quiesced(&[member]);
    world.facts.counter = Some(8);
    world.unquiesce(Expectation::Any, None);
    world.settle();
    let stale = Answer::Stale { transition: 1, generation: 2 };
    for (transition, generation) in [(1, 1), (1, 3), (0, 2), (2, 2)] {
        assert_eq!(ack(&mut world, member, (transition, generation, None)), stale);
        world.settle();
        assert!(world.gate_shut, "{transition} {generation}");
    }
    assert_eq!(ack(&mut world, 1, (1, 2, None)), Answer::UnknownParticipant);
    assert_eq!(ack(&mut world, member, (1, 2, None)), Answer::Accepted);
    world.settle();
    assert!(!world.gate_shut);
}

#[test]
fn a_lock_that_blocks_refuses_the_snapshot_until_it_is_released() {
    let mut world = World::new(rules(), None);
    let member = lock(&mut world, "quiesce", Mode::Block, true);
    for force in [false, true] {
        let request = world.quiesce(force, None);
        assert_eq!(world.answer(request), Some(&vetoed("upgrade", "holds a lock")));
        assert_eq!((world.machine.state(), world.machine.transition()), (State::Running, 0));
    }
    world.handle(Event::Released { member });
    world.quiesced(&[]);
}

#[test]
fn a_lock_that_blocks_and_comes_while_quiescing_calls_the_snapshot_off() {
    let mut world = World::new(rules(), None);
    let member = world.join("service", Mode::Delay, true, 50);
    let request = world.quiesce(false, None);
    lock(&mut world, "unquiesce", Mode::Block, true);
    assert_eq!(world.asked(member), [Phase::Quiesce], "that one is of the way back");
    lock(&mut world, "quiesce", Mode::Block, true);
    world.settle();
    assert_eq!(world.answer(request), Some(&vetoed("upgrade", "took a lock")));
    assert_eq!(world.asked(member), [Phase::Quiesce, Phase::Aborted]);
    assert!(world.machine.state() == State::Running && !has_shut_the_gate(&world));
}

#[test]
fn a_lock_that_delays_holds_the_snapshot_up_and_root_s_to_the_end_of_its_time() {
    for (required, patience) in [(false, 1_000), (true, 5_000)] {
        let mut world = World::new(rules(), None);
        let member = world.join("service", Mode::Delay, true, 50);
        lock(&mut world, "quiesce", Mode::Delay, required);
        let request = world.quiesce(false, None);
        world.wait(patience - 1);
        world.settle();
        assert_eq!((world.answer(request), world.asked(member)), (None, vec![]));
        assert_eq!(world.machine.waiting_for(), ["upgrade"]);
        world.wait(1);
        world.settle();
        if required {
            let holders = vec!["upgrade".into()];
            let expired = Answer::Expired { state: State::Running, holders };
            assert_eq!(world.answer(request), Some(&expired));
            assert!(world.machine.state() == State::Running && !has_shut_the_gate(&world));
        } else {
            assert_eq!(world.asked(member), [Phase::Quiesce], "it is passed over");
        }
    }
}

#[test]
fn a_lock_that_blocks_the_way_back_keeps_the_machine_quiesced_against_host_and_watchdog() {
    let mut world = World::new(rules(), Some(7));
    world.quiesced(&[]);
    let member = lock(&mut world, "unquiesce", Mode::Block, true);
    let refused = Some(vetoed("upgrade", "holds a lock"));
    let request = world.unquiesce(Expectation::Any, None);
    assert_eq!(world.answer(request), refused.as_ref());
    let request = world.abort();
    assert_eq!(world.answer(request), refused.as_ref());
    world.wait(300_000);
    world.settle();
    assert!(world.gate_shut && world.machine.state() == State::Quiesced);
    assert!(world.machine.degraded().unwrap().contains("upgrade holds a lock"));
    world.handle(Event::Released { member });
    world.wait(300_000);
    world.settle();
    assert!(!world.gate_shut && world.machine.last_outcome() == Some(Outcome::Aborted));
}
