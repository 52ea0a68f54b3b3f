//! The state machine under a scripted world and scripted entropy.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::entropy::{DIVERSIFIERS, FULL};
use crate::policy::Facts;
use crate::world::Words;

const SECOND: u64 = 1_000_000_000;
const DEADLINE: u64 = 64 * SECOND;

/// World and entropy in one: what a test can set, and a hook at every step between them.
struct Script {
    epoch: Cell<Epoch>,
    facts: Cell<Facts>,
    now: Cell<u64>,
    settling_began: Cell<Option<u64>>,
    /// Bytes that the CPU and the kernel give next are made of these and a count.
    cpu_seed: Cell<Option<u64>>,
    kernel_seed: Cell<u64>,
    injected: Cell<bool>,
    may_reseed_kernel: Cell<bool>,
    /// How many calls of the kernel succeed before it fails; none: for ever.
    kernel_fails_after: Cell<Option<u32>>,
    draws: Cell<u64>,
    kernel_calls: Cell<u32>,
    cpu_bytes: Cell<usize>,
    cpu_seed_calls: Cell<u32>,
    seeded_in: Cell<Option<[u64; 5]>>,
    steps: Cell<usize>,
    /// The point just before the last look read anything.
    last_look: Cell<usize>,
    hook: RefCell<Option<Hook>>,
    log: RefCell<Vec<&'static str>>,
}

type Hook = Box<dyn Fn(&Script, usize, &'static str)>;

impl Script {
    /// A machine with a synchronous witness, CPU randomness, and a generator long settled.
    fn synchronous() -> Rc<Self> {
        Self::with(Facts { vmclock: true, counter: true, ..Facts::default() })
    }

    fn with(facts: Facts) -> Rc<Self> {
        Rc::new(Self {
            epoch: Cell::new(Epoch { process: 1, copy: 1, ..Epoch::default() }),
            facts: Cell::new(facts),
            now: Cell::new(1000 * SECOND),
            settling_began: Cell::new(Some(0)),
            cpu_seed: Cell::new(Some(1)),
            kernel_seed: Cell::new(2),
            injected: Cell::new(false),
            may_reseed_kernel: Cell::new(false),
            kernel_fails_after: Cell::new(None),
            draws: Cell::new(0),
            kernel_calls: Cell::new(0),
            cpu_bytes: Cell::new(0),
            cpu_seed_calls: Cell::new(0),
            seeded_in: Cell::new(None),
            steps: Cell::new(0),
            last_look: Cell::new(0),
            hook: RefCell::new(None),
            log: RefCell::new(Vec::new()),
        })
    }

    fn unsettled(self: &Rc<Self>) -> Rc<Self> {
        self.settling_began.set(Some(self.now.get()));
        Rc::clone(self)
    }

    fn change(&self, change: impl FnOnce(&mut Epoch)) {
        let mut epoch = self.epoch.get();
        change(&mut epoch);
        self.epoch.set(epoch);
    }

    fn clone_vm(&self) {
        self.change(|e| e.counter += 1);
        self.settling_began.set(None);
    }

    /// A point at which the world may be copied, before what `name` says is done.
    fn step(&self, name: &'static str) {
        self.log.borrow_mut().push(name);
        self.point(name);
    }

    /// Any other point: after it was done.
    fn point(&self, name: &'static str) {
        let number = self.steps.replace(self.steps.get() + 1);
        if name == "look" {
            self.last_look.set(number);
        }
        if let Some(hook) = self.hook.borrow().as_ref() {
            hook(self, number, name);
        }
    }

    fn on_step(&self, hook: impl Fn(&Self, usize, &'static str) + 'static) {
        *self.hook.borrow_mut() = Some(Box::new(hook));
    }

    /// Bytes that no other seed, count or length gives.
    fn draw(&self, seed: u64, out: &mut [u8]) {
        let count = self.draws.replace(self.draws.get() + 1);
        let mut key = Key::default();
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&count.to_le_bytes());
        cipher::keystream(Rounds::Twenty, &key, out);
    }

    fn generator(self: &Rc<Self>, terms: Terms) -> TestGenerator {
        Generator::new(Rc::clone(self), Rc::clone(self), terms)
    }
}

type TestGenerator = Generator<Rc<Script>, Rc<Script>, Terms>;

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

    fn confirm_process(&self) {}

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

    fn injected(&self, _: &Epoch, _: &mut Key) -> bool {
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

fn bytes(generator: &mut TestGenerator, length: usize) -> Result<Vec<u8>, Error> {
    let mut out = vec![0xaa; length];
    generator.fill(&mut out).map(|()| out)
}

/// The next request refills.
fn use_up_the_buffer(generator: &mut TestGenerator) {
    while generator.buffer.left() > 0 {
        let length = generator.buffer.left().min(LARGE - 1);
        bytes(generator, length).unwrap();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn prefer() -> Terms {
    Terms::default()
}

fn require() -> Terms {
    Terms { policy: Policy::Require, ..Terms::default() }
}

const PER_CALL: Facts =
    Facts { vmclock: false, counter: false, late: false, bare_metal: false, pid_only: false };

// ---------------------------------------------------------------------------------------------
// The order of the steps

#[test]
fn a_first_request_looks_gathers_looks_takes_and_looks() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 16).unwrap();
    let expected = [
        "look", // the inlined path finds nothing to take
        "look", // the first look of the request
        "look", // remembered before entropy is gathered
        "facts", "cpu", "cpu", "kernel", // CPU (twice on a new machine) before kernel
        "look",   // it has not moved: keyed
        "look",   // the last look
    ];
    assert_eq!(*script.log.borrow(), expected);
}

#[test]
fn a_buffered_request_looks_twice_and_does_nothing_else() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 16).unwrap();
    script.log.borrow_mut().clear();
    for _ in 0..10 {
        bytes(&mut generator, 8).unwrap();
    }
    assert_eq!(*script.log.borrow(), ["look"; 20]);
}

