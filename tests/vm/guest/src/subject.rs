//! A generator with a log of what it gave.

use std::io::{self, Write};

use crate::generator::Generator;
use crate::record::Recorder;
use crate::truth::Truth;

/// A generator and its log.
pub(crate) struct Subject {
    pub(crate) stream: String,
    generator: Generator,
    pub(crate) log: Recorder,
}

impl Subject {
    pub(crate) fn new(
        stream: impl Into<String>,
        generator: Generator,
        width: usize,
        keep: usize,
    ) -> Self {
        let stream = stream.into();
        Self { log: Recorder::new(stream.clone(), width, keep), stream, generator }
    }

    /// One request; whether it ended after the resume.
    pub(crate) fn ask(&mut self, truth: Truth, sampled: bool) -> bool {
        let generator = &mut self.generator;
        self.log.ask(truth, sampled, |output| generator.fill(output))
    }

    /// Ask the same generator for outputs that go into a log of their own.
    pub(crate) fn ask_apart(
        &mut self,
        truth: Truth,
        suffix: &str,
        width: usize,
        count: usize,
    ) -> Recorder {
        let mut log = Recorder::new(format!("{}@{suffix}", self.stream), width, count);
        for _ in 0..count {
            log.ask(truth, false, |output| self.generator.fill(output));
        }
        log
    }

    /// One request into another log; whether it ended after the resume.
    pub(crate) fn ask_into(&mut self, log: &mut Recorder, truth: Truth) -> bool {
        log.ask(truth, false, |output| self.generator.fill(output))
    }

    /// What snaprng says about this generator at `moment`, as a named text.
    pub(crate) fn describe(&mut self, moment: &str) -> Option<(String, String)> {
        let report = self.generator.protection()?;
        Some((format!("{}/protection-{moment}", self.stream), describe(&report)))
    }

    pub(crate) fn write(&self, worker: &str, out: &mut dyn Write) -> io::Result<()> {
        self.log.write(worker, out)
    }
}

/// What the library says about a generator: first in words for the harness, then as it tells an operator.
fn describe(report: &snaprng::Protection) -> String {
    let witnesses: String = report
        .witnesses()
        .iter()
        .map(|witness| format!("{}={}\n", witness.name(), witness.state()))
        .collect();
    format!(
        "level={}\ndiversity={}\nsettled={}\nepoch_changes={}\nrekeys={}\nabsorbs={}\n{witnesses}\n{report}\n",
        report.level(),
        report.diversity(),
        report.is_settled(),
        report.epoch_changes(),
        report.rekeys(),
        report.absorbs(),
    )
}
