//! `snapsafectl monitor`: what happens, one line each.

use std::path::Path;
use std::process::ExitCode;

use snapsafe_client::Client;
use snapsafe_client::wire::State;
use snapsafe_client::wire::manager::{Event, Subscribe};

use crate::failure::Failure;
use crate::paint::print;
use crate::show::{View, json, state};

pub(crate) fn run(socket: &Path, view: View) -> Result<ExitCode, Failure> {
    let mut events = Client::connect_to(socket)?.subscribe(&Subscribe { id: None })?;
    while let Some(event) = events.next(None)? {
        let line = if view.json { json(&event)? } else { describe(&event) };
        print(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(event: &Event) -> String {
    let outcome = match (event.state, event.outcome) {
        (State::Running | State::Unquiescing, Some(outcome)) => format!(" {outcome}"),
        _ => String::new(),
    };
    format!(
        "{}{outcome} (transition {}, generation {})\n",
        state(event.state),
        event.transition,
        event.generation
    )
}
