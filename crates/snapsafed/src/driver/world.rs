//! The witnesses, as the driver asks them: has the world changed, and may it be proven that it has
//! not?

use std::io;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags};
use snapsafe_client::wire::manager::WitnessInfo;

use crate::config::{WitnessConfig, millis};
use crate::log;
use crate::machine::Millis;
use crate::retry::Retry;
use crate::witness::{KernelLog, VmClock};

/// How late the kernel's line may come after what it tells of. A host is often faster.
const LATE_LINE: Millis = 10_000;

/// All witnesses.
#[derive(Debug)]
pub(super) struct World {
    path: Option<PathBuf>,
    vmclock: Option<VmClock>,
    /// Why not.
    trouble: String,
    look_at: Millis,
    retry: Retry,
    kmsg: Result<KernelLog, String>,
    /// The line about the copy that the machine is on the way from has come.
    line_has_come: bool,
    /// Until when a line is that of the restore before.
    line_expected: Millis,
}

impl World {
    pub(super) fn open(config: &WitnessConfig, now: Millis) -> Self {
        let kmsg = match config.kmsg {
            true => KernelLog::open().map_err(|error| error.to_string()),
            false => Err("switched off".to_owned()),
        };
        let mut world = Self {
            path: config.vmclock.clone(),
            vmclock: None,
            trouble: "switched off".to_owned(),
            look_at: now,
            retry: Retry::default(),
            kmsg,
            line_has_come: false,
            line_expected: 0,
        };
        world.look_for_vmclock(now);
        world
    }

    fn look_for_vmclock(&mut self, now: Millis) {
        let Some(path) = self.path.as_ref().filter(|_| self.vmclock.is_none()) else { return };
        if !self.retry.is_due(now) {
            return;
        }
        match VmClock::open(path) {
            Ok(vmclock) => {
                log::notice(format!("watching {}", path.display()));
                self.vmclock = Some(vmclock);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.trouble = "not there".to_owned();
            }
            Err(error) => self.trouble = error.to_string(),
        }
    }

    /// vmclock's counter, if it is one that must change with every clone.
    pub(super) fn counter(&self) -> Option<u64> {
        // A page that cannot be read proves nothing.
        self.vmclock.as_ref()?.counter().ok().flatten()
    }

    /// For the daemon's wait.
    pub(super) fn to_poll(&self) -> impl Iterator<Item = PollFd<'_>> {
        let vmclock = self.vmclock.as_ref().and_then(VmClock::fd);
        let kmsg = self.kmsg.as_ref().ok().map(KernelLog::fd);
        vmclock.into_iter().chain(kmsg).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
    }

    /// When to look, although nothing is ready.
    pub(super) fn deadline(&self) -> Option<Millis> {
        match &self.vmclock {
            Some(vmclock) => vmclock.interval().map(|_| self.look_at),
            None => self.path.is_some().then_some(self.retry.at()),
        }
    }

    /// Which witnesses say that the world has changed since the last look.
    pub(super) fn look(&mut self, now: Millis) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if self.vmclock_changed(now) {
            changed.push("vmclock");
        }
        if self.line_came(now) {
            changed.push("kmsg");
        }
        self.look_for_vmclock(now);
        changed
    }

    fn vmclock_changed(&mut self, now: Millis) -> bool {
        let Some(vmclock) = &mut self.vmclock else { return false };
        if let Some(interval) = vmclock.interval() {
            self.look_at = now.saturating_add(millis(interval).max(1));
        }
        match vmclock.has_changed() {
            Ok(changed) => changed,
            Err(error) => {
                log::error(format!("vmclock cannot be read any more: {error}"));
                self.trouble = error.to_string();
                self.vmclock = None;
                // A page does not become invalid in a world that has not changed.
                true
            }
        }
    }

    fn line_came(&mut self, now: Millis) -> bool {
        let Ok(kmsg) = &mut self.kmsg else { return false };
        match kmsg.news() {
            Ok(news) if news.forked => {
                self.line_has_come = true;
                let is_late = now < std::mem::take(&mut self.line_expected);
                // vmclock's counter tells of the same, and earlier.
                !is_late && self.counter().is_none()
            }
            Ok(_) => false,
            Err(error) => {
                log::error(format!("the kernel's log cannot be read any more: {error}"));
                self.kmsg = Err(error.to_string());
                false
            }
        }
    }

    /// The machine is on its way from another world. The kernel's line about it may still come.
    pub(super) fn renewed(&mut self, now: Millis) {
        let expected = !std::mem::take(&mut self.line_has_come);
        self.line_expected = if expected { now.saturating_add(LATE_LINE) } else { 0 };
    }

    /// A snapshot begins: what came before tells nothing of its copies.
    pub(super) fn quiesced(&mut self) {
        self.line_has_come = false;
        self.line_expected = 0;
    }

    pub(super) fn describe(&self) -> Vec<WitnessInfo> {
        let counter_must_change = self.counter().is_some();
        let path = self.path.as_ref().map(|path| path.display().to_string());
        let vmclock = WitnessInfo {
            name: "vmclock".to_owned(),
            active: self.vmclock.is_some(),
            counter_must_change,
            detail: match (&self.vmclock, path) {
                (Some(_), Some(path)) => path,
                (None, Some(path)) => format!("{path}: {}", self.trouble),
                (_, None) => self.trouble.clone(),
            },
        };
        let kmsg = WitnessInfo {
            name: "kmsg".to_owned(),
            active: self.kmsg.is_ok(),
            counter_must_change: false,
            detail: match &self.kmsg {
                Ok(_) => "the kernel's line, after the fact".to_owned(),
                Err(why) => why.clone(),
            },
        };
        vec![vmclock, kmsg]
    }
}
