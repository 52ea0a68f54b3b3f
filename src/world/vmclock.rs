//! `vmclock`: the VM generation counter and the disruption marker that a hypervisor writes before
//! any vCPU of a clone runs. The only synchronous witness of a VM clone.
//!
//! ABI: `include/uapi/linux/vmclock-abi.h` (Linux 7.0; the fields used here are the same in
//! Firecracker 1.15 and QEMU 11). Little-endian on every architecture. The text of UAPI.13 v1.0
//! has the counter at a wrong offset and its flag at a wrong bit; the header is right.
//!
//! Both words are always watched: QEMU has no counter, and a hypervisor that moves only the marker
//! still tells something. Whether the *counter* is there decides the protection level, and is read
//! again at each rekey, since a machine may be restored on a hypervisor that has none.
//!
//! A single aligned 64-bit load cannot tear, and a change is all that is looked for, so
//! the page's `seq_count` is not needed to read it.

use core::ffi::CStr;
use core::sync::atomic::Ordering;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, SealFlags};

use super::page::{Mapping, Page, SOURCE_BYTES, WATCHED, Watched};
use super::trusted_file::{self, is_misc_device};
use super::{Cause, WitnessState};

#[inline(always)]
pub(super) fn page() -> &'static Page {
    &WATCHED.vmclock
}

/// Where the words that are looked at around every output are in [`WATCHED`].
pub(super) const COUNTER_AT: usize = Watched::VMCLOCK + abi::COUNTER_OFFSET;
pub(super) const MARKER_AT: usize = Watched::VMCLOCK + abi::MARKER_OFFSET;

pub(super) const DEFAULT_PATH: &CStr = c"/dev/vmclock0";

/// Offsets and values of the ABI, shared with the writers in [`host`](crate::host).
pub(crate) mod abi {
    /// `magic`, u32: "VCLK".
    pub(crate) const MAGIC_OFFSET: usize = 0x00;
    pub(crate) const MAGIC: u32 = 0x4b4c_4356;
    /// `size`, u32: of the shared region.
    pub(crate) const SIZE_OFFSET: usize = 0x04;
    /// `version`, u16, here with `counter_id` and `time_type` above it.
    pub(crate) const VERSION_OFFSET: usize = 0x08;
    pub(crate) const VERSION: u16 = 1;
    /// `seq_count`, u32: odd while an update is in progress.
    pub(crate) const SEQ_COUNT_OFFSET: usize = 0x0c;
    /// `disruption_marker`, u64.
    pub(crate) const MARKER_OFFSET: usize = 0x10;
    /// `flags`, u64.
    pub(crate) const FLAGS_OFFSET: usize = 0x18;
    /// `VMCLOCK_FLAG_VM_GEN_COUNTER_PRESENT`.
    pub(crate) const COUNTER_PRESENT: u64 = 1 << 8;
    /// `vm_generation_counter`, u64.
    pub(crate) const COUNTER_OFFSET: usize = 0x68;
    /// The smallest `size` that has the counter: `sizeof(struct vmclock_abi)`.
    pub(crate) const SIZE_WITH_COUNTER: u32 = 0x70;
}

/// The words of a page that say what the others are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) magic: u32,
    pub(crate) size: u32,
    pub(crate) version: u16,
    pub(crate) flags: u64,
}

impl Header {
    /// The header of a page's bytes; `None` if they are too few.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
            bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
        }
        Some(Self {
            magic: u32::from_le_bytes(at(bytes, abi::MAGIC_OFFSET)?),
            size: u32::from_le_bytes(at(bytes, abi::SIZE_OFFSET)?),
            version: u16::from_le_bytes(at(bytes, abi::VERSION_OFFSET)?),
            flags: u64::from_le_bytes(at(bytes, abi::FLAGS_OFFSET)?),
        })
    }

    /// That of the words at its offsets: `magic` and `size`, `version` and what is above it, `flags`.
    fn of_words(identity: u64, version: u64, flags: u64) -> Self {
        let identity = u64::from_le(identity);
        Self {
            magic: identity as u32,
            size: (identity >> 32) as u32,
            version: u64::from_le(version) as u16,
            flags: u64::from_le(flags),
        }
    }

    /// Whether this is a vmclock page that can be watched, and whether it has the counter.
    pub(crate) fn validate(&self) -> Result<bool, Cause> {
        if self.magic != abi::MAGIC {
            return Err(Cause::BadMagic(self.magic));
        }
        if self.version != abi::VERSION {
            return Err(Cause::BadVersion(self.version.into()));
        }
        if self.size < abi::SIZE_WITH_COUNTER {
            return Err(Cause::TooSmall(self.size));
        }
        Ok(self.flags & abi::COUNTER_PRESENT != 0)
    }
}

/// The VM generation counter; 0 where there is no vmclock (and a legal live value).
///
/// Relaxed: the hypervisor writes it while no vCPU runs, so no other memory access of the guest
/// can be ordered against the write.
#[inline(always)]
pub(super) fn counter() -> u64 {
    page().word::<{ abi::COUNTER_OFFSET / 8 }>().load(Ordering::Relaxed)
}

/// The disruption marker; 0 where there is no vmclock.
#[inline(always)]
pub(super) fn marker() -> u64 {
    page().word::<{ abi::MARKER_OFFSET / 8 }>().load(Ordering::Relaxed)
}

/// Validates the mapped header again.
pub(super) fn validate() -> Result<bool, Cause> {
    let identity = page().word::<{ abi::MAGIC_OFFSET / 8 }>().load(Ordering::Relaxed);
    let version = page().word::<{ abi::VERSION_OFFSET / 8 }>().load(Ordering::Relaxed);
    let flags = page().word::<{ abi::FLAGS_OFFSET / 8 }>().load(Ordering::Relaxed);
    Header::of_words(identity, version, flags).validate()
}

