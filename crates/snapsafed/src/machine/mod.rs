//! The state machine of a snapshot: events in, effects out.
//!
//! Pure: no clock, no socket, no file. Whoever drives it does what the effects say, in their
//! order, and reports what came of it as events. All rules are here: who is waited for, what
//! an expiry means, when the gate may open.

mod aborting;
mod members;
mod memory;
mod quiescing;
mod step;
#[cfg(test)]
mod tests;
mod unquiescing;

use serde::{Deserialize, Serialize};
use snapsafe_client::wire::{Expectation, Mode, Outcome, Phase, State};

pub use members::Asked;
pub use memory::Memory;
use memory::{Course, Stage, Work};

/// A request that waits for its answer; the driver's own number.
pub type Request = u64;

/// A participant or inhibitor; the driver's own number, never used again.
pub type Member = u64;

/// Milliseconds on a clock that never goes back (`CLOCK_BOOTTIME`), given with every event.
pub type Millis = u64;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody who may (the driver has checked) asks for a snapshot.
    Quiesce {
        request: Request,
        timeout: Option<Millis>,
        force: bool,
        token: Option<String>,
    },
    /// Somebody who may says that the snapshot is over.
    Unquiesce {
        request: Request,
        timeout: Option<Millis>,
        expect: Expectation,
        token: Option<String>,
        /// Whether the host gave bytes, which the driver keeps.
        has_entropy: bool,
    },
    /// Somebody who may calls the snapshot off.
    Abort {
        request: Request,
    },
    /// Whoever waits for this request's answer is gone. The transition goes on.
    Forgotten {
        request: Request,
    },

    /// A new participant. `required`: root's, not `notify`; or named in the configuration.
    Joined {
        member: Member,
        name: String,
        mode: Mode,
        required: bool,
        order: i32,
    },
    /// Its registration ended: closed, or its process died.
    Left {
        member: Member,
    },
    /// A participant answered. `Err` is a veto with its reason.
    Acked {
        request: Request,
        member: Member,
        transition: u64,
        generation: u64,
        /// What it answers, if it says so: a late answer to `quiesce` is none to `resumed`.
        phase: Option<Phase>,
        answer: Result<(), String>,
    },

    /// A lock was taken, and released. `required`: root's. Others are waited for no longer than
    /// [`Rules::optional_delay`], and passed over.
    Inhibited {
        member: Member,
        what: What,
        who: String,
        mode: Mode,
        required: bool,
    },
    Released {
        member: Member,
    },

    /// The effect `RunHooks` came to its end.
    HooksDone {
        phase: Phase,
        result: Result<(), String>,
    },
    /// `ShutGate`: the rule is in force, and queued packets have left.
    GateShut(Result<(), String>),
    /// `OpenGate`: the network is open.
    GateOpen(Result<(), String>),
    /// Somebody opened or changed the gate while it was to be shut, and the driver shut it again.
    GateTampered(Result<(), String>),
    /// `Renew`: the kernel's generator was reseeded (truthfully), and the agent page moved.
    Renewed {
        kernel_reseeded: bool,
        generation: u64,
    },

    /// A witness changed: vmclock's counter, or the kernel's line about a fork.
    WorldChanged {
        witness: String,
    },
    /// Time went by: the deadline of the last `WakeAt`, or any other moment.
    Tick,
}

/// Which transitions a lock holds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct What {
    /// `quiesce`
    pub quiesce: bool,
    /// `unquiesce`
    pub unquiesce: bool,
}

/// What the driver has to do, in the order given.
///
/// `RunHooks` ends hooks that still run, and `ShutGate` or `OpenGate` ends what is unfinished of
/// either: what was replaced reports nothing. Work with a deadline reports a failure at the deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write the state down (see [`Machine::remember`]) before anything that follows.
    Persist,
    /// Tell this participant. `deadline`: until when it is waited for, if it is.
    Ask { member: Member, phase: Phase, transition: u64, generation: u64, deadline: Option<Millis> },
    /// Tell every subscriber: state, transition, generation and outcome are those of now.
    Announce,
    /// Run the hooks of the configuration and report `HooksDone`.
    RunHooks { phase: Phase, deadline: Millis },
    /// Install the drop rules, wait until queued packets have left, and report `GateShut`.
    ShutGate { deadline: Millis },
    /// Remove them and report `GateOpen`.
    OpenGate,
    /// Give the host's bytes to the kernel, make it reseed, read vmclock's counter anew, and advance
    /// the agent page; report `Renewed`. Only where the outcome is `restored`.
    Renew,
    /// Answer a request.
    Reply { request: Request, answer: Answer },
    /// Send `Tick` at this moment. Replaces the one before; `None`: not at all.
    WakeAt(Option<Millis>),
    /// For the log, without anything secret.
    Log(Severity, String),
}

