//! The tables that a person reads.

use std::fmt::Write;

use crate::contenders::{BULK, Kind, SIZES};
use crate::paint::{Ink, paint};
use crate::report::{Limit, Other, Report, Table};
use crate::targets;

const NAME_WIDTH: usize = 27;
const CELL_WIDTH: usize = 13;

/// The whole report.
pub(crate) fn render(report: &Report) -> String {
    let mut text = heading(report);
    for table in &report.tables {
        text += "\n";
        text += &one(table);
    }
    for failure in &report.failures {
        let line = format!("no table `{}`: {}", failure.name, failure.why);
        text += &format!("\n{}\n", paint(&line, Ink::Warning));
    }
    text + "\n" + &summary(report)
}

fn heading(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = String::new();
    let _ = writeln!(text, "snaprng {} beside its peers, {}", report.snaprng, machine.date);
    let _ = writeln!(text, "machine  {} × {}", machine.cpus, machine.cpu);
    let _ = writeln!(text, "has      {}", machine.features.join(" "));
    let _ =
        writeln!(text, "software Linux {}, {}, {}", machine.kernel, machine.libc, machine.rustc);
    let _ = writeln!(text, "load     {} when it began", machine.load);
    let _ = writeln!(
        text,
        "method   {} interleaved rounds of {} µs per contender and size, on one CPU; medians",
        report.plan.rounds,
        report.plan.batch.as_micros()
    );
    if report.quick {
        text += &paint("QUICK: few and short rounds. A look, not a measurement.\n", Ink::Warning);
    }
    text
}

fn one(table: &Table) -> String {
    let title = format!("=== {}: {}", table.world.id(), table.world.title());
    let mut text = format!("{}\n", paint(&title, Ink::Bold));
    let _ = writeln!(text, "{}", table.standing);
    let judged = table.unjudged.is_none();
    if let Some(why) = &table.unjudged {
        let _ = writeln!(text, "{}", paint(&format!("NOT JUDGED: {why}"), Ink::Warning));
    }
    text += &times(table);
    text += "\n";
    text += &ratios(table, judged);
    text += &others(table, judged);
    for missing in &table.missing {
        let line = format!("missing: {}: {}", missing.name, missing.why);
        let _ = writeln!(text, "{}", paint(&line, Ink::Warning));
    }
    text
}

/// Times and throughputs, with the middle half of the samples as a share of the median.
fn times(table: &Table) -> String {
    let mut text = header("ns per call | GB/s  (± half of the middle half)");
    let mut before = None;
    for (name, kind) in table.contenders() {
        if before.is_some_and(|before| before != kind) {
            text += "\n";
        }
        before = Some(kind);
        let ink = if kind == Kind::Ours { Ink::Bold } else { Ink::Faint };
        text += &if kind == Kind::Peer { padded(name) } else { paint(&padded(name), ink) };
        for size in SIZES {
            let shown = table.cell(name, size).map(|cell| {
                let spread = cell.nanoseconds;
                let noise = spread.noise();
                let value = if size < BULK { spread.median } else { size as f64 / spread.median };
                format!("{} ±{noise:.0}%", significant(value))
            });
            let _ = write!(text, "{:>CELL_WIDTH$}", shown.unwrap_or_else(|| "–".into()));
        }
        text += "\n";
    }
    text
}

/// Ours by theirs, with the verdict, and below it the limit, and half of the middle half.
fn ratios(table: &Table, judged: bool) -> String {
    let mut text = header("time of ours / time of theirs");
    for (theirs, ours) in targets::pairs(table.world) {
        let mut verdicts = padded(theirs);
        let mut limits = padded(&format!("  by {ours}"));
        for size in SIZES {
            let Some(ratio) = table.ratio(ours, theirs, size) else {
                verdicts += &format!("{:>CELL_WIDTH$}", "–");
                limits += &format!("{:>CELL_WIDTH$}", "");
                continue;
            };
            let limit = targets::limit(table.world, ours, theirs, size);
            verdicts += &verdict(ratio.ratio.median, limit.map(Limit::AtMost), judged);
            let limit = limit.map_or(String::new(), |limit| format!("≤ {}", ratio_text(limit)));
            let noise = ratio.ratio.noise();
            limits += &format!("{:>CELL_WIDTH$}", format!("{limit} ±{noise:.0}%"));
        }
        let _ = writeln!(text, "{verdicts}\n{}", paint(&limits, Ink::Faint));
    }
    text
}

