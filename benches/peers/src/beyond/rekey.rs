//! What fresh entropy costs: a rekey beside the system call that it contains, and the request that
//! finds the machine cloned.

use std::time::Instant;

use rand_core::Rng;
use snaprng::host::VmClockPage;

use super::{Effort, Found, time_text};
use crate::contenders::system_call;
use crate::measure::{Batch, Spread, interleaved};
use crate::report::{Limit, Other};
use crate::targets::other;
use crate::world::InForce;

pub(super) fn measure(found: &mut Found, effort: Effort, in_force: InForce) {
    beside_getrandom(found, effort);
    match in_force.page {
        Some(page) => first_of_epoch(found, effort, page),
        None => found.misses("first request of a VM epoch", "there is no page"),
    }
}

/// Without RDSEED, which only the first rekey of a VM epoch asks.
fn beside_getrandom(found: &mut Found, effort: Effort) {
    let mut batches: [Batch; 2] = [
        Box::new(|calls| {
            for _ in 0..calls {
                snaprng::reseed(&[]).expect("entropy");
            }
        }),
        Box::new(|calls| {
            for _ in 0..calls {
                system_call(&mut [0; 32]);
            }
        }),
    ];
    let samples = interleaved(&mut batches, &effort.plan);
    let [rekey, kernel] = [Spread::of(&samples[0]).median, Spread::of(&samples[1]).median];
    let difference = Spread::of_differences(&samples[0], &samples[1]);
    found.add(Other {
        name: "rekey − getrandom(2) of 32 B".into(),
        value: difference.median,
        unit: "ns".into(),
        limit: Some(Limit::AtMost(other::REKEY_NANOSECONDS)),
        detail: format!("{} − {}", time_text(rekey), time_text(kernel)),
    });
}

/// From the moved counter to the bytes: the look, the rekey with RDSEED, the refill.
fn first_of_epoch(found: &mut Found, effort: Effort, mut page: VmClockPage) {
    let mut rng = snaprng::rng();
    let samples: Vec<f64> = (0..effort.events(1001))
        .map(|_| {
            page.advance_counter();
            let began = Instant::now();
            std::hint::black_box(rng.next_u64());
            began.elapsed().as_nanos() as f64 / 1000.0
        })
        .collect();
    let spread = Spread::of(&samples);
    found.add(Other {
        name: "first request of a VM epoch (u64)".into(),
        value: spread.median,
        unit: "µs".into(),
        limit: Some(Limit::AtMost(other::FIRST_OF_EPOCH_MICROSECONDS)),
        detail: format!("middle half {:.2}–{:.2}; {}", spread.low, spread.high, rdseed()),
    });
}

/// What the four draws of RDSEED in it take on this CPU.
#[cfg(target_arch = "x86_64")]
fn rdseed() -> String {
    use std::arch::x86_64::_rdseed64_step;

    #[target_feature(enable = "rdseed")]
    fn draw() -> u64 {
        let mut word = 0;
        // It may fail, and takes its time all the same. What it gave is not used.
        _rdseed64_step(&mut word);
        word
    }

    const DRAWS: u32 = 400;
    if !is_x86_feature_detected!("rdseed") {
        return "this CPU has no RDSEED".into();
    }
    let began = Instant::now();
    for _ in 0..DRAWS {
        // SAFETY: the CPU has the instruction.
        std::hint::black_box(unsafe { draw() });
    }
    let nanoseconds = began.elapsed().as_nanos() as f64 * 4.0 / f64::from(DRAWS);
    format!("RDSEED alone, four times: {}", time_text(nanoseconds))
}

#[cfg(not(target_arch = "x86_64"))]
fn rdseed() -> String {
    "no RDSEED on this architecture".into()
}
