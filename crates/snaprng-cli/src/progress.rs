//! A line on the terminal that says how far a large output has come.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::size;

/// Outputs from this size on are worth a line.
const WORTH_IT: u64 = 64 << 20;

const INTERVAL: Duration = Duration::from_millis(200);

/// Overwrites its own line on standard error, and removes it in the end.
pub(crate) struct Progress {
    total: u64,
    began: Instant,
    shown: Option<Instant>,
    enabled: bool,
}

impl Progress {
    /// Shows nothing unless somebody watches standard error, and standard output goes elsewhere.
    pub(crate) fn new(total: u64) -> Self {
        let watched = io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self { total, began: Instant::now(), shown: None, enabled: watched && total >= WORTH_IT }
    }

    /// Shows that `done` bytes are written, a few times a second.
    pub(crate) fn show(&mut self, done: u64) {
        let now = Instant::now();
        if !self.enabled || self.shown.is_some_and(|shown| now - shown < INTERVAL) {
            return;
        }
        self.shown = Some(now);
        // No reason to stop making bytes, if it cannot be shown.
        let _ = write!(io::stderr(), "\r\x1b[K{}", line(done, self.total, now - self.began));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(done: u64, total: u64, elapsed: Duration) -> String {
    let percent = done.saturating_mul(100) / total.max(1);
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let left = (total.saturating_sub(done)) as f64 / rate.max(1.0);
    format!(
        "{percent:3} %  {} of {}  {}/s  {} left",
        size::human(done),
        size::human(total),
        size::human(rate as u64),
        duration(left as u64)
    )
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_how_far_how_fast_and_how_long() {
        let text = line(256 << 20, 1 << 30, Duration::from_secs(2));
        assert_eq!(text, " 25 %  256.0 MiB of 1.0 GiB  128.0 MiB/s  6 s left");
    }

    #[test]
    fn extremes_do_not_overflow() {
        assert!(line(0, size::MOST, Duration::ZERO).starts_with("  0 %"));
        assert!(line(size::MOST, size::MOST, Duration::MAX).starts_with("100 %"));
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(3599), "59 min 59 s");
        assert_eq!(duration(7260), "2 h 01 min");
    }
}
