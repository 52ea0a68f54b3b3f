//! The C ABI. It translates and does nothing else.
//!
//! The documentation of the functions is written for C readers: it becomes the comments of
//! `include/snapsafe.h`, which is generated from this file and checked in.
//!
//! Rules of the boundary: no panic crosses it; every pointer is checked for null; structs carry
//! their own size; errors are negative numbers of errno.h, so that a program needs no table of
//! codes to handle them.
#![allow(unsafe_code, reason = "reads and writes memory of C callers")]
#![allow(non_camel_case_types, reason = "C names")]
#![allow(clippy::missing_safety_doc, reason = "the contract is documented for C readers")]

use core::ffi::{CStr, c_char, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::io::Errno;

use crate::error::Error;
use crate::inhibitor::{Inhibitor, What};
use crate::registration::{Asked, Options, Registration};
use crate::wire::{self, Mode, Phase};

/// Major version of the library that this header belongs to.
pub const SNAPSAFE_VERSION_MAJOR: i32 = 0;
/// Minor version.
pub const SNAPSAFE_VERSION_MINOR: i32 = 1;
/// Patch version.
pub const SNAPSAFE_VERSION_PATCH: i32 = 0;

/// Waited for until a deadline.
pub const SNAPSAFE_DELAY: i32 = 0;
/// Told, and never waited for.
pub const SNAPSAFE_NOTIFY: i32 = 1;
/// Waited for, and the transition fails without it: root's.
pub const SNAPSAFE_BLOCK: i32 = 2;

/// Before a snapshot: get ready. Nothing that a copy must not do a second time may be in flight.
pub const SNAPSAFE_QUIESCE: i32 = 1;
/// The same machine went on.
pub const SNAPSAFE_RESUMED: i32 = 2;
/// This is another world, a clone or an old state, or nobody can tell: make everything unique anew.
pub const SNAPSAFE_RESTORED: i32 = 3;
/// The snapshot was called off.
pub const SNAPSAFE_ABORTED: i32 = 4;

/// A lock on the beginning of snapshots.
pub const SNAPSAFE_INHIBIT_QUIESCE: i32 = 1;
/// A lock on the opening of the network after them.
pub const SNAPSAFE_INHIBIT_UNQUIESCE: i32 = 2;

/// A program that takes part in snapshots. Used by one thread at a time.
pub struct snapsafe_participant {
    registration: Registration,
}

/// How to take part, or to lock. All zero but the size is a good choice.
#[repr(C)]
pub struct snapsafe_config {
    /// sizeof(snapsafe_config).
    pub size: usize,
    /// The socket of another daemon than the system's, or NULL.
    pub socket: *const c_char,
    /// SNAPSAFE_DELAY, SNAPSAFE_NOTIFY or SNAPSAFE_BLOCK.
    pub mode: i32,
    /// Groups are asked to quiesce from the highest down, and told what happened from the lowest up.
    /// 0: not said, which is 50. Others are root's.
    pub order: i32,
}

/// What a program is asked to do.
#[repr(C)]
pub struct snapsafe_asked {
    /// sizeof(snapsafe_asked), set by the caller.
    pub size: usize,
    /// SNAPSAFE_QUIESCE, SNAPSAFE_RESUMED, SNAPSAFE_RESTORED or SNAPSAFE_ABORTED.
    pub phase: i32,
    /// Not 0: the daemon has forgotten this program, so that nobody can tell what happened, and
    /// nobody waits for the answer. The phase is SNAPSAFE_RESTORED then.
    pub missed: i32,
    /// The transition that this belongs to.
    pub transition: u64,
    /// The generation of this copy of the world: a new one after SNAPSAFE_RESTORED.
    pub generation: u64,
    /// For how many milliseconds the answer is waited for; -1 if it is not.
    pub deadline_ms: i64,
}

/// Takes part from now on, under a name that tells people whom they wait for. Waits for the daemon's
/// answer, some seconds at most. `config` may be NULL. `*participant` is NULL after an error.
///
/// Returns: 0; -ENOENT where no daemon runs: the program goes on without it; -EPERM for what is
/// root's; another negative errno.
#[must_use = "it may have failed"]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapsafe_register(
    name: *const c_char,
    config: *const snapsafe_config,
    participant: *mut *mut snapsafe_participant,
) -> c_int {
    if participant.is_null() {
        return errno(Errno::INVAL);
    }
    // SAFETY: the caller gives a place for a pointer, by the contract of the function.
    unsafe { participant.write(core::ptr::null_mut()) };
    guarded(|| {
        // SAFETY: a string or null, by the contract of the function.
        let name = unsafe { text(name) }?;
        // SAFETY: a config or null, by the contract of the function.
        let options = unsafe { options(name, config) }?;
        let registration = Registration::new(options).map_err(|error| code(&error))?;
        let owned = Box::into_raw(Box::new(snapsafe_participant { registration }));
        // SAFETY: as above.
        unsafe { participant.write(owned) };
        Ok(0)
    })
}

