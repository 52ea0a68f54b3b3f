//! A directory for the files of one input, on a small tmpfs that nobody else sees and that goes with
//! the process. Without the right to mount one it is a directory in `/dev/shm`.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// The tmpfs has room for this many bytes.
pub const ROOM: usize = 128 << 10;

/// A directory that only its owner may write to.
pub struct Place {
    /// Where it is.
    pub path: PathBuf,
    /// Whether the file system is this process's own, and so may be filled up.
    pub is_own: bool,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// Mounts the tmpfs, or makes the directory.
    pub fn new() -> Self {
        if rustix::process::geteuid().is_root() && mount_own().is_ok() {
            return Self { path: "/mnt".into(), is_own: true };
        }
        let path = PathBuf::from(format!("/dev/shm/snaprng-fuzz-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory of our own");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own directory");
        Self { path, is_own: false }
    }

    /// A directory in it, new and empty.
    pub fn fresh(&self) -> PathBuf {
        let path = self.path.join("w");
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory of our own");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own directory");
        path
    }
}

fn mount_own() -> rustix::io::Result<()> {
    // SAFETY: mounts only; file descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    let options = CString::new(format!("mode=0755,size={ROOM}")).expect("no zero");
    mount("tmpfs", "/mnt", "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
}

/// A path for the library.
pub fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no zero")
}
