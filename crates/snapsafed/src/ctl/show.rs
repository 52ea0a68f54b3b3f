//! What there is, for people and for programs.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use snapsafe_client::Client;
use snapsafe_client::wire::manager::{
    ListInhibitors, ListParticipants, Status, StatusReply, WitnessInfo,
};
use snapsafe_client::wire::{Method, State};

use crate::failure::Failure;
use crate::paint::{BAD, BOLD, GOOD, WEAK, paint, plain, print, table};

/// How answers are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) json: bool,
}

impl View {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Shows an answer: as it is, or as `text` puts it.
    pub(crate) fn show<T: Serialize>(
        self,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<ExitCode, Failure> {
        let text = if self.json { json(answer)? } else { text(answer) };
        print(&text).map(|()| ExitCode::SUCCESS)
    }
}

/// One line.
pub(crate) fn json(answer: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_string(answer).map_err(Failure::failed)?;
    Ok(format!("{json}\n"))
}

/// What needs no waiting.
const ANSWER: Duration = Duration::from_secs(10);

fn ask<M: Method>(socket: &Path, parameters: &M) -> Result<M::Reply, Failure> {
    let mut client = Client::connect_to(socket)?;
    client.set_timeout(Some(ANSWER));
    Ok(client.call(parameters)?)
}

pub(crate) fn status(socket: &Path, view: View) -> Result<ExitCode, Failure> {
    view.show(&ask(socket, &Status {})?, describe)
}

pub(crate) fn state(state: State) -> String {
    let style = match state {
        State::Running => GOOD,
        State::Quiesced => BOLD,
        State::Quiescing | State::Unquiescing => WEAK,
    };
    paint(style, state)
}

fn describe(status: &StatusReply) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| text += &format!("{name:>12}  {value}\n");
    line("state", state(status.state));
    if let Some(why) = &status.degraded {
        line("degraded", paint(BAD, plain(why)));
    }
    line("generation", status.generation.to_string());
    let ended = status.last_outcome.map(|outcome| format!(", the last one ended {outcome}"));
    line("transition", format!("{}{}", status.transition, ended.unwrap_or_default()));
    if !status.waiting_for.is_empty() {
        line("waits for", plain(&status.waiting_for.join(", ")));
    }
    let gate = &status.gate;
    let shut = if gate.shut { "shut" } else { "open" };
    let owned = match (gate.shut, gate.owned) {
        (true, false) => ", watched and restored, but root can remove its rules",
        _ => "",
    };
    line("gate", format!("{shut} ({}{owned})", plain(&gate.kind)));
    for weakness in &gate.weaknesses {
        line("", format!("gets past: {}", plain(weakness)));
    }
    for (index, witness) in status.witnesses.iter().enumerate() {
        line(if index == 0 { "witnesses" } else { "" }, describe_witness(witness));
    }
    line("version", plain(&status.version));
    text
}

fn describe_witness(witness: &WitnessInfo) -> String {
    let WitnessInfo { name, active, counter_must_change, detail } = witness;
    let (name, detail) = (plain(name), plain(detail));
    if !active {
        return format!("{name}: {} ({detail})", paint(WEAK, "not watched"));
    }
    let proof =
        if *counter_must_change { "proves that nothing changed" } else { "tells of changes" };
    format!("{name}: {}, {proof} ({detail})", paint(GOOD, "watched"))
}

pub(crate) fn participants(socket: &Path, view: View) -> Result<ExitCode, Failure> {
    view.show(&ask(socket, &ListParticipants {})?, |list| {
        if list.participants.is_empty() {
            return "nobody takes part\n".to_owned();
        }
        let header = ["NAME", "MODE", "REQUIRED", "ORDER", "UID", "PID", "ASKED"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for one in &list.participants {
            rows.push(vec![
                plain(&one.name),
                one.mode.to_string(),
                if one.required { "yes" } else { "no" }.to_owned(),
                one.order.to_string(),
                one.uid.to_string(),
                one.pid.to_string(),
                one.asked.map_or("-".to_owned(), |phase| phase.to_string()),
            ]);
        }
        table(&rows)
    })
}

pub(crate) fn inhibitors(socket: &Path, view: View) -> Result<ExitCode, Failure> {
    view.show(&ask(socket, &ListInhibitors {})?, |list| {
        if list.inhibitors.is_empty() {
            return "nobody holds snapshots up\n".to_owned();
        }
        let header = ["WHO", "WHAT", "MODE", "UID", "PID", "WHY"];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for one in &list.inhibitors {
            rows.push(vec![
                plain(&one.who),
                plain(&one.what),
                one.mode.to_string(),
                one.uid.to_string(),
                one.pid.to_string(),
                plain(&one.why),
            ]);
        }
        table(&rows)
    })
}
