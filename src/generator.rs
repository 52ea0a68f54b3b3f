//! The state machine: look, rekey, take, look again.
//!
//! Pure: no I/O, no clock, no unsafe. What it looks at ([`World`]), where entropy comes from
//! ([`Entropy`]) and what its embedder chose ([`Embedder`]) are seams, so that tests can interleave
//! a copy of the world with every step.
//!
//! The order of the steps is the whole point, and is the same for every request:
//!
//! 1. *Look.* If the generator is not keyed, or the epoch is not the one it remembers, *rekey*:
//!    mark it unkeyed and wipe the buffer, remember the epoch, gather entropy (the CPU before the
//!    kernel), absorb it, look again and repeat if the epoch moved; only then mark it keyed. The
//!    epoch is remembered before gathering: the other order would miss a snapshot in between.
//! 2. *Take.* Small requests are copied from the buffer and wiped there; large ones are keystream
//!    straight into the caller's buffer, under a key that no one else ever gets.
//! 3. *Look again.* If the world was copied, wipe what was written and begin anew.
//!
//! A snapshot freezes each vCPU at an instruction boundary: everything before it in program order
//! has happened, nothing after it has. So the last look needs no CPU fence against the output in
//! front of it: a load that a CPU had executed early, but not retired, is executed again after the
//! resume. What must be kept from moving is the compiler: hence compiler fences.
//!
//! *Unkeyed always rekeys*, whatever the epoch says: a failed or interrupted rekey must not leave a
//! generator that passes the next look. Old key material survives only as input to the rekey.
//!
//! A value of all zeros is a valid, unkeyed generator, its embedder apart: the kernel makes one of
//! each that it wipes in a child.

use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use zeroize::Zeroize;

use crate::cipher::{self, KEY_LEN, Key, Rounds, SPARE};
use crate::entropy::{self, Diversity, Entropy, Occasion, Settling};
use crate::error::Error;
use crate::level::Level;
use crate::point::point;
use crate::policy::{Policy, Terms};
use crate::wipe::Wiped;
use crate::world::{Epoch, World};

mod buffer;

use buffer::{BUFFER, Buffer};

/// Requests of this size and more go straight into the caller's buffer.
pub(crate) const LARGE: usize = 512;

/// How much of a large request one key makes. Little in tests, which look at every step of several.
const CHUNK: usize = if cfg!(test) { 4096 } else { 1 << 30 };

/// A rekey is due at the first refill after this much output, or after this time.
const REKEY_BYTES: u64 = 1 << 20;
const REKEY_NANOSECONDS: u64 = 60_000_000_000;

/// Attempts at one request, or one rekey, while the world moves.
const TRIES: u32 = 8;

/// What the embedder of a generator chose. Kept outside of its state, which a fork may wipe.
pub(crate) trait Embedder {
    fn terms(&self) -> Terms;
}

impl Embedder for Terms {
    fn terms(&self) -> Terms {
        *self
    }
}

/// The generator. See the [module](self).
#[repr(C, align(128))]
pub(crate) struct Generator<W, E, T> {
    /// The epoch under which the key was made.
    epoch: Epoch,
    /// Bytes are open while the inlined path may be taken.
    buffer: Buffer,
    /// Whether key and buffer may be used. Nothing else is looked at when it is false.
    keyed: bool,
    /// Whether an epoch has ever been remembered.
    has_epoch: bool,
    /// Whether the three words at fixed addresses are all that must be compared.
    three_words: bool,
    level: Level,
    rounds: Rounds,
    diversity: Diversity,
    settling: Settling,
    bytes_since_rekey: u64,
    rekeyed_at: u64,
    key: Key,
    world: W,
    entropy: E,
    pub(crate) embedder: T,
}

impl<W: World, E: Entropy, T: Embedder> Generator<W, E, T> {
    /// An unkeyed generator: its first request rekeys.
    pub(crate) fn new(world: W, entropy: E, embedder: T) -> Self {
        Self {
            epoch: Epoch::default(),
            buffer: Buffer::empty(),
            keyed: false,
            has_epoch: false,
            three_words: false,
            level: Level::PerCall,
            rounds: Rounds::Twenty,
            diversity: Diversity::default(),
            settling: Settling::default(),
            bytes_since_rekey: 0,
            rekeyed_at: 0,
            key: Key::default(),
            world,
            entropy,
            embedder,
        }
    }

