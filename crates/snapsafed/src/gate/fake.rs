//! A gate for tests: its state is a file, and it cuts nothing.
//!
//! Like the kernel's rules the file survives the daemon, and whoever may write it can tamper with
//! the gate. Next to it:
//!
//! | file | meaning |
//! |---|---|
//! | `STATE` | `shut` or `open`; missing is open |
//! | `STATE.fail-shut`, `STATE.fail-open`, `STATE.fail-drain` | while it exists, that fails, for the reason in it |
//! | `STATE.busy` | while it exists, packets are queued |
//! | `STATE.log` | each shutting and opening that changed something, one a line |

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify;
use rustix::io::Errno;

use super::{Gate, Result};

pub(super) struct Fake {
    state: PathBuf,
    notifications: OwnedFd,
}

impl Fake {
    /// `state` names the file; its directory must exist.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let describe = |errno: Errno| format!("cannot watch {}: {errno}", state.display());
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let notifications = inotify::init(flags).map_err(describe)?;
        let directory = state.parent().filter(|parent| !parent.as_os_str().is_empty());
        let events = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::DELETE;
        inotify::add_watch(&notifications, directory.unwrap_or(Path::new(".")), events)
            .map_err(describe)?;
        Ok(Self { state: state.to_owned(), notifications })
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.state.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    fn scripted(&self, suffix: &str) -> Result<()> {
        match fs::read_to_string(self.beside(suffix)) {
            Ok(reason) => Err(reason.trim().to_owned()),
            Err(_) => Ok(()),
        }
    }

    fn is_shut(&self) -> bool {
        fs::read_to_string(&self.state).is_ok_and(|state| state.trim() == "shut")
    }

    /// The state is written before the log tells of it: a daemon killed in between has done it.
    fn change_to(&self, state: &str) -> Result<()> {
        let describe = |error: std::io::Error| format!("{}: {error}", self.state.display());
        let new = self.beside(".new");
        fs::write(&new, state).map_err(describe)?;
        fs::rename(&new, &self.state).map_err(describe)?;
        let log = OpenOptions::new().append(true).create(true).open(self.beside(".log"));
        log.and_then(|mut log| writeln!(log, "{state}")).map_err(describe)
    }
}

impl Gate for Fake {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn shut(&mut self) -> Result<()> {
        self.scripted(".fail-shut")?;
        if self.is_shut() { Ok(()) } else { self.change_to("shut") }
    }

    fn is_drained(&mut self) -> Result<bool> {
        self.scripted(".fail-drain")?;
        Ok(!self.beside(".busy").exists())
    }

    fn open(&mut self) -> Result<()> {
        self.scripted(".fail-open")?;
        if self.is_shut() { self.change_to("open") } else { Ok(()) }
    }

    fn holds(&mut self) -> Result<bool> {
        Ok(self.is_shut())
    }

    fn watch(&self) -> Option<BorrowedFd<'_>> {
        Some(self.notifications.as_fd())
    }

    fn changed(&mut self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(&self.notifications, &mut buffer);
        let mut has_changed = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes());
                    // No name: events were lost.
                    has_changed |= name.is_none_or(|name| {
                        self.state.file_name().is_some_and(|s| s.as_encoded_bytes() == name)
                    });
                }
                Err(Errno::AGAIN) => return has_changed,
                Err(_) => return true,
            }
        }
    }

    fn is_owned(&self) -> bool {
        false
    }

    fn weaknesses(&mut self) -> Vec<String> {
        vec!["this gate is a fake for tests: it cuts nothing".into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gate-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn gate(&self) -> Fake {
            Fake::open(&self.0.join("state")).unwrap()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_state_outlives_the_process_and_the_log_has_every_change() {
        let directory = Directory::new("outlives");
        directory.gate().shut().unwrap();
        let mut next = directory.gate();
        assert!(next.holds().unwrap());
        next.shut().unwrap();
        next.open().unwrap();
        assert!(!directory.gate().holds().unwrap());
        let log = fs::read_to_string(directory.0.join("state.log")).unwrap();
        assert_eq!(log, "shut\nopen\n");
    }

    #[test]
    fn tampering_is_noticed_and_other_files_are_not() {
        let directory = Directory::new("tampering");
        let mut gate = directory.gate();
        gate.shut().unwrap();
        gate.changed();
        fs::write(directory.0.join("state.busy"), "").unwrap();
        assert!(!gate.changed());
        assert!(!gate.is_drained().unwrap());
        fs::write(directory.0.join("state"), "open").unwrap();
        assert!(gate.changed());
        assert!(!gate.holds().unwrap());
        fs::remove_file(directory.0.join("state")).unwrap();
        assert!(gate.changed());
    }

    #[test]
    fn scripted_failures_fail_for_their_reason_and_change_nothing() {
        let directory = Directory::new("failures");
        let mut gate = directory.gate();
        fs::write(directory.0.join("state.fail-shut"), "no netlink\n").unwrap();
        assert_eq!(gate.shut(), Err("no netlink".into()));
        assert!(!gate.holds().unwrap());
        fs::remove_file(directory.0.join("state.fail-shut")).unwrap();
        gate.shut().unwrap();
        fs::write(directory.0.join("state.fail-open"), "stuck").unwrap();
        assert_eq!(gate.open(), Err("stuck".into()));
        assert!(gate.holds().unwrap());
    }
}
