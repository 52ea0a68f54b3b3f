//! `snapsafe-quiesced.target`: active while the machine is quiesced, for units that want to follow.
//!
//! systemd is asked by `systemctl --no-block`, a child that nobody waits for: the other ways are
//! D-Bus, of which this daemon speaks nothing, and a Varlink interface that most systems do not
//! have yet. What matters must not hang on it: that is what participants and hooks are for.

use std::path::Path;
use std::process::Command;

use rustix::event::PollFd;

use crate::child::Running;
use crate::log;
use crate::machine::Millis;

const NAME: &str = "snapsafe-quiesced.target";
const PATIENCE: Millis = 10_000;

/// The target, as it is and as it is wanted.
#[derive(Debug, Default)]
pub struct Target {
    is_used: bool,
    wanted: bool,
    /// What systemd was told last; `None` after a restart of ours.
    asked: Option<bool>,
    running: Option<Running>,
}

impl Target {
    /// Used if `wanted_at_all`, and the system runs systemd. `again`: another daemon was before us.
    pub fn new(wanted_at_all: bool, again: bool) -> Self {
        let is_used = wanted_at_all && Path::new("/run/systemd/system").is_dir();
        Self { is_used, asked: (!again).then_some(false), ..Self::default() }
    }

    /// Whether the machine is quiesced.
    pub fn set(&mut self, quiesced: bool, now: Millis) {
        self.wanted = quiesced;
        self.step(now);
    }

    /// For the daemon's wait.
    pub fn to_poll(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.running.iter().flat_map(Running::to_poll)
    }

    pub fn deadline(&self) -> Option<Millis> {
        self.running.as_ref().map(|running| running.deadline)
    }

    /// Goes on: one child after another, until systemd knows what is wanted.
    pub fn step(&mut self, now: Millis) {
        if let Some(running) = &mut self.running {
            let Some(ended) = running.step(now) else { return };
            self.running = None;
            if let Err(why) = ended.result {
                let said = ended.lines.join("; ");
                log::warning(format!("systemctl, for {NAME}, {why}: {said}"));
            }
        }
        if self.is_used && self.asked != Some(self.wanted) {
            self.asked = Some(self.wanted);
            let verb = if self.wanted { "start" } else { "stop" };
            let mut command = Command::new("systemctl");
            command.args(["--no-block", "--no-ask-password", verb, NAME]).env_clear();
            match Running::start(command, now.saturating_add(PATIENCE)) {
                Ok(running) => self.running = Some(running),
                Err(error) => log::warning(format!("systemctl cannot be started: {error}")),
            }
        }
    }
}
