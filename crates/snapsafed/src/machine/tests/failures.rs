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

#[test]
fn a_client_that_dies_holding_a_lock_releases_it() {
    let mut world = World::new(rules(), None);
    let member = world.number();
    let what = What { quiesce: true, unquiesce: false };
    let (who, mode, required) = ("upgrade".into(), Mode::Delay, true);
    world.handle(Event::Inhibited { member, what, who, mode, required });
    let request = world.quiesce(false, None);
    world.settle();
    assert_eq!(world.machine.waiting_for(), ["upgrade"]);
    assert_eq!(world.answer(request), None);
    world.handle(Event::Released { member });
    world.settle();
    assert!(matches!(world.answer(request), Some(Answer::Quiesced { .. })));
}

#[test]
fn a_required_name_that_dies_must_register_and_answer_before_the_gate_opens() {
    let required = vec!["database:postgres".into()];
    let mut world = World::new(Rules { required, ..rules() }, None);
    let database = world.join("database", Mode::Block, true, 50);
    world.quiesced(&[database]);
    world.handle(Event::Left { member: database });
    let request = world.unquiesce(Expectation::Any, None);
    world.settle();
    assert!(world.gate_shut && world.machine.waiting_for() == ["database"]);
    let database = world.join("database", Mode::Block, true, 50);
    world.settle();
    assert!(world.gate_shut && world.asked(database) == [Phase::Restored]);
    world.ack(database, Ok(()));
    world.settle();
    assert!(matches!(world.answer(request), Some(Answer::Running { .. })) && !world.gate_shut);
}

#[test]
fn no_snapshot_is_taken_without_a_required_name_unless_it_is_forced() {
    let mut world = World::new(Rules { required: vec!["database".into()], ..rules() }, None);
    let request = world.quiesce(false, None);
    assert!(matches!(world.answer(request), Some(Answer::Vetoed { .. })));
    let request = world.quiesce(true, None);
    world.settle();
    assert!(matches!(world.answer(request), Some(Answer::Quiesced { .. })));
}

#[test]
fn the_death_of_who_has_not_adapted_does_not_open_the_gate() {
    let mut world = World::new(rules(), None);
    let member = world.join("service", Mode::Delay, true, 50);
    world.quiesced(&[member]);
    let request = world.unquiesce(Expectation::Any, None);
    world.settle();
    world.handle(Event::Left { member });
    world.settle();
    assert!(matches!(world.answer(request), Some(Answer::Aborted { .. })));
    assert!(world.gate_shut && world.machine.state() == State::Quiesced);
}

#[test]
fn a_daemon_that_dies_goes_on_with_the_same_transition_in_every_state() {
    let mut world = World::new(rules(), Some(7));
    let member = world.join("service", Mode::Delay, true, 50);
    world.quiesce(false, None);
    world.restart();
    assert_eq!(world.asked(member), [Phase::Quiesce, Phase::Quiesce]);
    world.ack(member, Ok(()));
    world.settle();
    world.restart();
    world.settle();
    assert!(world.gate_shut && world.machine.state() == State::Quiesced);
    world.facts.counter = Some(8);
    world.unquiesce(Expectation::Any, None);
    world.settle();
    world.restart();
    world.settle();
    assert!(world.gate_shut && world.machine.state() == State::Unquiescing);
    world.ack(member, Ok(()));
    world.restart();
    world.settle();
    assert!(!world.gate_shut && world.machine.state() == State::Running);
    assert_eq!(world.machine.transition(), 1);
}

#[test]
fn a_host_that_never_thaws_gets_an_aborted_snapshot_if_the_counter_proves_it() {
    let mut world = World::new(rules(), Some(7));
    let member = world.join("service", Mode::Delay, true, 50);
    world.quiesced(&[member]);
    world.wait(299_999);
    assert_eq!(world.machine.state(), State::Quiesced);
    world.wait(1);
    world.settle();
    assert_eq!(world.asked(member), [Phase::Quiesce, Phase::Aborted]);
    assert!(!world.gate_shut && world.machine.last_outcome() == Some(Outcome::Aborted));
}

#[test]
fn a_host_that_never_thaws_gets_a_restored_machine_if_nobody_can_tell() {
    for (before, after) in [(None, None), (Some(7), Some(8)), (Some(7), None)] {
        let mut world = World::new(rules(), before);
        let member = world.join("service", Mode::Delay, true, 50);
        world.quiesced(&[member]);
        world.facts.counter = after;
        world.wait(300_000);
        world.settle();
        assert_eq!(world.asked(member), [Phase::Quiesce, Phase::Restored]);
        assert!(world.gate_shut);
        world.ack(member, Ok(()));
        world.settle();
        assert!(!world.gate_shut && world.machine.last_outcome() == Some(Outcome::Restored));
    }
}