#[test]
fn a_snapshot_during_the_gather_makes_it_gather_again() {
    for step in ["cpu", "kernel"] {
        let script = Script::synchronous();
        let moved = Cell::new(false);
        script.on_step(move |script, _, name| {
            if name == step && !moved.replace(true) {
                script.change(|e| e.counter += 1);
            }
        });
        let mut generator = script.generator(prefer());
        bytes(&mut generator, 16).unwrap();
        assert_eq!(script.kernel_calls.get(), 2, "moved at {step}");
        assert_eq!(generator.epoch, script.epoch.get());
    }
}

#[test]
fn output_of_a_request_that_the_world_moved_under_is_never_released() {
    // The look that finds the move: every one of a buffered and of a slow request in turn.
    for length in [8, 100, 511, 512, 4096] {
        for when in 0..6 {
            let script = Script::synchronous();
            let mut generator = script.generator(prefer());
            bytes(&mut generator, 8).unwrap();
            let twin_script = Script::synchronous();
            let mut twin = twin_script.generator(prefer());
            bytes(&mut twin, 8).unwrap();
            let unmoved = bytes(&mut twin, length).unwrap();

            script.steps.set(0);
            script.on_step(move |script, number, _| {
                if number == when {
                    script.clone_vm();
                }
            });
            let moved = bytes(&mut generator, length).unwrap();
            if when <= script.last_look.get() {
                assert_ne!(moved, unmoved, "{length} bytes, moved at point {when}");
                assert_eq!(generator.epoch.counter, 1);
            }
        }
    }
}

#[test]
fn a_world_that_never_rests_is_an_error_and_wipes_the_buffer() {
    let script = Script::synchronous();
    script.on_step(|script, _, name| {
        if name == "look" {
            script.change(|e| e.counter += 1);
        }
    });
    let mut generator = script.generator(prefer());
    let mut out = [0xaa; 64];
    assert_eq!(generator.fill(&mut out), Err(Error::WorldUnstable));
    assert_eq!(out, [0; 64]);
    *script.hook.borrow_mut() = None;
    assert!(generator.fill(&mut out).is_ok(), "it works again when the world rests");
}

#[test]
fn each_generator_keeps_its_own_epoch() {
    let script = Script::synchronous();
    let (mut a, mut b) = (script.generator(prefer()), script.generator(prefer()));
    bytes(&mut a, 8).unwrap();
    bytes(&mut b, 8).unwrap();
    script.change(|e| e.process += 1);
    let before = script.kernel_calls.get();
    bytes(&mut a, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), before + 1, "the first one notices");
    bytes(&mut b, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), before + 2, "and so does the second");
}

