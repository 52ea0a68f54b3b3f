//! Text for people: colours and line breaks on a terminal, plain text everywhere else.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Style};

use crate::failure::Failure;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const WEAK: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Where long lines are broken on a terminal.
pub(crate) const COLUMNS: usize = 80;

/// Whether standard output is a terminal, and what may be done to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    is_terminal: bool,
    colours: bool,
}

impl Paint {
    /// That of standard output. No colours if `NO_COLOR` is set to anything (no-color.org), nor on
    /// a terminal that has none.
    pub(crate) fn of_stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { is_terminal, colours: is_terminal && !refused }
    }

    pub(crate) fn is_terminal(self) -> bool {
        self.is_terminal
    }

    pub(crate) fn paint(self, style: Style, text: impl Display) -> String {
        if self.colours { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

/// Writes `text` to standard output. `println!` would panic where the reader has gone.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(format_args!("cannot write to standard output: {error}")))
}

/// Breaks `line` at spaces, so that no part is longer than [`COLUMNS`] if it can be helped. Later
/// parts begin with `indent` spaces.
pub(crate) fn wrap(line: &str, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = line;
    let mut margin = 0;
    while rest.chars().count() + margin > COLUMNS {
        let Some(at) = last_break(rest, COLUMNS - margin) else { break };
        let (part, tail) = rest.split_at(at);
        lines.push(format!("{:margin$}{}", "", part.trim_end()));
        rest = tail.trim_start();
        margin = indent;
    }
    lines.push(format!("{:margin$}{rest}", ""));
    lines
}

/// The last space within `width` characters that has text in front of it.
fn last_break(text: &str, width: usize) -> Option<usize> {
    let begin = text.find(|c| c != ' ')?;
    text.char_indices()
        .take(width + 1)
        .filter(|&(at, c)| c == ' ' && at > begin)
        .map(|(at, _)| at)
        .last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_at_spaces_and_indented() {
        let line = format!("what to do      {}", "seven77 ".repeat(20).trim_end());
        let lines = wrap(&line, 16);
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|l| l.chars().count() <= COLUMNS));
        assert!(lines[1].starts_with("                seven77"));
        let words: Vec<_> = lines.iter().flat_map(|l| l.split_whitespace()).collect();
        assert_eq!(words, line.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be_broken_stays_whole() {
        let path = format!("/{}", "x".repeat(100));
        assert_eq!(wrap(&path, 16), std::slice::from_ref(&path));
        assert_eq!(wrap("short", 16), ["short"]);
        assert_eq!(wrap("", 16), [""]);
    }
}