#[test]
fn a_restore_into_quiesced_waits_for_the_host_unless_the_rules_say_otherwise() {
    for auto_unquiesce in [false, true] {
        let mut world = World::new(Rules { auto_unquiesce, ..rules() }, Some(7));
        world.quiesced(&[]);
        world.facts.counter = Some(8);
        world.wait(1);
        assert!(world.gate_shut);
        let expected = if auto_unquiesce { State::Unquiescing } else { State::Quiesced };
        assert_eq!(world.machine.state(), expected);
    }
}

#[test]
fn a_snapshot_that_nobody_announced_shuts_the_gate_before_anything_else() {
    let mut world = World::new(rules(), None);
    let member = world.join("service", Mode::Delay, true, 50);
    let effects = world.handle(Event::WorldChanged { witness: "kernel".into() });
    let done = effects.iter().find(|one| !matches!(one, Effect::Persist | Effect::Log(..)));
    assert!(matches!(done, Some(Effect::ShutGate { .. })));
    assert!(world.asked(member).is_empty());
    world.settle();
    assert!(world.gate_shut && world.asked(member) == [Phase::Restored]);
    world.ack(member, Ok(()));
    world.settle();
    assert!(!world.gate_shut && world.machine.state() == State::Running);
}

#[test]
fn a_rewind_and_a_clone_are_both_restored() {
    for counter in [6, 8] {
        let mut world = World::new(rules(), Some(7));
        world.quiesced(&[]);
        world.facts.counter = Some(counter);
        let request = world.unquiesce(Expectation::Resumed, None);
        world.settle();
        let answer = world.answer(request);
        assert!(matches!(answer, Some(Answer::Running { outcome: Outcome::Restored, .. })));
    }
}

#[test]
fn the_second_of_two_hosts_is_told_that_the_machine_is_busy() {
    let mut world = World::new(rules(), None);
    world.join("service", Mode::Delay, true, 50);
    world.quiesce(false, None);
    let second = world.quiesce(false, None);
    let busy = Answer::Busy { state: State::Quiescing, transition: 1 };
    assert_eq!(world.answer(second), Some(&busy));
    let second = world.unquiesce(Expectation::Any, None);
    assert_eq!(world.answer(second), Some(&busy));
}

#[test]
fn a_retry_in_what_may_be_a_copy_of_a_failed_clone_renews_everything_again() {
    for (counter, generations) in [(Some(7), 2), (None, 3)] {
        let mut world = World::new(rules(), counter);
        let quick = world.join("quick", Mode::Delay, true, 50);
        let hung = world.join("hung", Mode::Delay, true, 50);
        world.quiesced(&[quick, hung]);
        world.facts.counter = counter.map(|counter| counter + 1);
        world.unquiesce(Expectation::Any, None);
        world.settle();
        world.ack(quick, Ok(()));
        world.wait(10_000);
        world.unquiesce(Expectation::Any, None);
        world.settle();
        assert_eq!(world.machine.generation(), generations);
        let asked_again = world.asked(quick).len() == 3;
        assert_eq!(asked_again, counter.is_none());
    }
}

#[test]
fn a_crowd_that_may_only_delay_holds_nobody_up_for_longer_than_one() {
    let mut world = World::new(rules(), None);
    for _ in 0..10 {
        world.join("hostile", Mode::Delay, false, 50);
    }
    let request = world.quiesce(false, None);
    world.wait(900);
    world.join("hostile", Mode::Delay, false, 50);
    world.wait(100);
    world.settle();
    assert!(matches!(world.answer(request), Some(Answer::Quiesced { .. })));
}

#[test]
fn an_abort_tells_everybody_and_opens_after_the_hooks() {
    let mut world = World::new(rules(), Some(7));
    let member = world.join("service", Mode::Delay, true, 50);
    world.quiesced(&[member]);
    let request = world.abort();
    assert_eq!(world.asked(member), [Phase::Quiesce, Phase::Aborted]);
    assert!(world.gate_shut && world.hooks == Some(Phase::Aborted));
    world.settle();
    let answer = world.answer(request);
    assert!(matches!(answer, Some(Answer::Running { outcome: Outcome::Aborted, .. })));
    assert!(!world.gate_shut);
}

#[test]
fn neither_an_old_answer_nor_one_that_comes_before_the_question_counts() {
    let mut world = World::new(rules(), Some(7));
    let first = world.join("first", Mode::Delay, true, 10);
    let second = world.join("second", Mode::Delay, true, 90);
    world.quiesced(&[second, first]);
    world.facts.counter = Some(8);
    world.unquiesce(Expectation::Any, None);
    world.settle();
    let stale = Answer::Stale { transition: 1, generation: 2 };
    assert_eq!(world.ack(second, Ok(())), stale);
    let (request, phase, answer) = (1, None, Ok(()));
    let (member, transition, generation) = (first, 1, 1);
    world.handle(Event::Acked { request, member, transition, generation, phase, answer });
    assert_eq!(world.answer(request), Some(&stale));
}
