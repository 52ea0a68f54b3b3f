//! Levels, settling and diversity: what each of them buffers, absorbs and refuses.

use super::*;

#[test]
fn per_call_draws_fresh_entropy_for_every_request_and_keeps_no_output() {
    let script = Script::with(PER_CALL);
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    for length in [1, 8, 100, 511, 512, 5000] {
        let (kernel, cpu) = (script.kernel_calls.get(), script.cpu_bytes.get());
        bytes(&mut generator, length).unwrap();
        assert_eq!(script.kernel_calls.get(), kernel + 1, "{length}");
        assert_eq!(script.cpu_bytes.get(), cpu + 16, "{length}");
        assert!(generator.buffer.is_wiped(), "{length}");
    }
}

#[test]
fn a_late_witness_never_relaxes_per_call_but_makes_it_rekey() {
    let script = Script::with(Facts { late: true, ..PER_CALL });
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    assert_eq!(generator.level, Level::PerCall);
    let rekeyed = script.cpu_seed_calls.get();
    for late in [|e: &mut Epoch| e.sysgenid += 1, |e: &mut Epoch| e.agent += 1] {
        script.change(late);
        bytes(&mut generator, 8).unwrap();
    }
    assert_eq!(script.cpu_seed_calls.get(), rekeyed + 2);
}

#[test]
fn an_accepted_late_witness_is_seen_at_once() {
    let script = Script::with(Facts { late: true, ..PER_CALL });
    let mut generator = script.generator(Terms { accept_late: true, ..Terms::default() });
    bytes(&mut generator, 8).unwrap();
    let kernel = script.kernel_calls.get();
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), kernel, "buffered");
    script.change(|e| e.agent += 1);
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), kernel + 1);
}

#[test]
fn a_level_is_found_anew_at_each_rekey() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    assert_eq!(generator.level, Level::Synchronous);
    // Restored on a hypervisor without the counter.
    script.facts.set(Facts { vmclock: true, ..Facts::default() });
    script.change(|e| e.marker += 1);
    bytes(&mut generator, 8).unwrap();
    assert_eq!(generator.level, Level::PerCall);
}

#[test]
fn require_refuses_below_synchronous_and_works_again_when_it_is_reached() {
    let script = Script::with(PER_CALL);
    let mut generator = script.generator(require());
    for length in [1, 600] {
        assert_eq!(bytes(&mut generator, length), Err(Error::NotProtected(Level::PerCall)));
    }
    assert_eq!(script.kernel_calls.get(), 0, "nothing is gathered in vain");
    script.facts.set(Facts { vmclock: true, counter: true, ..PER_CALL });
    bytes(&mut generator, 8).unwrap();
}

#[test]
fn bare_metal_is_buffered_settled_and_admitted() {
    let script = Script::with(Facts { bare_metal: true, ..PER_CALL });
    // Just booted: time alone has settled nothing.
    script.now.set(SECOND);
    let script = script.unsettled();
    script.cpu_seed.set(None);
    let mut generator = script.generator(require());
    bytes(&mut generator, 8).unwrap();
    assert!(generator.settling.is_over());
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), 1);
}

#[test]
fn where_only_the_process_id_tells_a_fork_every_request_looks_in_full() {
    let script = Script::with(Facts { bare_metal: true, pid_only: true, ..PER_CALL });
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    assert!(generator.buffer.left() > 0 && generator.array_if_unmoved::<8>().is_none());
    let kernel = script.kernel_calls.get();
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), kernel, "but output is buffered");
}

#[test]
fn an_unsettled_generator_absorbs_at_each_stage_and_settles_at_the_deadline() {
    let script = Script::synchronous().unsettled();
    let began = script.now.get();
    let mut generator = script.generator(prefer());
    let refill = |generator: &mut TestGenerator| {
        use_up_the_buffer(generator);
        bytes(generator, 1).unwrap();
    };
    refill(&mut generator);
    assert_eq!(script.kernel_calls.get(), 1);
    let stages = [SECOND / 100, SECOND / 10, SECOND, 10 * SECOND];
    for (passed, stage) in stages.into_iter().enumerate() {
        let before = script.kernel_calls.get();
        script.now.set(began + stage - 1);
        refill(&mut generator);
        assert_eq!(script.kernel_calls.get(), before, "not before stage {passed}");
        script.now.set(began + stage);
        refill(&mut generator);
        refill(&mut generator);
        assert_eq!(script.kernel_calls.get(), before + 1, "once at stage {passed}");
        assert!(!generator.settling.is_over());
    }
    script.now.set(began + DEADLINE);
    assert!(!generator.settling.is_over(), "time passing ends nothing by itself");
    refill(&mut generator);
    assert!(generator.settling.is_over());
}