#[test]
fn a_copy_after_the_first_look_of_a_buffered_request_is_seen_by_its_last() {
    type Draw = fn(&mut TestGenerator) -> Vec<u8>;
    let by_slice: Draw = |generator| bytes(generator, 16).unwrap();
    let by_value: Draw = |generator| generator.convert(|b: [u8; 16]| b.to_vec()).unwrap();
    for draw in [by_slice, by_value] {
        let script = Script::synchronous();
        let mut generator = script.generator(prefer());
        draw(&mut generator);
        let buffered = generator.buffer.parts().1[..16].to_vec();
        script.log.borrow_mut().clear();
        assert_eq!(draw(&mut generator), buffered);
        assert_eq!(*script.log.borrow(), ["look", "look"]);
        // The next one again, and the world is copied as soon as the first look has read it.
        let buffered = generator.buffer.parts().1[..16].to_vec();
        script.steps.set(0);
        script.on_step(|script, number, _| {
            if number == 1 {
                script.clone_vm();
            }
        });
        let kernel = script.kernel_calls.get();
        assert_ne!(draw(&mut generator), buffered);
        assert_eq!(script.kernel_calls.get(), kernel + 1);
    }
}

// ---------------------------------------------------------------------------------------------
// Keys and the buffer

#[test]
fn what_was_handed_out_is_wiped_and_the_key_that_made_it_is_gone() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    let first = bytes(&mut generator, 300).unwrap();
    let (gone, left) = generator.buffer.parts();
    assert!(gone.iter().all(|&b| b == 0));
    assert!(!contains(left, &first[..8]));
    let key = generator.key;
    use_up_the_buffer(&mut generator);
    bytes(&mut generator, 300).unwrap();
    assert_ne!(generator.key, key, "a refill replaces the key");
    assert!(!contains(generator.buffer.parts().1, &key[..8]), "and keeps no copy of it");
}

#[test]
fn a_large_request_leaves_neither_its_key_nor_its_output_behind() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    let once: Key = generator.buffer.parts().1[..KEY_LEN].try_into().unwrap();
    let out = bytes(&mut generator, LARGE).unwrap();
    let mut expected = vec![0; LARGE];
    cipher::keystream(Rounds::Twenty, &once, &mut expected);
    assert_eq!(out, expected, "the keystream of a key taken from the buffer");
    assert!(!contains(generator.buffer.parts().1, &once[..8]));
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|w| w == needle)
}

#[test]
fn a_generator_rekeys_after_a_mebibyte() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), 1);
    bytes(&mut generator, 1 << 20).unwrap();
    use_up_the_buffer(&mut generator);
    bytes(&mut generator, 1).unwrap();
    assert_eq!(script.kernel_calls.get(), 2);
}

#[test]
fn bytes_that_absorbs_make_count_towards_the_next_rekey() {
    let script = Script::with(PER_CALL);
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 32).unwrap();
    let rekeyed = generator.rekeyed_at;
    script.now.set(script.now.get() + 1);
    for _ in 0..(1 << 20) / 32 - 2 {
        bytes(&mut generator, 32).unwrap();
    }
    assert_eq!(generator.rekeyed_at, rekeyed);
    for _ in 0..3 {
        bytes(&mut generator, 32).unwrap();
    }
    assert_ne!(generator.rekeyed_at, rekeyed);
}

#[test]
fn a_generator_rekeys_after_a_minute_at_the_next_refill() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    script.now.set(script.now.get() + 60 * SECOND);
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), 1, "no clock is read while the buffer lasts");
    use_up_the_buffer(&mut generator);
    bytes(&mut generator, 1).unwrap();
    assert_eq!(script.kernel_calls.get(), 2);
}

#[test]
fn requests_of_any_length_are_filled() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    for length in 0..3000 {
        let out = bytes(&mut generator, length).unwrap();
        assert!(length < 16 || out[length - 16..].iter().any(|&b| b != 0), "{length}");
    }
}

/// Frozen: a change of these bytes is a change of the documented stream, and needs a new version of
/// the rekey's domain string.
#[test]
fn the_stream_under_fixed_entropy_is_frozen() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    let mut stream = bytes(&mut generator, 16).unwrap();
    stream.extend(bytes(&mut generator, 512).unwrap().split_off(496));
    script.clone_vm();
    stream.extend(bytes(&mut generator, 16).unwrap());
    let per_call = Script::with(PER_CALL);
    let mut generator = per_call.generator(prefer());
    bytes(&mut generator, 16).unwrap();
    stream.extend(bytes(&mut generator, 16).unwrap());
    let mut once = [0; 16];
    one_shot(&per_call, &per_call, &prefer(), &mut once).unwrap();
    stream.extend(once);
    assert_eq!(hex(&stream), FROZEN);
}

