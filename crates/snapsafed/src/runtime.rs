//! The runtime directory, `/run/snapsafe`: a tmpfs, kept over restarts of the daemon.
//!
//! One daemon at a time has it. Whatever is written here is complete before it has its name, so
//! that a daemon that is killed in the middle leaves the old file.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The directory, claimed.
#[derive(Debug)]
pub struct Runtime {
    path: PathBuf,
    /// Whoever has it locked is the daemon; the kernel unlocks it when the daemon dies.
    _claim: File,
}

impl Runtime {
    /// Makes the directory if it is not there, and claims it.
    pub fn claim(path: &Path) -> Result<Self, String> {
        let complain = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        fs::create_dir_all(path).map_err(|error| complain(&error))?;
        check_owner(path).map_err(|why| complain(&why))?;
        let claim = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("daemon.lock"))
            .map_err(|error| complain(&error))?;
        flock(&claim, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| complain(&"another snapsafed runs here"))?;
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        let locks = path.join("locks");
        set(path, 0o755)
            .and_then(|()| fs::create_dir_all(&locks))
            .and_then(|()| set(&locks, 0o700))
            .map_err(|error| complain(&error))?;
        Ok(Self { path: path.to_owned(), _claim: claim })
    }

    pub fn socket(&self) -> PathBuf {
        self.path.join("io.snapsafe.Manager")
    }

    pub fn agent_page(&self) -> PathBuf {
        self.path.join("generation")
    }

    pub fn memory(&self) -> PathBuf {
        self.path.join("memory.json")
    }

    pub fn fake_gate(&self) -> PathBuf {
        self.path.join("fake-gate")
    }

    pub fn locks(&self) -> PathBuf {
        self.path.join("locks")
    }

    /// Writes the file that everybody may read: where the machine is.
    pub fn write_state(&self, line: &str) -> io::Result<()> {
        replace(&self.path.join("state"), format!("{line}\n").as_bytes(), 0o644)
    }
}

/// Only we may have put there what is there.
fn check_owner(path: &Path) -> Result<(), String> {
    let metadata = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    let own = rustix::process::geteuid().as_raw();
    if !metadata.is_dir() {
        return Err("is not a directory".to_owned());
    }
    if metadata.uid() != own {
        return Err(format!("belongs to user {}, and not to {own}", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err("can be written by others".to_owned());
    }
    Ok(())
}

/// Puts a new file in the place of `path`, all at once.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    // One that was left behind may have another mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    fs::rename(&new, path)
}
