//! A process that insists: it asks under `Require`, and writes down when it was refused and when it was served.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use crate::clock::{self, Zero};
use crate::generator::{self, Generator};
use crate::plan::Plan;
use crate::record::{Recorder, write_text};
use crate::truth::Truth;
use crate::worker::write_facts;

const PAUSE: Duration = Duration::from_millis(50);
/// After the first output that was served, this many more are written down.
const SERVED: usize = 1000;
/// How much longer than the settling time it may take before the refusals end.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(plan: &Plan, truth: Truth, out: &mut dyn Write) -> io::Result<()> {
    generator::install(plan);
    let mut attempts = Attempts::new(plan, truth);
    attempts.until_served_once();
    truth.set_ready(plan.number);
    while truth.clone_id() == 0 {
        attempts.once();
        std::thread::sleep(PAUSE);
    }
    let zero = Zero::now();
    attempts.since(zero);
    let end = zero.monotonic + (plan.settle.unwrap_or_default() + PATIENCE).as_nanos() as u64;
    while !attempts.is_over() && clock::monotonic() < end {
        if !attempts.once() {
            std::thread::sleep(PAUSE);
        }
    }
    write_facts(&plan.name, zero, out)?;
    write_text(&plan.name, "attempts", &attempts.outcomes, out)?;
    attempts.log.write(&plan.name, out)
}

/// A generator under `Require`, made as soon as it may be, and every change of what it answers.
struct Attempts<'a> {
    plan: &'a Plan,
    truth: Truth,
    generator: Option<Generator>,
    log: Recorder,
    outcomes: String,
    last: String,
    zero: u64,
    served: usize,
}

impl<'a> Attempts<'a> {
    fn new(plan: &'a Plan, truth: Truth) -> Self {
        Self {
            plan,
            truth,
            generator: None,
            log: Recorder::new("snaprng-require", plan.request, SERVED),
            outcomes: String::new(),
            last: String::new(),
            zero: 0,
            served: 0,
        }
    }

    fn until_served_once(&mut self) {
        while !self.once() {
            std::thread::sleep(PAUSE);
        }
    }

    fn since(&mut self, zero: Zero) {
        (self.zero, self.served) = (zero.monotonic, 0);
        self.last.clear();
    }

    fn is_over(&self) -> bool {
        self.served >= SERVED
    }

    /// One request; whether it was served.
    fn once(&mut self) -> bool {
        let (began, after) = (clock::monotonic(), self.truth.clone_id() != 0);
        let outcome = self.request();
        let served = outcome.is_ok();
        self.served += usize::from(served);
        let outcome = outcome.err().unwrap_or_else(|| "served".to_owned());
        if outcome != self.last {
            let phase = if after { "after" } else { "before" };
            let milliseconds = began.saturating_sub(self.zero) as f64 / 1e6;
            // Writing to a String cannot fail.
            let _ = writeln!(self.outcomes, "{phase} {milliseconds:.1} {outcome}");
            self.last = outcome;
        }
        served
    }

    fn request(&mut self) -> Result<(), String> {
        if self.generator.is_none() {
            let made =
                Generator::owned(self.plan, "plain").map_err(|error| format!("{error:?}"))?;
            self.generator = Some(made);
        }
        let generator = self.generator.as_mut().expect("made just above");
        let mut outcome = Ok(());
        self.log.ask(self.truth, false, |output| {
            outcome = generator.fill(output);
            outcome.clone()
        });
        outcome
    }
}
