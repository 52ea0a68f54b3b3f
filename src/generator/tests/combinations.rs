//! Sources that fail together: every way in which the kernel, its code in user space, both of the
//! CPU's sources, the host's bytes and the kernel's reseed may fail, in all combinations, under each
//! way in which a generator is copied.
//!
//! Two copies of one generator live through each combination, and then through its end. Whatever
//! fails, these hold, and nothing here has to know in which order sources are asked:
//!
//! * A request fails with the kernel's error exactly where the kernel failed in it; there is nothing
//!   in the caller's buffer then, and nothing is released until the kernel has answered once more.
//! * What only the policy refuses is refused with its own error, and otherwise there are bytes.
//! * What the copies release is not shared if anything answered each of them otherwise than the other,
//!   and never is it what the generator had buffered before, or released.
//!
//! Where nothing differs, copies repeat each other, as is documented. These are in the test as well:
//! what finds nothing shared must find that.

use super::*;
use crate::entropy::{DIVERSIFIERS, FULL};

/// How the kernel answers the system call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Works,
    Fails,
    /// When it has already written something.
    FailsHalfway,
    /// All but the first time.
    FailsLater,
}

/// What the CPU gives for a word.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cpu {
    Works,
    Absent,
    Zeros,
    AllOnes,
    Stuck,
    /// After two good words.
    BreaksOff,
    /// Two values in turn: what no health rule sees.
    Alternates,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Injected {
    Nothing,
    Unique,
    /// The same in every copy, and not declared unique.
    Common,
}

/// How the generator comes to be copied.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Copied {
    /// A fork: seen, the kernel's bytes are each copy's own, and the machine has long settled.
    Forked,
    /// A VM clone that the counter tells; kernels are the same until they reseed.
    Restored,
    /// A VM clone that nothing tells, of a generator that draws for every request.
    Unseen,
}

/// What fails at the same time.
#[derive(Clone, Copy, Debug)]
struct Combination {
    call: Call,
    /// Whether the vDSO has the kernel's generator.
    vdso: bool,
    cpu: Cpu,
    noise: Cpu,
    injected: Injected,
    may_reseed: bool,
    copied: Copied,
    policy: Policy,
}

const HEALTHY: Combination = Combination {
    call: Call::Works,
    vdso: true,
    cpu: Cpu::Works,
    noise: Cpu::Works,
    injected: Injected::Nothing,
    may_reseed: true,
    copied: Copied::Forked,
    policy: Policy::Prefer,
};

impl Combination {
    /// Whether something that goes into an output is another one in each copy. What is drawn for a
    /// request without a rekey is the CPU's and the kernel's alone.
    fn tells_copies_apart(&self, gathered: bool) -> bool {
        let reseeds = self.may_reseed && !self.is_credited();
        let gather = self.noise == Cpu::Works || self.injected == Injected::Unique || reseeds;
        self.copied == Copied::Forked || self.cpu == Cpu::Works || (gathered && gather)
    }

    /// Whether a gather credits the CPU.
    fn is_credited(&self) -> bool {
        [self.cpu, self.noise].iter().any(|cpu| matches!(cpu, Cpu::Works | Cpu::Alternates))
    }

    /// The error with which the policy refuses every request, if it does.
    fn refusal(&self) -> Option<Error> {
        let diverse = self.is_credited() || self.injected == Injected::Unique;
        match (self.policy, self.copied) {
            (Policy::Require, Copied::Unseen) => Some(Error::NotProtected(Level::PerCall)),
            (Policy::Require, Copied::Restored) if !diverse => Some(Error::NotYetDiverse),
            _ => None,
        }
    }
}

const ERROR: Error = Error::EntropyUnavailable(5);

/// The sources of one copy.
struct Sources {
    now: Cell<Combination>,
    /// Which copy it is, as far as that shows; the original is 0.
    copy: Cell<u64>,
    kernel: Cell<u64>,
    calls_left: Cell<u32>,
    draws: Cell<u64>,
    /// The kernel failed in the request that is being made.
    failed: Cell<bool>,
    /// A system call was answered since one failed.
    answered: Cell<bool>,
}