/// What to poll for reading (POLLIN): snapsafe_dispatch is to be called when it is readable. It
/// stays the same, and is the library's: not to be read, nor closed.
///
/// Returns: a descriptor, or -EINVAL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapsafe_fd(participant: *const snapsafe_participant) -> c_int {
    // SAFETY: one of snapsafe_register's or null, by the contract of the type.
    match unsafe { participant.as_ref() } {
        Some(participant) => participant.registration.as_fd().as_raw_fd(),
        None => errno(Errno::INVAL),
    }
}

/// What is asked, if anything is. Does not wait. To be called until there is nothing: what has
/// arrived already does not make the descriptor readable again. Connects again to a daemon that was
/// restarted, which needs no word of the caller.
///
/// Returns: 1, with `*asked` to be answered by snapsafe_ack; 0 if nothing is asked; a negative errno.
#[must_use = "it may have failed"]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapsafe_dispatch(
    participant: *mut snapsafe_participant,
    asked: *mut snapsafe_asked,
) -> c_int {
    // SAFETY: one of snapsafe_register's or null, used by this thread alone, by its contract.
    let participant = unsafe { participant.as_mut() };
    guarded(|| {
        let participant = participant.ok_or(errno(Errno::INVAL))?;
        // SAFETY: a struct or null, by the contract of the function.
        let surplus = unsafe { surplus(asked) }?;
        let Some(request) = participant.registration.take() else { return Ok(0) };
        // SAFETY: as large as it says, by the contract of the function.
        unsafe { give(asked, surplus, &request) };
        Ok(1)
    })
}

/// Answers what was asked: done, or, with a reason in `veto`, not done and not to be. `veto` is NULL
/// or text. An answer that comes too late, because something else is asked by now, is dropped.
///
/// Returns: 0, or a negative errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapsafe_ack(
    participant: *mut snapsafe_participant,
    asked: *const snapsafe_asked,
    veto: *const c_char,
) -> c_int {
    // SAFETY: one of snapsafe_register's or null, used by this thread alone, by its contract.
    let participant = unsafe { participant.as_mut() };
    guarded(|| {
        let participant = participant.ok_or(errno(Errno::INVAL))?;
        // SAFETY: a struct or null, by the contract of the function.
        let asked = from_c(unsafe { given(asked) }?)?;
        if veto.is_null() {
            participant.registration.answer(&asked, Ok(()));
            return Ok(0);
        }
        // SAFETY: a string, by the contract of the function.
        let veto = unsafe { CStr::from_ptr(veto) }.to_string_lossy();
        participant.registration.answer(&asked, Err(&veto));
        Ok(0)
    })
}

/// Takes part no longer. NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapsafe_unregister(participant: *mut snapsafe_participant) {
    if participant.is_null() {
        return;
    }
    guarded(|| {
        // SAFETY: it is from Box::into_raw, and not used after this, by its contract.
        drop(unsafe { Box::from_raw(participant) });
        Ok(0)
    });
}

