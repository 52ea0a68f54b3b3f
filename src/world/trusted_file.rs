//! Which files may be mapped as a witness that somebody in this machine writes.
//!
//! A mapped file is dangerous: whoever truncates it kills the process with SIGBUS, and whoever
//! replaces it by rename leaves the mapping stale for ever. So a file is mapped only when nobody
//! but its trusted owner can do either: a regular file on a tmpfs, of full size, owned by root or
//! by this user, writable by its owner alone, with every directory above it likewise (a root-owned
//! sticky directory such as `/tmp` is accepted), and no symbolic link on the way.
//!
//! A hole in a file counts as missing size: its memory is allocated when it is read, and where
//! somebody has filled the tmpfs meanwhile there is none, which is SIGBUS, too.
//!
//! What its trusted owner does later is outside of the promise: to truncate the file, to punch a
//! hole into it, or to let others write it. So is what somebody does who could write it before, and
//! kept it open.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::Cause;
use super::page::SOURCE_BYTES;

/// `f_type` of a tmpfs (`TMPFS_MAGIC`, linux/magic.h).
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// What the kernel shows for an owner whom the user namespace does not map
/// (`/proc/sys/kernel/overflowuid`).
const OVERFLOW_UID: u32 = 65534;

/// `MISC_MAJOR`, linux/major.h.
const MISC_MAJOR: u32 = 10;

const STICKY: u32 = 0o1000;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Opens `path` for reading if the rules of this room let it be mapped.
pub(super) fn open(path: &CStr) -> Result<OwnedFd, Cause> {
    let (directory, name) = walk(path)?;
    let fd = open_plain(directory.as_fd(), name)?;
    check_file(fd.as_fd())?;
    Ok(fd)
}

/// Opens `path` for reading without following a link in its last component, whatever it is.
/// FIFOs and terminals must not block or attach.
pub(super) fn open_no_follow(path: &CStr) -> Result<OwnedFd, Cause> {
    open_plain(CWD, path)
}

fn open_plain(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Cause> {
    let flags =
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(open_cause)
}

fn open_cause(errno: Errno) -> Cause {
    match errno {
        Errno::LOOP => Cause::SymbolicLink,
        other => Cause::Open(other.raw_os_error()),
    }
}

pub(super) fn stat(fd: BorrowedFd<'_>) -> Result<Stat, Cause> {
    rustix::fs::fstat(fd).map_err(|e| Cause::Inspect(e.raw_os_error()))
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether this is a device of the kind that vmclock and sysgenid are, both *misc* devices. Others
/// can be mapped as well (`/dev/zero`), and would be a witness that sees nothing.
pub(super) fn is_misc_device(fd: BorrowedFd<'_>) -> Result<bool, Cause> {
    let stat = stat(fd)?;
    Ok(file_type(&stat) == FileType::CharacterDevice
        && rustix::fs::major(stat.st_rdev) == MISC_MAJOR)
}

/// Opens every directory above the last component in turn, each without following links, and
/// checks it. Returns the last directory and the name in it.
fn walk(path: &CStr) -> Result<(OwnedFd, &CStr), Cause> {
    let bytes = path.to_bytes();
    if bytes.first() != Some(&b'/') || bytes.last() == Some(&b'/') {
        return Err(Cause::BadPath);
    }
    let mut directory = open_directory(CWD, c"/")?;
    check_directory(directory.as_fd())?;
    let mut rest = path;
    loop {
        let bytes = rest.to_bytes();
        let start = bytes.iter().position(|&b| b != b'/').ok_or(Cause::BadPath)?;
        rest = tail(rest, start)?;
        let Some(end) = rest.to_bytes().iter().position(|&b| b == b'/') else {
            break;
        };
        let mut name = [0u8; 256];
        let component = rest.to_bytes().get(..end).ok_or(Cause::BadPath)?;
        name.get_mut(..end).ok_or(Cause::BadPath)?.copy_from_slice(component);
        let name = CStr::from_bytes_until_nul(&name).map_err(|_| Cause::BadPath)?;
        if component == b".." {
            return Err(Cause::BadPath);
        }
        directory = open_directory(directory.as_fd(), name)?;
        check_directory(directory.as_fd())?;
        rest = tail(rest, end)?;
    }
    match rest.to_bytes() {
        b"" | b"." | b".." => Err(Cause::BadPath),
        _ => Ok((directory, rest)),
    }
}

/// `text` without its first `count` bytes.
fn tail(text: &CStr, count: usize) -> Result<&CStr, Cause> {
    let bytes = text.to_bytes_with_nul().get(count..).ok_or(Cause::BadPath)?;
    CStr::from_bytes_with_nul(bytes).map_err(|_| Cause::BadPath)
}

fn open_directory(above: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Cause> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(above, name, flags, Mode::empty()).map_err(|errno| {
        // With O_PATH|O_DIRECTORY|O_NOFOLLOW a link answers ENOTDIR (open(2)).
        let is_link = rustix::fs::statat(above, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|s| file_type(&s) == FileType::Symlink);
        if is_link { Cause::SymbolicLink } else { open_cause(errno) }
    })
}

fn check_directory(fd: BorrowedFd<'_>) -> Result<(), Cause> {
    let stat = stat(fd)?;
    check_owner(&stat)?;
    let mode = stat.st_mode & 0o7777;
    let sticky_of_root = stat.st_uid == 0 && mode & STICKY != 0;
    if mode & WRITABLE_BY_OTHERS != 0 && !sticky_of_root {
        return Err(Cause::UnsafeDirectory(mode));
    }
    Ok(())
}

fn check_file(fd: BorrowedFd<'_>) -> Result<(), Cause> {
    let stat = stat(fd)?;
    if file_type(&stat) != FileType::RegularFile {
        return Err(Cause::NotAFile);
    }
    check_owner(&stat)?;
    let mode = stat.st_mode & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(Cause::WritableByOthers(mode));
    }
    if stat.st_size < SOURCE_BYTES as i64 {
        return Err(Cause::TooSmall(u32::try_from(stat.st_size).unwrap_or(0)));
    }
    check_filesystem(fd)?;
    check_is_written(fd)
}

/// Whether the file is on a tmpfs, as memfds are. A file on a hugetlbfs is mapped in larger pages
/// than the place for it, and others may take time, fail, or change behind the kernel's back.
pub(super) fn check_filesystem(fd: BorrowedFd<'_>) -> Result<(), Cause> {
    let filesystem = rustix::fs::fstatfs(fd).map_err(|e| Cause::Inspect(e.raw_os_error()))?;
    if filesystem.f_type as u64 == TMPFS_MAGIC { Ok(()) } else { Err(Cause::NotOnTmpfs) }
}

/// Whether the first page has its memory. What was written stays, in memory or swapped out.
fn check_is_written(fd: BorrowedFd<'_>) -> Result<(), Cause> {
    match rustix::fs::seek(fd, SeekFrom::Data(0)) {
        Ok(0) => Ok(()),
        // Data further on, or none at all.
        Ok(_) | Err(Errno::NXIO) => Err(Cause::Hole),
        Err(errno) => Err(Cause::Inspect(errno.raw_os_error())),
    }
}

fn check_owner(stat: &Stat) -> Result<(), Cause> {
    let own = rustix::process::geteuid().as_raw();
    match stat.st_uid {
        0 => Ok(()),
        // Before this process's own id, which may be the same: who is behind it is not known.
        OVERFLOW_UID => Err(Cause::UnmappedOwner),
        uid if uid == own => Ok(()),
        uid => Err(Cause::ForeignOwner(uid)),
    }
}

#[cfg(test)]
mod tests;
