//! The report: which witness, how strong, and why not stronger.
//!
//! For an operator who has to decide whether a machine may serve, and for programs that gate on it.
//! Nothing in it is secret. It states what was seen when it was made and does not follow the world.

use core::fmt;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use crate::cipher::{Kernel, Rounds};
use crate::entropy::Diversity;
use crate::error::Error;
use crate::generator::{COUNTS, Condition};
use crate::level::Level;
use crate::policy::Policy;
use crate::world::{self, Cause, Inspected, SystemWorld, WitnessState, World};

/// The protection that a generator and its process have.
///
/// `Display` is a report for an operator, over several lines, that ends with what to do next.
#[derive(Clone, Debug)]
pub struct Protection {
    level: Level,
    policy: Policy,
    error: Option<Error>,
    rounds: Rounds,
    kernel: &'static str,
    fork_safety: ForkSafety,
    restore_safety: RestoreSafety,
    witnesses: Vec<Witness>,
    diversity: Diversity,
    settled: bool,
    settling_for: Duration,
    rekeys: u64,
    absorbs: u64,
    epoch_changes: u64,
}

/// One witness in the report.
#[derive(Clone, Debug)]
pub struct Witness {
    name: &'static str,
    state: WitnessState,
    path: Option<PathBuf>,
    cause: Option<Cause>,
}

impl Witness {
    /// `vmclock`, `sysgenid`, `agent page` or `process`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it is in use.
    pub fn state(&self) -> WitnessState {
        self.state
    }

    /// Where it is, or would be; `None` for what has no path or was handed in as a descriptor.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Why it is not in use, or is weaker than it could be.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }
}

/// How a fork is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForkSafety {
    /// By a page that the kernel clears in the child: forks, raw clones, and their descendants.
    ClearedPage,
    /// By the process id, asked for at every request: not by descendants that have the same id
    /// again, as in another pid namespace.
    ProcessId,
    /// Not at all: nothing is kept from one request to the next.
    PerRequest,
}

/// How the restore of a checkpointed process (CRIU, CRaC) is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RestoreSafety {
    /// By a page that no checkpoint contains, if it was made by CRIU 4.2 or later: that cannot be
    /// seen from inside.
    DroppedPage,
    /// Not at all, but every request draws fresh entropy: outputs whose request began after the
    /// restore are not shared.
    PerRequest,
    /// Not at all: call [`notify_restored`](crate::notify_restored) after a restore.
    None,
}

impl Protection {
    pub(crate) fn of(condition: &Condition) -> Self {
        let facts = SystemWorld.facts();
        Self {
            level: condition.level,
            policy: condition.policy,
            error: condition.error,
            rounds: condition.rounds,
            kernel: Kernel::in_use().name(),
            fork_safety: fork_safety(facts.pid_only),
            restore_safety: restore_safety(condition.level),
            witnesses: world::inspect().into_iter().map(witness).collect(),
            diversity: condition.diversity,
            settled: condition.settled,
            settling_for: Duration::from_nanos(condition.settling_for),
            rekeys: COUNTS.rekeys.load(Ordering::Relaxed),
            absorbs: COUNTS.absorbs.load(Ordering::Relaxed),
            epoch_changes: COUNTS.epoch_changes.load(Ordering::Relaxed),
        }
    }

    /// How well outputs are guarded against a copy of the machine.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The policy in force for this generator.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Why a request would fail now.
    pub fn error(&self) -> Option<Error> {
        self.error
    }

    /// How many rounds of ChaCha make the output.
    pub fn rounds(&self) -> Rounds {
        self.rounds
    }

    /// Which implementation of ChaCha makes it: `portable`, `avx2` or `avx512`. All make the same
    /// bytes.
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// Whether the witness that gives the level is a stand-in, written by somebody who is not the
    /// hypervisor: it protects no better than that writer.
    pub fn is_stand_in(&self) -> bool {
        matches!(self.level, Level::Synchronous | Level::Accepted)
            && self.witnesses.iter().any(|w| w.state == WitnessState::StandIn)
    }