/// Holds transitions up: `what` is SNAPSAFE_INHIBIT_QUIESCE, SNAPSAFE_INHIBIT_UNQUIESCE, or both.
/// `who` and `why` are for people. `config` may be NULL; its order has no meaning here.
///
/// Returns: the lock, a descriptor, which ends when all its copies are closed; it is closed on exec;
/// -ENOENT where no daemon runs; another negative errno.
#[must_use = "it may have failed"]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapsafe_inhibit(
    what: i32,
    who: *const c_char,
    why: *const c_char,
    config: *const snapsafe_config,
) -> c_int {
    guarded(|| {
        let what = match what {
            SNAPSAFE_INHIBIT_QUIESCE => What::Quiesce,
            SNAPSAFE_INHIBIT_UNQUIESCE => What::Unquiesce,
            both if both == SNAPSAFE_INHIBIT_QUIESCE | SNAPSAFE_INHIBIT_UNQUIESCE => What::Both,
            _ => return Err(errno(Errno::INVAL)),
        };
        // SAFETY: a string or null, by the contract of the function.
        let who = unsafe { text(who) }?;
        // SAFETY: a string or null, by the contract of the function.
        let why = unsafe { text(why) }?;
        // SAFETY: a config or null, by the contract of the function.
        let options = unsafe { options(who, config) }?;
        let lock = Inhibitor::take_at(&options.socket, what, who, why, options.mode);
        Ok(lock.map_err(|error| code(&error))?.into_fd().into_raw_fd())
    })
}

/// What a negative number of these functions means, in English, with what to do next.
///
/// Returns: a string that is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn snapsafe_strerror(error: c_int) -> *const c_char {
    if error >= 0 {
        return c"success".as_ptr();
    }
    // No other numbers are errors of the system.
    let number = error.checked_neg().filter(|number| *number < 4096).unwrap_or(4095);
    let text = match Errno::from_raw_os_error(number) {
        Errno::NOENT => {
            c"snapsafed is not running: start it with `systemctl start snapsafed`, or go on without it"
        }
        Errno::PERM => {
            c"not permitted: block, an order, and names that snapsafed.toml requires are root's"
        }
        Errno::ACCESS => c"the socket of snapsafed may not be used: see the permissions of its folder",
        Errno::INVAL => c"an argument is not acceptable: a null pointer, a wrong size, an unknown value",
        Errno::TIMEDOUT => c"snapsafed did not answer in time: see `systemctl status snapsafed`",
        Errno::CONNRESET => c"snapsafed closed the connection: it is being restarted; try again",
        Errno::PROTO => {
            c"the answer was not understood: do this library and snapsafed have the same version?"
        }
        Errno::BUSY => c"another transition is in progress: wait for its end",
        Errno::DQUOT => c"too many of this user's: close some, or raise the limit in snapsafed.toml",
        Errno::MFILE | Errno::NFILE => c"too many open files: close some, or raise the limit",
        Errno::NOTRECOVERABLE => c"something went wrong inside the library",
        _ => c"unexpected error: strerror of the number without its sign tells more",
    };
    text.as_ptr()
}

/// Runs what may panic: no panic crosses the boundary.
fn guarded(body: impl FnOnce() -> Result<c_int, c_int>) -> c_int {
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or(Err(errno(Errno::NOTRECOVERABLE)))
        .unwrap_or_else(|error| error)
}

fn errno(error: Errno) -> c_int {
    -error.raw_os_error()
}

fn code(error: &Error) -> c_int {
    let of_the_system = |cause: &io::Error| Errno::from_io_error(cause).unwrap_or(Errno::IO);
    errno(match error {
        Error::NotRunning { .. } => Errno::NOENT,
        Error::Unreachable { cause, .. } | Error::System(cause) => of_the_system(cause),
        Error::TimedOut => Errno::TIMEDOUT,
        Error::Closed => Errno::CONNRESET,
        Error::Refused(refusal) => match refusal {
            wire::Error::NotPermitted { .. } | wire::Error::PermissionDenied {} => Errno::PERM,
            wire::Error::TooMany { .. } => Errno::DQUOT,
            wire::Error::Busy { .. } => Errno::BUSY,
            wire::Error::InvalidParameter { .. } => Errno::INVAL,
            _ => Errno::PROTO,
        },
        Error::Protocol(_) => Errno::PROTO,
    })
}

/// The caller's text.
///
/// # Safety
/// Null, or a string that ends with a NUL and lives as long as `'a`.
unsafe fn text<'a>(pointer: *const c_char) -> Result<&'a str, c_int> {
    if pointer.is_null() {
        return Err(errno(Errno::INVAL));
    }
    // SAFETY: a string, by the contract of this function.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|_| errno(Errno::INVAL))
}

