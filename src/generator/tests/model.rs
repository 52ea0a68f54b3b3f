//! The model: any history of requests, copies and failures.

use proptest::prelude::*;

use super::*;

/// What can happen to a family of copies.
#[derive(Clone, Debug)]
enum Event {
    Request { who: usize, length: usize },
    OneShot { who: usize },
    CloneVm { who: usize },
    Fork { who: usize },
    DropPage { who: usize },
    MoveMarker { who: usize },
    FailKernel { who: usize, after: u32 },
    MendKernel { who: usize },
    Reseed { who: usize },
    Wait { who: usize, milliseconds: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0..8usize;
    prop_oneof![
        8 => (who.clone(), prop_oneof![0..40usize, 500..530usize, 1000..3000usize])
            .prop_map(|(who, length)| Event::Request { who, length }),
        1 => who.clone().prop_map(|who| Event::OneShot { who }),
        1 => who.clone().prop_map(|who| Event::CloneVm { who }),
        1 => who.clone().prop_map(|who| Event::Fork { who }),
        1 => who.clone().prop_map(|who| Event::DropPage { who }),
        1 => who.clone().prop_map(|who| Event::MoveMarker { who }),
        1 => (who.clone(), 0..3u32).prop_map(|(who, after)| Event::FailKernel { who, after }),
        2 => who.clone().prop_map(|who| Event::MendKernel { who }),
        1 => who.clone().prop_map(|who| Event::Reseed { who }),
        1 => (who, 0..70_000u64).prop_map(|(who, milliseconds)| Event::Wait { who, milliseconds }),
    ]
}

/// One copy of the process in one copy of the machine.
struct Copy {
    script: Rc<Script>,
    generator: TestGenerator,
    /// Kernel calls at the time of the last failure; a success after it must have made more.
    failed_at: Option<u32>,
}

impl Copy {
    /// The state of a running copy, twice.
    fn duplicate(&self, number: u64) -> Self {
        let script = Script::with(self.script.facts.get());
        script.epoch.set(self.script.epoch.get());
        script.now.set(self.script.now.get());
        script.settling_began.set(self.script.settling_began.get());
        script.kernel_fails_after.set(self.script.kernel_fails_after.get());
        script.draws.set(self.script.draws.get());
        script.kernel_calls.set(self.script.kernel_calls.get());
        script.kernel_seed.set(self.script.kernel_seed.get());
        script.cpu_seed.set(self.script.cpu_seed.get().map(|_| number));
        let mut generator = script.generator(self.generator.embedder);
        let from = &self.generator;
        generator.epoch = from.epoch;
        (generator.keyed, generator.has_epoch) = (from.keyed, from.has_epoch);
        generator.three_words = from.three_words;
        script.seeded_in.set(self.script.seeded_in.get());
        (generator.level, generator.diversity) = (from.level, from.diversity);
        (generator.settling, generator.rekeyed_at) = (from.settling, from.rekeyed_at);
        generator.bytes_since_rekey = from.bytes_since_rekey;
        (generator.key, generator.buffer) = (from.key, from.buffer.duplicate());
        Self { script, generator, failed_at: self.failed_at }
    }
}

fn play(
    facts: Facts,
    has_cpu: bool,
    terms: Terms,
    events: Vec<Event>,
) -> Result<(), TestCaseError> {
    let script = Script::with(facts);
    if !has_cpu {
        script.cpu_seed.set(None);
    }
    let generator = script.generator(terms);
    let mut family = vec![Copy { script, generator, failed_at: None }];
    let mut seen = HashSet::new();
    let mut number = 1000;
    for event in events {
        number += 1;
        let size = family.len();
        let fork_of = |copy: &Copy| {
            let child = copy.duplicate(number);
            child.script.change(|e| (e.process, e.copy) = (number, number));
            child.script.kernel_seed.set(number);
            child
        };
        match event {
            Event::Request { who, length } => {
                let copy = &mut family[who % size];
                let mut out = vec![0xaa; length];
                let outcome = copy.generator.fill(&mut out);
                check(copy, outcome, &out, &mut seen)?;
            }
            Event::OneShot { who } => {
                let copy = &mut family[who % size];
                let mut out = [0xaa; 48];
                let outcome = one_shot(&copy.script, &copy.script, &terms, &mut out);
                if outcome.is_ok() {
                    release(&out, &mut seen)?;
                } else {
                    prop_assert_eq!(out, [0; 48]);
                }
            }
            Event::CloneVm { who } => {
                // Both copies wake up with the same new counter; siblings share the kernel's
                // stream where the CPU tells them apart, else the kernel has reseeded.
                let copy = &family[who % size];
                copy.script.clone_vm();
                let clone = copy.duplicate(number);
                if !has_cpu {
                    clone.script.kernel_seed.set(number);
                }
                family.push(clone);
            }
            Event::Fork { who } => {
                let child = fork_of(&family[who % size]);
                family.push(child);
            }
            Event::DropPage { who } => family[who % size].script.change(|e| e.process += 1 << 32),
            Event::MoveMarker { who } => family[who % size].script.change(|e| e.marker += 1),
            Event::FailKernel { who, after } => {
                family[who % size].script.kernel_fails_after.set(Some(after));
            }
            Event::MendKernel { who } => family[who % size].script.kernel_fails_after.set(None),
            Event::Reseed { who } => {
                let copy = &mut family[who % size];
                if copy.generator.rekey(b"more").is_err() {
                    copy.failed_at = Some(copy.script.kernel_calls.get());
                }
            }
            Event::Wait { who, milliseconds } => {
                let script = &family[who % size].script;
                script.now.set(script.now.get() + milliseconds * 1_000_000);
            }
        }
    }
    Ok(())
}

fn check(
    copy: &mut Copy,
    outcome: Result<(), Error>,
    out: &[u8],
    seen: &mut HashSet<Vec<u8>>,
) -> Result<(), TestCaseError> {
    let calls = copy.script.kernel_calls.get();
    if outcome.is_err() {
        prop_assert!(out.iter().all(|&b| b == 0), "an error wipes the buffer");
        copy.failed_at = Some(calls);
        return Ok(());
    }
    if !out.is_empty()
        && let Some(failed_at) = copy.failed_at.take()
    {
        prop_assert!(calls > failed_at, "after a failure, only fresh entropy serves");
    }
    release(out, seen)
}

fn release(out: &[u8], seen: &mut HashSet<Vec<u8>>) -> Result<(), TestCaseError> {
    for unit in out.chunks_exact(8) {
        prop_assert!(seen.insert(unit.to_vec()), "a block was handed out twice");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_history_of_copies_and_failures_hands_a_block_out_twice(
        counter in any::<bool>(),
        has_cpu in any::<bool>(),
        accept_marker in any::<bool>(),
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let facts = Facts { vmclock: true, counter, ..PER_CALL };
        play(facts, has_cpu, Terms { accept_marker, ..Terms::default() }, events)?;
    }

    #[test]
    fn without_any_witness_of_the_machine_forks_are_told_all_the_same(
        bare_metal in any::<bool>(),
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let events = events.into_iter().filter(|e| !matches!(e, Event::CloneVm { .. })).collect();
        play(Facts { bare_metal, ..PER_CALL }, true, Terms::default(), events)?;
    }
}
