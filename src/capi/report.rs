//! The protection report for C.

use core::ffi::{CStr, c_char, c_int};
use core::mem::offset_of;

use super::{SNAPRNG_EINVAL, SNAPRNG_OK, code, guarded, sized};
use crate::world::{self, Inspected};
use crate::{ForkSafety, Level, Protection, RestoreSafety, WitnessState};

/// Every request draws fresh entropy.
pub const SNAPRNG_LEVEL_PER_CALL: u32 = 0;
/// A weaker witness is in use, accepted by name.
pub const SNAPRNG_LEVEL_ACCEPTED: u32 = 1;
/// Forks and process restores are watched for; no VM clone is reckoned with.
pub const SNAPRNG_LEVEL_PROCESS_ONLY: u32 = 2;
/// The VM generation counter is looked at around every output.
pub const SNAPRNG_LEVEL_SYNCHRONOUS: u32 = 3;

/// The witness that gives the level is a stand-in, not the hypervisor's.
pub const SNAPRNG_IS_STAND_IN: u32 = 1;
/// Fresh entropy was absorbed late enough for the kernel to have reseeded.
pub const SNAPRNG_IS_SETTLED: u32 = 2;
/// Something that tells clones apart went into the last rekey.
pub const SNAPRNG_IS_DIVERSE: u32 = 4;
/// Forks are told by a page that the kernel clears.
pub const SNAPRNG_SEES_FORKS: u32 = 8;
/// Process restores are told, if CRIU is 4.2 or later.
pub const SNAPRNG_SEES_RESTORES: u32 = 16;

/// Not there.
pub const SNAPRNG_WITNESS_ABSENT: c_int = 0;
/// In use.
pub const SNAPRNG_WITNESS_ACTIVE: c_int = 1;
/// In use, and written by somebody who is not the hypervisor.
pub const SNAPRNG_WITNESS_STAND_IN: c_int = 2;
/// There, but not usable: snaprng_witness_cause says why.
pub const SNAPRNG_WITNESS_UNUSABLE: c_int = 3;
/// Switched off by the configuration.
pub const SNAPRNG_WITNESS_OFF: c_int = 4;

/// The protection that the calling thread's generator and the process have. Later versions append
/// fields; a program that knows fewer of them, or more, is given what it asks for, or zeros.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct snaprng_protection_t {
    /// sizeof(snaprng_protection_t), set by the caller.
    pub size: usize,
    /// SNAPRNG_LEVEL_PER_CALL and so on.
    pub level: u32,
    /// SNAPRNG_IS_STAND_IN and so on, ORed.
    pub flags: u32,
    /// What a request would answer now: SNAPRNG_OK or a negative code.
    pub error: c_int,
    /// How many witnesses there are to ask for by index.
    pub witnesses: u32,
    /// Rekeys in this process so far.
    pub rekeys: u64,
    /// Absorbs in this process so far.
    pub absorbs: u64,
    /// How often a generator found itself in another epoch.
    pub epoch_changes: u64,
}

// SAFETY: repr(C), begins with its size; plain numbers.
unsafe impl sized::Sized for snaprng_protection_t {
    const FIRST_SIZE: usize = offset_of!(Self, epoch_changes) + size_of::<u64>();
}

/// Reports the protection. Rekeys first where the next request would.
///
/// protection: where it goes; its size must be set, and is left as it is.
///
/// Returns: SNAPRNG_OK, or SNAPRNG_EINVAL for NULL or a wrong size.
/// Threads: any. Signals: not in handlers (allocates). Forks: safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_protection(protection: *mut snaprng_protection_t) -> c_int {
    guarded(|| {
        // SAFETY: the caller's contract: at least the size, the first field, can be read.
        let size = match unsafe { sized::size(protection) } {
            Ok(size) => size,
            Err(code) => return code,
        };
        let report = translate(&crate::protection(), size);
        // SAFETY: writable for the size that it carries by the caller's contract.
        unsafe { sized::write(protection, size, &report) };
        SNAPRNG_OK
    })
}

fn translate(report: &Protection, size: usize) -> snaprng_protection_t {
    let flag = |set, flag| if set { flag } else { 0 };
    snaprng_protection_t {
        size,
        level: match report.level() {
            Level::PerCall => SNAPRNG_LEVEL_PER_CALL,
            Level::Accepted => SNAPRNG_LEVEL_ACCEPTED,
            Level::ProcessOnly => SNAPRNG_LEVEL_PROCESS_ONLY,
            Level::Synchronous => SNAPRNG_LEVEL_SYNCHRONOUS,
        },
        flags: flag(report.is_stand_in(), SNAPRNG_IS_STAND_IN)
            | flag(report.is_settled(), SNAPRNG_IS_SETTLED)
            | flag(!report.diversity().is_none(), SNAPRNG_IS_DIVERSE)
            | flag(report.fork_safety() != ForkSafety::ProcessId, SNAPRNG_SEES_FORKS)
            | flag(report.restore_safety() == RestoreSafety::DroppedPage, SNAPRNG_SEES_RESTORES),
        error: report.error().map_or(SNAPRNG_OK, code),
        witnesses: report.witnesses().len() as u32,
        rekeys: report.rekeys(),
        absorbs: report.absorbs(),
        epoch_changes: report.epoch_changes(),
    }
}