/// The caller's configuration.
///
/// # Safety
/// Null, or a struct of the size that it says.
unsafe fn options(name: &str, config: *const snapsafe_config) -> Result<Options, c_int> {
    let mut options = Options::new(name);
    if config.is_null() {
        return Ok(options);
    }
    // SAFETY: a struct of the size that it says, by the contract of this function.
    let config = unsafe { given(config) }?;
    options.mode = match config.mode {
        SNAPSAFE_DELAY => Mode::Delay,
        SNAPSAFE_NOTIFY => Mode::Notify,
        SNAPSAFE_BLOCK => Mode::Block,
        _ => return Err(errno(Errno::INVAL)),
    };
    options.order = (config.order != 0).then_some(i64::from(config.order));
    if !config.socket.is_null() {
        // SAFETY: a string, by the contract of the struct.
        options.socket = unsafe { text(config.socket) }?.into();
    }
    Ok(options)
}

/// How many bytes the caller's struct has that this version does not know. (A newer program's.)
///
/// # Safety
/// Null, or a struct that begins with its size.
unsafe fn surplus<T>(sized: *const T) -> Result<usize, c_int> {
    if sized.is_null() {
        return Err(errno(Errno::INVAL));
    }
    // SAFETY: it begins with its size, by the contract of this function.
    let size = unsafe { sized.cast::<usize>().read() };
    // No version will be larger: such a size is an uninitialized variable.
    let possible = (size_of::<T>()..=4096).contains(&size);
    if possible { Ok(size - size_of::<T>()) } else { Err(errno(Errno::INVAL)) }
}

/// The caller's struct. What is not known here must be zero, or what was asked would not be done.
///
/// # Safety
/// Null, or a struct of the size that it says, which nobody changes as long as `'a`.
unsafe fn given<'a, T>(sized: *const T) -> Result<&'a T, c_int> {
    // SAFETY: it begins with its size, by the contract of this function.
    let surplus = unsafe { surplus(sized) }?;
    let beyond = sized.wrapping_add(1).cast::<u8>();
    // SAFETY: so many bytes are behind what is known, by the contract of this function.
    let unknown = unsafe { core::slice::from_raw_parts(beyond, surplus) };
    if unknown.iter().any(|byte| *byte != 0) {
        return Err(errno(Errno::INVAL));
    }
    // SAFETY: it is at least as large as this type.
    Ok(unsafe { &*sized })
}

/// Writes to the caller's struct, and zeros to what is not known here.
///
/// # Safety
/// A struct that is so much larger than this type, and can be written.
unsafe fn give(asked: *mut snapsafe_asked, surplus: usize, request: &Asked) {
    let filled = snapsafe_asked {
        size: size_of::<snapsafe_asked>() + surplus,
        phase: match request.phase {
            Phase::Quiesce => SNAPSAFE_QUIESCE,
            Phase::Resumed => SNAPSAFE_RESUMED,
            Phase::Restored => SNAPSAFE_RESTORED,
            Phase::Aborted => SNAPSAFE_ABORTED,
        },
        missed: request.missed.into(),
        transition: request.transition,
        generation: request.generation,
        deadline_ms: request.deadline_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(-1),
    };
    // SAFETY: large enough, by the contract of this function.
    unsafe { asked.write(filled) };
    // SAFETY: so many bytes are behind it, by the contract of this function.
    unsafe { asked.wrapping_add(1).cast::<u8>().write_bytes(0, surplus) };
}

/// What an answer needs of it.
fn from_c(asked: &snapsafe_asked) -> Result<Asked, c_int> {
    Ok(Asked {
        phase: match asked.phase {
            SNAPSAFE_QUIESCE => Phase::Quiesce,
            SNAPSAFE_RESUMED => Phase::Resumed,
            SNAPSAFE_RESTORED => Phase::Restored,
            SNAPSAFE_ABORTED => Phase::Aborted,
            _ => return Err(errno(Errno::INVAL)),
        },
        transition: asked.transition,
        generation: asked.generation,
        outcome: None,
        deadline_ms: None,
        missed: asked.missed != 0,
    })
}
