//! The methods of `io.snapsafe.Manager`: what they take and what they answer.
//!
//! The interface's description ([`DESCRIPTION`](super::DESCRIPTION)) says what they do. A parameter
//! that is not known is refused, so that a misspelt one is not ignored; answers may have more
//! fields than are known here.

use serde::{Deserialize, Serialize};

use super::envelope::Method;
use super::{Expectation, Mode, Outcome, Phase, State};

/// Parameters, and what is answered to them.
macro_rules! methods {
    ($($name:ident = $method:literal -> $reply:ty;)*) => { $(
        impl Method for $name {
            const NAME: &'static str = concat!("io.snapsafe.Manager.", $method);
            type Reply = $reply;
        }
    )* };
}

methods! {
    Quiesce = "Quiesce" -> Quiesced;
    Unquiesce = "Unquiesce" -> Unquiesced;
    Abort = "Abort" -> AbortReply;
    Register = "Register" -> Registered;
    Subscribe = "Subscribe" -> Event;
    Ack = "Ack" -> Nothing;
    Inhibit = "Inhibit" -> Inhibited;
    ListInhibitors = "ListInhibitors" -> Inhibitors;
    ListParticipants = "ListParticipants" -> Participants;
    Status = "Status" -> StatusReply;
}

/// Parameters: cut the network after all participants are ready.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quiesce {
    /// How long that may take.
    pub timeout_ms: Option<u64>,
    /// Whether to go on without those that do not answer.
    pub force: Option<bool>,
    /// A word of the host, to compare with that of `Unquiesce`.
    pub token: Option<String>,
}

/// A snapshot may be taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quiesced {
    /// Its number.
    pub transition: u64,
    /// The generation that it began in.
    pub generation: u64,
}

/// Parameters: let participants adapt, and open the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unquiesce {
    /// How long that may take.
    pub timeout_ms: Option<u64>,
    /// What the host says of this machine.
    pub expect: Option<Expectation>,
    /// Bytes for the kernel's generator, in base64.
    pub entropy: Option<String>,
    /// Another one than that of `Quiesce` says that this is a clone.
    pub token: Option<String>,
}

/// The machine runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unquiesced {
    /// Its number.
    pub transition: u64,
    /// The generation that begins.
    pub generation: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the kernel's generator was reseeded in fact.
    pub kernel_reseeded: bool,
}

/// Parameters: call the snapshot off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abort {}

/// The machine runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AbortReply {
    /// Its number.
    pub transition: u64,
    /// The generation that begins.
    pub generation: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Parameters: take part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// What to call it where it is waited for.
    pub name: String,
    /// `delay` if it is not given.
    pub mode: Option<Mode>,
    /// Which group it belongs to; 50 if it is not given.
    pub order: Option<i64>,
}

/// It takes part, until it closes the descriptor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registered {
    /// A secret of the service and the participant.
    pub id: String,
    /// Where the machine is.
    pub state: State,
    /// The transition in progress, or the last one.
    pub transition: u64,
    /// The present one.
    pub generation: u64,
    /// Which of the message's descriptors is the registration.
    pub fd: u64,
}

/// Parameters: be told what happens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// Be told, too, what this participant is asked to do.
    pub id: Option<String>,
}

/// Where the machine is, and what is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Where the machine is.
    pub state: State,
    /// The transition in progress, or the last one.
    pub transition: u64,
    /// The present one.
    pub generation: u64,
    /// How the transition ends, or the last one ended.
    pub outcome: Option<Outcome>,
    /// What this participant is asked to do, and to acknowledge.
    pub phase: Option<Phase>,
    /// For how long it is waited for, from now.
    pub deadline_ms: Option<u64>,
}

/// Parameters: the answer to what was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Who answers.
    pub id: String,
    /// As it was asked.
    pub transition: u64,
    /// As it was asked.
    pub generation: u64,
    /// As it was asked, if the service is to compare that, too.
    pub phase: Option<Phase>,
    /// Whether it is done; yes if it is not given.
    pub ok: Option<bool>,
    /// Why not.
    pub why: Option<String>,
}

/// An answer without content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nothing {}

/// Parameters: hold transitions up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inhibit {
    /// `quiesce`, `unquiesce`, or `quiesce:unquiesce`.
    pub what: String,
    /// Who does, for people.
    pub who: String,
    /// Why, for people.
    pub why: String,
    /// `delay` if it is not given; `block` is root's.
    pub mode: Option<Mode>,
}

/// They are held up, until the descriptor is closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inhibited {
    /// Which of the message's descriptors is the lock.
    pub fd: u64,
}

/// Parameters: who holds transitions up?
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListInhibitors {}

/// Who holds transitions up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inhibitors {
    /// All of them.
    pub inhibitors: Vec<InhibitorInfo>,
}

/// A lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InhibitorInfo {
    /// As it was taken.
    pub what: String,
    /// As it was taken.
    pub who: String,
    /// As it was taken.
    pub why: String,
    /// As it was taken.
    pub mode: Mode,
    /// Whose.
    pub uid: u32,
    /// Which process took it.
    pub pid: i32,
}

/// Parameters: who takes part?
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParticipants {}

/// Who takes part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Participants {
    /// All of them.
    pub participants: Vec<ParticipantInfo>,
}

/// A participant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParticipantInfo {
    /// What it calls itself.
    pub name: String,
    /// How much it counts.
    pub mode: Mode,
    /// Whether no transition succeeds without it.
    pub required: bool,
    /// Its group.
    pub order: i64,
    /// Whose.
    pub uid: u32,
    /// Which process registered it.
    pub pid: i32,
    /// What it was asked and has not answered.
    pub asked: Option<Phase>,
}

/// Parameters: how is the machine?
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {}

/// How the machine is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReply {
    /// Where it is.
    pub state: State,
    /// The transition in progress, or the last one.
    pub transition: u64,
    /// The present one.
    pub generation: u64,
    /// How the last one ended.
    pub last_outcome: Option<Outcome>,
    /// What went wrong, while it is wrong.
    pub degraded: Option<String>,
    /// What cuts the network.
    pub gate: GateInfo,
    /// Who is waited for.
    pub waiting_for: Vec<String>,
    /// What would tell of a clone.
    pub witnesses: Vec<WitnessInfo>,
    /// The service's.
    pub version: String,
}

/// What cuts the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateInfo {
    /// `nftables`, `link` or `none`.
    pub kind: String,
    /// Whether the network is cut.
    pub shut: bool,
    /// Whether only the service can remove the rules.
    pub owned: bool,
    /// What is known to get past.
    pub weaknesses: Vec<String>,
}

/// What would tell of a clone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WitnessInfo {
    /// `vmclock`, `kmsg`.
    pub name: String,
    /// Whether it is watched.
    pub active: bool,
    /// Whether an unchanged counter proves that this is the same machine.
    pub counter_must_change: bool,
    /// For people: a path, or why it is not watched.
    pub detail: String,
}
