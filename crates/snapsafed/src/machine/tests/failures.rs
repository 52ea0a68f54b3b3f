//! The failure table, row by row, and the main road.

use super::super::*;
use super::driver::{World, rules};

#[test]
fn a_machine_goes_through_a_snapshot_and_comes_back_as_the_same() {
    let mut world = World::new(rules(), Some(7));
    let database = world.join("database", Mode::Block, true, 50);
    world.quiesced(&[database]);
    let request = world.unquiesce(Expectation::Any, None);
    world.settle();
    assert!(world.gate_shut && world.answer(request).is_none());
    world.ack(database, Ok(()));
    world.settle();
    assert!(!world.gate_shut);
    assert_eq!(world.asked(database), [Phase::Quiesce, Phase::Resumed]);
    let answer = Answer::Running {
        transition: 1,
        generation: 1,
        outcome: Outcome::Resumed,
        kernel_reseeded: false,
    };
    assert_eq!(world.answer(request), Some(&answer));
}

#[test]
fn a_clone_is_renewed_before_anybody_is_told_and_opens_last() {
    let mut world = World::new(rules(), Some(7));
    let database = world.join("database", Mode::Block, true, 50);
    world.quiesced(&[database]);
    world.facts.counter = Some(8);
    let request = world.unquiesce(Expectation::Resumed, None);
    assert!(world.renewing && world.asked(database) == [Phase::Quiesce]);
    world.settle();
    assert_eq!(world.told.last(), Some(&(database, Phase::Restored, 1, 2)));
    assert!(world.gate_shut && world.hooks.is_none());
    world.ack(database, Ok(()));
    assert!(world.gate_shut && world.hooks == Some(Phase::Restored));
    world.settle();
    assert!(!world.gate_shut);
    let answer = Answer::Running {
        transition: 1,
        generation: 2,
        outcome: Outcome::Restored,
        kernel_reseeded: true,
    };
    assert_eq!(world.answer(request), Some(&answer));
}

#[test]
fn a_required_application_that_is_slow_to_quiesce_calls_the_snapshot_off() {
    let mut world = World::new(rules(), None);
    let slow = world.join("slow", Mode::Block, true, 50);
    let request = world.quiesce(false, None);
    world.wait(4_999);
    assert_eq!(world.answer(request), None);
    world.wait(1);
    assert_eq!(world.asked(slow), [Phase::Quiesce, Phase::Aborted]);
    world.settle();
    let holders = vec!["slow".into()];
    assert_eq!(world.answer(request), Some(&Answer::Expired { state: State::Running, holders }));
    assert_eq!(world.machine.state(), State::Running);
    assert!(!world.effects.iter().any(|one| matches!(one, Effect::ShutGate { .. })));
}

#[test]
fn a_hung_application_keeps_the_gate_shut_and_a_retry_works() {
    let mut world = World::new(rules(), None);
    let hung = world.join("hung", Mode::Block, true, 50);
    world.quiesced(&[hung]);
    let request = world.unquiesce(Expectation::Any, None);
    world.settle();
    world.wait(10_000);
    world.settle();
    let holders = vec!["hung".into()];
    assert_eq!(world.answer(request), Some(&Answer::Expired { state: State::Quiesced, holders }));
    assert!(world.gate_shut && world.machine.state() == State::Quiesced);
    assert!(world.machine.degraded().unwrap().contains("hung"));
    let retry = world.unquiesce(Expectation::Any, None);
    world.settle();
    world.ack(hung, Ok(()));
    world.settle();
    assert!(matches!(world.answer(retry), Some(Answer::Running { transition: 1, .. })));
    assert!(!world.gate_shut);
}
