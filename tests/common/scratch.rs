//! Directories of a test's own, on a tmpfs, where sources must be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that only its owner may write to; removed on drop, by the process that made it.
pub(crate) struct Scratch {
    path: PathBuf,
    maker: u32,
}

impl Scratch {
    /// On the tmpfs that POSIX shared memory lives on.
    pub(crate) fn new() -> Self {
        Self::below("/dev/shm")
    }

    pub(crate) fn below(parent: impl AsRef<Path>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let maker = std::process::id();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = parent.as_ref().join(format!("snaprng-test-{maker}-{number}"));
        fs::create_dir(&path).expect("a directory of our own");
        let scratch = Self { path, maker };
        scratch.set_mode("", 0o755);
        scratch
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the permissions of what is called `name` in it; of itself, if that is empty.
    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.maker == std::process::id() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