/// Where the page comes from.
pub(crate) enum From<'a> {
    /// The device at its usual path.
    Default,
    /// A path that the embedder named: the device, or a stand-in file that obeys the rules.
    Path(&'a CStr),
    /// An open descriptor: of the device, or of a sealed memfd as a stand-in.
    Descriptor(OwnedFd),
}

pub(super) fn install(from: From<'_>) -> Result<WitnessState, Cause> {
    let (fd, state) = open(from)?;
    let mapping = Mapping::of_file(fd.as_fd())?;
    header_of(&mapping).validate()?;
    mapping.move_over(page())?;
    Ok(state)
}

fn header_of(mapping: &Mapping) -> Header {
    let [identity, version, flags] =
        [abi::MAGIC_OFFSET, abi::VERSION_OFFSET, abi::FLAGS_OFFSET].map(|at| mapping.read(at));
    Header::of_words(identity, version, flags)
}

fn open(from: From<'_>) -> Result<(OwnedFd, WitnessState), Cause> {
    match from {
        From::Default => {
            let fd = trusted_file::open_no_follow(DEFAULT_PATH)?;
            if is_misc_device(fd.as_fd())? {
                Ok((fd, WitnessState::Active))
            } else {
                Err(Cause::NotADevice)
            }
        }
        From::Path(path) => {
            let fd = trusted_file::open_no_follow(path)?;
            if is_misc_device(fd.as_fd())? {
                return Ok((fd, WitnessState::Active));
            }
            Ok((trusted_file::open(path)?, WitnessState::StandIn))
        }
        From::Descriptor(fd) => {
            if is_misc_device(fd.as_fd())? {
                return Ok((fd, WitnessState::Active));
            }
            check_memfd(&fd)?;
            Ok((fd, WitnessState::StandIn))
        }
    }
}

/// A descriptor says nothing of the directories above a file, so only memory that nobody can
/// shrink is taken: SIGBUS is then impossible.
fn check_memfd(fd: &OwnedFd) -> Result<(), Cause> {
    let stat = trusted_file::stat(fd.as_fd())?;
    if trusted_file::file_type(&stat) != FileType::RegularFile {
        return Err(Cause::NotAFile);
    }
    let seals = rustix::fs::fcntl_get_seals(fd).map_err(|_| Cause::NotSealed)?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(Cause::NotSealed);
    }
    if stat.st_size < SOURCE_BYTES as i64 {
        return Err(Cause::TooSmall(u32::try_from(stat.st_size).unwrap_or(0)));
    }
    trusted_file::check_filesystem(fd.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(magic: u32, size: u32, version: u16, flags: u64) -> Vec<u8> {
        let mut bytes = vec![0; SOURCE_BYTES];
        bytes[..4].copy_from_slice(&magic.to_le_bytes());
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        bytes[8..10].copy_from_slice(&version.to_le_bytes());
        bytes[0x18..0x20].copy_from_slice(&flags.to_le_bytes());
        bytes
    }

    fn verdict(bytes: &[u8]) -> Result<bool, Cause> {
        Header::parse(bytes).ok_or(Cause::TooSmall(bytes.len() as u32))?.validate()
    }

    #[test]
    fn a_firecracker_page_has_the_counter_and_a_qemu_page_has_not() {
        assert_eq!(verdict(&page(abi::MAGIC, 4096, 1, 0x300)), Ok(true));
        assert_eq!(verdict(&page(abi::MAGIC, 4096, 1, 0)), Ok(false));
    }

    #[test]
    fn bit_7_of_the_misprinted_specification_is_not_the_counter_flag() {
        assert_eq!(verdict(&page(abi::MAGIC, 4096, 1, 0x80)), Ok(false));
        assert_eq!(verdict(&page(abi::MAGIC, 4096, 1, 0x200)), Ok(false));
    }

    #[test]
    fn malformed_pages_are_refused_with_their_cause() {
        assert_eq!(verdict(&page(0, 4096, 1, 0x100)), Err(Cause::BadMagic(0)));
        assert_eq!(verdict(&page(abi::MAGIC, 4096, 2, 0x100)), Err(Cause::BadVersion(2)));
        assert_eq!(verdict(&page(abi::MAGIC, 0x6f, 1, 0x100)), Err(Cause::TooSmall(0x6f)));
        assert_eq!(verdict(&page(abi::MAGIC, 0x70, 1, 0x100)), Ok(true));
        assert_eq!(verdict(&[0x56, 0x43, 0x4c, 0x4b]), Err(Cause::TooSmall(4)));
    }

    /// Of memory that is like the page of a device.
    fn mapped(bytes: &[u8]) -> Mapping {
        let fd = rustix::fs::memfd_create(c"page", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(rustix::io::pwrite(&fd, bytes, 0), Ok(bytes.len()));
        Mapping::of_file(fd.as_fd()).unwrap()
    }

    #[test]
    fn a_mapped_header_is_read_as_its_bytes_are() {
        let bytes: Vec<u8> = (0..SOURCE_BYTES).map(|at| (at * 7 + 1) as u8).collect();
        assert_eq!(Some(header_of(&mapped(&bytes))), Header::parse(&bytes));
    }

    proptest! {
        #[test]
        fn only_a_valid_header_with_bit_8_claims_a_counter(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(counter) = verdict(&bytes) {
                prop_assert_eq!(&bytes[..4], b"VCLK");
                prop_assert_eq!(bytes[0x19] & 1 == 1, counter);
            }
        }
    }
}
