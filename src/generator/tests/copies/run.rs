//! One run of an application on a scripted machine, copied and interrupted according to plan, and
//! what it released when.

use std::cell::RefCell;

use super::*;
use crate::point::observed;

/// How a copy comes about, and what its witnesses and sources then show. The original sees nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Copying {
    /// A VM clone: the same new counter in all, CPUs of their own, the same stream of the kernel.
    Vm,
    /// The same, seen by the disruption marker alone.
    VmByMarker,
    /// The same, seen by an agent's page that the embedder accepted.
    VmByAgent,
    /// No CPU randomness: only the kernel tells clones apart, after it has reseeded between two
    /// requests; so many begin before.
    VmOfLateKernel(u32),
    /// Seen by no witness at all.
    Unseen,
    /// Seen by an agent's page, after so many requests.
    SeenLate(u32),
    /// Seen by no witness, but each copy's host tells it by `notify_restored`.
    Told,
    /// A child: another process word, and kernel bytes of its own.
    Fork,
    /// A restored process: a new process word, a new machine, kernel bytes of its own.
    Restore,
    /// No copy: the process page was dropped.
    Dropped,
}

pub(super) use Copying::*;

/// What an application does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    U32,
    U64,
    Bytes16,
    Fill(usize),
    /// All but so many bytes of the buffer.
    AllBut(usize),
    /// From the other generator of the process.
    Other(usize),
    OneShot(usize),
    Reseed,
    NotifyRestored,
    Wait(u64),
    /// The kernel works so many times more.
    KernelFails(u32),
    KernelWorks,
}

pub(super) use Ask::*;

/// A machine, what happens on it before, and the request under attack.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) machine: fn() -> Rc<Script>,
    pub(super) terms: Terms,
    pub(super) before: &'static [Ask],
    pub(super) attacked: &'static [Ask],
    pub(super) ways: &'static [Copying],
    /// At least so many points: an attack that shrinks is none.
    pub(super) points: usize,
}

/// What follows on the attack: all that the process has to give.
const AFTER: &[Ask] = &[
    KernelWorks,
    U64,
    Other(8),
    Fill(36),
    OneShot(16),
    Other(16),
    Fill(LARGE),
    Reseed,
    U64,
    Wait(DEADLINE),
    Fill(40),
    U64,
    Other(16),
];

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// The world is copied, and the run goes on as this copy.
    Copied(Copying, u64),
    /// A signal handler asks for bytes.
    Interrupted,
}

pub(super) type Plan = [(usize, Event)];

/// Copies are numbered from 0, which is the original; copies of copy 2 from 120.
fn is_original(who: u64) -> bool {
    who.is_multiple_of(10)
}

/// What a request gave, and the points that say when.
pub(super) struct Released {
    pub(super) bytes: Vec<u8>,
    pub(super) began: usize,
    pub(super) drew: usize,
    pub(super) last_look: usize,
}

/// One run of a script, copied according to plan.
struct Run {
    script: Rc<Script>,
    terms: Terms,
    released: RefCell<Vec<Released>>,
    refused: Cell<usize>,
    /// What happens between two requests, after so many.
    later: Cell<Option<(u32, Copying, u64)>>,
    reseeded: Cell<Option<usize>>,
    /// What the host has for this copy, and when the library was told.
    unique: Cell<u64>,
    told: Cell<Option<usize>>,
    names: RefCell<Vec<&'static str>>,
}

/// A run that is over.
pub(super) struct Outcome {
    pub(super) released: Vec<Released>,
    pub(super) refused: usize,
    pub(super) reseeded: Option<usize>,
    pub(super) told: Option<usize>,
    /// The first point of the attack, and the first after it.
    pub(super) attack: (usize, usize),
    pub(super) names: Vec<&'static str>,
}

