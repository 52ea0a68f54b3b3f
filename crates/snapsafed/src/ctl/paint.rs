//! Text for people: colours on a terminal, plain text everywhere else.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Style};

use crate::failure::Failure;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const WEAK: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// No colours if `NO_COLOR` is set to anything (no-color.org), nor on a terminal that has none.
pub(crate) fn has_colours() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|value| value == "dumb");
    io::stdout().is_terminal() && !refused
}

pub(crate) fn paint(style: Style, text: impl Display) -> String {
    if has_colours() { format!("{style}{text}{style:#}") } else { text.to_string() }
}

/// Writes to standard output. `println!` would panic where the reader has gone.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(format_args!("cannot write to standard output: {error}")))
}

/// Others' words: nothing that a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Columns, each as wide as its widest entry.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_entry() {
        let rows =
            [vec!["NAME".to_owned(), "UID".to_owned()], vec!["a".to_owned(), "0".to_owned()]];
        assert_eq!(table(&rows), "NAME  UID\na     0\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn what_others_say_does_not_command_the_terminal() {
        assert_eq!(plain("a\u{1b}[31m\nb"), "a?[31m?b");
    }
}