/// In the order of the report.
const NAMES: [&CStr; 4] = [c"vmclock", c"sysgenid", c"agent page", c"process"];

/// The name of a witness.
///
/// index: from 0 to below the number of witnesses.
///
/// Returns: a string that is never freed; NULL for an index that is none.
/// Threads, signals, forks: safe anywhere.
#[unsafe(no_mangle)]
pub extern "C" fn snaprng_witness_name(index: u32) -> *const c_char {
    NAMES.get(index as usize).map_or(core::ptr::null(), |name| name.as_ptr())
}

/// The state of a witness now.
///
/// index: from 0 to below the number of witnesses.
///
/// Returns: SNAPRNG_WITNESS_ABSENT and so on; SNAPRNG_EINVAL for an index that is none.
/// Threads: any. Signals: not in handlers (allocates). Forks: safe.
#[unsafe(no_mangle)]
pub extern "C" fn snaprng_witness_state(index: u32) -> c_int {
    guarded(|| match witness(index).map(|witness| witness.state) {
        None => SNAPRNG_EINVAL,
        Some(WitnessState::Absent) => SNAPRNG_WITNESS_ABSENT,
        Some(WitnessState::Active) => SNAPRNG_WITNESS_ACTIVE,
        Some(WitnessState::StandIn) => SNAPRNG_WITNESS_STAND_IN,
        Some(WitnessState::Unusable) => SNAPRNG_WITNESS_UNUSABLE,
        Some(WitnessState::Off) => SNAPRNG_WITNESS_OFF,
    })
}

/// Why a witness is not in use, or is weaker than it could be: an English phrase, empty if there is
/// nothing to say.
///
/// index: from 0 to below the number of witnesses.
/// buf: where the text goes, ended with NUL and cut if it is too long; may be NULL if len is 0.
/// len: the size of buf.
///
/// Returns: the length of the whole text without the NUL, as snprintf does; or a negative code.
/// Threads: any. Signals: not in handlers (allocates). Forks: safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_witness_cause(index: u32, buf: *mut c_char, len: usize) -> c_int {
    guarded(|| {
        let Some(witness) = witness(index) else { return SNAPRNG_EINVAL };
        let text = witness.cause.map_or_else(String::new, |cause| cause.to_string());
        // SAFETY: the caller's contract.
        unsafe { print(&text, buf, len) }
    })
}

/// A witness as it is now, in the order of the report but without one: asking rekeys no generator.
fn witness(index: u32) -> Option<Inspected> {
    // Where nothing could be installed, that is what the witnesses' states say.
    let _ = crate::config::ensure_installed();
    world::inspect().into_iter().nth(index as usize)
}

/// The report for an operator, over several lines, that ends with what to do next.
///
/// buf: where the text goes, ended with NUL and cut if it is too long; may be NULL if len is 0.
/// len: the size of buf.
///
/// Returns: the length of the whole text without the NUL, as snprintf does; or a negative code.
/// Threads: any. Signals: not in handlers (allocates). Forks: safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snaprng_protection_string(buf: *mut c_char, len: usize) -> c_int {
    guarded(|| {
        let text = crate::protection().to_string();
        // SAFETY: the caller's contract.
        unsafe { print(&text, buf, len) }
    })
}

/// As snprintf: cuts, ends with NUL, counts the whole.
///
/// # Safety
/// `buf` is writable for `len` bytes.
unsafe fn print(text: &str, buf: *mut c_char, len: usize) -> c_int {
    // SAFETY: the caller's contract.
    let out = match unsafe { super::buffer(buf.cast(), len) } {
        Ok(out) => out,
        Err(code) => return code,
    };
    if let Some(room) = out.len().checked_sub(1) {
        let kept = room.min(text.len());
        out[..kept].copy_from_slice(&text.as_bytes()[..kept]);
        out[kept] = 0;
    }
    c_int::try_from(text.len()).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn witnesses_have_the_names_of_the_report() {
        let report = crate::protection();
        let names: Vec<_> = report.witnesses().iter().map(|witness| witness.name()).collect();
        assert_eq!(names, NAMES.map(|name| name.to_str().unwrap()));
    }

    #[test]
    fn text_is_cut_and_counted_as_snprintf_does() {
        let print_into = |room: usize| {
            let mut buf = [0xff_u8; 8];
            // SAFETY: `room` is at most the length of `buf`.
            let length = unsafe { print("level", buf.as_mut_ptr().cast(), room) };
            assert_eq!(length, 5);
            buf
        };
        assert_eq!(print_into(0), [0xff; 8]);
        assert_eq!(print_into(1), *b"\0\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!(print_into(5), *b"leve\0\xff\xff\xff");
        assert_eq!(print_into(6), *b"level\0\xff\xff");
        assert_eq!(print_into(8), *b"level\0\xff\xff");
        // SAFETY: null with a length of 0 is allowed, and with another it is refused.
        assert_eq!(unsafe { print("level", core::ptr::null_mut(), 0) }, 5);
        // SAFETY: as above.
        assert_eq!(unsafe { print("level", core::ptr::null_mut(), 1) }, SNAPRNG_EINVAL);
    }
}