fn verdict(value: f64, limit: Option<Limit>, judged: bool) -> String {
    let shown = ratio_text(value);
    match limit {
        Some(limit) if judged && limit.holds(value) => {
            paint(&format!("{:>CELL_WIDTH$}", format!("{shown} met")), Ink::Good)
        }
        Some(_) if judged => {
            paint(&format!("{:>CELL_WIDTH$}", format!("{shown} MISSED")), Ink::Bad)
        }
        _ => format!("{shown:>CELL_WIDTH$}"),
    }
}

fn others(table: &Table, judged: bool) -> String {
    let mut text = String::new();
    for other in &table.others {
        let limit = match other.limit {
            Some(Limit::AtMost(limit)) => format!("≤ {limit}"),
            Some(Limit::AtLeast(limit)) => format!("≥ {limit}"),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "{:<46}{:>10} {:<5}{:<8} {}  {}",
            other.name,
            significant(other.value),
            other.unit,
            limit,
            word(other, judged),
            paint(&other.detail, Ink::Faint)
        );
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

fn word(other: &Other, judged: bool) -> String {
    match other.limit {
        Some(limit) if judged && limit.holds(other.value) => paint("met   ", Ink::Good),
        Some(_) if judged => paint("MISSED", Ink::Bad),
        _ => "      ".into(),
    }
}

/// How many limits were met, missed, and not judged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) met: usize,
    pub(crate) missed: usize,
    pub(crate) unjudged: usize,
}

impl Count {
    pub(crate) fn of(report: &Report) -> Self {
        let mut count = Self::default();
        for target in targets::all() {
            let table = report.table(target.world);
            let judged = table.filter(|table| table.unjudged.is_none());
            let ratio = judged.and_then(|t| t.ratio(target.ours, target.theirs, target.size));
            count.add(ratio.map(|ratio| ratio.ratio.median <= target.limit));
        }
        for table in &report.tables {
            let judged = table.unjudged.is_none();
            for other in &table.others {
                if let Some(limit) = other.limit {
                    count.add(judged.then(|| limit.holds(other.value)));
                }
            }
        }
        count
    }

    fn add(&mut self, outcome: Option<bool>) {
        match outcome {
            Some(true) => self.met += 1,
            Some(false) => self.missed += 1,
            None => self.unjudged += 1,
        }
    }
}

fn summary(report: &Report) -> String {
    let Count { met, missed, unjudged } = Count::of(report);
    format!("limits: {met} met, {missed} missed, {unjudged} not judged\n")
}

fn header(title: &str) -> String {
    let mut text = format!("{}\n{}", paint(title, Ink::Bold), padded(""));
    for size in SIZES {
        let _ = write!(text, "{:>CELL_WIDTH$}", size_text(size));
    }
    text + "\n"
}

/// Left-aligned in the first column.
fn padded(name: &str) -> String {
    format!("{name:<NAME_WIDTH$}")
}

pub(crate) fn size_text(size: usize) -> String {
    match size {
        _ if size >= 1 << 20 => format!("{} MiB", size >> 20),
        _ if size >= 1 << 10 => format!("{} KiB", size >> 10),
        _ => format!("{size} B"),
    }
}

/// Three digits, as far as they tell anything.
pub(crate) fn significant(value: f64) -> String {
    match value.abs() {
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

pub(crate) fn ratio_text(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.3}") } else { format!("{ratio:.2}") }
}
