//! The demonstration as a table of 80 columns.

use std::fmt::Write as _;

use super::clone::{BLOCK, Block};
use super::{Demonstration, Outcome, Step};
use crate::paint::{BAD, BOLD, GOOD, Paint};

const INTRODUCTION: &str = "\
One process has two generators in use. It becomes several clones, by fork for
want of a second machine: each begins with a copy of both. Each row is what a
clone draws next, of which the first 16 bytes are shown.
";

const LIMITS: &str = "\
What this shows, and what it does not
  Fork alone already triggers the witness `process`: step 1 would look the same
  without vmclock. Step 3 is vmclock's: no process was forked, and snaprng saw
  a new generation and rekeyed.
  The vmclock page is a stand-in, in memory that this command moved itself. No
  machine was cloned. Only `tests/run` proves it on real virtual machines, which
  are restored from one snapshot. `snaprng status` says what this machine has.
";

pub(super) fn render(demonstration: &Demonstration, paint: Paint) -> String {
    let mut text = String::from(INTRODUCTION);
    for (index, outcome) in demonstration.outcomes.iter().enumerate() {
        let _ = write!(text, "\n{}", step(index + 1, outcome, paint));
    }
    let _ = write!(text, "\n{}\n{LIMITS}", verdict(demonstration, paint));
    text
}

fn step(number: usize, outcome: &Outcome, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.paint(BOLD, title(number, outcome)));
    let _ = writeln!(text, "   witness that fired: {}", witness(outcome, paint));
    let (left, right) = ("rand::rng()", "snaprng::rng()");
    let _ = writeln!(text, "   clone  {left:<32}  {right}");
    for (index, draw) in outcome.draws.iter().enumerate() {
        let (plain, ours) = (first_block(&draw.plain), first_block(&draw.snaprng));
        let _ = writeln!(text, "   {:>5}  {plain}  {ours}", index + 1);
    }
    let plain = if outcome.plain_repeats() {
        paint.paint(BAD, format_args!("{:<32}", "the same in every clone"))
    } else {
        format!("{:<32}", "not the same in every clone")
    };
    let ours = if outcome.snaprng_repeats() {
        paint.paint(BAD, "REPEATED")
    } else {
        paint.paint(GOOD, "different in every clone")
    };
    let _ = writeln!(text, "          {plain}  {ours}");
    text
}

fn title(number: usize, outcome: &Outcome) -> String {
    let counter = outcome.counter;
    match outcome.step {
        Step::Fork => {
            format!("{number}. The process was forked. The VM generation counter is {counter}.")
        }
        Step::Nothing => format!("{number}. Nothing happened: they draw again."),
        Step::Counter => format!(
            "{number}. The counter moved to {counter}, as when a hypervisor resumes a clone. No fork."
        ),
    }
}

fn witness(outcome: &Outcome, paint: Paint) -> String {
    let expected = outcome.step.expected_witness();
    let rekeyed = if outcome.all_rekeyed() { "every clone rekeyed" } else { "no rekey needed" };
    match outcome.witness() {
        Some(fired) if fired == expected => {
            format!("{} ({rekeyed})", paint.paint(GOOD, fired))
        }
        Some(fired) => paint.paint(BAD, format_args!("{fired}, but it should be {expected}")),
        None => paint.paint(BAD, format_args!("not the same in all, but it should be {expected}")),
    }
}

fn verdict(demonstration: &Demonstration, paint: Paint) -> String {
    let Demonstration { compared, repeated, .. } = demonstration;
    let plain = if demonstration.plain_repeats() {
        paint.paint(BAD, "rand repeats in every clone.")
    } else {
        "rand did not repeat everywhere, so this run shows nothing.".into()
    };
    let ours = match repeated {
        0 => paint.paint(GOOD, "snaprng never repeats."),
        _ => paint.paint(BAD, format_args!("snaprng REPEATED {repeated} blocks.")),
    };
    let missed = if demonstration.witnesses_fired() {
        String::new()
    } else {
        paint.paint(BAD, "A witness did not fire as it should: see above.\n")
    };
    format!("{missed}{plain} {ours}\n{compared} blocks of {BLOCK} bytes were compared.\n")
}

fn first_block(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes.first_chunk::<BLOCK>().map_or(&[], Block::as_slice))
}