impl Sources {
    fn healthy() -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(HEALTHY),
            copy: Cell::new(0),
            kernel: Cell::new(0),
            calls_left: Cell::new(0),
            draws: Cell::new(0),
            failed: Cell::new(false),
            answered: Cell::new(false),
        })
    }

    fn begin(&self, combination: Combination, copy: u64) {
        self.now.set(combination);
        self.copy.set(copy);
        self.kernel.set(if combination.copied == Copied::Forked { copy } else { 0 });
        self.calls_left.set(1);
    }

    fn end(&self) {
        self.now.set(HEALTHY);
        self.kernel.set(self.copy.get());
    }

    /// Words that differ from source to source, copy to copy and time to time.
    fn fill(&self, source: u64, copy: u64, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let count = self.draws.replace(self.draws.get() + 1);
            let word = (source << 48 | copy << 40 | count).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
    }

    /// The rules of `cpu.rs`, stated once more: what they refuse leaves zeros.
    fn words(&self, cpu: Cpu, source: u64, out: &mut [u8]) -> bool {
        self.fill(source, self.copy.get(), out);
        let mut before = 0;
        for (index, chunk) in out.chunks_mut(8).enumerate() {
            let word = match cpu {
                Cpu::Works => u64::from_le_bytes(chunk.try_into().unwrap()),
                Cpu::BreaksOff if index < 1 => u64::from_le_bytes(chunk.try_into().unwrap()),
                Cpu::Absent | Cpu::Zeros | Cpu::BreaksOff => 0,
                Cpu::AllOnes => u64::MAX,
                Cpu::Stuck => 7,
                Cpu::Alternates => 7 + index as u64 % 2,
            };
            if word == 0 || word == u64::MAX || word == before {
                out.fill(0);
                return false;
            }
            before = word;
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        true
    }
}

impl Entropy for Rc<Sources> {
    fn cpu(&self, out: &mut [u8]) -> bool {
        self.words(self.now.get().cpu, 1, out)
    }

    fn cpu_seed(&self, _: &Epoch, _: bool, out: &mut [u8; FULL]) -> bool {
        self.words(self.now.get().noise, 2, out)
    }

    fn kernel(&self, out: &mut [u8; FULL]) -> Result<(), Error> {
        let fails = match self.now.get().call {
            Call::Works => false,
            Call::Fails => true,
            Call::FailsHalfway => {
                self.fill(3, self.kernel.get(), &mut out[..16]);
                true
            }
            Call::FailsLater => self.calls_left.replace(0) == 0,
        };
        self.failed.set(fails);
        self.answered.set(!fails);
        if fails {
            return Err(ERROR);
        }
        self.fill(3, self.kernel.get(), out);
        Ok(())
    }

    fn kernel_quickly(&self, out: &mut [u8; FULL]) -> Result<(), Error> {
        if !self.now.get().vdso {
            return self.kernel(out);
        }
        self.fill(3, self.kernel.get(), out);
        Ok(())
    }

    fn reseed_kernel(&self, _: &Epoch) -> bool {
        let may = self.now.get().may_reseed;
        if may {
            self.kernel.set(self.copy.get());
        }
        may
    }

    fn injected(&self, _: &Epoch, out: &mut Key) -> bool {
        match self.now.get().injected {
            Injected::Nothing => out.fill(0),
            Injected::Common => out.fill(9),
            Injected::Unique => self.fill(4, self.copy.get(), out),
        }
        self.now.get().injected == Injected::Unique
    }

    fn diversifiers(&self, out: &mut [u8; DIVERSIFIERS]) {
        out.fill(0);
    }

    fn now(&self) -> u64 {
        1000 * SECOND
    }

    fn now_coarse(&self) -> u64 {
        self.now()
    }

    /// A machine that the generator has long been on, unless it was just restored.
    fn settling_began(&self, epoch: &Epoch, now: u64) -> u64 {
        if epoch.counter == 0 { 0 } else { now }
    }

    fn settling_time(&self) -> u64 {
        DEADLINE
    }
}

/// One copy, and all that it released.
struct Life {
    generator: Generator<Rc<Script>, Rc<Sources>, Terms>,
    world: Rc<Script>,
    sources: Rc<Sources>,
    /// Each with whether a rekey went before it since the copy.
    released: Vec<(bool, Vec<u8>)>,
    gathers: bool,
}

