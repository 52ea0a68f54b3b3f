//! Who a process is, and what file systems it sees.

use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::ptr::null;

/// Gives up root for good.
pub(crate) fn become_user(user: u32) {
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::setgid(user) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setuid(user) }, 0);
}

/// Mounts a tmpfs for this process alone, without a sticky directory above it.
pub(crate) fn mount_tmpfs(at: &str) {
    keep_mounts_to_itself();
    mount(c"tmpfs", at, c"mode=0755");
}

/// From here on nobody else sees what this process mounts.
pub(crate) fn keep_mounts_to_itself() {
    let none = null::<c_char>();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: takes no pointers; this process has one thread.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0, "a mount namespace");
    // SAFETY: the path is a string, and the others may be null for a change of propagation.
    let answer = unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) };
    assert_eq!(answer, 0, "private mounts");
}

/// Mounts a file system without a device.
pub(crate) fn mount(kind: &CStr, at: &str, options: &CStr) {
    let at = CString::new(at).expect("a path");
    let (kind, options) = (kind.as_ptr(), options.as_ptr());
    // SAFETY: all strings, and options that are one too.
    let answer = unsafe { libc::mount(kind, at.as_ptr(), kind, 0, options.cast()) };
    assert_eq!(answer, 0, "{at:?}: {}", std::io::Error::last_os_error());
}

/// Enters a user namespace that maps root alone, to `user` (user_namespaces(7)).
pub(crate) fn enter_user_namespace(user: u32) {
    // SAFETY: takes no pointers; this process has one thread.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWUSER) }, 0, "a user namespace");
    fs::write("/proc/self/uid_map", format!("{user} 0 1\n")).expect("a map of one user");
}
