//! A process that used its generators before the snapshot and not again until the settling time is over.

use std::io::{self, Write};
use std::time::Duration;

use crate::clock::{self, Zero};
use crate::generator::{self, Generator};
use crate::plan::Plan;
use crate::record::write_text;
use crate::subject::Subject;
use crate::truth::Truth;
use crate::worker::write_facts;

const REQUESTS: usize = 2000;

/// An owned generator that has been in use.
pub(crate) fn warm(plan: &Plan, truth: Truth, stream: &str) -> Subject {
    let generator = Generator::owned(plan, "plain").expect("an owned generator could not be made");
    let mut subject = Subject::new(stream, generator, plan.request, REQUESTS);
    for _ in 0..100 {
        subject.ask(truth, false);
    }
    subject
}

pub(crate) fn run(plan: &Plan, truth: Truth, out: &mut dyn Write) -> io::Result<()> {
    generator::install(plan);
    let mut owned = warm(plan, truth, "snaprng-idle-process");
    let mut local = Subject::new("snaprng-idle-thread", Generator::Thread, plan.request, REQUESTS);
    for _ in 0..100 {
        local.ask(truth, false);
    }
    truth.set_ready(plan.number);
    let zero = sleep_through_resume(truth);
    clock::sleep_until(zero.monotonic + plan.settle.unwrap_or_default().as_nanos() as u64);
    for _ in 0..REQUESTS {
        owned.ask(truth, false);
        local.ask(truth, false);
    }
    write_facts(&plan.name, zero, out)?;
    for subject in [&mut owned, &mut local] {
        if let Some((stream, text)) = subject.describe("end") {
            write_text(&plan.name, &stream, &text, out)?;
        }
        subject.write(&plan.name, out)?;
    }
    Ok(())
}

/// Wait for the resume without touching the library.
pub(crate) fn sleep_through_resume(truth: Truth) -> Zero {
    while truth.clone_id() == 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    Zero::now()
}