    /// Fills `out`, or wipes it and says why not.
    #[inline(always)]
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        if self.fill_if_unmoved(out) { Ok(()) } else { self.fill_slowly(out) }
    }

    /// What `N` bytes are converted to, where the caller knows how many at compile time: those are
    /// moved in registers, unless they pass through a result before they are converted.
    #[inline(always)]
    pub(crate) fn convert<const N: usize, R>(
        &mut self,
        convert: impl Fn([u8; N]) -> R,
    ) -> Result<R, Error> {
        match self.array_if_unmoved() {
            Some(bytes) => Ok(convert(bytes)),
            None => self.array_slowly().map(convert),
        }
    }

    /// The inlined path: look, copy and wipe, look. False if it may not be taken, or if the world
    /// moved meanwhile; `out` may then hold bytes that must not be used.
    #[inline(always)]
    fn fill_if_unmoved(&mut self, out: &mut [u8]) -> bool {
        let words = self.epoch.words();
        if out.len() >= LARGE || !self.world.unmoved(&words) {
            return false;
        }
        compiler_fence(Ordering::SeqCst);
        let filled = self.buffer.fill_from_open(out);
        compiler_fence(Ordering::SeqCst);
        filled && self.world.unmoved(&words)
    }

    /// The same for a known length; `None` where that says false.
    #[inline(always)]
    pub(crate) fn array_if_unmoved<const N: usize>(&mut self) -> Option<[u8; N]> {
        let words = self.epoch.words();
        if N >= LARGE || !self.world.unmoved(&words) {
            return None;
        }
        compiler_fence(Ordering::SeqCst);
        let bytes = self.buffer.take_open()?;
        compiler_fence(Ordering::SeqCst);
        self.world.unmoved(&words).then_some(bytes)
    }

    /// The same for a caller that does not look at once where this gives nothing.
    ///
    /// A fork wipes a thread's generator. If it comes between reading how much is open and writing
    /// how much is left, the child finds that many bytes open that are all zeros, under an epoch of
    /// all zeros that its cleared process page matches: whoever tried the inlined path again would
    /// be given them, and so would a handler. So what is not keyed has nothing open in the end.
    #[cfg(target_os = "linux")]
    #[inline(always)]
    pub(crate) fn array_or_closed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.array_if_unmoved();
        // No call: it would cost every request the registers that it must save.
        if bytes.is_none() && !self.keyed {
            self.buffer.close();
        }
        bytes
    }

    #[cold]
    #[inline(never)]
    fn array_slowly<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        self.fill_slowly(&mut out).map(|()| out)
    }

    #[cold]
    #[inline(never)]
    fn fill_slowly(&mut self, out: &mut [u8]) -> Result<(), Error> {
        let outcome = self.try_fill(out);
        if outcome.is_err() {
            out.zeroize();
            self.unkey();
        }
        outcome
    }

    fn try_fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        for _ in 0..TRIES {
            self.prepare()?;
            let began = self.epoch;
            let complete = self.write(out)?;
            compiler_fence(Ordering::SeqCst);
            let now = self.world.look();
            // Neither now nor at a rekey in the middle. Where the process page was provably only
            // dropped, nobody else has this output: it costs the rekey that the next look makes.
            let copied = now.copied_since(&began) || self.epoch.copied_since(&began);
            if complete && !copied {
                if self.absorbs_each_request() {
                    self.buffer.discard();
                }
                return Ok(());
            }
            out.zeroize();
        }
        Err(Error::WorldUnstable)
    }

    /// Brings the generator into the state in which bytes may be taken: the first look of a
    /// request, and what follows from it.
    fn prepare(&mut self) -> Result<(), Error> {
        let now = self.world.look();
        if !self.keyed || now != self.epoch {
            return self.rekey(&[]);
        }
        if self.absorbs_each_request() {
            if self.is_rekey_due(self.entropy.now_coarse()) {
                return self.rekey(&[]);
            }
            return self.absorb();
        }
        Ok(())
    }

    /// Writes output under the current key; false if it gave up half-way because the world was
    /// copied. The caller looks afterwards.
    fn write(&mut self, out: &mut [u8]) -> Result<bool, Error> {
        if out.len() < LARGE {
            return self.take(out);
        }
        let began = self.epoch;
        for chunk in out.chunks_mut(CHUNK) {
            let mut once = Wiped::<KEY_LEN>::ZERO;
            if !self.take(&mut *once)? {
                return Ok(false);
            }
            cipher::keystream(self.rounds, &once, chunk);
            self.bytes_since_rekey = self.bytes_since_rekey.saturating_add(chunk.len() as u64);
            // A copy made meanwhile spoils the whole request: no need to make the rest of it.
            if self.world.look().copied_since(&began) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes fewer than [`LARGE`] bytes from the buffer: what is left there and, where that is not
    /// enough, the rest of a new one.
    fn take(&mut self, out: &mut [u8]) -> Result<bool, Error> {
        let left = self.buffer.left().min(out.len());
        let (now, later) = out.split_at_mut_checked(left).unwrap_or_default();
        let mut filled = self.buffer.fill(now);
        if !later.is_empty() {
            self.refill(later.len())?;
            filled &= self.buffer.fill(later);
        }
        Ok(filled)
    }

    /// New keystream and, with it, the next key.
    fn refill(&mut self, need: usize) -> Result<(), Error> {
        // A request that absorbs has done so, and makes no more than it needs.
        let mut buffers = !self.absorbs_each_request();
        if buffers {
            self.catch_up()?;
            buffers = !self.absorbs_each_request();
        }
        let length = match buffers {
            // The first refill is half as long: many threads never see a second.
            true if self.bytes_since_rekey == 0 => BUFFER / 2 - KEY_LEN,
            true => BUFFER - KEY_LEN,
            false => need,
        };
        self.buffer.refill(self.rounds, &mut self.key, length, buffers && self.three_words);
        let made = (KEY_LEN + length) as u64;
        self.bytes_since_rekey = self.bytes_since_rekey.saturating_add(made);
        Ok(())
    }

    /// What is due at a refill: a rekey, or the next absorb of settling.
    fn catch_up(&mut self) -> Result<(), Error> {
        let now = self.entropy.now_coarse();
        if self.is_rekey_due(now) {
            return self.rekey(&[]);
        }
        if self.settling.is_due(now, self.entropy.settling_time()) {
            return self.absorb();
        }
        Ok(())
    }

    /// Makes a new key from a full gather, with `additional` input.
    pub(crate) fn rekey(&mut self, additional: &[u8]) -> Result<(), Error> {
        for _ in 0..TRIES {
            self.unkey();
            point("unkeyed");
            self.world.confirm_process();
            let epoch = self.world.look();
            let terms = self.embedder.terms();
            let standing = terms.standing(&self.world.facts());
            self.remember(epoch, standing.level);
            point("remembered");
            self.rounds = terms.rounds;
            terms.admit(standing.level)?;
            let began = self.begin_gathering();
            let occasion =
                Occasion { epoch: &epoch, personalization: &terms.personalization, additional };
            let diversity = entropy::gather(&self.entropy, &mut self.key, &occasion)?;
            point("rekeyed");
            if self.world.look() != epoch {
                continue;
            }
            self.finish_rekey(began, standing.three_words, diversity);
            point("keyed");
            COUNTS.rekeys.fetch_add(1, Ordering::Relaxed);
            if terms.policy == Policy::Require && !self.is_diverse() {
                self.unkey();
                return Err(Error::NotYetDiverse);
            }
            return Ok(());
        }
        Err(Error::WorldUnstable)
    }

    /// Remembers the epoch that a rekey begins in. On a new machine, settling begins.
    fn remember(&mut self, epoch: Epoch, level: Level) {
        if self.has_epoch && epoch != self.epoch {
            COUNTS.epoch_changes.fetch_add(1, Ordering::Relaxed);
        }
        if !self.has_epoch || !epoch.same_machine(&self.epoch) || level != self.level {
            self.settling = if level.reckons_with_clones() {
                Settling::begin(self.entropy.settling_began(&epoch, self.entropy.now()))
            } else {
                Settling::not_needed()
            };
        }
        self.epoch = epoch;
        self.level = level;
        self.has_epoch = true;
    }

    /// The time, exactly where settling depends on it.
    fn begin_gathering(&self) -> u64 {
        if self.settling.is_over() { self.entropy.now_coarse() } else { self.entropy.now() }
    }

    /// The key is made and the epoch has not moved: the generator may be used.
    fn finish_rekey(&mut self, began: u64, three_words: bool, diversity: Diversity) {
        self.three_words = three_words;
        self.diversity = diversity;
        self.settling.absorbed(began, self.entropy.settling_time());
        self.rekeyed_at = began;
        self.bytes_since_rekey = 0;
        self.keyed = true;
    }

    /// Folds fresh bytes into the key and discards the buffer. Unkeyed until it has worked.
    fn absorb(&mut self) -> Result<(), Error> {
        self.unkey();
        let began = (!self.settling.is_over()).then(|| self.entropy.now());
        self.fold_in()?;
        if let Some(began) = began {
            self.settling.absorbed(began, self.entropy.settling_time());
        }
        self.keyed = true;
        point("absorbed");
        COUNTS.absorbs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn fold_in(&mut self) -> Result<(), Error> {
        let quickly = self.level == Level::PerCall;
        let mut spare = Wiped::<SPARE>::ZERO;
        entropy::absorb(&self.entropy, &mut self.key, quickly, &mut spare)?;
        self.buffer.stock(&spare);
        self.bytes_since_rekey = self.bytes_since_rekey.saturating_add(spare.len() as u64);
        Ok(())
    }

    /// Makes key and buffer unusable. The key stays, as input to the next rekey alone.
    fn unkey(&mut self) {
        self.keyed = false;
        self.buffer.discard();
    }

    /// Whether every request must draw fresh bytes: no witness to rely on, or nothing of the CPU in
    /// a key that was made while the kernel may still be the same in all clones.
    fn absorbs_each_request(&self) -> bool {
        !self.level.buffers() || (!self.settling.is_over() && !self.diversity.has_cpu())
    }

    fn is_rekey_due(&self, now: u64) -> bool {
        self.bytes_since_rekey >= REKEY_BYTES
            || now.saturating_sub(self.rekeyed_at) >= REKEY_NANOSECONDS
    }

    /// Whether something is known, or may be assumed by now, to tell this clone from its siblings.
    fn is_diverse(&self) -> bool {
        self.diversity.suffices() || self.settling.is_over()
    }

    /// Rekeys if that is needed before the next request, and tells what state that leads to.
    pub(crate) fn condition(&mut self) -> Condition {
        let outcome = self.prepare();
        if outcome.is_err() {
            self.unkey();
        }
        Condition {
            error: outcome.err(),
            level: self.level,
            policy: self.embedder.terms().policy,
            rounds: self.rounds,
            diversity: self.diversity,
            settled: self.settling.is_over(),
            settling_for: self.settling.remaining(self.entropy.now(), self.entropy.settling_time()),
        }
    }
}

impl<W, E, T> Generator<W, E, T> {
    /// Wipes everything secret.
    pub(crate) fn wipe(&mut self) {
        self.keyed = false;
        self.buffer.wipe();
        self.key.zeroize();
    }
}

impl<W, E, T> Drop for Generator<W, E, T> {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// The state of one generator, as the report shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition {
    pub(crate) error: Option<Error>,
    pub(crate) level: Level,
    pub(crate) policy: Policy,
    pub(crate) rounds: Rounds,
    pub(crate) diversity: Diversity,
    pub(crate) settled: bool,
    /// Nanoseconds until an absorb ends the settling.
    pub(crate) settling_for: u64,
}

impl Condition {
    /// That of a generator which cannot be had.
    pub(crate) fn unknown(error: Error, policy: Policy) -> Self {
        Self {
            error: Some(error),
            level: Level::PerCall,
            policy,
            rounds: Rounds::Twenty,
            diversity: Diversity::default(),
            settled: false,
            settling_for: 0,
        }
    }
}

/// How often things happened in this process, for the report.
pub(crate) struct Counts {
    pub(crate) rekeys: AtomicU64,
    pub(crate) absorbs: AtomicU64,
    pub(crate) epoch_changes: AtomicU64,
}

pub(crate) static COUNTS: Counts = Counts {
    rekeys: AtomicU64::new(0),
    absorbs: AtomicU64::new(0),
    epoch_changes: AtomicU64::new(0),
};

/// Fills `out` without any generator: for a signal handler that interrupted one, for a thread
/// whose generator is gone, and where there is no state at all. Never allocates.
pub(crate) fn one_shot(
    world: &impl World,
    entropy: &impl Entropy,
    terms: &Terms,
    out: &mut [u8],
) -> Result<(), Error> {
    let outcome = try_one_shot(world, entropy, terms, out);
    if outcome.is_err() {
        out.zeroize();
    }
    outcome
}

fn try_one_shot(
    world: &impl World,
    entropy: &impl Entropy,
    terms: &Terms,
    out: &mut [u8],
) -> Result<(), Error> {
    for _ in 0..TRIES {
        let epoch = world.look();
        let level = terms.standing(&world.facts()).level;
        terms.admit(level)?;
        // Only what was gathered at or after the deadline counts, so the clock is read before.
        let may_repeat = terms.policy == Policy::Require
            && level.reckons_with_clones()
            && !has_settled(entropy, &epoch);
        let diversity = fill_once(entropy, &epoch, terms, out)?;
        if may_repeat && !diversity.suffices() {
            return Err(Error::NotYetDiverse);
        }
        compiler_fence(Ordering::SeqCst);
        if !world.look().copied_since(&epoch) {
            return Ok(());
        }
        out.zeroize();
    }
    Err(Error::WorldUnstable)
}

/// The one-shot path before the witnesses are installed: nothing can be looked at, so only fresh
/// entropy stands between two copies.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nothing to install elsewhere"))]
pub(crate) fn one_shot_without_a_look(
    entropy: &impl Entropy,
    terms: &Terms,
    out: &mut [u8],
) -> Result<(), Error> {
    let outcome = match terms.policy {
        Policy::Require => Err(Error::Installing),
        _ => fill_once(entropy, &Epoch::default(), terms, out).map(|_| ()),
    };
    if outcome.is_err() {
        out.zeroize();
    }
    outcome
}

/// A key from a full gather, used for this output and never again.
fn fill_once(
    entropy: &impl Entropy,
    epoch: &Epoch,
    terms: &Terms,
    out: &mut [u8],
) -> Result<Diversity, Error> {
    let occasion = Occasion { epoch, personalization: &terms.personalization, additional: &[] };
    let mut key = Wiped::<KEY_LEN>::ZERO;
    let diversity = entropy::gather(entropy, &mut key, &occasion)?;
    for chunk in out.chunks_mut(CHUNK) {
        let mut keys = Wiped::<{ 2 * KEY_LEN }>::ZERO;
        cipher::keystream(Rounds::Twenty, &key, &mut *keys);
        let (next, once) = keys.split_at(KEY_LEN);
        key.copy_from_slice(next);
        let mut chunk_key = Wiped::<KEY_LEN>::ZERO;
        chunk_key.copy_from_slice(once);
        cipher::keystream(terms.rounds, &chunk_key, chunk);
    }
    Ok(diversity)
}

fn has_settled(entropy: &impl Entropy, epoch: &Epoch) -> bool {
    let now = entropy.now();
    let deadline = entropy.settling_time();
    Settling::begin(entropy.settling_began(epoch, now)).remaining(now, deadline) == 0
}

#[cfg(test)]
mod tests;