#[test]
fn without_cpu_randomness_every_request_absorbs_until_settled() {
    let script = Script::synchronous().unsettled();
    script.cpu_seed.set(None);
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    for _ in 0..3 {
        let before = script.kernel_calls.get();
        bytes(&mut generator, 8).unwrap();
        assert_eq!(script.kernel_calls.get(), before + 1);
        assert!(generator.buffer.is_wiped());
    }
    // Idle through the deadline: the next request absorbs, and is the last to have to.
    script.now.set(script.now.get() + DEADLINE);
    let before = script.kernel_calls.get();
    bytes(&mut generator, 8).unwrap();
    assert!(script.kernel_calls.get() > before);
    assert!(generator.settling.is_over());
    let before = script.kernel_calls.get();
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), before);
}

#[test]
fn a_new_machine_unsettles_a_settled_generator() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    assert!(generator.settling.is_over());
    script.clone_vm();
    bytes(&mut generator, 8).unwrap();
    assert!(!generator.settling.is_over());
    // A fork does not: the kernel is the same, though nobody may remember since when.
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    script.settling_began.set(None);
    script.change(|e| (e.process, e.copy) = (2, 2));
    bytes(&mut generator, 8).unwrap();
    assert!(generator.settling.is_over());
}

#[test]
fn the_noise_source_is_drawn_at_the_first_rekey_of_a_machine_only() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.cpu_seed_calls.get(), 1);
    generator.rekey(&[]).unwrap();
    assert_eq!(script.cpu_seed_calls.get(), 1);
    script.clone_vm();
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.cpu_seed_calls.get(), 2);
}

#[test]
fn require_waits_for_diversity_and_prefer_reports_that_there_is_none() {
    let script = Script::synchronous().unsettled();
    script.cpu_seed.set(None);
    let mut strict = script.generator(require());
    assert_eq!(bytes(&mut strict, 8), Err(Error::NotYetDiverse));
    assert_eq!(bytes(&mut strict, 600), Err(Error::NotYetDiverse));
    assert_eq!(one_shot(&script, &script, &require(), &mut [0; 8]), Err(Error::NotYetDiverse));
    let mut lenient = script.generator(prefer());
    bytes(&mut lenient, 8).unwrap();
    assert!(lenient.condition().diversity.is_none());

    script.now.set(script.now.get() + DEADLINE);
    bytes(&mut strict, 8).unwrap();
    one_shot(&script, &script, &require(), &mut [0; 8]).unwrap();
}

#[test]
fn while_nobody_can_look_require_waits_and_prefer_has_fresh_bytes() {
    let script = Script::synchronous();
    let mut out = [1; 8];
    assert_eq!(one_shot_without_a_look(&script, &require(), &mut out), Err(Error::Installing));
    assert_eq!((out, script.kernel_calls.get()), ([0; 8], 0));
    one_shot_without_a_look(&script, &prefer(), &mut out).unwrap();
    assert_eq!(script.kernel_calls.get(), 1);
    assert_ne!(out, [0; 8]);
}

#[test]
fn injected_bytes_satisfy_require() {
    let script = Script::synchronous().unsettled();
    script.cpu_seed.set(None);
    script.injected.set(true);
    bytes(&mut script.generator(require()), 8).unwrap();
    one_shot(&script, &script, &require(), &mut [0; 8]).unwrap();
}

#[test]
fn a_kernel_made_to_reseed_from_its_clocks_is_reported_but_does_not_satisfy_require() {
    let script = Script::synchronous().unsettled();
    script.cpu_seed.set(None);
    script.may_reseed_kernel.set(true);
    assert!(script.generator(prefer()).condition().diversity.kernel_reseeded());
    assert_eq!(bytes(&mut script.generator(require()), 8), Err(Error::NotYetDiverse));
    assert_eq!(one_shot(&script, &script, &require(), &mut [0; 8]), Err(Error::NotYetDiverse));
}
