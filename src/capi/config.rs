//! The configuration as C gives it.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::offset_of;
use std::ffi::OsStr;
#[cfg(unix)]
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use super::{SNAPRNG_EINVAL, SNAPRNG_ESOURCES, answer, code, guarded, input, sized};
use crate::{Config, Policy, Rounds, Source, VmClock};

/// Take the best protection that can be had, and report it. The default.
pub const SNAPRNG_POLICY_PREFER: u32 = 0;
/// Refuse to work without a synchronous witness (bare metal passes).
pub const SNAPRNG_POLICY_REQUIRE: u32 = 1;
/// The caller states that no virtual machine under this process is ever cloned or restored.
pub const SNAPRNG_POLICY_ASSUME_NEVER_CLONED: u32 = 2;

/// Buffer on vmclock's disruption marker alone.
pub const SNAPRNG_ACCEPT_MARKER: u32 = 1;
/// Buffer although the only witnesses are late: outputs right after a restore are shared by clones.
pub const SNAPRNG_ACCEPT_LATE: u32 = 2;
/// vmclock_fd holds an open descriptor, which snaprng_init takes over and closes.
pub const SNAPRNG_VMCLOCK_FD: u32 = 4;
/// Do not look for vmclock (CRIU cannot dump a process that maps it).
pub const SNAPRNG_NO_VMCLOCK: u32 = 8;
/// Do not look for sysgenid.
pub const SNAPRNG_NO_SYSGENID: u32 = 16;
/// Do not look for the agent page.
pub const SNAPRNG_NO_AGENT_PAGE: u32 = 32;

/// A configuration. Set everything to zero, then size to sizeof(snaprng_config), then what is
/// wanted: zero is the default everywhere.
///
/// Later versions append fields. A program that was compiled with an older, smaller struct keeps
/// working; one with a larger struct than the library knows is fine as long as the fields that the
/// library does not know are zero.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct snaprng_config {
    /// sizeof(snaprng_config).
    pub size: usize,
    /// SNAPRNG_POLICY_PREFER, SNAPRNG_POLICY_REQUIRE or SNAPRNG_POLICY_ASSUME_NEVER_CLONED.
    pub policy: u32,
    /// SNAPRNG_ACCEPT_MARKER and the other flags, ORed.
    pub flags: u32,
    /// Where vmclock is; NULL for /dev/vmclock0.
    pub vmclock_path: *const c_char,
    /// Where sysgenid is; NULL for /dev/sysgenid.
    pub sysgenid_path: *const c_char,
    /// Where the agent page is; NULL for /run/snapsafe/generation.
    pub agent_page_path: *const c_char,
    /// Bytes that are mixed into every key; need not be secret. NULL for none.
    pub personalization: *const c_void,
    /// How many bytes.
    pub personalization_len: usize,
    /// An open descriptor of vmclock, if flags has SNAPRNG_VMCLOCK_FD; else zero.
    pub vmclock_fd: c_int,
    /// Rounds of ChaCha that make the output: 20, 12 or 8; zero for 20.
    pub rounds: u32,
}

// SAFETY: repr(C), begins with its size; null pointers and zeros are the defaults.
unsafe impl sized::Sized for snaprng_config {
    const FIRST_SIZE: usize = offset_of!(Self, rounds) + size_of::<u32>();
}

const KNOWN_FLAGS: u32 = SNAPRNG_ACCEPT_MARKER
    | SNAPRNG_ACCEPT_LATE
    | SNAPRNG_VMCLOCK_FD
    | SNAPRNG_NO_VMCLOCK
    | SNAPRNG_NO_SYSGENID
    | SNAPRNG_NO_AGENT_PAGE;

/// Opens and maps every witness and puts a configuration in force for the process.
///
/// Call it once, early in main: before the first use of any generator, before threads, and before a
/// sandbox or a drop of privileges. Without it, the first use installs the defaults.
///
/// config: the configuration; NULL for the defaults.
///
/// Returns: SNAPRNG_OK; SNAPRNG_EINSTALLED if one is in force; SNAPRNG_EINVAL for a wrong size, an
/// unknown flag, policy or combination, or a descriptor that is not open; or another negative code.
/// SNAPRNG_ENOTPROTECTED if SNAPRNG_POLICY_REQUIRE is not met: the configuration is then in force,
/// and every request fails until it is. A descriptor in it now belongs to the library, unless the
/// answer is SNAPRNG_EINVAL.
/// Threads: any, one succeeds. Signals: not in handlers (allocates). Forks: children inherit it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_init(config: *const snaprng_config) -> c_int {
    guarded(|| {
        // SAFETY: the caller's contract.
        let config = unsafe { read(config) };
        // SAFETY: as above.
        match config.and_then(|config| unsafe { translate(&config) }) {
            Ok(config) => answer(config.install()),
            Err(code) => code,
        }
    })
}

/// The library's configuration from C's, for an owned generator: nothing is taken over.
///
/// # Safety
/// As `snaprng_init`.
pub(super) unsafe fn translate_owned(config: *const snaprng_config) -> Result<Config, c_int> {
    // SAFETY: the caller's contract.
    let config = unsafe { read(config) }?;
    if config.flags & SNAPRNG_VMCLOCK_FD != 0 {
        return Err(SNAPRNG_ESOURCES);
    }
    // SAFETY: the caller's contract.
    unsafe { translate(&config) }
}

