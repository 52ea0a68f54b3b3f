//! Entropy: gathered for a rekey, absorbed in between, and how long not to trust it.
//!
//! Pure: this room mixes what the sources give and decides when enough time has passed; the sources
//! themselves are below it. The rules it upholds:
//!
//! * A rekey hashes the old key and every source, each with its name and length, so that no source
//!   can cancel another. It needs 32 bytes of the kernel, or it fails; CPU and injected bytes add
//!   diversity and never replace them.
//! * The CPU comes before the kernel.
//! * What is credited is for the report alone.
//! * After a machine was restored the kernel's generator may still be the same in all clones: a
//!   generator stays *unsettled* until an absorb at or after a deadline has ended that.

mod cpu;
mod injected;
mod kernel;
mod stamp;
#[cfg(target_os = "linux")]
mod vdso;

use core::fmt;

use blake2::Blake2s256;
use blake2::digest::{CustomizedInit, FixedOutput, Update};

use crate::cipher::{self, Key, SPARE, TWEAK};
use crate::error::Error;
use crate::wipe::{Wiped, wipe};
use crate::world::Epoch;

pub(crate) use injected::{digest, publish as publish_injected};
#[cfg(target_os = "linux")]
pub(crate) use kernel::prepare;

/// CPU bytes that make a rekey diverse, and bytes the kernel must give.
pub(crate) const FULL: usize = 32;

/// Bytes of things that differ without being random: time stamp counter, wall clock, and, by half of
/// it each, an address on the thread's stack and a count of gathers (which differs from thread to
/// thread already).
pub(crate) const DIVERSIFIERS: usize = 24;

/// The seam between the generator and its sources.
pub(crate) trait Entropy {
    /// Fills `out` from the CPU's generator. False, with `out` zero, if it has none or if it fails
    /// its health rules.
    fn cpu(&self, out: &mut [u8]) -> bool;

    /// Like [`cpu`](Self::cpu), from the CPU's conditioned noise source, which is slow: only for the
    /// first rekey of the process in this VM epoch, or where it is `needed`. Otherwise false.
    fn cpu_seed(&self, epoch: &Epoch, needed: bool, out: &mut [u8; FULL]) -> bool;

    /// Fills `out` from the kernel.
    fn kernel(&self, out: &mut [u8; FULL]) -> Result<(), Error>;

    /// The same by the kernel's code in user space, where there is that: quicker, from a state that
    /// is as old as the kernel's last reseed. For whoever has CPU bytes besides.
    fn kernel_quickly(&self, out: &mut [u8; FULL]) -> Result<(), Error>;

    /// Makes the kernel reseed, once per VM epoch. False where that is not allowed.
    fn reseed_kernel(&self, epoch: &Epoch) -> bool;

    /// Bytes handed in by the embedder or the host, and whether they were declared unique in this
    /// VM epoch.
    fn injected(&self, epoch: &Epoch, out: &mut Key) -> bool;

    /// Things that differ without being random.
    fn diversifiers(&self, out: &mut [u8; DIVERSIFIERS]);

    /// Monotonic time in nanoseconds, read exactly.
    fn now(&self) -> u64;

    /// The same to a few milliseconds, cheaper, without a system call.
    fn now_coarse(&self) -> u64;

    /// When this process first looked at `epoch`'s machine: `now`, unless it is on record.
    fn settling_began(&self, epoch: &Epoch, now: u64) -> u64;

    /// Nanoseconds after which the kernel must have reseeded.
    fn settling_time(&self) -> u64;
}

/// Which differing sources went into the last rekey. What tells this clone from its siblings.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Diversity {
    cpu_bits: u16,
    injected_bits: u16,
    kernel_reseeded: bool,
}

impl Diversity {
    /// Bits credited to CPU randomness: 256, or 0 where there is none or its health rules failed.
    pub fn cpu_bits(&self) -> u32 {
        self.cpu_bits.into()
    }

    /// Bits credited to unique bytes of [`notify_restored`](crate::notify_restored), as declared
    /// by the caller: 256 at most.
    pub fn injected_bits(&self) -> u32 {
        self.injected_bits.into()
    }

    /// Whether the kernel was made to reseed in this VM epoch (`RNDRESEEDCRNG`), for want of CPU
    /// randomness.
    ///
    /// It then has little but the moment to mix in. That told clones of real machines apart, but
    /// not clones whose clocks ran exactly alike (an emulator that counts instructions): so
    /// [`Policy::Require`](crate::Policy::Require) does not rely on it.
    pub fn kernel_reseeded(&self) -> bool {
        self.kernel_reseeded
    }

    /// Whether nothing went in that may tell this clone from its siblings.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether what went in tells this clone from its siblings for certain.
    pub(crate) fn suffices(&self) -> bool {
        self.cpu_bits != 0 || self.injected_bits != 0
    }

    /// Whether the last rekey took enough of the CPU.
    pub(crate) fn has_cpu(&self) -> bool {
        self.cpu_bits != 0
    }
}

