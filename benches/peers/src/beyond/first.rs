//! The first use of a process, in fresh processes.

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::Instant;

use rand_core::Rng;
use snaprng::host::VmClockPage;
use snaprng::{Config, VmClock};

use super::{Effort, Found};
use crate::measure::Spread;
use crate::report::{Limit, Other};
use crate::targets::other;

/// Whose first use, its title, and whether there is a limit for it.
const KINDS: [(&str, &str, bool); 3] = [
    ("default", "first rng() of a process, default", true),
    ("page", "the same, with install() of a vmclock page", true),
    ("rand", "the same, rand::rng()", false),
];

pub(super) fn measure(found: &mut Found, effort: Effort) {
    let processes = effort.events(61);
    let mut samples = KINDS.map(|_| Vec::new());
    for _ in 0..processes {
        for ((whose, title, _), samples) in KINDS.iter().zip(&mut samples) {
            match in_a_fresh_process(whose) {
                Ok(microseconds) => samples.push(microseconds),
                Err(why) => return found.misses(title, why),
            }
        }
    }
    for ((_, title, is_limited), samples) in KINDS.iter().zip(&samples) {
        let spread = Spread::of(samples);
        found.add(Other {
            name: (*title).into(),
            value: spread.median,
            unit: "µs".into(),
            limit: is_limited.then_some(Limit::AtMost(other::FIRST_OF_PROCESS_MICROSECONDS)),
            detail: format!(
                "middle half {:.1}–{:.1}, {processes} processes",
                spread.low, spread.high
            ),
        });
    }
}

fn in_a_fresh_process(whose: &str) -> Result<f64, String> {
    let itself = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new(itself).args(["--first", whose]).output();
    let output = output.map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| format!("the fresh process ended with {}", output.status))
}

/// What the fresh process does: prints microseconds.
pub(crate) fn in_this_process(whose: &str) -> ExitCode {
    let began;
    match whose {
        "default" => {
            began = Instant::now();
            black_box(snaprng::rng().next_u64());
        }
        "page" => {
            let page = VmClockPage::memfd().expect("a page in a memfd");
            let vmclock = VmClock::Fd(page.try_clone_fd().expect("a descriptor"));
            began = Instant::now();
            Config { vmclock, ..Config::default() }.install().expect("the first installation");
            black_box(snaprng::rng().next_u64());
        }
        _ => {
            began = Instant::now();
            black_box(rand::rng().next_u64());
        }
    }
    println!("{}", began.elapsed().as_nanos() as f64 / 1000.0);
    ExitCode::SUCCESS
}
