//! What fuzz targets do with witnesses: see [`fuzzing`](crate::fuzzing).

use core::ffi::CStr;
use std::os::fd::OwnedFd;

use super::{
    Cause, SystemWorld, WitnessState, Words, World, agent_page, process, sysgenid, vmclock,
};

/// Whether these bytes are a vmclock page with a counter, or why not; `None` if there are too
/// few of them for a header.
pub fn validate_vmclock_page(bytes: &[u8]) -> Option<Result<bool, Cause>> {
    vmclock::Header::parse(bytes).map(|header| header.validate())
}

/// Installs the vmclock page behind a descriptor.
pub fn install_vmclock(fd: OwnedFd) -> Result<WitnessState, Cause> {
    vmclock::install(vmclock::From::Descriptor(fd))
}

/// Counter and marker of the installed page, as a look reads them.
pub fn look_at_vmclock() -> (u64, u64) {
    (vmclock::counter(), vmclock::marker())
}

/// Whether these are still counter and marker.
pub fn vmclock_is_still(counter: u64, marker: u64) -> bool {
    SystemWorld.unmoved(&Words { process: process::word(), counter, marker })
}

/// Whether the installed page is one with a counter, as a rekey asks.
pub fn validate_installed_vmclock() -> Result<bool, Cause> {
    vmclock::validate()
}

/// Where the vmclock page is.
pub fn vmclock_page() -> usize {
    vmclock::page().as_ptr().addr()
}

/// Installs sysgenid from a path, which the embedder named or not.
pub fn install_sysgenid(path: &CStr, explicit: bool) -> Result<WitnessState, Cause> {
    sysgenid::install(path, explicit)
}

/// The installed sysgenid's counter.
pub fn look_at_sysgenid() -> u64 {
    sysgenid::generation()
}

/// Installs the agent page.
pub fn install_agent_page(path: &CStr) -> Result<WitnessState, Cause> {
    agent_page::install(path)
}

/// The installed agent page's generation.
pub fn look_at_agent_page() -> u64 {
    agent_page::generation()
}
