//! The host's language: one line asks, one line answers.
//!
//! ```text
//! QUIESCE [MILLISECONDS] [force] [token=WORD]
//! UNQUIESCE [MILLISECONDS] [any|resumed|restored] [entropy=HEX] [token=WORD]
//! ABORT
//! STATUS
//! ```
//! The answer begins with `OK STATE gen=N transition=N` or with `ERR WORD`. What is already so is
//! `OK … already`: a host whose connection was cut asks again.

use snapsafe_client::wire::{Expectation, Outcome, State};
use zeroize::Zeroizing;

use crate::machine::{Answer, Millis};

/// The longest line, with its end.
pub const MOST_LINE_BYTES: usize = 4096;

/// What the host asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Quiesce {
        timeout: Option<Millis>,
        force: bool,
        token: Option<String>,
    },
    Unquiesce {
        timeout: Option<Millis>,
        expect: Expectation,
        token: Option<String>,
        entropy: Option<Zeroizing<Vec<u8>>>,
    },
    Abort,
    Status,
}

/// What was asked, for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Quiesce,
    Unquiesce,
    Abort,
}

impl Line {
    /// Reads a line, without its end. The error is for the host.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let verb = words.next().ok_or("an empty line")?;
        match verb {
            "QUIESCE" => Self::quiesce(words),
            "UNQUIESCE" => Self::unquiesce(words),
            "ABORT" | "STATUS" => match words.next() {
                Some(word) => Err(not_understood(word)),
                None if verb == "ABORT" => Ok(Self::Abort),
                None => Ok(Self::Status),
            },
            _ => Err(format!("no such request: {}", shown(verb))),
        }
    }

    fn quiesce<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let (mut timeout, mut force, mut token) = (None, false, None);
        for word in words {
            match word.split_once('=') {
                None if word == "force" => force = true,
                None => timeout = Some(milliseconds(word)?),
                Some(("token", value)) => token = Some(value.to_owned()),
                Some(_) => return Err(not_understood(word)),
            }
        }
        Ok(Self::Quiesce { timeout, force, token })
    }

    fn unquiesce<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let (mut timeout, mut expect) = (None, Expectation::Any);
        let (mut token, mut entropy) = (None, None);
        for word in words {
            match (word, word.split_once('=')) {
                ("any", _) => expect = Expectation::Any,
                ("resumed", _) => expect = Expectation::Resumed,
                ("restored", _) => expect = Expectation::Restored,
                (_, Some(("token", value))) => token = Some(value.to_owned()),
                (_, Some(("entropy", value))) => entropy = Some(from_hex(value)?),
                (_, Some((key, _))) => return Err(not_understood(key)),
                (_, None) => timeout = Some(milliseconds(word)?),
            }
        }
        Ok(Self::Unquiesce { timeout, expect, token, entropy })
    }
}

fn milliseconds(word: &str) -> Result<Millis, String> {
    word.parse().map_err(|_| not_understood(word))
}

fn not_understood(word: &str) -> String {
    format!("not understood: {}", shown(word))
}

/// A part of what came, that can be sent back.
fn shown(word: &str) -> String {
    word.chars().filter(|c| c.is_ascii_graphic()).take(32).collect()
}

