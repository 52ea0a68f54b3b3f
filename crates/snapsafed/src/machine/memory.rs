//! What the machine knows, and all that survives a restart: everything but who waits for an answer.

use serde::{Deserialize, Serialize};
use snapsafe_client::wire::{Outcome, Phase};

use super::Millis;
use super::members::{Lock, Participant};

/// What survives a restart of the driver: everything but requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub(super) stage: Stage,
    pub(super) transition: u64,
    pub(super) generation: u64,
    /// The counter that must change, when it was looked at last.
    pub(super) seen: Option<u64>,
    pub(super) snapshot: Snapshot,
    /// In the order in which they registered.
    pub(super) participants: Vec<Participant>,
    pub(super) locks: Vec<Lock>,
    pub(super) last_outcome: Option<Outcome>,
    pub(super) degraded: Option<String>,
    /// The gate was to be shut, and could not be.
    pub(super) gate_leaks: bool,
}

/// What the present transition has learned about the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// The counter that must change, when the host asked to quiesce.
    pub(super) counter: Option<u64>,
    /// What the host gave with `Quiesce`.
    pub(super) token: Option<String>,
    /// Nobody is so required that quiescing does not go on without them.
    pub(super) force: bool,
    /// Required names that were not there when quiescing was forced: they need not be there for its end.
    pub(super) excused: Vec<String>,
    /// A witness has changed, or participants were told so: never `resumed` again.
    pub(super) changed: bool,
    /// That the generator and the agent page are new since then.
    pub(super) renewal: Option<Renewal>,
}

/// The effect `Renew` was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Renewal {
    /// The counter that must change, at that moment.
    pub(super) counter: Option<u64>,
    pub(super) kernel_reseeded: bool,
    /// The hooks have seen this generation, and were content.
    pub(super) hooks: bool,
}

/// Where the machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    #[default]
    Running,
    Quiesced {
        /// When the machine acts by itself.
        watchdog: Option<Millis>,
    },
    Moving(Course),
}

/// On the way from one of the two states that last to the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Course {
    pub(super) goal: Goal,
    /// The machine has not been quiesced since it ran: no snapshot was promised to anybody.
    pub(super) before_quiesced: bool,
    pub(super) deadline: Millis,
    /// Until when locks are waited for that are not required.
    pub(super) locks_until: Option<Millis>,
    pub(super) locks: Work,
    /// Until when participants are waited for that are not required: one time for all of them, or a
    /// crowd that comes one by one would hold the transition up.
    pub(super) optional_until: Option<Millis>,
    /// Shut the gate. Before everything else, if the world changed and nobody had shut it.
    pub(super) gate: Work,
    /// It was begun in this course, perhaps before a restart: something may be shut.
    pub(super) gate_touched: bool,
    pub(super) renew: Work,
    pub(super) hooks: Work,
    pub(super) open: Work,
}

/// Where a course leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Goal {
    Quiesced,
    Ended(Outcome),
}

impl Goal {
    pub(super) fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Quiesced => None,
            Self::Ended(outcome) => Some(outcome),
        }
    }

    /// What participants and hooks are asked.
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Quiesced => Phase::Quiesce,
            Self::Ended(Outcome::Resumed) => Phase::Resumed,
            Self::Ended(Outcome::Restored) => Phase::Restored,
            Self::Ended(Outcome::Aborted) => Phase::Aborted,
        }
    }
}

/// Something that takes time, and is done once in a course.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Work {
    Due,
    Begun,
    Done,
}

impl Course {
    /// Everything is still to be done.
    pub(super) fn new(goal: Goal, before_quiesced: bool, deadline: Millis) -> Self {
        Self {
            goal,
            before_quiesced,
            deadline,
            locks_until: None,
            locks: Work::Due,
            optional_until: None,
            gate: Work::Due,
            gate_touched: false,
            renew: Work::Due,
            hooks: Work::Due,
            open: Work::Due,
        }
    }

    /// What was begun is begun again: nobody can tell how far it came.
    pub(super) fn begin_again(&mut self, deadline: Millis) {
        self.deadline = deadline;
        self.locks_until = None;
        self.optional_until = None;
        if self.open == Work::Begun {
            // Open or not, nobody knows; and somebody may have come who is to be asked first.
            self.gate = Work::Due;
        }
        for work in
            [&mut self.locks, &mut self.gate, &mut self.renew, &mut self.hooks, &mut self.open]
        {
            if *work == Work::Begun {
                *work = Work::Due;
            }
        }
    }
}