/// Sizes of the requests: within a word, from the buffer, straight into the caller's memory.
const SIZES: [usize; 3] = [16, 200, 600];

impl Life {
    /// Works, is copied while it has something buffered, and fails in this way from then on.
    fn begin(combination: Combination, copy: u64) -> (Self, Vec<u8>) {
        let world = match combination.copied {
            Copied::Unseen => Script::with(PER_CALL),
            _ => Script::synchronous(),
        };
        let sources = Sources::healthy();
        let terms = Terms { policy: combination.policy, ..Terms::default() };
        let generator = Generator::new(Rc::clone(&world), Rc::clone(&sources), terms);
        let gathers = combination.copied != Copied::Unseen;
        let mut life = Self { generator, world, sources, released: Vec::new(), gathers };
        let mut before = vec![0; 24];
        let first = life.generator.fill(&mut before);
        assert!(first.is_ok() || combination.copied == Copied::Unseen);
        before.extend(life.generator.buffer.parts().1);
        match combination.copied {
            Copied::Forked => life.world.change(|epoch| epoch.process += copy),
            Copied::Restored => life.world.change(|epoch| epoch.counter += 1),
            Copied::Unseen => {}
        }
        life.sources.begin(combination, copy);
        (life, before)
    }

    /// Everything that can be asked for, twice, with a look at what comes of each.
    fn ask(&mut self, refusal: Option<Error>) {
        for size in SIZES.into_iter().chain(SIZES) {
            self.request(size, refusal, |life, out| life.generator.fill(out));
        }
        self.gathers = true;
        self.request(0, refusal, |life, _| life.generator.rekey(b"more"));
        self.request(16, refusal, |life, out| life.generator.fill(out));
        let terms = self.generator.embedder;
        // Of another's making: whether it worked says nothing about the generator.
        let answered = self.sources.answered.get();
        self.request(64, refusal, |life, out| one_shot(&life.world, &life.sources, &terms, out));
        self.sources.answered.set(answered);
    }

    fn request(
        &mut self,
        size: usize,
        refusal: Option<Error>,
        make: impl FnOnce(&mut Self, &mut [u8]) -> Result<(), Error>,
    ) {
        let failed_before = !self.sources.answered.get();
        self.sources.failed.set(false);
        let mut out = vec![0xaa; size];
        let outcome = make(self, &mut out);
        let failed = self.sources.failed.get();
        let expected = match refusal {
            // Nothing is asked for in vain; what is refused afterwards may have failed already.
            Some(Error::NotYetDiverse) if failed => Err(ERROR),
            Some(refusal) => Err(refusal),
            None if failed => Err(ERROR),
            None => Ok(()),
        };
        assert_eq!(outcome, expected, "{size} bytes, {:?}", self.sources.now.get());
        if outcome.is_err() {
            assert!(out.iter().all(|&byte| byte == 0), "{:?}", self.sources.now.get());
            return;
        }
        let answered = self.sources.answered.get();
        assert!(!failed_before || answered, "without the kernel: {:?}", self.sources.now.get());
        self.released.push((self.gathers, out));
    }
}

/// Everything of 16 bytes that was released or could have been, and what is found in it again.
#[derive(Default)]
struct Seen(HashSet<[u8; 16]>);

impl Seen {
    /// Bytes that were released in one piece, whole blocks from its beginning: how many, and how
    /// many of them had been seen.
    fn add(&mut self, piece: &[u8]) -> (usize, usize) {
        let (blocks, _) = piece.as_chunks();
        let again = blocks.iter().filter(|block| !self.0.insert(**block)).count();
        (blocks.len(), again)
    }

    /// Bytes of which any might have been released.
    fn add_everywhere(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.windows(16).filter_map(|window| window.first_chunk()));
    }
}

/// What was found over all combinations.
#[derive(Default)]
struct Found {
    blocks: usize,
    /// Requests that both copies answered alike, where nothing told them apart.
    shared: usize,
    refused: usize,
}

