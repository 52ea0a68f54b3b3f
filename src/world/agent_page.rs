//! The agent page: a generation word that an agent inside the machine moves. A late witness.
//!
//! `/run/snapsafe/generation`: a 4 KiB file on a tmpfs whose first eight bytes are a native-endian
//! u64; the writer stores old + 1 per event, in place. It is written after the machine runs again,
//! so it can only add reasons to rekey. Which files are trusted is said in [`trusted_file`].

use core::ffi::CStr;
use core::sync::atomic::Ordering;
use std::os::fd::AsFd;

use super::page::{Mapping, Page};
use super::{Cause, WitnessState, trusted_file};

static PAGE: Page = Page::new();

pub(super) const DEFAULT_PATH: &CStr = c"/run/snapsafe/generation";

/// The generation; 0 where there is no agent page.
#[inline]
pub(super) fn generation() -> u64 {
    PAGE.word::<0>().load(Ordering::Acquire)
}

pub(super) fn install(path: &CStr) -> Result<WitnessState, Cause> {
    let fd = trusted_file::open(path)?;
    Mapping::of_file(fd.as_fd())?.move_over(&PAGE)?;
    Ok(WitnessState::Active)
}
