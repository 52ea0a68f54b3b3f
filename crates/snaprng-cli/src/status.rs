//! `snaprng status`: the library's report for this machine, as text, as JSON, and as an exit code.

mod json;

use std::process::ExitCode;

use snaprng::{Config, Error, Level, Policy, Protection, VmClock, WitnessState};

use crate::arguments::{Required, StatusOptions};
use crate::container;
use crate::failure::{FAILED, Failure};
use crate::paint::{self, BAD, BOLD, GOOD, Paint, WEAK};

/// Where the values begin in the library's report.
const LABEL: usize = 16;

/// The library's report, and what only the command knows.
struct Report {
    protection: Protection,
    container: Option<&'static str>,
    container_steps: Vec<String>,
    required: Option<Required>,
    shortfall: Option<String>,
}

pub(crate) fn run(options: StatusOptions) -> Result<ExitCode, Failure> {
    let (json, required) = (options.json, options.require);
    install(options)?;
    let report = Report::of(snaprng::protection(), required);
    let text = if json { json::render(&report)? } else { report.render(Paint::of_stdout()) };
    paint::print(&text)?;
    Ok(if report.is_satisfied() { ExitCode::SUCCESS } else { FAILED.into() })
}

/// Puts the configuration in force that the report is to be about.
fn install(options: StatusOptions) -> Result<(), Failure> {
    let config = Config {
        policy: Policy::from(options.policy),
        vmclock: options.vmclock.map_or(VmClock::Default, VmClock::Path),
        accept_marker: options.accept_marker,
        accept_late: options.accept_late,
        ..Config::default()
    };
    match config.install() {
        // It is in force all the same: the report says what is missing.
        Ok(()) | Err(Error::NotProtected(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Report {
    fn of(protection: Protection, required: Option<Required>) -> Self {
        let container = container::sign();
        Self {
            container,
            container_steps: container::steps(container, &protection),
            shortfall: shortfall(&protection, required),
            protection,
            required,
        }
    }

    fn is_satisfied(&self) -> bool {
        self.shortfall.is_none()
    }

    fn next_steps(&self) -> Vec<String> {
        let mut steps = self.protection.next_steps();
        steps.extend(self.container_steps.iter().cloned());
        steps
    }

    fn render(&self, paint: Paint) -> String {
        let mut text = self.protection.to_string();
        for step in &self.container_steps {
            text.push_str(&format!("\n{:LABEL$}{step}", ""));
        }
        if let Some(required) = self.required {
            text.push_str(&format!("\n{:<LABEL$}{}: ", "required", required.level()));
            text.push_str(self.shortfall.as_deref().unwrap_or("reached"));
        }
        let mut out = String::new();
        for line in text.lines().map(align) {
            let lines = if paint.is_terminal() { paint::wrap(&line, LABEL) } else { vec![line] };
            for line in lines {
                out.push_str(&self.colour(&line, paint));
                out.push('\n');
            }
        }
        out
    }

    /// Makes labels stand out, and says with a colour how good the level is.
    fn colour(&self, line: &str, paint: Paint) -> String {
        let Some((label, value)) = line.split_at_checked(LABEL) else { return line.into() };
        let value = match label.trim_end() {
            "protection" => paint.paint(self.level_style(), value),
            "required" if self.is_satisfied() => paint.paint(GOOD, value),
            "required" => paint.paint(BAD, value),
            _ => value.into(),
        };
        let label = if label.trim().is_empty() { label.into() } else { paint.paint(BOLD, label) };
        format!("{label}{value}")
    }

    fn level_style(&self) -> clap::builder::styling::Style {
        let is_strong = matches!(self.protection.level(), Level::Synchronous | Level::ProcessOnly);
        if self.protection.error().is_some() {
            BAD
        } else if is_strong && !self.protection.is_stand_in() {
            GOOD
        } else {
            WEAK
        }
    }
}

/// The line without spaces at its end, and with the value, if it begins with that, in its column.
fn align(line: &str) -> String {
    let text = line.trim();
    if line.starts_with(' ') { format!("{:LABEL$}{text}", "") } else { text.into() }
}

/// Why the wanted level is not reached; `None` if it is. Whatever is wanted, requests must work.
fn shortfall(protection: &Protection, required: Option<Required>) -> Option<String> {
    if protection.error().is_some() {
        return Some("not reached, requests fail (see what to do)".into());
    }
    let required = required?;
    let level = protection.level();
    let enough = match required {
        Required::Synchronous => level == Level::Synchronous,
        Required::ProcessOnly => matches!(level, Level::Synchronous | Level::ProcessOnly),
        Required::Accepted => level != Level::PerCall,
        Required::PerCall => true,
    };
    if !enough {
        return Some(format!("not reached, the level is {level}"));
    }
    let from_the_hypervisor = matches!(required, Required::Synchronous | Required::ProcessOnly);
    (from_the_hypervisor && protection.is_stand_in())
        .then(|| format!("not reached, {} a stand-in", stand_ins(protection)))
}

/// The stand-ins by name and path, with their verb.
fn stand_ins(protection: &Protection) -> String {
    let names: Vec<_> = protection
        .witnesses()
        .iter()
        .filter(|witness| witness.state() == WitnessState::StandIn)
        .map(|witness| match witness.path() {
            Some(path) => format!("{} ({}) is", witness.name(), path.display()),
            None => format!("{} is", witness.name()),
        })
        .collect();
    names.join(", ")
}
