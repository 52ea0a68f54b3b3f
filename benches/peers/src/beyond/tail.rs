//! Single calls: what the slowest of a thousand costs, ours and rand's in turn.
//!
//! Each call lies between two readings of the time stamp counter, which cost something themselves:
//! what an empty pair reads is given too, and is not taken off.

use std::hint::black_box;
use std::time::Instant;

use rand_core::Rng;

use super::{Effort, Found};
use crate::measure::quantile;
use crate::report::{Limit, Other};
use crate::targets::other;

/// Calls before it is the other's turn.
const BLOCK: usize = 10_000;

pub(super) fn measure(found: &mut Found, effort: Effort) {
    let tick = nanoseconds_per_tick();
    let (mut ours, mut theirs) = (snaprng::rng(), rand::rng());
    let mut samples: [Vec<f64>; 3] = Default::default();
    for _ in 0..effort.events(200) {
        sample(&mut samples[0], tick, || ours.next_u64());
        sample(&mut samples[1], tick, || theirs.next_u64());
        sample(&mut samples[2], tick, || 0);
    }
    let [ours, theirs, nothing] = samples.map(percentiles);
    found.add(Other {
        name: "u64 tail: p99.9 by rand's".into(),
        value: ours[2] / theirs[2],
        unit: "×".into(),
        limit: Some(Limit::AtMost(other::TAIL_BY_RAND)),
        detail: format!(
            "p50 / p99 / p99.9: {}; rand {}; nothing {}",
            text(ours),
            text(theirs),
            text(nothing)
        ),
    });
}

fn text([p50, p99, p999]: [f64; 3]) -> String {
    format!("{p50:.0} / {p99:.0} / {p999:.0} ns")
}

fn sample(samples: &mut Vec<f64>, tick: f64, mut call: impl FnMut() -> u64) {
    for _ in 0..BLOCK {
        let began = ticks();
        black_box(call());
        samples.push((ticks() - began) as f64 * tick);
    }
}

fn percentiles(mut samples: Vec<f64>) -> [f64; 3] {
    samples.sort_by(f64::total_cmp);
    [0.5, 0.99, 0.999].map(|share| quantile(&samples, share))
}

/// The time stamp counter, read when everything before has been done.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every x86-64 has this instruction.
    unsafe { _mm_lfence() };
    // SAFETY: as above; Linux leaves it to user space.
    let now = unsafe { _rdtsc() };
    // SAFETY: as above.
    unsafe { _mm_lfence() };
    now
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    use std::sync::LazyLock;
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGAN.elapsed().as_nanos() as u64
}

fn nanoseconds_per_tick() -> f64 {
    let (began, first) = (Instant::now(), ticks());
    while began.elapsed().as_millis() < 50 {}
    let last = ticks();
    began.elapsed().as_nanos() as f64 / (last - first) as f64
}
