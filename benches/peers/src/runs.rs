//! Several runs beside each other: for each limit, the median of what they found, its spread, and in
//! how many of them it was met. One run can be lucky.

use std::fmt::Write;

use crate::measure::Spread;
use crate::paint::{Ink, paint};
use crate::report::{Limit, Report};
use crate::table::{ratio_text, significant, size_text};
use crate::targets;

/// One line for each limit that any of the runs has a figure for.
pub(crate) fn render(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        let machine = &report.machine;
        let quick = if report.quick { ", QUICK" } else { "" };
        let _ = writeln!(
            text,
            "run on {}, {}, load {}{quick}",
            machine.cpu, machine.date, machine.load
        );
    }
    for target in targets::all() {
        let name = format!("{} / {}", target.ours, target.theirs);
        let table = |report: &'_ Report| {
            let table = report.table(target.world)?;
            let ratio = table.ratio(target.ours, target.theirs, target.size)?;
            Some((ratio.ratio.median, table.unjudged.is_none()))
        };
        let found: Vec<(f64, bool)> = reports.iter().filter_map(table).collect();
        let limit = Limit::AtMost(target.limit);
        let title = format!("{:<9} {:>7}  {name:<48}", target.world.id(), size_text(target.size));
        text += &line(&title, &found, limit, ratio_text);
    }
    text + &others(reports)
}

fn others(reports: &[Report]) -> String {
    let all = || reports.iter().flat_map(|report| &report.tables);
    let mut text = String::new();
    let mut seen = Vec::new();
    for other in all().flat_map(|table| &table.others) {
        let Some(limit) = other.limit else { continue };
        if seen.contains(&&other.name) {
            continue;
        }
        seen.push(&other.name);
        let found: Vec<(f64, bool)> = all()
            .flat_map(|table| table.others.iter().map(|found| (found, table.unjudged.is_none())))
            .filter(|(found, _)| found.name == other.name)
            .map(|(found, judged)| (found.value, judged))
            .collect();
        let title = format!("{:<9} {:>7}  {:<48}", "settled", other.unit, other.name);
        text += &line(&title, &found, limit, significant);
    }
    text
}

/// What the runs found, and whether each could be judged.
fn line(title: &str, found: &[(f64, bool)], limit: Limit, show: fn(f64) -> String) -> String {
    if found.is_empty() {
        return String::new();
    }
    let values: Vec<f64> = found.iter().map(|(value, _)| *value).collect();
    let spread = Spread::of(&values);
    let judged = found.iter().filter(|(_, judged)| *judged).count();
    let met = found.iter().filter(|(value, judged)| *judged && limit.holds(*value)).count();
    let verdict = match (judged, met) {
        (0, _) => paint("not judged", Ink::Warning),
        _ if met == judged => paint(&format!("met in {met} of {judged}"), Ink::Good),
        _ => paint(&format!("MET IN {met} OF {judged}"), Ink::Bad),
    };
    let range = format!("({}–{})", show(spread.min), show(spread.max));
    format!("{title} {:>6} {range:<15} {:<8} {verdict}\n", show(spread.median), limit_text(limit))
}

fn limit_text(limit: Limit) -> String {
    match limit {
        Limit::AtMost(limit) => format!("≤ {limit}"),
        Limit::AtLeast(limit) => format!("≥ {limit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_one_run_missed_is_not_met() {
        let missed = line("x", &[(0.9, true), (1.1, true)], Limit::AtMost(1.0), ratio_text);
        assert!(missed.contains("MET IN 1 OF 2") && missed.contains("(0.90–1.10)"), "{missed}");
        let unjudged = line("x", &[(0.9, false)], Limit::AtMost(1.0), ratio_text);
        assert!(unjudged.contains("not judged"), "{unjudged}");
    }
}