/// What the caller set; NULL is a struct of zeros, the defaults.
///
/// # Safety
/// As `snaprng_init`.
unsafe fn read(config: *const snaprng_config) -> Result<snaprng_config, c_int> {
    if config.is_null() {
        // SAFETY: numbers and pointers, which may be zero.
        return Ok(unsafe { core::mem::zeroed() });
    }
    // SAFETY: the caller's contract: it can be read for the size that it carries.
    unsafe { sized::read(config) }
}

/// The library's configuration from C's.
///
/// # Safety
/// As `snaprng_init`.
unsafe fn translate(config: &snaprng_config) -> Result<Config, c_int> {
    if config.flags & !KNOWN_FLAGS != 0 {
        return Err(SNAPRNG_EINVAL);
    }
    let policy = match config.policy {
        SNAPRNG_POLICY_PREFER => Policy::Prefer,
        SNAPRNG_POLICY_REQUIRE => Policy::Require,
        SNAPRNG_POLICY_ASSUME_NEVER_CLONED => Policy::AssumeNeverCloned,
        _ => return Err(SNAPRNG_EINVAL),
    };
    let rounds = match config.rounds {
        0 | 20 => Rounds::Twenty,
        12 => Rounds::Twelve,
        8 => Rounds::Eight,
        _ => return Err(SNAPRNG_EINVAL),
    };
    let has = |flag| config.flags & flag != 0;
    // SAFETY: the caller's contract, for the three paths and the personalization.
    let sysgenid = unsafe { source(config.sysgenid_path, has(SNAPRNG_NO_SYSGENID)) }?;
    // SAFETY: as above.
    let agent_page = unsafe { source(config.agent_page_path, has(SNAPRNG_NO_AGENT_PAGE)) }?;
    // SAFETY: as above.
    let personalization = unsafe { input(config.personalization, config.personalization_len) }?;
    Ok(Config {
        policy,
        // SAFETY: as above; the descriptor is the caller's to give away.
        vmclock: unsafe { vmclock(config) }?,
        sysgenid,
        agent_page,
        accept_marker: has(SNAPRNG_ACCEPT_MARKER),
        accept_late: has(SNAPRNG_ACCEPT_LATE),
        rounds,
        personalization: personalization.to_vec(),
    })
}

/// # Safety
/// The path ends with NUL; the descriptor, if there is one, is the caller's to give away.
unsafe fn vmclock(config: &snaprng_config) -> Result<VmClock, c_int> {
    let off = config.flags & SNAPRNG_NO_VMCLOCK != 0;
    if config.flags & SNAPRNG_VMCLOCK_FD != 0 {
        if off || !config.vmclock_path.is_null() || config.vmclock_fd < 0 {
            return Err(SNAPRNG_EINVAL);
        }
        // SAFETY: the caller's contract.
        return unsafe { handed_in(config.vmclock_fd) };
    }
    if config.vmclock_fd != 0 {
        return Err(SNAPRNG_EINVAL);
    }
    // SAFETY: the caller's contract.
    Ok(match unsafe { source(config.vmclock_path, off) }? {
        Source::Default => VmClock::Default,
        Source::Path(path) => VmClock::Path(path),
        Source::Off => VmClock::Off,
    })
}

/// # Safety
/// The descriptor is not negative and, if it is open, the caller's to give away.
#[cfg(unix)]
unsafe fn handed_in(descriptor: c_int) -> Result<VmClock, c_int> {
    // SAFETY: not -1; a descriptor that is not open is found out here.
    let is_open = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned().is_ok();
    if !is_open {
        return Err(SNAPRNG_EINVAL);
    }
    // SAFETY: open, and given away by the caller's contract.
    Ok(VmClock::Fd(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

#[cfg(not(unix))]
unsafe fn handed_in(_: c_int) -> Result<VmClock, c_int> {
    Err(SNAPRNG_EINVAL)
}

/// # Safety
/// The path ends with NUL.
unsafe fn source(path: *const c_char, off: bool) -> Result<Source, c_int> {
    match (path.is_null(), off) {
        (true, false) => Ok(Source::Default),
        (true, true) => Ok(Source::Off),
        (false, true) => Err(SNAPRNG_EINVAL),
        (false, false) => {
            // SAFETY: the caller's contract.
            let path = unsafe { CStr::from_ptr(path) };
            Ok(Source::Path(path_buf(path)?))
        }
    }
}

#[cfg(unix)]
fn path_buf(path: &CStr) -> Result<PathBuf, c_int> {
    use std::os::unix::ffi::OsStrExt;
    Ok(PathBuf::from(OsStr::from_bytes(path.to_bytes())))
}

#[cfg(not(unix))]
fn path_buf(path: &CStr) -> Result<PathBuf, c_int> {
    Ok(PathBuf::from(OsStr::new(path.to_str().map_err(|_| SNAPRNG_EINVAL)?)))
}

/// The code of an error, where there may be none.
pub(super) fn code_of<T>(outcome: Result<T, crate::Error>) -> Result<T, c_int> {
    outcome.map_err(code)
}