impl fmt::Display for Diversity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            write!(f, "{}{text}", core::mem::replace(&mut separator, ", "))
        };
        if self.is_none() {
            return f.write_str("none");
        }
        if self.cpu_bits != 0 {
            part(f, format_args!("CPU {} bits", self.cpu_bits))?;
        }
        if self.injected_bits != 0 {
            part(f, format_args!("injected {} bits", self.injected_bits))?;
        }
        if self.kernel_reseeded {
            part(f, format_args!("kernel made to reseed"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Diversity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Diversity({self})")
    }
}

/// What a rekey is made from besides the sources.
pub(crate) struct Occasion<'a> {
    /// The epoch that was remembered before gathering.
    pub(crate) epoch: &'a Epoch,
    /// A hash of the embedder's personalization.
    pub(crate) personalization: &'a Key,
    /// Additional input of the caller.
    pub(crate) additional: &'a [u8],
}

/// Makes a new key of `key` and a full gather; on an error it is unchanged. (A result that holds a
/// key would have it at an odd address, where every move of it is slow.)
pub(crate) fn gather(
    entropy: &impl Entropy,
    key: &mut Key,
    occasion: &Occasion<'_>,
) -> Result<Diversity, Error> {
    let mut mixer = Mixer::NEW;
    mixer.add(Source::OldKey, |out| {
        *out = *key;
        true
    });
    let mut diversity = Diversity::default();

    if mixer.add::<FULL>(Source::Cpu, |out| entropy.cpu(out)) {
        diversity.cpu_bits = 256;
    }
    let needed = !diversity.has_cpu();
    if mixer.add(Source::CpuSeed, |out| entropy.cpu_seed(occasion.epoch, needed, out)) {
        diversity.cpu_bits = 256;
    }
    mixer.add_unless_zero(Source::Injected, |out| {
        if entropy.injected(occasion.epoch, out) {
            diversity.injected_bits = 256;
        }
    });
    mixer.add_unless_zero(Source::Personalization, |out| *out = *occasion.personalization);
    mixer.add_unless_zero(Source::Additional, |out| *out = digest(occasion.additional));
    mixer.add(Source::Diversifiers, |out| {
        entropy.diversifiers(out);
        true
    });
    if !diversity.has_cpu() {
        diversity.kernel_reseeded = entropy.reseed_kernel(occasion.epoch);
    }
    let mut refusal = Error::EntropyUnavailable(0);
    let given = mixer
        .add(Source::Kernel, |out| entropy.kernel(out).map_err(|error| refusal = error).is_ok());
    if !given {
        return Err(refusal);
    }
    mixer.finish(key);
    Ok(diversity)
}

/// Folds fresh bytes into `key`: 16 of the CPU where it has any, then 32 of the kernel (`quickly`,
/// if the CPU gave some and the caller serves this request alone). `spare` may be handed out: a
/// place for it and not a result, which would have it at an odd address. On an error the key is
/// unchanged.
pub(crate) fn absorb(
    entropy: &impl Entropy,
    key: &mut Key,
    quickly: bool,
    spare: &mut [u8; SPARE],
) -> Result<(), Error> {
    let mut cpu = Wiped::<TWEAK>::ZERO;
    let has_cpu = entropy.cpu(&mut *cpu);
    let mut kernel = Wiped::<FULL>::ZERO;
    if quickly && has_cpu {
        entropy.kernel_quickly(&mut kernel)?;
    } else {
        entropy.kernel(&mut kernel)?;
    }
    cipher::step(key, &kernel, &cpu, spare);
    Ok(())
}

/// The names under which sources are hashed. Part of the documented stream: never renumber.
#[derive(Clone, Copy)]
enum Source {
    OldKey = 0,
    Cpu = 1,
    CpuSeed = 2,
    Injected = 3,
    Personalization = 4,
    Additional = 5,
    Diversifiers = 6,
    Kernel = 7,
}

/// `key' = BLAKE2s-256(for each source there is: name ‖ length ‖ bytes)`, the old key first, under
/// a personalization that names this use.
///
/// Name and length are a byte each, and what is not used is left out: the usual gather (old key,
/// CPU, diversifiers, kernel) is exactly two blocks of the hash. As a key in BLAKE2's sense the old
/// one would take a block of its own, and protect nothing more: that is a prefix too.
struct Mixer {
    sources: Wiped<{ Self::ROOM }>,
    length: usize,
}

impl Mixer {
    /// Version 2 of the rekey. A new version gives other keys from the same sources.
    const DOMAIN: &'static [u8; 8] = b"snaprng2";

    /// All sources at once.
    const ROOM: usize = 7 * (2 + FULL) + 2 + DIVERSIFIERS;

    const NEW: Self = Self { sources: Wiped::ZERO, length: 0 };