    /// How a fork is told.
    pub fn fork_safety(&self) -> ForkSafety {
        self.fork_safety
    }

    /// How the restore of a checkpointed process is told.
    pub fn restore_safety(&self) -> RestoreSafety {
        self.restore_safety
    }

    /// Every witness that this library knows, whether in use or not.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Which differing sources went into the last rekey.
    pub fn diversity(&self) -> Diversity {
        self.diversity
    }

    /// Whether fresh entropy was absorbed late enough after the machine was started, restored, or
    /// first seen by this process, for the kernel to have reseeded: a heuristic, from the kernel's
    /// release.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// How long it takes until an absorb settles the generator; zero if it is settled, or if the
    /// next absorb will do.
    pub fn settling_for(&self) -> Duration {
        self.settling_for
    }

    /// Rekeys in this process so far, over all generators.
    pub fn rekeys(&self) -> u64 {
        self.rekeys
    }

    /// Absorbs in this process so far, over all generators.
    pub fn absorbs(&self) -> u64 {
        self.absorbs
    }

    /// How often a generator of this process found itself in another epoch. A per-thread generator
    /// that the kernel wiped at a fork remembers none, so a child counts from owned generators and
    /// from what comes later.
    pub fn epoch_changes(&self) -> u64 {
        self.epoch_changes
    }

    /// What an operator can do for a better level; empty if there is nothing to do.
    pub fn next_steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        steps.extend(self.error.map(|e| format!("{e}")));
        if cfg!(not(target_os = "linux")) {
            steps.push(
                "witnesses are known on Linux only: every request draws fresh entropy".into(),
            );
            return steps;
        }
        if self.is_stand_in() {
            steps.push("a stand-in is in use: it protects against what its writer reports, not against a hypervisor's clones".into());
        }
        if !matches!(self.level, Level::Synchronous | Level::ProcessOnly) {
            steps
                .extend(self.witnesses.iter().find(|w| w.name == "vmclock").and_then(vmclock_step));
        }
        steps.extend(
            self.witnesses
                .iter()
                .filter(|w| w.name != "vmclock" && w.state == WitnessState::Unusable)
                .filter_map(|w| Some(format!("mend the {}: it is {}", w.name, w.cause?))),
        );
        if self.error.is_none() && !self.diversity.suffices() && !self.settled {
            steps.push(NO_CPU_RANDOMNESS.into());
        }
        steps
    }
}

const NO_CPU_RANDOMNESS: &str = "this machine has no CPU randomness (RDRAND, RNDR): clones may \
     share output until they have settled; hand in unique bytes after a restore (notify_restored), \
     or give the machine a CPU model that has it";

/// What helps against the state that `vmclock` is in.
fn vmclock_step(vmclock: &Witness) -> Option<String> {
    let path =
        vmclock.path().map_or_else(|| "the vmclock page".into(), |p| p.display().to_string());
    Some(match (vmclock.state, vmclock.cause) {
        (WitnessState::Unusable, Some(Cause::Open(1 | 13))) => format!(
            "let this process read {path}: install the udev rule 60-snaprng-vmclock.rules \
             (KERNEL==\"vmclock0\", MODE=\"0444\") and run `udevadm trigger --name-match=vmclock0`; \
             in a container allow the device too (docker run --device={path}:{path}:r)"
        ),
        (WitnessState::Unusable, Some(cause)) => format!("mend {path}: it is {cause}"),
        (WitnessState::Absent, _) => format!(
            "{path} is not there: it needs a hypervisor with vmclock (Firecracker 1.15 or later) and \
             Linux 6.13 or later (`modprobe ptp_vmclock`), and a container must be given it \
             (--device={path}:{path}:r)"
        ),
        (WitnessState::Active | WitnessState::StandIn, Some(Cause::NoCounter)) => {
            "the hypervisor's vmclock has no VM generation counter (QEMU up to 11.1): use one that \
             has (Firecracker 1.15 or later), or accept the disruption marker by name \
             (accept_marker)"
                .into()
        }
        (WitnessState::Off, _) => "vmclock is switched off by the configuration".into(),
        _ => return None,
    })
}