/// What a second implementation computes: `tests/reference/stream.py`.
const FROZEN: &str = "40c9e4c4c5c05145867f2b249ac5b71f7073508751156df21a4a3fbdbdbcb42b\
                      f3034d3c2a02f1a2aea5e92649822051cfdc9159a40a93f9e917d71152edd8f3\
                      051695edadaf56ad003a1211c45238a2";

// ---------------------------------------------------------------------------------------------
// Failures

#[test]
fn a_failing_kernel_yields_an_error_a_wiped_buffer_and_a_rekey_next_time() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    let buffered = generator.buffer.duplicate();
    script.clone_vm();
    script.kernel_fails_after.set(Some(0));
    for _ in 0..3 {
        let mut out = [0xaa; 64];
        assert_eq!(generator.fill(&mut out), Err(Error::EntropyUnavailable(5)));
        assert_eq!(out, [0; 64]);
    }
    script.kernel_fails_after.set(None);
    let after = bytes(&mut generator, 64).unwrap();
    assert!(!contains(buffered.parts().1, &after[..8]), "nothing of the old buffer");
    assert_eq!(script.kernel_calls.get(), 2, "but of a new gather");
}

#[test]
fn a_generator_whose_rekey_failed_rekeys_even_when_the_world_moves_back() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    let old = script.epoch.get();
    script.clone_vm();
    script.kernel_fails_after.set(Some(0));
    assert!(bytes(&mut generator, 8).is_err());
    // A host that lies: the old epoch again.
    script.epoch.set(old);
    assert!(bytes(&mut generator, 8).is_err(), "unkeyed always rekeys");
}

#[test]
fn a_failed_absorb_leaves_nothing_usable() {
    let script = Script::with(PER_CALL);
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    script.kernel_fails_after.set(Some(0));
    assert!(bytes(&mut generator, 8).is_err());
    assert!(!generator.keyed);
    script.kernel_fails_after.set(None);
    bytes(&mut generator, 8).unwrap();
}

#[test]
fn a_failing_reseed_does_not_leave_the_old_key_in_use() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    script.kernel_fails_after.set(Some(0));
    assert!(generator.rekey(b"more").is_err());
    assert!(bytes(&mut generator, 8).is_err());
}

#[test]
fn an_all_zero_generator_is_unkeyed_and_has_nothing_to_hand_out() {
    let script = Script::synchronous();
    let generator = script.generator(prefer());
    assert!(!generator.keyed);
    assert_eq!(generator.buffer.left(), 0);
    assert_eq!(generator.epoch, Epoch::default());
}

#[test]
fn an_absorb_replaces_the_key_and_discards_the_buffer() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    let (key, buffered) = (generator.key, generator.buffer.parts().1.to_vec());
    generator.absorb().unwrap();
    assert_ne!(generator.key, key);
    assert!(!contains(generator.buffer.parts().1, &buffered[..8]));
    assert!(generator.array_if_unmoved::<1>().is_none(), "nothing of it is open");
}

// ---------------------------------------------------------------------------------------------
// Levels

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
    let script = Script::with(Facts { bare_metal: true, ..PER_CALL }).unsettled();
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

// ---------------------------------------------------------------------------------------------
// Settling and diversity

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
    // A fork does not: the kernel is the same.
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
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

// ---------------------------------------------------------------------------------------------
// Copies at every step

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

#[test]
fn a_dropped_page_does_not_restart_a_large_request() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    let once: Key = generator.buffer.parts().1[..KEY_LEN].try_into().unwrap();
    script.steps.set(0);
    script.on_step(|script, number, _| {
        // After the first look, in the middle of the request.
        if number == 2 {
            script.change(|e| e.process += 1);
        }
    });
    let out = bytes(&mut generator, 4096).unwrap();
    let mut expected = vec![0; 4096];
    cipher::keystream(Rounds::Twenty, &once, &mut expected);
    assert_eq!(out, expected, "what was begun was finished");
    let kernel = script.kernel_calls.get();
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), kernel + 1, "and cost a rekey");
}

// ---------------------------------------------------------------------------------------------
// The model

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
