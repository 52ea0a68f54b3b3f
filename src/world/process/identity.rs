//! Files of procfs that tell one process, and one boot, from another.
#![allow(unsafe_code, reason = "borrows a descriptor that is kept as a number")]

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::os::fd::{BorrowedFd, IntoRawFd};

use rustix::fs::{CWD, Mode, OFlags};

use crate::cancellation::Uncancelled;

/// A file of procfs whose content identifies this process or this boot.
///
/// The descriptor is opened at install and kept, so that a later sandbox or chroot cannot take it
/// away; before each use it is verified to be that file still, since others may close it.
pub(super) struct Identity {
    descriptor: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
    /// A digest of the identifying part; 0 where it could not be read.
    digest: AtomicU64,
    part: Part,
}

/// What of a file identifies. Not a function that is pointed to: no request calls through a register.
enum Part {
    /// Field 22 of `/proc/self/stat`, the start time in clock ticks since boot (proc_pid_stat(5)).
    StartTime,
    Beginning(usize),
}

impl Part {
    fn of<'a>(&self, content: &'a [u8]) -> Option<&'a [u8]> {
        match *self {
            Self::StartTime => {
                // The command name in parentheses may hold blanks: count from behind it, at field 3.
                let after = content.iter().rposition(|&b| b == b')')?;
                content.get(after..)?.split(|&b| b == b' ').nth(20)
            }
            Self::Beginning(length) => content.get(..length),
        }
    }
}

/// Of `/proc/self/stat`.
pub(super) static START_TIME: Identity = Identity::new(Part::StartTime);

/// Of `/proc/sys/kernel/random/boot_id`, a UUID.
pub(super) static BOOT_ID: Identity = Identity::new(Part::Beginning(36));

impl Identity {
    const fn new(part: Part) -> Self {
        Self {
            descriptor: AtomicI32::new(-1),
            device: AtomicU64::new(0),
            inode: AtomicU64::new(0),
            digest: AtomicU64::new(0),
            part,
        }
    }

    /// Opens the file. It is read when the word is armed, which the first look does.
    pub(super) fn open(&self, path: &core::ffi::CStr) {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let Ok(fd) = rustix::fs::openat(CWD, path, flags, Mode::empty()) else { return };
        let Ok(stat) = rustix::fs::fstat(&fd) else { return };
        self.device.store(stat.st_dev, Ordering::Relaxed);
        self.inode.store(stat.st_ino, Ordering::Relaxed);
        self.descriptor.store(fd.into_raw_fd(), Ordering::Release);
    }

    pub(super) fn record(&self) {
        self.digest.store(self.read().unwrap_or(0), Ordering::Release);
    }

    pub(super) fn forget(&self) {
        self.digest.store(0, Ordering::Release);
        self.descriptor.store(-1, Ordering::Release);
    }

    pub(super) fn is_unchanged(&self) -> bool {
        let recorded = self.digest.load(Ordering::Acquire);
        recorded != 0 && self.read() == Some(recorded)
    }

    fn read(&self) -> Option<u64> {
        let raw = self.descriptor.load(Ordering::Acquire);
        if raw < 0 {
            return None;
        }
        // SAFETY: not -1. It may have been closed and reused by careless code; the checks below
        // and a positioned read are harmless on any file.
        let fd = unsafe { BorrowedFd::borrow_raw(raw) };
        let stat = rustix::fs::fstat(fd).ok()?;
        let same = stat.st_dev == self.device.load(Ordering::Relaxed)
            && stat.st_ino == self.inode.load(Ordering::Relaxed);
        if !same {
            return None;
        }
        let _whole = Uncancelled::begin();
        let mut bytes = [0; 1024];
        let length = rustix::io::pread(fd, &mut bytes, 0).ok()?;
        let part = self.part.of(bytes.get(..length)?)?;
        // FNV-1a: compared for equality with an earlier one of the same file, nothing more.
        let digest = part.iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, &b| {
            (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
        });
        Some(digest.max(1))
    }
}

#[cfg(test)]
mod tests;