fn witness(inspected: Inspected) -> Witness {
    Witness {
        name: inspected.name,
        state: inspected.state,
        path: inspected.path.map(path_of),
        cause: inspected.cause,
    }
}

#[cfg(unix)]
fn path_of(path: CString) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(path.into_bytes()).into()
}

#[cfg(not(unix))]
fn path_of(path: CString) -> PathBuf {
    path.to_string_lossy().into_owned().into()
}

#[cfg(target_os = "linux")]
fn fork_safety(pid_only: bool) -> ForkSafety {
    if pid_only { ForkSafety::ProcessId } else { ForkSafety::ClearedPage }
}

#[cfg(not(target_os = "linux"))]
fn fork_safety(_: bool) -> ForkSafety {
    ForkSafety::PerRequest
}

fn restore_safety(level: Level) -> RestoreSafety {
    #[cfg(target_os = "linux")]
    if world::sees_restores() {
        return RestoreSafety::DroppedPage;
    }
    if level == Level::PerCall { RestoreSafety::PerRequest } else { RestoreSafety::None }
}

impl fmt::Display for ForkSafety {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClearedPage => "yes, by a page that the kernel clears in a child",
            Self::ProcessId => "yes, by the process id alone, asked for at every request",
            Self::PerRequest => "yes, nothing is kept from one request to the next",
        })
    }
}

impl fmt::Display for RestoreSafety {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DroppedPage => "yes, if CRIU is 4.2 or later (it cannot be seen from inside)",
            Self::PerRequest => "requests that begin after the restore only",
            Self::None => "no: call notify_restored() after a restore",
        })
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stand_in = if self.is_stand_in() { ", by a stand-in" } else { "" };
        writeln!(f, "protection      {}{stand_in} (policy {})", self.level, self.policy)?;
        writeln!(f, "                {}", meaning(self.level))?;
        for (index, witness) in self.witnesses.iter().enumerate() {
            let label = if index == 0 { "witnesses" } else { "" };
            write!(f, "{label:<15} {:<10} ", witness.name)?;
            match (&witness.path, witness.cause) {
                (Some(path), Some(cause)) => {
                    writeln!(f, "{:<8} {}: {cause}", witness.state, path.display())?;
                }
                (Some(path), None) => writeln!(f, "{:<8} {}", witness.state, path.display())?,
                (None, Some(cause)) => writeln!(f, "{:<8} {cause}", witness.state)?,
                (None, None) => writeln!(f, "{}", witness.state)?,
            }
        }
        writeln!(f, "forks           {}", self.fork_safety)?;
        writeln!(f, "restores        {}", self.restore_safety)?;
        writeln!(f, "cipher          ChaCha{}, {} kernel", self.rounds.count(), self.kernel)?;
        writeln!(f, "diversity       {}", self.diversity)?;
        match (self.settled, self.settling_for.as_secs()) {
            (true, _) => writeln!(f, "settled         yes")?,
            (false, 0) => writeln!(f, "settled         at the next absorb")?,
            (false, seconds) => writeln!(f, "settled         no, for {seconds} s at most")?,
        }
        writeln!(
            f,
            "counts          {} rekeys, {} absorbs, {} epoch changes",
            self.rekeys, self.absorbs, self.epoch_changes
        )?;
        let steps = self.next_steps();
        if steps.is_empty() {
            return write!(f, "what to do      nothing");
        }
        for (index, step) in steps.iter().enumerate() {
            let (newline, label) = if index == 0 { ("", "what to do") } else { ("\n", "") };
            write!(f, "{newline}{label:<15} {step}")?;
        }
        Ok(())
    }
}

fn meaning(level: Level) -> &'static str {
    match level {
        Level::Synchronous => {
            "the VM generation counter is looked at before and after every output"
        }
        Level::Accepted => "a weaker witness, accepted by name, is looked at around every output",
        Level::PerCall => "every request draws fresh entropy; nothing is served from a buffer",
        Level::ProcessOnly => "no VM clone is reckoned with; forks and restores are watched for",
    }
}
