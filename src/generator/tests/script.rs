//! A world and its entropy in one, which do what a test says.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rand_core::{Rng, SeedableRng};

use super::super::*;
use crate::entropy::{DIVERSIFIERS, FULL};
use crate::policy::Facts;
use crate::world::Words;

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const DEADLINE: u64 = 64 * SECOND;

/// World and entropy in one: what a test can set, and a hook at every step between them.
pub(super) struct Script {
    pub(super) epoch: Cell<Epoch>,
    pub(super) facts: Cell<Facts>,
    pub(super) now: Cell<u64>,
    pub(super) settling_began: Cell<Option<u64>>,
    /// Bytes that the CPU and the kernel give next are made of these and a count.
    pub(super) cpu_seed: Cell<Option<u64>>,
    pub(super) kernel_seed: Cell<u64>,
    pub(super) injected: Cell<bool>,
    pub(super) injected_bytes: Cell<Key>,
    pub(super) may_reseed_kernel: Cell<bool>,
    /// How many calls of the kernel succeed before it fails; none: for ever.
    pub(super) kernel_fails_after: Cell<Option<u32>>,
    pub(super) draws: Cell<u64>,
    pub(super) kernel_calls: Cell<u32>,
    pub(super) cpu_bytes: Cell<usize>,
    pub(super) cpu_seed_calls: Cell<u32>,
    pub(super) seeded_in: Cell<Option<[u64; 5]>>,
    pub(super) steps: Cell<usize>,
    /// The points just before the last look read anything, just before the CPU was last
    /// asked, and after output was last made or moved.
    pub(super) last_look: Cell<usize>,
    pub(super) last_draw: Cell<usize>,
    pub(super) last_made: Cell<usize>,
    pub(super) hook: RefCell<Option<Hook>>,
    pub(super) log: RefCell<Vec<&'static str>>,
}

pub(super) type Hook = Box<dyn Fn(&Script, usize, &'static str)>;

impl Script {
    /// A machine with a synchronous witness, CPU randomness, and a generator long settled.
    pub(super) fn synchronous() -> Rc<Self> {
        Self::with(Facts { vmclock: true, counter: true, ..Facts::default() })
    }

    pub(super) fn with(facts: Facts) -> Rc<Self> {
        Rc::new(Self {
            epoch: Cell::new(Epoch { process: 1, copy: 1, ..Epoch::default() }),
            facts: Cell::new(facts),
            now: Cell::new(1000 * SECOND),
            settling_began: Cell::new(Some(0)),
            cpu_seed: Cell::new(Some(1)),
            kernel_seed: Cell::new(2),
            injected: Cell::new(false),
            injected_bytes: Cell::new(Key::default()),
            may_reseed_kernel: Cell::new(false),
            kernel_fails_after: Cell::new(None),
            draws: Cell::new(0),
            kernel_calls: Cell::new(0),
            cpu_bytes: Cell::new(0),
            cpu_seed_calls: Cell::new(0),
            seeded_in: Cell::new(None),
            steps: Cell::new(0),
            last_look: Cell::new(0),
            last_draw: Cell::new(0),
            last_made: Cell::new(0),
            hook: RefCell::new(None),
            log: RefCell::new(Vec::new()),
        })
    }

    pub(super) fn unsettled(self: &Rc<Self>) -> Rc<Self> {
        self.settling_began.set(Some(self.now.get()));
        Rc::clone(self)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Epoch)) {
        let mut epoch = self.epoch.get();
        change(&mut epoch);
        self.epoch.set(epoch);
    }

    pub(super) fn clone_vm(&self) {
        self.change(|e| e.counter += 1);
        self.settling_began.set(None);
    }

    /// A point at which the world may be copied, before what `name` says is done.
    pub(super) fn step(&self, name: &'static str) {
        self.log.borrow_mut().push(name);
        self.point(name);
    }

    /// Any other point: after it was done.
    pub(super) fn point(&self, name: &'static str) {
        let number = self.steps.replace(self.steps.get() + 1);
        match name {
            "look" => self.last_look.set(number),
            "cpu" => self.last_draw.set(number),
            "made" | "made a block" | "made half" | "claimed" | "moved some" | "stepped" => {
                self.last_made.set(number);
            }
            _ => {}
        }
        if let Some(hook) = self.hook.borrow().as_ref() {
            hook(self, number, name);
        }
    }

    pub(super) fn on_step(&self, hook: impl Fn(&Self, usize, &'static str) + 'static) {
        *self.hook.borrow_mut() = Some(Box::new(hook));
    }

    /// Bytes that no other seed, count or length gives.
    pub(super) fn draw(&self, seed: u64, out: &mut [u8]) {
        let count = self.draws.replace(self.draws.get() + 1);
        let mut key = Key::default();
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&count.to_le_bytes());
        // Not our own: what the sources do is no step of the generator.
        rand_chacha::ChaCha20Rng::from_seed(key).fill_bytes(out);
    }

    pub(super) fn generator(self: &Rc<Self>, terms: Terms) -> TestGenerator {
        Generator::new(Rc::clone(self), Rc::clone(self), terms)
    }
}

