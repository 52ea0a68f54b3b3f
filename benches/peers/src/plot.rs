//! The plot: time per call and throughput against size, as an SVG written by hand.
//!
//! It names its lines at their ends instead of in a legend, has no background, and has colours that
//! can be read on white and on black. The fast figure never stands alone: what the machine gives by
//! default is drawn too.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::contenders::{SIZES, name};
use crate::report::{Report, Table};
use crate::table::size_text;
use crate::world::World;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 560.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 500.0;
const PANEL: f64 = 340.0;
/// Between names at the ends of lines.
const LEADING: f64 = 15.0;

/// The peers that are drawn, with their colours.
const PEERS: [(&str, &str); 7] = [
    (name::RAND_HELD, "#d97706"),
    ("rand_chacha ChaCha20Rng", "#b45fd0"),
    (name::VDSO, "#0d9488"),
    ("getrandom(2)", "#5b8def"),
    (name::AWS_LC, "#e0559a"),
    (name::OPENSSL, "#8a9a1f"),
    ("memset", "#8c8c8c"),
];

const OURS: &str = "#e5383b";

const STYLE: &str = "
  text { font: 12px system-ui, sans-serif; fill: #757575 }
  .title { font-size: 16px; font-weight: 600 }
  .axis { font-size: 11px }
  .ours { font-weight: 600 }
  .grid { stroke: #8c8c8c; stroke-opacity: .25; stroke-width: 1 }
  @media (prefers-color-scheme: dark) { text { fill: #a6a6a6 } }
";

/// One line of the plot.
struct Line {
    label: String,
    colour: &'static str,
    is_ours: bool,
    dashed: bool,
    /// Size and nanoseconds.
    points: Vec<(usize, f64)>,
}

pub(crate) fn write(report: &Report, path: &Path) -> Result<(), String> {
    let lines = lines(report);
    if lines.is_empty() {
        return Err("there is nothing to plot".into());
    }
    fs::write(path, draw(report, &lines)).map_err(|e| format!("{}: {e}", path.display()))
}

fn lines(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    // The unsettled line only stands in for a missing settled one: they hardly differ.
    let buffered = report.table(World::Settled).or(report.table(World::Unsettled));
    if let Some(table) = buffered {
        let note = if table.standing.settled { "" } else { " (unsettled)" };
        lines.push(ours(table, note, false));
    }
    if let Some(table) = report.table(World::Default) {
        lines.push(ours(table, ", default here", true));
    }
    if let Some(table) = report.table(World::Settled).or(report.tables.first()) {
        for (peer, colour) in PEERS {
            lines.push(line(table, peer, peer.into(), colour, false));
        }
    }
    lines.retain(|line| !line.points.is_empty());
    lines
}

fn ours(table: &Table, note: &str, dashed: bool) -> Line {
    let label = format!("snaprng {}{note}", table.standing.level);
    line(table, name::HELD, label, OURS, dashed)
}

fn line(table: &Table, name: &str, label: String, colour: &'static str, dashed: bool) -> Line {
    let point = |size: usize| Some((size, table.cell(name, size)?.nanoseconds.median));
    Line {
        label,
        colour,
        is_ours: colour == OURS,
        dashed,
        points: SIZES.into_iter().filter_map(point).collect(),
    }
}

fn draw(report: &Report, lines: &[Line]) -> String {
    let machine = &report.machine;
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Time per call and throughput of random number generators against size\">\n\
         <style>{STYLE}</style>\n\
         <text class=\"title\" x=\"20\" y=\"26\">Random bytes: time per call and throughput</text>\n\
         <text x=\"20\" y=\"46\">{}</text>\n",
        escaped(&format!(
            "{}, Linux {}, {}; snaprng {} with a vmclock page (stand-in), and by default",
            machine.cpu, machine.kernel, machine.date, report.snaprng
        ))
    );
    Panel::new(70.0, "time per call", time_text, lines, |_, ns| ns).draw(&mut svg, lines);
    let gigabytes = |size: usize, ns: f64| size as f64 / ns;
    Panel::new(640.0, "throughput", throughput_text, lines, gigabytes).draw(&mut svg, lines);
    svg + "</svg>\n"
}

/// One diagram, both of whose axes are logarithmic.
struct Panel<F> {
    left: f64,
    title: &'static str,
    /// The name of a power of ten.
    text: fn(i32) -> String,
    /// Powers of ten between which the values lie.
    low: i32,
    high: i32,
    value: F,
}

impl<F: Fn(usize, f64) -> f64> Panel<F> {
    fn new(
        left: f64,
        title: &'static str,
        text: fn(i32) -> String,
        lines: &[Line],
        value: F,
    ) -> Self {
        let values = lines.iter().flat_map(|line| &line.points).map(|(size, ns)| value(*size, *ns));
        let (min, max) =
            values.fold((f64::MAX, f64::MIN), |(min, max), v| (min.min(v), max.max(v)));
        Self {
            left,
            title,
            text,
            low: min.log10().floor() as i32,
            high: max.log10().ceil() as i32,
            value,
        }
    }

    fn x(&self, size: usize) -> f64 {
        let (first, last) = (SIZES[0] as f64, SIZES[SIZES.len() - 1] as f64);
        self.left + PANEL * (size as f64 / first).ln() / (last / first).ln()
    }

    fn y(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        BOTTOM - (BOTTOM - TOP) * part
    }

    fn draw(&self, svg: &mut String, lines: &[Line]) {
        self.axes(svg);
        // Ours last, over the others.
        for line in lines.iter().rev() {
            self.curve(svg, line);
        }
        self.names(svg, lines);
    }

    fn axes(&self, svg: &mut String) {
        let (left, right) = (self.left, self.left + PANEL);
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"{:.0}\">{}</text>",
            TOP - 12.0,
            escaped(self.title)
        );
        for power in self.low..=self.high {
            let y = self.y(10f64.powi(power));
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 4.0,
                (self.text)(power)
            );
        }
        for size in SIZES {
            let x = self.x(size);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
                 <text class=\"axis\" transform=\"translate({:.1} {:.1}) rotate(-40)\" \
                 text-anchor=\"end\">{}</text>",
                x + 4.0,
                BOTTOM + 16.0,
                size_text(size)
            );
        }
    }

    fn curve(&self, svg: &mut String, line: &Line) {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(size, ns)| {
                format!("{:.1},{:.1}", self.x(*size), self.y((self.value)(*size, *ns)))
            })
            .collect();
        let dashes = if line.dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"\
             {dashes} points=\"{}\"/>",
            line.colour,
            if line.is_ours { 3.0 } else { 1.5 },
            points.join(" ")
        );
    }

    /// Names at the right end, moved apart where lines end close to each other.
    fn names(&self, svg: &mut String, lines: &[Line]) {
        let mut ends: Vec<(f64, &Line)> = lines
            .iter()
            .filter_map(|line| {
                let (size, ns) = line.points.last()?;
                Some((self.y((self.value)(*size, *ns)), line))
            })
            .collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let places = apart(&ends.iter().map(|(y, _)| *y).collect::<Vec<_>>());
        for ((_, line), y) in ends.iter().zip(places) {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\"{} style=\"fill: {}\">{}</text>",
                self.left + PANEL + 8.0,
                y + 4.0,
                if line.is_ours { " class=\"ours\"" } else { "" },
                line.colour,
                escaped(&line.label)
            );
        }
    }
}

