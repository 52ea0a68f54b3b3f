//! Hooks: `/etc/snapsafe/hooks.d/NN-name {quiesce|resumed|restored|aborted}`, for what will never
//! speak to the daemon itself.
//!
//! They run one after another, `quiesce` from the highest number down and the others from the
//! lowest up. They may run again after a failure or a restart of the daemon, so they must be
//! harmless twice. The first that fails ends `quiesce`, which is then called off; of the others all
//! run, and any failure is the result: the gate stays shut. Whoever can change a hook is root here,
//! so a file that others could have changed is not run, and counts as failed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::event::PollFd;
use snapsafe_client::wire::Phase;

use crate::child::Running;
use crate::config::{HooksConfig, millis};
use crate::log;
use crate::machine::Millis;

/// The hooks of one phase, on their way.
#[derive(Debug)]
pub struct Hooks {
    phase: Phase,
    transition: u64,
    generation: u64,
    deadline: Millis,
    timeout: Duration,
    /// Still to come, the last one next.
    waiting: Vec<PathBuf>,
    running: Option<(String, Running)>,
    result: Result<(), String>,
}

impl Hooks {
    /// Prepares the hooks for `phase`; [`Hooks::step`] starts them.
    pub fn new(
        config: &HooksConfig,
        phase: Phase,
        transition: u64,
        generation: u64,
        deadline: Millis,
    ) -> Self {
        let (mut waiting, result) = match find(&config.directory) {
            Ok(found) => (found, Ok(())),
            Err(why) => {
                log::error(format!("hooks: {why}"));
                (Vec::new(), Err(why))
            }
        };
        // The last one is taken first.
        if phase != Phase::Quiesce {
            waiting.reverse();
        }
        let timeout = config.timeout;
        Self { phase, transition, generation, deadline, timeout, waiting, running: None, result }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// For the daemon's wait.
    pub fn to_poll(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.running.iter().flat_map(|(_, running)| running.to_poll())
    }

    /// When to step again at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        self.running.as_ref().map(|(_, running)| running.deadline)
    }

    /// Goes on. What came of all of them, when they are through.
    pub fn step(&mut self, now: Millis) -> Option<Result<(), String>> {
        loop {
            if let Some((name, running)) = &mut self.running {
                let ended = running.step(now)?;
                for line in ended.lines {
                    log::notice(format!("hook {name} {}: {line}", self.phase));
                }
                let outcome = ended.result.map_err(|why| format!("{name} {why}"));
                self.running = None;
                self.note(outcome);
            }
            let called_off = self.phase == Phase::Quiesce && self.result.is_err();
            match self.waiting.pop() {
                Some(path) if !called_off => {
                    let started = self.start(&path, now);
                    self.note(started);
                }
                _ => return Some(self.result.clone()),
            }
        }
    }

    fn note(&mut self, outcome: Result<(), String>) {
        if let Err(why) = outcome {
            log::error(format!("hook {why} ({})", self.phase));
            if self.result.is_ok() {
                self.result = Err(why);
            }
        }
    }

    fn start(&mut self, path: &Path, now: Millis) -> Result<(), String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        check(path).map_err(|why| format!("{name} is refused: it {why}"))?;
        let deadline = self.deadline.min(now.saturating_add(millis(self.timeout)));
        let mut command = Command::new(path);
        command
            .arg(self.phase.as_str())
            .env_clear()
            .env("SNAPSAFE_TRANSITION", self.transition.to_string())
            .env("SNAPSAFE_GENERATION", self.generation.to_string());
        let running = Running::start(command, deadline)
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        self.running = Some((name, running));
        Ok(())
    }
}

/// The hooks, in the order of their names. No directory, no hooks.
fn find(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let complain = |why: &dyn std::fmt::Display| format!("{}: {why}", directory.display());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(complain(&error)),
    };
    check_owner(&fs::metadata(directory).map_err(|error| complain(&error))?)
        .map_err(|why| complain(&format_args!("is refused: it {why}")))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| complain(&error))?;
        if !is_hook(&entry.file_name().to_string_lossy()) {
            continue;
        }
        // One that cannot be executed was switched off.
        let is_off = entry.metadata().is_ok_and(|m| m.is_file() && m.mode() & 0o111 == 0);
        if !is_off {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Two digits, a dash, a name without dots: backups and leftovers of packages are not run.
fn is_hook(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() > 3
        && bytes[..2].iter().all(u8::is_ascii_digit)
        && bytes[2] == b'-'
        && bytes[3..].iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
}

fn check(path: &Path) -> Result<(), String> {
    let metadata = fs::symlink_metadata(path).map_err(|error| format!("is lost: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    check_owner(&metadata)
}

fn check_owner(metadata: &fs::Metadata) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != own {
        return Err(format!("belongs to user {}, and not to root", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err("can be written by others than its owner".to_owned());
    }
    Ok(())
}

#[cfg(test)]
#[path = "hooks/tests.rs"]
mod tests;
