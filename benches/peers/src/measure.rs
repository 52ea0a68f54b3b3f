//! Interleaved rounds, and what is said about them.
//!
//! Every contender is timed once per round, in turn, so that whatever slows the machine for a while
//! slows all of them. A ratio is taken within a round, and its median over the rounds. Timing is of
//! whole batches of some milliseconds; single calls are [`crate::beyond::tail`]'s business. A batch
//! in which the kernel gave the CPU to somebody else says nothing about speed and is repeated, a few
//! times at most: on a machine that is never quiet the spread shows it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Does one thing as often as it is told.
pub(crate) type Batch = Box<dyn FnMut(u64)>;

/// How much is measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) batch: Duration,
}

/// Median, quartiles and extremes: an array of those five in JSON, each with four digits.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(into = "[f64; 5]", from = "[f64; 5]")]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl From<Spread> for [f64; 5] {
    fn from(spread: Spread) -> Self {
        [spread.median, spread.low, spread.high, spread.min, spread.max].map(four_digits)
    }
}

impl From<[f64; 5]> for Spread {
    fn from([median, low, high, min, max]: [f64; 5]) -> Self {
        Self { median, low, high, min, max }
    }
}

/// More says nothing about what was measured.
fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

impl Spread {
    pub(crate) fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| quantile(&sorted, share);
        Self { median: at(0.5), low: at(0.25), high: at(0.75), min: at(0.0), max: at(1.0) }
    }

    /// Half of the distance between the quartiles, in percent of the median.
    pub(crate) fn noise(&self) -> f64 {
        50.0 * (self.high - self.low) / self.median.abs()
    }

    /// Of the ratios within each round.
    pub(crate) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Self {
        Self::of_pairs(ours, theirs, |a, b| a / b)
    }

    /// Of the differences within each round.
    pub(crate) fn of_differences(ours: &[f64], theirs: &[f64]) -> Self {
        Self::of_pairs(ours, theirs, |a, b| a - b)
    }

    fn of_pairs(ours: &[f64], theirs: &[f64], combine: impl Fn(f64, f64) -> f64) -> Self {
        let pairs: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| combine(*a, *b)).collect();
        Self::of(&pairs)
    }
}

/// The value below which `share` of the sorted samples lie, between two of them if need be.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = share * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    let part = position - below as f64;
    sorted[below] * (1.0 - part) + sorted[above] * part
}

/// Nanoseconds per call, for each batch and round.
pub(crate) fn interleaved(batches: &mut [Batch], plan: &Plan) -> Vec<Vec<f64>> {
    let counts: Vec<u64> = batches.iter_mut().map(|b| calls_in(b, plan.batch)).collect();
    let mut samples = vec![Vec::with_capacity(plan.rounds); batches.len()];
    for round in 0..plan.rounds {
        for step in 0..batches.len() {
            // To and fro, so that nobody always comes after the same neighbour.
            let turn = if round % 2 == 0 { step } else { batches.len() - 1 - step };
            // Once for the caches, which the neighbour has filled.
            batches[turn](counts[turn].div_ceil(16));
            samples[turn].push(undisturbed(&mut batches[turn], counts[turn]));
        }
    }
    samples
}

/// Nanoseconds per call of a batch that nobody interrupted, if there is one in a few attempts.
fn undisturbed(batch: &mut Batch, calls: u64) -> f64 {
    const ATTEMPTS: usize = 4;
    let mut nanoseconds = f64::NAN;
    for _ in 0..ATTEMPTS {
        let before = preemptions();
        nanoseconds = nanoseconds_per_call(batch, calls);
        if preemptions() == before {
            break;
        }
    }
    nanoseconds
}

/// How often this thread had to leave its CPU to somebody else.
pub(crate) fn preemptions() -> i64 {
    // SAFETY: a structure of zeros is one that the kernel may overwrite.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is of the type that the call asks for.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    usage.ru_nivcsw
}

/// How many calls take about this long.
fn calls_in(batch: &mut Batch, time: Duration) -> u64 {
    let mut calls = 1;
    loop {
        let nanoseconds = nanoseconds_per_call(batch, calls) * calls as f64;
        let wanted = time.as_nanos() as f64;
        if nanoseconds * 4.0 >= wanted {
            return ((calls as f64 * wanted / nanoseconds) as u64).max(1);
        }
        calls *= 2;
    }
}

fn nanoseconds_per_call(batch: &mut Batch, calls: u64) -> f64 {
    let began = Instant::now();
    batch(calls);
    began.elapsed().as_nanos() as f64 / calls as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&sorted, 0.0), 1.0);
        assert_eq!(quantile(&sorted, 0.5), 2.5);
        assert_eq!(quantile(&sorted, 1.0), 4.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn four_digits_are_kept() {
        assert_eq!([123_456.0, 0.012_345_6, 0.0].map(four_digits), [123_500.0, 0.012_35, 0.0]);
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // Both are three times as slow in the second round: the ratio does not notice.
        let ratio = Spread::of_ratios(&[1.0, 3.0], &[2.0, 6.0]);
        assert_eq!((ratio.min, ratio.median, ratio.max), (0.5, 0.5, 0.5));
    }

    #[test]
    fn every_contender_is_timed_once_a_round() {
        let mut batches: Vec<Batch> = vec![Box::new(|_| {}), Box::new(|_| {})];
        let plan = Plan { rounds: 3, batch: Duration::from_nanos(1) };
        let samples = interleaved(&mut batches, &plan);
        assert!(samples.len() == 2 && samples.iter().all(|s| s.len() == 3));
    }
}
