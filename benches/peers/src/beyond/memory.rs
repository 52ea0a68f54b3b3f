//! Memory that a thread's generator takes: the growth of what this process has resident when many
//! waiting threads draw for the first time.

use std::fs;
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

use rand_core::Rng;

use super::{Effort, Found};
use crate::report::{Limit, Other};
use crate::targets::other;

pub(super) fn measure(found: &mut Found, effort: Effort) {
    let threads = effort.events(400);
    let ours = per_thread(threads, || snaprng::rng().next_u64());
    let theirs = per_thread(threads, || rand::rng().next_u64());
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => found.add(Other {
            name: "memory per thread".into(),
            value: ours,
            unit: "KiB".into(),
            limit: Some(Limit::AtMost(other::THREAD_KIB)),
            detail: format!("rand {theirs:.2} KiB; resident, over {threads} threads"),
        }),
        (Err(why), _) | (_, Err(why)) => found.misses("memory per thread", why),
    }
}

/// KiB that become resident, for each thread that makes its first call.
fn per_thread(threads: usize, call: fn() -> u64) -> Result<f64, String> {
    let (started, go) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let (done, end) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let thread = || {
        // The stack that the call needs is not its state's: touch it before.
        touch_stack();
        started.wait();
        go.wait();
        black_box(call());
        done.wait();
        end.wait();
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(thread);
        }
        started.wait();
        let before = resident_kib();
        go.wait();
        done.wait();
        let after = resident_kib();
        end.wait();
        Ok((after? - before?) / threads as f64)
    })
}

#[inline(never)]
fn touch_stack() {
    black_box(&mut [1u8; 48 << 10]);
}

fn resident_kib() -> Result<f64, String> {
    const PATH: &str = "/proc/self/smaps_rollup";
    let text = fs::read_to_string(PATH).map_err(|e| format!("{PATH}: {e}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or(format!("{PATH} has no Rss"))
}
