//! The report as JSON. The names of the fields and of their values are stable: they are listed in
//! `snaprng status --help`, and never change or vanish; new ones may come.

use serde::Serialize;
use snaprng::{Diversity, ForkSafety, Protection, RestoreSafety, Witness};

use super::Report;
use crate::failure::Failure;

#[derive(Serialize)]
struct Document {
    level: String,
    policy: String,
    stand_in: bool,
    error: Option<String>,
    rounds: u32,
    kernel: &'static str,
    fork_safety: &'static str,
    restore_safety: &'static str,
    witnesses: Vec<WitnessEntry>,
    diversity: DiversityEntry,
    settled: bool,
    settling_for_seconds: u64,
    counts: Counts,
    container: Option<&'static str>,
    next_steps: Vec<String>,
    required: Option<String>,
    satisfied: bool,
}

#[derive(Serialize)]
struct WitnessEntry {
    name: &'static str,
    state: String,
    path: Option<String>,
    cause: Option<String>,
}

#[derive(Serialize)]
struct DiversityEntry {
    cpu_bits: u32,
    injected_bits: u32,
    kernel_reseeded: bool,
    none: bool,
}

#[derive(Serialize)]
struct Counts {
    rekeys: u64,
    absorbs: u64,
    epoch_changes: u64,
}

pub(super) fn render(report: &Report) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(&Document::of(report)).map_err(Failure::failed)?;
    text.push('\n');
    Ok(text)
}

impl Document {
    fn of(report: &Report) -> Self {
        let protection = &report.protection;
        Self {
            level: protection.level().to_string(),
            policy: protection.policy().to_string(),
            stand_in: protection.is_stand_in(),
            error: protection.error().map(|error| error.to_string()),
            rounds: protection.rounds().count(),
            kernel: protection.kernel(),
            fork_safety: fork_safety(protection.fork_safety()),
            restore_safety: restore_safety(protection.restore_safety()),
            witnesses: protection.witnesses().iter().map(WitnessEntry::of).collect(),
            diversity: DiversityEntry::of(protection.diversity()),
            settled: protection.is_settled(),
            // Rounded up: 0 means that the next absorb does.
            settling_for_seconds: protection.settling_for().as_millis().div_ceil(1000) as u64,
            counts: Counts::of(protection),
            container: report.container,
            next_steps: report.next_steps(),
            required: report.required.map(|required| required.level().to_string()),
            satisfied: report.is_satisfied(),
        }
    }
}

impl WitnessEntry {
    fn of(witness: &Witness) -> Self {
        Self {
            name: witness.name(),
            state: witness.state().to_string(),
            path: witness.path().map(|path| path.display().to_string()),
            cause: witness.cause().map(|cause| cause.to_string()),
        }
    }
}

impl DiversityEntry {
    fn of(diversity: Diversity) -> Self {
        Self {
            cpu_bits: diversity.cpu_bits(),
            injected_bits: diversity.injected_bits(),
            kernel_reseeded: diversity.kernel_reseeded(),
            none: diversity.is_none(),
        }
    }
}

impl Counts {
    fn of(protection: &Protection) -> Self {
        Self {
            rekeys: protection.rekeys(),
            absorbs: protection.absorbs(),
            epoch_changes: protection.epoch_changes(),
        }
    }
}

fn fork_safety(safety: ForkSafety) -> &'static str {
    match safety {
        ForkSafety::ClearedPage => "cleared-page",
        ForkSafety::ProcessId => "process-id",
        ForkSafety::PerRequest => "per-request",
        _ => "unknown",
    }
}

fn restore_safety(safety: RestoreSafety) -> &'static str {
    match safety {
        RestoreSafety::DroppedPage => "dropped-page",
        RestoreSafety::PerRequest => "per-request",
        RestoreSafety::None => "none",
        _ => "unknown",
    }
}