fn from_hex(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| match pair {
            &[high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect();
    match bytes {
        Some(bytes) if !bytes.is_empty() => Ok(Zeroizing::new(bytes)),
        _ => Err("entropy is not hexadecimal".to_owned()),
    }
}

/// Where the machine is, for answers.
#[derive(Clone, Debug)]
pub struct Position {
    pub state: State,
    pub transition: u64,
    pub generation: u64,
    pub last_outcome: Option<Outcome>,
    pub waiting_for: Vec<String>,
    pub degraded: Option<String>,
}

impl Position {
    /// The answer to `STATUS`.
    pub fn line(&self) -> String {
        let Self { state, transition, generation, .. } = self;
        let mut line = format!("OK {state} gen={generation} transition={transition}");
        if let Some(outcome) = self.last_outcome {
            line += &format!(" outcome={outcome}");
        }
        if !self.waiting_for.is_empty() {
            line += &format!(" waiting={}", self.waiting_for.join(","));
        }
        if let Some(why) = &self.degraded {
            line += &format!(" degraded: {why}");
        }
        line
    }
}

/// The line that answers `verb`.
pub fn answer(verb: Verb, answer: &Answer, position: &Position) -> String {
    match answer {
        Answer::Quiesced { transition, generation } => {
            format!("OK quiesced gen={generation} transition={transition}")
        }
        Answer::Running { transition, generation, outcome, kernel_reseeded } => {
            let reseeded = if *kernel_reseeded { "yes" } else { "no" };
            format!(
                "OK running gen={generation} transition={transition} outcome={outcome} \
                 reseeded={reseeded}"
            )
        }
        Answer::Busy { state, transition } => match (verb, state) {
            (Verb::Quiesce, State::Quiesced) | (Verb::Unquiesce | Verb::Abort, State::Running) => {
                format!("{} already", Position { degraded: None, ..position.clone() }.line())
            }
            _ => format!("ERR busy state={state} transition={transition}"),
        },
        Answer::Expired { state, holders } => {
            format!("ERR expired state={state} waiting={}", holders.join(","))
        }
        Answer::Vetoed { by, why } => format!("ERR vetoed by {by}: {why}"),
        Answer::Aborted { why } => format!("ERR aborted: {why}"),
        Answer::GateFailed { why } => format!("ERR gate: {why}"),
        Answer::Accepted | Answer::Stale { .. } | Answer::UnknownParticipant => {
            "ERR internal".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_the_host_wants() {
        let quiesce = |timeout, force, token: Option<&str>| {
            Ok(Line::Quiesce { timeout, force, token: token.map(str::to_owned) })
        };
        assert_eq!(Line::parse("QUIESCE"), quiesce(None, false, None));
        assert_eq!(Line::parse("QUIESCE 5000\r"), quiesce(Some(5000), false, None));
        assert_eq!(Line::parse("QUIESCE force token=x 1"), quiesce(Some(1), true, Some("x")));
        assert_eq!(
            Line::parse("UNQUIESCE restored entropy=00fF token=b 9"),
            Ok(Line::Unquiesce {
                timeout: Some(9),
                expect: Expectation::Restored,
                token: Some("b".to_owned()),
                entropy: Some(Zeroizing::new(vec![0, 255])),
            })
        );
        assert_eq!(Line::parse("ABORT"), Ok(Line::Abort));
        assert_eq!(Line::parse("STATUS"), Ok(Line::Status));
    }

    #[test]
    fn lines_that_say_something_else_are_refused_in_one_line() {
        for line in [
            "",
            " ",
            "quiesce",
            "QUIESCE -1",
            "QUIESCE 1s",
            "QUIESCE entropy=00",
            "ABORT now",
            "STATUS 1",
            "UNQUIESCE entropy=0",
            "UNQUIESCE entropy=",
            "UNQUIESCE entropy=zz",
            "UNQUIESCE forever",
            "UNQUIESCE a=b",
            "\u{1b}[31mQUIESCE",
            "QUIESCE 99999999999999999999",
        ] {
            let error = Line::parse(line).unwrap_err();
            assert!(error.len() < 80 && !error.contains(char::is_control), "{line:?}: {error:?}");
        }
    }

    #[test]
    fn what_is_already_so_is_no_failure() {
        let position = Position {
            state: State::Quiesced,
            transition: 3,
            generation: 7,
            last_outcome: None,
            waiting_for: Vec::new(),
            degraded: None,
        };
        let busy = Answer::Busy { state: State::Quiesced, transition: 3 };
        let line = answer(Verb::Quiesce, &busy, &position);
        assert_eq!(line, "OK quiesced gen=7 transition=3 already");
        assert_eq!(
            answer(
                Verb::Quiesce,
                &Answer::Busy { state: State::Quiescing, transition: 3 },
                &position
            ),
            "ERR busy state=quiescing transition=3"
        );
    }
}