/// Places in the same order, at least [`LEADING`] apart, each near where it should be: those that
/// are too close become a group around their common middle.
fn apart(wanted: &[f64]) -> Vec<f64> {
    let mut groups: Vec<Vec<f64>> = Vec::new();
    let middle = |group: &[f64]| group.iter().sum::<f64>() / group.len() as f64;
    let half = |group: &[f64]| group.len() as f64 * LEADING / 2.0;
    for place in wanted {
        groups.push(vec![*place]);
        while let [.., before, last] = &mut groups[..] {
            if middle(before) + half(before) <= middle(last) - half(last) {
                break;
            }
            let last = groups.pop().unwrap_or_default();
            groups.last_mut().expect("there is one before the last").extend(last);
        }
    }
    let spread = |group: &Vec<f64>| {
        let first = middle(group) - half(group) + LEADING / 2.0;
        (0..group.len()).map(move |index| first + index as f64 * LEADING).collect::<Vec<_>>()
    };
    groups.iter().flat_map(spread).collect()
}

/// A power of ten of nanoseconds.
fn time_text(power: i32) -> String {
    let unit = ["ps", "ns", "µs", "ms", "s"].get((power + 3).div_euclid(3) as usize);
    format!("{} {}", 10u32.pow(power.rem_euclid(3) as u32), unit.unwrap_or(&"?"))
}

/// A power of ten of gigabytes per second.
fn throughput_text(power: i32) -> String {
    let unit = ["B/s", "KB/s", "MB/s", "GB/s", "TB/s"].get((power + 9).div_euclid(3) as usize);
    format!("{} {}", 10u32.pow(power.rem_euclid(3) as u32), unit.unwrap_or(&"?"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_have_their_units() {
        assert_eq!([-1, 0, 4].map(time_text), ["100 ps", "1 ns", "10 µs"]);
        assert_eq!([-3, -1, 2].map(throughput_text), ["1 MB/s", "100 MB/s", "100 GB/s"]);
    }

    #[test]
    fn names_keep_their_order_and_a_line_between_them() {
        let places = apart(&[10.0, 11.0, 12.0, 100.0]);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LEADING - 1e-9), "{places:?}");
        assert_eq!(places[3], 100.0);
    }
}
