//! Linux: system calls, devices where a sandbox forbids those, and the ioctl that makes the kernel reseed.
#![allow(
    unsafe_code,
    reason = "one ioctl, a descriptor that is kept for it, and three calls of libc"
)]

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Epoch, Error, FULL, Stamp};
use crate::cancellation::Uncancelled;
use crate::errno;
use crate::syscall::getrandom;

const NANOSECONDS: u64 = 1_000_000_000;

/// Fills `out`. Waits until the kernel's pool has been seeded once after boot.
pub(in super::super) fn fill(out: &mut [u8; FULL]) -> Result<(), Error> {
    let mut rest = &mut out[..];
    while !rest.is_empty() {
        match getrandom(rest, 0) {
            Ok(0) => return Err(Error::EntropyUnavailable(libc::EIO)),
            Ok(length) => rest = rest.get_mut(length..).unwrap_or_default(),
            Err(libc::EINTR) => {}
            Err(libc::ENOSYS | libc::EPERM) => {
                return fill_from_device(out)
                    .map_err(|errno| Error::EntropyUnavailable(errno.raw_os_error()));
            }
            Err(errno) => return Err(Error::EntropyUnavailable(errno)),
        }
    }
    Ok(())
}

fn fill_from_device(out: &mut [u8; FULL]) -> Result<(), Errno> {
    let _whole = Uncancelled::begin();
    wait_until_seeded()?;
    let device = open_device(c"/dev/urandom")?;
    let mut rest = &mut out[..];
    while !rest.is_empty() {
        match rustix::io::read(&device, &mut *rest) {
            Ok(0) => return Err(Errno::IO),
            Ok(length) => rest = rest.get_mut(length..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// `/dev/random` is readable once the pool has been seeded; `/dev/urandom` does not wait.
fn wait_until_seeded() -> Result<(), Errno> {
    let device = open_device(c"/dev/random")?;
    loop {
        match poll(&mut [PollFd::new(&device, PollFlags::IN)], None) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn open_device(path: &core::ffi::CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY.union(OFlags::CLOEXEC);
    let fd = loop {
        match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Err(Errno::INTR) => {}
            outcome => break outcome?,
        }
    };
    // Something else under that name (a careless chroot) must not pass for randomness.
    if is_random_device(fd.as_fd()) { Ok(fd) } else { Err(Errno::NODEV) }
}

/// Character devices 1:8 (`random`) and 1:9 (`urandom`), Documentation/admin-guide/devices.txt.
fn is_random_device(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && rustix::fs::major(stat.st_rdev) == 1
            && matches!(rustix::fs::minor(stat.st_rdev), 8 | 9)
    })
}

/// `RNDRESEEDCRNG`, `_IO('R', 0x07)` (include/uapi/linux/random.h, Linux 4.17).
const RNDRESEEDCRNG: libc::c_ulong = 0x5207;

/// The descriptor that the ioctl is made on; -1 where it is not wanted or was refused.
static RESEED_ON: AtomicI32 = AtomicI32::new(-1);
static RESEED_REFUSED: AtomicBool = AtomicBool::new(false);
crate::sync::statics! { static RESEEDED_IN: Stamp = Stamp::new(); }

/// What must be opened before a sandbox closes: called once, at install.
pub(crate) fn prepare() {
    // Where the CPU has randomness the ioctl is never made, and no descriptor is kept.
    if !super::super::cpu::fill(&mut [0; FULL])
        && let Ok(fd) = open_device(c"/dev/urandom")
    {
        RESEED_ON.store(fd.into_raw_fd(), Ordering::Release);
    }
    super::super::vdso::prepare();
    // Found once and remembered: the kernel's release, and the vDSO's clocks.
    settling_time();
    now();
}

/// Makes the kernel reseed, once per VM epoch. It mixes in what the CPU and its timers give.
pub(in super::super) fn reseed(epoch: &Epoch) -> bool {
    if RESEEDED_IN.get(epoch).is_some() {
        return true;
    }
    let raw = RESEED_ON.load(Ordering::Acquire);
    if raw < 0 || RESEED_REFUSED.load(Ordering::Relaxed) {
        return false;
    }
    // SAFETY: not -1. Others may have closed and reused it: verified below.
    let fd = unsafe { BorrowedFd::borrow_raw(raw) };
    if !is_random_device(fd) {
        return false;
    }
    // SAFETY: this ioctl takes no argument and writes no memory of ours.
    let answer = unsafe { libc::ioctl(raw, RNDRESEEDCRNG as _) };
    if answer == 0 {
        // After the call: a thread that raced past the check may only reseed once more.
        RESEEDED_IN.set(epoch, 1);
        return true;
    }
    if errno::last() == libc::EPERM {
        RESEED_REFUSED.store(true, Ordering::Relaxed);
    }
    false
}

/// CLOCK_MONOTONIC. The coarse one is stale right after a resume.
pub(in super::super) fn now() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Answered from the vDSO's page on every architecture with a vDSO: no system call.
pub(in super::super) fn now_coarse() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

/// Coarse, too: it stands for the day, and the time stamp counter for the moment.
pub(in super::super) fn wall_clock() -> u64 {
    read(libc::CLOCK_REALTIME_COARSE)
}

/// Nanoseconds on a clock that every kernel has. libc's function, for it cannot panic; it is
/// safe in signal handlers.
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec, ours.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec as u64).wrapping_mul(NANOSECONDS).wrapping_add(time.tv_nsec as u64)
}

/// Since Linux 5.18 the kernel reseeds every 60 s (CRNG_RESEED_INTERVAL), before every 300 s.
pub(in super::super) fn settling_time() -> u64 {
    static SECONDS: AtomicU64 = AtomicU64::new(0);
    let mut seconds = SECONDS.load(Ordering::Relaxed);
    if seconds == 0 {
        seconds = if reseeds_every_minute(&release()) { 64 } else { 310 };
        SECONDS.store(seconds, Ordering::Relaxed);
    }
    seconds * NANOSECONDS
}

/// The kernel's release; zeros where it cannot be had. By libc: rustix takes it for certain that
/// the call works, which a sandbox may forbid.
fn release() -> [u8; 65] {
    let mut names = core::mem::MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: writes one utsname, ours. Where that fails it stays as it is.
    unsafe { libc::uname(names.as_mut_ptr()) };
    // SAFETY: arrays of characters, for which all zeros is a value too.
    unsafe { names.assume_init() }.release.map(|character| character as u8)
}

/// Whether a kernel of this release reseeds every minute; what cannot be read does not.
fn reseeds_every_minute(release: &[u8]) -> bool {
    let mut numbers = release.split(|b| !b.is_ascii_digit()).map(|digits| {
        digits.iter().fold(0u32, |n, d| n.saturating_mul(10).saturating_add((d - b'0').into()))
    });
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= (5, 18)
}

#[cfg(test)]
mod tests;
