//! Colour, on a terminal only.

use std::io::{IsTerminal, stdout};

#[derive(Clone, Copy)]
pub(crate) enum Ink {
    Bold,
    Good,
    Bad,
    Warning,
    Faint,
}

/// The text in this ink, if standard output is a terminal that is not told otherwise.
pub(crate) fn paint(text: &str, ink: Ink) -> String {
    if !stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return text.to_owned();
    }
    let code = match ink {
        Ink::Bold => 1,
        Ink::Good => 32,
        Ink::Bad => 31,
        Ink::Warning => 33,
        Ink::Faint => 2,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
