//! The demonstration as JSON.

use serde::Serialize;

use super::{Demonstration, Outcome, Step};
use crate::failure::Failure;

#[derive(Serialize)]
struct Document {
    /// What moves the vmclock page is this command.
    stand_in: bool,
    steps: Vec<StepEntry>,
    plain_repeats: bool,
    compared_blocks: usize,
    repeated_blocks: usize,
    passed: bool,
}

#[derive(Serialize)]
struct StepEntry {
    step: &'static str,
    counter: u64,
    witness: Option<&'static str>,
    expected_witness: &'static str,
    rekeyed: bool,
    plain_repeats: bool,
    snaprng_repeats: bool,
    clones: Vec<CloneEntry>,
}

/// What one clone drew, in hexadecimal.
#[derive(Serialize)]
struct CloneEntry {
    plain: String,
    snaprng: String,
}

pub(super) fn render(demonstration: &Demonstration) -> Result<String, Failure> {
    let document = Document {
        stand_in: true,
        steps: demonstration.outcomes.iter().map(step).collect(),
        plain_repeats: demonstration.plain_repeats(),
        compared_blocks: demonstration.compared,
        repeated_blocks: demonstration.repeated,
        passed: demonstration.is_convincing(),
    };
    let mut text = serde_json::to_string_pretty(&document).map_err(Failure::failed)?;
    text.push('\n');
    Ok(text)
}

fn step(outcome: &Outcome) -> StepEntry {
    let hex = |bytes: &[u8]| base16ct::lower::encode_string(bytes);
    StepEntry {
        step: match outcome.step {
            Step::Fork => "fork",
            Step::Nothing => "nothing",
            Step::Counter => "counter",
        },
        counter: outcome.counter,
        witness: outcome.witness(),
        expected_witness: outcome.step.expected_witness(),
        rekeyed: outcome.all_rekeyed(),
        plain_repeats: outcome.plain_repeats(),
        snaprng_repeats: outcome.snaprng_repeats(),
        clones: outcome
            .draws
            .iter()
            .map(|draw| CloneEntry { plain: hex(&draw.plain), snaprng: hex(&draw.snaprng) })
            .collect(),
    }
}