    /// Has a source write its bytes where they are hashed from; false if it has none. (Nor is there
    /// any room for what is added twice.)
    fn add<const N: usize>(
        &mut self,
        source: Source,
        fill: impl FnOnce(&mut [u8; N]) -> bool,
    ) -> bool {
        const { assert!(N < 256) };
        let rest = self.sources.get_mut(self.length..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk_mut() else { return false };
        let Some(bytes) = rest.first_chunk_mut() else { return false };
        let filled = fill(bytes);
        if filled {
            *head = [source as u8, N as u8];
            self.length += head.len() + N;
        } else {
            wipe(bytes);
        }
        filled
    }

    /// All zeros stand for a source that is not used.
    fn add_unless_zero(&mut self, source: Source, write: impl FnOnce(&mut Key)) {
        self.add(source, |out| {
            write(out);
            *out != Key::default()
        });
    }

    fn finish(&self, key: &mut Key) {
        let mut hash = Blake2s256::new_customized(Self::DOMAIN);
        hash.update(self.sources.get(..self.length).unwrap_or_default());
        hash.finalize_into(key.into());
    }
}

/// How far a generator has come since its machine was restored.
///
/// Time passing ends nothing by itself: only an absorb made at or after a stage passes it. All
/// zeros is the state in which nothing has been passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settling {
    began: u64,
    passed: u8,
}

const MILLISECOND: u64 = 1_000_000;

/// When an unsettled generator absorbs again, after the beginning; the last stage is the deadline.
const STAGES: [u64; 4] =
    [10 * MILLISECOND, 100 * MILLISECOND, 1_000 * MILLISECOND, 10_000 * MILLISECOND];

/// All stages and the deadline.
const SETTLED: u8 = STAGES.len() as u8 + 1;

impl Settling {
    pub(crate) fn begin(began: u64) -> Self {
        Self { began, passed: 0 }
    }

    /// The state of a generator that reckons with no clone.
    pub(crate) fn not_needed() -> Self {
        Self { began: 0, passed: SETTLED }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.passed >= SETTLED
    }

    /// Whether an absorb now would pass a stage.
    pub(crate) fn is_due(&self, now: u64, deadline: u64) -> bool {
        !self.is_over() && self.elapsed(now) >= self.next(deadline)
    }

    /// Fresh kernel bytes were asked for at `now` or later.
    pub(crate) fn absorbed(&mut self, now: u64, deadline: u64) {
        while self.is_due(now, deadline) {
            self.passed += 1;
        }
    }

    /// Nanoseconds until the deadline; 0 from then on.
    pub(crate) fn remaining(&self, now: u64, deadline: u64) -> u64 {
        if self.is_over() { 0 } else { deadline.saturating_sub(self.elapsed(now)) }
    }

    fn next(&self, deadline: u64) -> u64 {
        STAGES.get(usize::from(self.passed)).copied().unwrap_or(deadline)
    }

    fn elapsed(&self, now: u64) -> u64 {
        now.saturating_sub(self.began)
    }
}

crate::sync::statics! {
    /// The VM epoch in which the CPU's noise source was asked last.
    static SEEDED_IN: stamp::Stamp = stamp::Stamp::new();
}

/// The real sources. Without state of its own: what they keep belongs to the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn cpu(&self, out: &mut [u8]) -> bool {
        cpu::fill(out)
    }

    fn cpu_seed(&self, epoch: &Epoch, needed: bool, out: &mut [u8; FULL]) -> bool {
        if !needed && SEEDED_IN.get(epoch).is_some() {
            return false;
        }
        let filled = cpu::fill_seed(needed, out);
        // After the draw: two threads may both make it.
        SEEDED_IN.set(epoch, 1);
        filled
    }

    fn kernel(&self, out: &mut [u8; FULL]) -> Result<(), Error> {
        kernel::fill(out)
    }

    fn kernel_quickly(&self, out: &mut [u8; FULL]) -> Result<(), Error> {
        #[cfg(target_os = "linux")]
        if vdso::fill(out) {
            return Ok(());
        }
        kernel::fill(out)
    }

    fn reseed_kernel(&self, epoch: &Epoch) -> bool {
        kernel::reseed(epoch)
    }

    fn injected(&self, epoch: &Epoch, out: &mut Key) -> bool {
        injected::read(epoch, out)
    }

    fn diversifiers(&self, out: &mut [u8; DIVERSIFIERS]) {
        let stack = 0u8;
        // Not the address of anything secret, and hashed: it differs between threads.
        let address = (&raw const stack).addr() as u64;
        let values = [
            cpu::time_stamp(),
            kernel::wall_clock(),
            address << 32 | kernel::count() & 0xffff_ffff,
        ];
        for (to, value) in out.chunks_mut(8).zip(values) {
            to.copy_from_slice(&value.to_ne_bytes());
        }
    }

    fn now(&self) -> u64 {
        kernel::now()
    }

    fn now_coarse(&self) -> u64 {
        kernel::now_coarse()
    }

    fn settling_began(&self, epoch: &Epoch, now: u64) -> u64 {
        kernel::settling_began(epoch, now)
    }

    fn settling_time(&self) -> u64 {
        kernel::settling_time()
    }
}

#[cfg(test)]
mod tests;