/// How loud a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something ended badly, or the gate does not hold.
    Error,
    /// Somebody was not waited for.
    Warning,
    /// A state was reached.
    Notice,
}

/// Answers to requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To `Quiesce`.
    Quiesced { transition: u64, generation: u64 },
    /// To `Unquiesce` and `Abort`.
    Running { transition: u64, generation: u64, outcome: Outcome, kernel_reseeded: bool },
    /// To `Acked`.
    Accepted,
    /// The errors of `io.snapsafe.Manager`.
    Busy { state: State, transition: u64 },
    /// Time ran out.
    Expired { state: State, holders: Vec<String> },
    /// A participant, hook or lock said no.
    Vetoed { by: String, why: String },
    /// It was called off.
    Aborted { why: String },
    /// Not the present transition and generation.
    Stale { transition: u64, generation: u64 },
    /// Nobody of that number takes part, or it was not asked.
    UnknownParticipant,
    /// The gate could not be shut, or opened.
    GateFailed { why: String },
}

/// What the configuration decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long quiescing may take, unless the request says otherwise.
    pub quiesce: Millis,
    /// The same of unquiescing.
    pub unquiesce: Millis,
    /// The longest that a request may ask for.
    pub longest: Millis,
    /// How long whoever is not required is waited for, at most.
    pub optional_delay: Millis,
    /// How long the machine stays quiesced before it acts by itself; `None`: for ever.
    pub quiesced_max: Option<Millis>,
    /// Whether a changed witness starts unquiescing without the host.
    pub auto_unquiesce: bool,
    /// Names without which no snapshot is taken and no gate opens.
    pub required: Vec<String>,
}

/// What the driver reads off the world with every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The moment.
    pub now: Millis,
    /// The generation: the agent page's number.
    pub generation: u64,
    /// vmclock's counter, if there is one *that must change* with every clone (flag bit 8).
    pub counter: Option<u64>,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Machine {
    rules: Rules,
    memory: Memory,
    /// Who waits for an answer, and the answer, where the transition's end will not change it.
    waiting: Vec<(Request, Option<Answer>)>,
    /// The last `WakeAt`.
    wake: Option<Millis>,
    /// What the step under way has to say.
    effects: Vec<Effect>,
}

impl Machine {
    /// A machine that runs, and has nobody to wait for.
    pub fn new(rules: Rules) -> Self {
        Self::with(rules, Memory::default())
    }

    fn with(rules: Rules, memory: Memory) -> Self {
        Self { rules, memory, waiting: Vec::new(), wake: None, effects: Vec::new() }
    }

    /// What is to be written down.
    pub fn remember(&self) -> Memory {
        self.memory.clone()
    }

    /// Where the machine is.
    pub fn state(&self) -> State {
        match &self.memory.stage {
            Stage::Running => State::Running,
            Stage::Quiesced { .. } => State::Quiesced,
            Stage::Moving(course) if course.before_quiesced => State::Quiescing,
            Stage::Moving(_) => State::Unquiescing,
        }
    }

    /// The present transition's number, or the last one's.
    pub fn transition(&self) -> u64 {
        self.memory.transition
    }

    /// The generation that participants are told.
    pub fn generation(&self) -> u64 {
        self.memory.generation
    }

    /// Which outcome is being worked on.
    pub fn outcome(&self) -> Option<Outcome> {
        self.course().and_then(|course| course.goal.outcome())
    }

    /// How the last transition ended.
    pub fn last_outcome(&self) -> Option<Outcome> {
        self.memory.last_outcome
    }

    /// Why the machine is still quiesced, or what does not hold.
    pub fn degraded(&self) -> Option<&str> {
        self.memory.degraded.as_deref()
    }

    /// Whether nothing may get out at this moment.
    pub fn wants_gate_shut(&self) -> bool {
        match &self.memory.stage {
            Stage::Running => false,
            Stage::Quiesced { .. } => true,
            Stage::Moving(course) if course.before_quiesced => course.gate == Work::Done,
            Stage::Moving(course) => course.open == Work::Due,
        }
    }

    fn course(&self) -> Option<&Course> {
        match &self.memory.stage {
            Stage::Moving(course) => Some(course),
            _ => None,
        }
    }

    fn log(&mut self, severity: Severity, line: impl Into<String>) {
        self.effects.push(Effect::Log(severity, line.into()));
    }
}
