//! Threads: the first use of each, thousands of short ones, and two at once.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use rand_core::Rng;

use super::{Effort, Found, time_text};
use crate::cpu;
use crate::measure::{Batch, Spread, interleaved};
use crate::report::{Limit, Other};
use crate::targets::other;

pub(super) fn measure(found: &mut Found, effort: Effort, cpus: &[usize]) {
    first_use(found, effort);
    short_lived(found, effort);
    match cpus {
        [one, two, ..] => two_at_once(found, effort, [*one, *two]),
        _ => found.misses("two threads by one", "only one CPU may be used"),
    }
}

fn first_use(found: &mut Found, effort: Effort) {
    let threads = effort.events(801);
    let (ours, theirs): (Vec<f64>, Vec<f64>) = (0..threads)
        .map(|_| {
            let ours = in_a_thread(|| snaprng::rng().next_u64());
            (ours, in_a_thread(|| rand::rng().next_u64()))
        })
        .unzip();
    let medians = [&ours, &theirs].map(|samples| Spread::of(samples).median);
    found.add(Other {
        name: "first rng() of a thread by rand's".into(),
        value: medians[0] / medians[1],
        unit: "×".into(),
        limit: Some(Limit::AtMost(other::FIRST_OF_THREAD_BY_RAND)),
        detail: format!("{} / {}, {threads} threads", time_text(medians[0]), time_text(medians[1])),
    });
}

/// Nanoseconds of one call that is a thread's first.
fn in_a_thread(call: fn() -> u64) -> f64 {
    let timed = thread::spawn(move || {
        let began = Instant::now();
        black_box(call());
        began.elapsed().as_nanos() as f64
    });
    timed.join().expect("a thread that draws")
}

/// Starting, one `u64`, ending: one thread after the other.
fn short_lived(found: &mut Found, effort: Effort) {
    let calls: [fn() -> u64; 3] =
        [|| snaprng::rng().next_u64(), || rand::rng().next_u64(), || black_box(0)];
    let mut batches = calls.map(|call| -> Batch {
        Box::new(move |count| {
            for _ in 0..count {
                thread::spawn(move || black_box(call())).join().expect("a thread that draws");
            }
        })
    });
    let samples = interleaved(&mut batches, &effort.plan);
    let [ours, theirs, nothing] =
        [0, 1, 2].map(|index| time_text(Spread::of(&samples[index]).median));
    found.add(Other {
        name: "thread with one u64, start to end, by rand's".into(),
        value: Spread::of_ratios(&samples[0], &samples[1]).median,
        unit: "×".into(),
        limit: None,
        detail: format!("{ours} / {theirs}; a thread that draws nothing {nothing}"),
    });
}

/// A loop of calls.
type Loop = fn(u64);

fn two_at_once(found: &mut Found, effort: Effort, cpus: [usize; 2]) {
    let loops: [(&str, Loop, u64, bool); 3] = [
        ("two threads by one, u64", ours_u64, 1 << 18, true),
        ("two threads by one, 64 KiB", ours_bulk, 1 << 6, true),
        ("two threads by one, u64, rand's", rand_u64, 1 << 18, false),
    ];
    for (name, work, calls, is_limited) in loops {
        let gains: Vec<f64> = (0..effort.plan.rounds)
            .map(|_| {
                let alone: f64 = cpus.iter().map(|cpu| at_once(&[*cpu], work, calls)).sum();
                // As much work as the two of `alone` together.
                alone / at_once(&cpus, work, calls)
            })
            .collect();
        let spread = Spread::of(&gains);
        found.add(Other {
            name: name.into(),
            value: spread.median,
            unit: "×".into(),
            limit: is_limited.then_some(Limit::AtLeast(other::TWO_THREADS_BY_ONE)),
            detail: format!(
                "middle half {:.2}–{:.2}; needs two CPUs without other work",
                spread.low, spread.high
            ),
        });
    }
}

/// Nanoseconds until one thread on each of these CPUs has done its calls.
fn at_once(cpus: &[usize], work: Loop, calls: u64) -> f64 {
    let together = Barrier::new(cpus.len());
    let on = |cpu: usize| {
        cpu::pin(&[cpu]).expect("a CPU that may be used");
        work(calls / 16);
        together.wait();
        let began = Instant::now();
        work(calls);
        began.elapsed().as_nanos() as f64
    };
    thread::scope(|scope| {
        let threads: Vec<_> = cpus.iter().map(|cpu| scope.spawn(|| on(*cpu))).collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("a thread that draws"));
        times.fold(0.0, f64::max)
    })
}

fn ours_u64(calls: u64) {
    let mut rng = snaprng::rng();
    for _ in 0..calls {
        black_box(rng.next_u64());
    }
}

fn ours_bulk(calls: u64) {
    let mut rng = snaprng::rng();
    let mut out = vec![0; 64 << 10];
    for _ in 0..calls {
        rng.fill_bytes(black_box(&mut out));
    }
}

fn rand_u64(calls: u64) {
    let mut rng = rand::rng();
    for _ in 0..calls {
        black_box(rng.next_u64());
    }
}
