//! `sysgenid`: a 32-bit system generation counter of Amazon's kernels. A late witness.
//!
//! ABI: `drivers/misc/sysgenid.c` of the Amazon Linux kernels (5.10 to 6.18): a misc device whose
//! first page can be mapped shared and read-only; its first four bytes are a native-endian u32
//! that starts at 0 and only grows. It is moved by a driver or a daemon *after* the machine runs
//! again, so it can only add reasons to rekey.

use core::ffi::CStr;
use core::sync::atomic::Ordering;

use std::os::fd::AsFd;

use super::page::{Mapping, Page};
use super::{Cause, WitnessState, trusted_file};

static PAGE: Page = Page::new();

pub(super) const DEFAULT_PATH: &CStr = c"/dev/sysgenid";

/// The counter; 0 where there is none.
#[inline]
pub(super) fn generation() -> u64 {
    u64::from(PAGE.first_half_word().load(Ordering::Acquire))
}

/// Maps the device, or (only where the embedder named it) a stand-in file that obeys the rules.
pub(super) fn install(path: &CStr, explicit: bool) -> Result<WitnessState, Cause> {
    let mut fd = trusted_file::open_no_follow(path)?;
    let device = trusted_file::is_misc_device(fd.as_fd())?;
    if !device {
        if !explicit {
            return Err(Cause::NotADevice);
        }
        fd = trusted_file::open(path)?;
    }
    Mapping::of_file(fd.as_fd())?.move_over(&PAGE)?;
    Ok(if device { WitnessState::Active } else { WitnessState::StandIn })
}