/// Both copies, through this and out of it again.
fn live_through(combination: Combination, found: &mut Found) {
    let refusal = combination.refusal();
    let [(mut one, before), (mut other, same)] = [1, 2].map(|copy| Life::begin(combination, copy));
    assert_eq!(before, same, "one state, two copies of it");
    let mut seen = Seen::default();
    seen.add_everywhere(&before);
    let mut is_fresh = |piece: &[u8]| {
        let (blocks, again) = seen.add(piece);
        found.blocks += blocks;
        again == 0
    };
    one.ask(refusal);
    other.ask(refusal);
    assert_eq!(one.released.len(), other.released.len(), "{combination:?}");
    found.refused += usize::from(one.released.is_empty());
    for ((gathered, ours), (_, theirs)) in one.released.iter().zip(&other.released) {
        assert!(is_fresh(ours), "given twice: {combination:?}");
        if combination.tells_copies_apart(*gathered) {
            assert!(is_fresh(theirs), "shared: {combination:?}");
        } else {
            assert_eq!(ours, theirs, "the control sees what is shared: {combination:?}");
            found.shared += 1;
        }
    }
    // It is reported where copies are the same; a CPU that gives two words in turn is believed.
    let is_blind = [combination.cpu, combination.noise].contains(&Cpu::Alternates);
    let rekeyed = one.released.iter().any(|(gathered, _)| *gathered);
    if rekeyed && !combination.tells_copies_apart(true) && !is_blind {
        assert!(one.generator.diversity.is_none(), "{combination:?}");
    }
    for life in [&mut one, &mut other] {
        life.released.clear();
        life.sources.end();
        if is_blind {
            // What believed such a CPU buffers, and repeats the other until its next rekey.
            let _ = life.generator.rekey(&[]);
        }
        life.ask(refusal.filter(|refusal| *refusal != Error::NotYetDiverse));
        assert!(life.released.iter().all(|(_, piece)| is_fresh(piece)), "later: {combination:?}");
    }
}

fn combinations() -> Vec<Combination> {
    let mut all = vec![HEALTHY];
    let mut each = |choose: &dyn Fn(Combination) -> Vec<Combination>| {
        all = all.iter().flat_map(|combination| choose(*combination)).collect();
    };
    let calls = [Call::Works, Call::Fails, Call::FailsHalfway, Call::FailsLater];
    let cpus = [
        Cpu::Works,
        Cpu::Absent,
        Cpu::Zeros,
        Cpu::AllOnes,
        Cpu::Stuck,
        Cpu::BreaksOff,
        Cpu::Alternates,
    ];
    let injected = [Injected::Nothing, Injected::Unique, Injected::Common];
    let copied = [Copied::Forked, Copied::Restored, Copied::Unseen];
    each(&|c| calls.map(|call| Combination { call, ..c }).into());
    each(&|c| [true, false].map(|vdso| Combination { vdso, ..c }).into());
    each(&|c| cpus.map(|cpu| Combination { cpu, ..c }).into());
    // By the same rules as above: one of each kind of what fails them.
    let noises = [Cpu::Works, Cpu::Absent, Cpu::AllOnes, Cpu::Stuck, Cpu::Alternates];
    each(&|c| noises.map(|noise| Combination { noise, ..c }).into());
    each(&|c| injected.map(|injected| Combination { injected, ..c }).into());
    each(&|c| [true, false].map(|may_reseed| Combination { may_reseed, ..c }).into());
    each(&|c| copied.map(|copied| Combination { copied, ..c }).into());
    each(&|c| [Policy::Prefer, Policy::Require].map(|policy| Combination { policy, ..c }).into());
    all
}

#[test]
#[cfg_attr(miri, ignore = "thousands of combinations, and no unsafe code that others do not reach")]
fn whatever_fails_together_there_is_the_promised_error_or_nothing_shared_and_nothing_stale() {
    let (all, mut found) = (combinations(), Found::default());
    for combination in &all {
        live_through(*combination, &mut found);
    }
    assert!(found.shared > 0, "the control");
    println!(
        "COUNTED: sources that fail together: {} combinations, {} without a byte; {} blocks \
         compared, 0 shared but by {} requests in which nothing told copies apart",
        all.len(),
        found.refused,
        found.blocks,
        found.shared
    );
}
