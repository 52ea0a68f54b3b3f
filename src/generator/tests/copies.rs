//! Copies at every step.

use super::*;

/// How a copy comes about, and what its witnesses and sources then show.
#[derive(Clone, Copy, Debug)]
enum Copying {
    /// A VM clone, CPU randomness, a kernel that still gives the same in all clones.
    Vm,
    /// The same, seen by the disruption marker alone.
    VmByMarker,
    /// A fork: another kernel stream; no CPU randomness.
    Fork,
    /// Seen by no witness at all.
    Unseen,
}

/// Runs a fixed list of requests. At step `at`, the world is copied, and this run goes on as copy
/// number `copy`. Gives what was released by requests whose last look came after that, or that began
/// after it where no witness tells.
fn run_copy(script: &Rc<Script>, terms: Terms, how: Copying, at: usize, copy: u64) -> Vec<Vec<u8>> {
    script.on_step(move |script, number, _| {
        if number == at {
            match how {
                Copying::Vm => script.clone_vm(),
                Copying::VmByMarker => script.change(|e| e.marker += 1),
                Copying::Fork => script.change(|e| (e.process, e.copy) = (2 + copy, 2 + copy)),
                Copying::Unseen => {}
            }
            if matches!(how, Copying::Fork) {
                script.kernel_seed.set(100 + copy);
            } else {
                script.cpu_seed.set(Some(100 + copy));
            }
        }
    });
    let mut generator = script.generator(terms);
    let mut released = Vec::new();
    for (index, length) in
        [8, 16, 4, 100, 511, 511, 512, 16, 2000, 3, 32, 511, 511, 16, 8].into_iter().enumerate()
    {
        let began_after = script.steps.get() > at;
        if index == 9 {
            generator.rekey(b"reseed").unwrap();
        }
        let mut out = vec![0; length];
        match length {
            _ if index % 5 == 4 => one_shot(script, script, &terms, &mut out).unwrap(),
            // Both ways of the inlined path.
            8 => out = generator.convert(|bytes: [u8; 8]| bytes.to_vec()).unwrap(),
            16 => out = generator.convert(|bytes: [u8; 16]| bytes.to_vec()).unwrap(),
            _ => generator.fill(&mut out).unwrap(),
        }
        let last_look_after = script.steps.get() > at && script.last_look.get() >= at;
        if if matches!(how, Copying::Unseen) { began_after } else { last_look_after } {
            released.push(out);
        }
    }
    released
}

/// Counts the points and pairs, and holds every two copies against each other.
fn no_two_copies_share(make: impl Fn() -> Rc<Script>, terms: Terms, how: Copying) {
    let steps = {
        let script = make();
        run_copy(&script, terms, how, usize::MAX, 0);
        script.steps.get()
    };
    let mut compared = 0;
    for at in 0..steps {
        let mut seen = HashSet::new();
        for copy in 0..3 {
            for out in run_copy(&make(), terms, how, at, copy) {
                for unit in out.chunks_exact(8) {
                    assert!(seen.insert(unit.to_vec()), "{how:?}: shared after step {at}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1000 * steps / 2, "{compared} units at {steps} steps");
}

#[test]
fn a_vm_clone_at_any_step_shares_nothing_released_after_it() {
    no_two_copies_share(Script::synchronous, prefer(), Copying::Vm);
    no_two_copies_share(|| Script::synchronous().unsettled(), prefer(), Copying::Vm);
    no_two_copies_share(Script::synchronous, require(), Copying::Vm);
}

#[test]
fn a_vm_clone_seen_by_the_marker_alone_shares_nothing_either() {
    no_two_copies_share(Script::synchronous, prefer(), Copying::VmByMarker);
    let marker = Terms { accept_marker: true, ..Terms::default() };
    let qemu = || Script::with(Facts { vmclock: true, ..PER_CALL });
    no_two_copies_share(qemu, marker, Copying::VmByMarker);
}

#[test]
fn a_fork_at_any_step_shares_nothing_released_after_it() {
    for facts in [
        PER_CALL,
        Facts { vmclock: true, counter: true, ..PER_CALL },
        Facts { bare_metal: true, ..PER_CALL },
    ] {
        let make = || {
            let script = Script::with(facts);
            script.cpu_seed.set(None);
            script
        };
        no_two_copies_share(make, prefer(), Copying::Fork);
    }
}

#[test]
fn at_per_call_a_copy_that_nothing_shows_shares_no_request_that_began_after_it() {
    no_two_copies_share(|| Script::with(PER_CALL), prefer(), Copying::Unseen);
}

#[test]
#[should_panic(expected = "shared after step")]
fn buffered_output_is_shared_by_copies_that_nothing_shows() {
    // The control: the same comparison must be able to fail.
    no_two_copies_share(Script::synchronous, prefer(), Copying::Unseen);
}