pub(super) type TestGenerator = Generator<Rc<Script>, Rc<Script>, Terms>;

impl World for Rc<Script> {
    fn look(&self) -> Epoch {
        self.step("look");
        let seen = self.epoch.get();
        self.point("looked");
        seen
    }

    fn unmoved(&self, words: &Words) -> bool {
        self.step("look");
        let now = self.epoch.get();
        self.point("looked");
        (now.counter, now.marker, now.process) == (words.counter, words.marker, words.process)
    }

    fn confirm_process(&self) {
        self.point("confirmed the process");
    }

    fn facts(&self) -> Facts {
        self.step("facts");
        self.facts.get()
    }
}

impl Entropy for Rc<Script> {
    fn cpu(&self, out: &mut [u8]) -> bool {
        self.step("cpu");
        let Some(seed) = self.cpu_seed.get() else { return false };
        self.cpu_bytes.set(self.cpu_bytes.get() + out.len());
        self.draw(seed, out);
        self.point("drawn from the CPU");
        true
    }

    fn cpu_seed(&self, epoch: &Epoch, needed: bool, out: &mut [u8; FULL]) -> bool {
        let here = Some(epoch.vm_words());
        if self.seeded_in.replace(here) == here && !needed {
            return false;
        }
        self.cpu_seed_calls.set(self.cpu_seed_calls.get() + 1);
        self.cpu(out)
    }

    fn kernel(&self, out: &mut [u8; FULL]) -> Result<(), Error> {
        self.step("kernel");
        if let Some(left) = self.kernel_fails_after.get() {
            let Some(fewer) = left.checked_sub(1) else {
                // A source that fails half-way has written something.
                out[0] = 0xee;
                return Err(Error::EntropyUnavailable(5));
            };
            self.kernel_fails_after.set(Some(fewer));
        }
        self.kernel_calls.set(self.kernel_calls.get() + 1);
        self.draw(self.kernel_seed.get(), out);
        self.point("drawn from the kernel");
        Ok(())
    }

    fn kernel_quickly(&self, out: &mut [u8; FULL]) -> Result<(), Error> {
        self.kernel(out)
    }

    fn reseed_kernel(&self, _: &Epoch) -> bool {
        self.may_reseed_kernel.get()
    }

    fn injected(&self, _: &Epoch, out: &mut Key) -> bool {
        self.point("injected");
        *out = self.injected_bytes.get();
        self.injected.get()
    }

    fn diversifiers(&self, _: &mut [u8; DIVERSIFIERS]) {}

    fn now(&self) -> u64 {
        self.now.get()
    }

    fn now_coarse(&self) -> u64 {
        self.now.get()
    }

    fn settling_began(&self, _: &Epoch, now: u64) -> u64 {
        let began = self.settling_began.get().unwrap_or(now);
        self.settling_began.set(Some(began));
        began
    }

    fn settling_time(&self) -> u64 {
        DEADLINE
    }
}

pub(super) fn bytes(generator: &mut TestGenerator, length: usize) -> Result<Vec<u8>, Error> {
    let mut out = vec![0xaa; length];
    generator.fill(&mut out).map(|()| out)
}

/// The next request refills.
pub(super) fn use_up_the_buffer(generator: &mut TestGenerator) {
    while generator.buffer.left() > 0 {
        let length = generator.buffer.left().min(LARGE - 1);
        bytes(generator, length).unwrap();
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn prefer() -> Terms {
    Terms::default()
}

pub(super) fn require() -> Terms {
    Terms { policy: Policy::Require, ..Terms::default() }
}

pub(super) const PER_CALL: Facts =
    Facts { vmclock: false, counter: false, late: false, bare_metal: false, pid_only: false };
