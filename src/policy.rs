//! Which protection level the facts give, and whether the policy lets it pass.
//!
//! Pure: it turns what the world found out ([`Facts`]) and what the embedder chose ([`Terms`])
//! into a [`Level`]. It must never guess: what is not positively known counts as missing.

use core::fmt;

use crate::cipher::Rounds;
use crate::error::Error;
use crate::level::Level;

/// What a generator does when the machine offers less than a synchronous witness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Policy {
    /// Take the best level that can be had, and report it. Without a synchronous witness every
    /// request draws fresh entropy. This is the default.
    #[default]
    Prefer = 0,
    /// Refuse to work below [`Level::Synchronous`], except on positively identified bare metal,
    /// and refuse while nothing tells this clone from its siblings.
    Require = 1,
    /// The embedder states that no virtual machine under this process is ever cloned or restored.
    /// Forks and process restores are still watched for.
    AssumeNeverCloned = 2,
}

impl Policy {
    /// The policy that results when the environment asks for `require`.
    pub(crate) fn strengthened(self, require: bool) -> Self {
        if require { Self::Require } else { self }
    }

    /// The policy stored as `code`; anything unknown is the strictest one.
    pub(crate) fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Prefer,
            2 => Self::AssumeNeverCloned,
            _ => Self::Require,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::AssumeNeverCloned => "assume-never-cloned",
        })
    }
}

/// What the world positively knows about its witnesses, read anew at every rekey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// A vmclock page is mapped and its header is valid.
    pub(crate) vmclock: bool,
    /// Its VM generation counter is declared present (flag bit 8, size of at least 0x70).
    pub(crate) counter: bool,
    /// `sysgenid` or the agent page is mapped.
    pub(crate) late: bool,
    /// Positively identified: no hypervisor under this kernel.
    pub(crate) bare_metal: bool,
    /// Neither kind of process page works: only asking for the process id tells a fork.
    pub(crate) pid_only: bool,
}

/// What the embedder of one generator chose.
#[derive(Clone, Copy, Default)]
pub(crate) struct Terms {
    pub(crate) policy: Policy,
    pub(crate) accept_marker: bool,
    pub(crate) accept_late: bool,
    pub(crate) rounds: Rounds,
    /// A hash of the personalization bytes; zero where there are none.
    pub(crate) personalization: [u8; 32],
}

/// The outcome of weighing facts against terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) level: Level,
    /// Whether the three words at fixed addresses are all that has to be compared around an
    /// output; otherwise late words or the process id must be looked at too.
    pub(crate) three_words: bool,
}

impl Terms {
    /// The level that these terms get from these facts.
    pub(crate) fn standing(&self, facts: &Facts) -> Standing {
        let level = self.level(facts);
        let late_counts = level == Level::PerCall || (level == Level::Accepted && self.accept_late);
        Standing { level, three_words: !late_counts && !facts.pid_only }
    }

    fn level(&self, facts: &Facts) -> Level {
        if facts.vmclock && facts.counter {
            Level::Synchronous
        } else if self.policy == Policy::AssumeNeverCloned || facts.bare_metal {
            Level::ProcessOnly
        } else if (self.accept_marker && facts.vmclock) || (self.accept_late && facts.late) {
            Level::Accepted
        } else {
            Level::PerCall
        }
    }

    /// Refuses a level that the policy does not let pass.
    pub(crate) fn admit(&self, level: Level) -> Result<(), Error> {
        match (self.policy, level) {
            (Policy::Require, Level::PerCall | Level::Accepted) => Err(Error::NotProtected(level)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(vmclock: bool, counter: bool, late: bool, bare_metal: bool) -> Facts {
        Facts { vmclock, counter, late, bare_metal, pid_only: false }
    }

    #[test]
    fn only_the_counter_gives_synchronous() {
        let terms = Terms::default();
        assert_eq!(terms.level(&facts(true, true, false, false)), Level::Synchronous);
        assert_eq!(terms.level(&facts(true, false, true, false)), Level::PerCall);
        assert_eq!(terms.level(&facts(false, true, true, false)), Level::PerCall);
    }

    #[test]
    fn weaker_witnesses_count_only_when_accepted_by_name() {
        let marker = Terms { accept_marker: true, ..Terms::default() };
        let late = Terms { accept_late: true, ..Terms::default() };
        assert_eq!(marker.level(&facts(true, false, true, false)), Level::Accepted);
        assert_eq!(marker.level(&facts(false, false, true, false)), Level::PerCall);
        assert_eq!(late.level(&facts(true, false, false, false)), Level::PerCall);
        assert_eq!(late.level(&facts(false, false, true, false)), Level::Accepted);
    }

    #[test]
    fn an_accepted_late_witness_is_looked_at_around_every_output() {
        let late = Terms { accept_late: true, ..Terms::default() };
        assert!(!late.standing(&facts(false, false, true, false)).three_words);
        let marker = Terms { accept_marker: true, ..Terms::default() };
        assert!(marker.standing(&facts(true, false, true, false)).three_words);
    }

    #[test]
    fn require_admits_a_synchronous_witness_and_bare_metal_only() {
        let terms = Terms { policy: Policy::Require, ..Terms::default() };
        assert_eq!(terms.admit(Level::Synchronous), Ok(()));
        assert_eq!(terms.admit(Level::ProcessOnly), Ok(()));
        for level in [Level::PerCall, Level::Accepted] {
            assert_eq!(terms.admit(level), Err(Error::NotProtected(level)));
        }
    }

    #[test]
    fn the_environment_only_strengthens() {
        assert_eq!(Policy::AssumeNeverCloned.strengthened(true), Policy::Require);
        assert_eq!(Policy::Require.strengthened(false), Policy::Require);
        assert_eq!(Policy::from_code(77), Policy::Require);
    }
}