impl Run {
    fn copy(&self, how: Copying, who: u64) {
        let script = &self.script;
        if how == Dropped {
            return script.change(|e| e.process += 1 << 32);
        }
        if is_original(who) {
            return;
        }
        let own = 1000 + who;
        let by_itself = script.cpu_seed.get().map(|_| own);
        script.cpu_seed.set(by_itself);
        self.unique.set(own);
        match how {
            Vm => script.clone_vm(),
            VmByMarker => script.change(|e| e.marker += 1),
            VmByAgent => script.change(|e| e.agent += 1),
            VmOfLateKernel(requests) => {
                script.clone_vm();
                self.reseeded.set(None);
                self.later.set(Some((requests, how, own)));
            }
            Unseen | Told | Dropped => {}
            SeenLate(requests) => self.later.set(Some((requests, how, own))),
            Fork | Restore => {
                script.kernel_seed.set(own);
                // One kernel gives no two processes the same, after it has reseeded either.
                self.later.set(self.later.get().map(|(requests, how, _)| (requests, how, own)));
                script.change(|e| (e.process, e.copy) = (own, own));
                if how == Restore {
                    script.change(|e| e.machine += 1);
                }
            }
        }
    }

    fn between_requests(&self) {
        let Some((requests, how, own)) = self.later.get() else { return };
        if requests > 0 {
            return self.later.set(Some((requests - 1, how, own)));
        }
        self.later.set(None);
        if matches!(how, SeenLate(_)) {
            self.script.change(|e| e.agent += 1);
        } else {
            self.script.kernel_seed.set(own);
            self.reseeded.set(Some(self.script.steps.get()));
        }
    }

    /// Makes a request, and keeps what it gave with the points that say when.
    fn request(&self, length: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), Error>) {
        let script = &self.script;
        // Those of the request that a handler interrupts.
        let outer = (script.last_look.get(), script.last_draw.get(), script.last_made.get());
        script.last_draw.set(0);
        script.last_made.set(0);
        let began = script.steps.get();
        let mut bytes = vec![0xaa; length];
        match fill(&mut bytes) {
            Ok(()) => {
                let (last_look, drew) = (script.last_look.get(), script.last_draw.get());
                assert!(script.last_made.get() < last_look, "bytes are made after the last look");
                self.released.borrow_mut().push(Released { bytes, began, drew, last_look });
            }
            Err(_) => {
                assert_eq!(bytes, vec![0; length], "a refusal leaves stale bytes");
                self.refused.set(self.refused.get() + 1);
            }
        }
        script.last_look.set(outer.0);
        script.last_draw.set(outer.1);
        script.last_made.set(outer.2);
    }

    fn convert<const N: usize>(&self, generator: &mut TestGenerator) {
        self.request(N, |out| {
            let converted = generator.convert(|bytes: [u8; N]| bytes);
            *out.as_mut_array().unwrap() = *converted.as_ref().unwrap_or(&[0; N]);
            converted.map(|_| ())
        });
    }

    fn one_shot(&self, length: usize) {
        self.request(length, |out| one_shot(&self.script, &self.script, &self.terms, out));
    }

    /// What comes late has come by the deadline: that is what the deadline is.
    fn wait(&self, nanoseconds: u64) {
        self.script.now.set(self.script.now.get() + nanoseconds);
        if let Some((_, how, own)) = self.later.get()
            && nanoseconds >= DEADLINE
        {
            self.later.set(Some((0, how, own)));
            self.between_requests();
        }
    }

    fn notify_restored(&self) {
        let script = &self.script;
        // In the order of the library's own.
        script.point("notified");
        script.change(|e| e.machine += 1);
        script.point("told of the machine");
        self.told.set(Some(script.steps.get()));
        let mut unique = Key::default();
        unique[..8].copy_from_slice(&self.unique.get().to_le_bytes());
        script.injected.set(true);
        script.injected_bytes.set(unique);
        script.point("told the bytes");
        script.change(|e| (e.process, e.copy) = (e.process + (1 << 40), e.copy + (1 << 40)));
    }

    fn ask(&self, asked: &[Ask], one: &mut TestGenerator, other: &mut TestGenerator) {
        for ask in asked {
            self.between_requests();
            let script = &self.script;
            match *ask {
                U32 => self.convert::<4>(one),
                U64 => self.convert::<8>(one),
                Bytes16 => self.convert::<16>(one),
                Fill(length) => self.request(length, |out| one.fill(out)),
                AllBut(rest) => {
                    while one.buffer.left() > rest {
                        let length = (one.buffer.left() - rest).min(LARGE - 1);
                        self.request(length, |out| one.fill(out));
                    }
                }
                Other(length) => self.request(length, |out| other.fill(out)),
                OneShot(length) => self.one_shot(length),
                Reseed => drop(one.rekey(b"more")),
                NotifyRestored => self.notify_restored(),
                Wait(nanoseconds) => self.wait(nanoseconds),
                KernelFails(after) => script.kernel_fails_after.set(Some(after)),
                KernelWorks => script.kernel_fails_after.set(None),
            }
        }
    }
}

/// Runs the script of a case to its end.
pub(super) fn play(case: &Case, plan: &Plan) -> Outcome {
    let script = (case.machine)();
    let run = Rc::new(Run {
        script: Rc::clone(&script),
        terms: case.terms,
        released: RefCell::default(),
        refused: Cell::default(),
        later: Cell::default(),
        reseeded: Cell::default(),
        unique: Cell::default(),
        told: Cell::default(),
        names: RefCell::default(),
    });
    let (plan, hooked) = (plan.to_vec(), Rc::downgrade(&run));
    script.on_step(move |_, number, name| {
        let run = hooked.upgrade().expect("a run under way");
        run.names.borrow_mut().push(name);
        for (_, event) in plan.iter().filter(|(at, _)| *at == number) {
            match *event {
                Event::Copied(how, who) => run.copy(how, who),
                Event::Interrupted => run.one_shot(32),
            }
        }
    });
    let observed = Rc::downgrade(&script);
    let observe = move |name| observed.upgrade().expect("a script").point(name);
    let attack = observed::with(observe, || {
        let (mut one, mut other) = (script.generator(case.terms), script.generator(case.terms));
        run.ask(&[Other(8)], &mut one, &mut other);
        run.ask(case.before, &mut one, &mut other);
        let begin = script.steps.get();
        run.ask(case.attacked, &mut one, &mut other);
        let end = script.steps.get();
        run.ask(AFTER, &mut one, &mut other);
        (begin, end)
    });
    *script.hook.borrow_mut() = None;
    let outcome = Outcome {
        released: run.released.take(),
        refused: run.refused.get(),
        reseeded: run.reseeded.get(),
        told: run.told.get(),
        attack,
        names: run.names.take(),
    };
    assert_gives_nothing_twice(case, &outcome);
    outcome
}

/// Eight bytes, or all there are of fewer. With each length by itself.
fn units(bytes: &[u8]) -> impl Iterator<Item = (usize, u64)> {
    let length = bytes.len().min(8);
    bytes.chunks_exact(length).map(number)
}

fn number(unit: &[u8]) -> (usize, u64) {
    (unit.len(), unit.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// At every offset, too: a stream that was continued from another position is found.
fn assert_gives_nothing_twice(case: &Case, outcome: &Outcome) {
    let mut seen = HashSet::new();
    for released in &outcome.released {
        let bytes = &released.bytes[..released.bytes.len().min(32)];
        for offset in 0..bytes.len().saturating_sub(7) {
            let window = number(&bytes[offset..][..8]);
            assert!(!seen.contains(&window), "{}: given twice", case.name);
        }
        for unit in units(&released.bytes) {
            assert!(seen.insert(unit), "{}: given twice", case.name);
        }
    }
}

impl Outcome {
    /// What was released after a copy at point `at`.
    pub(super) fn after(
        &self,
        at: usize,
        how: Copying,
        who: u64,
    ) -> impl Iterator<Item = (usize, u64)> {
        let counts = move |released: &&Released| match how {
            Unseen | SeenLate(_) => released.began >= at || released.drew >= at,
            VmOfLateKernel(_) if !is_original(who) => {
                self.reseeded.is_some_and(|reseeded| released.began >= reseeded.max(at))
            }
            Told => self.told.is_some_and(|told| at < told && released.last_look >= told),
            _ => released.last_look >= at,
        };
        self.released.iter().filter(counts).flat_map(|released| units(&released.bytes))
    }
}
