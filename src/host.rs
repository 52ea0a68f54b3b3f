//! For VMM authors, agents and tests: writers of a vmclock page and of the agent page.
//!
//! What a hypervisor does to a `vmclock` page when it resumes a clone, and what an agent does to the
//! agent page after that. Readers are everywhere else in this crate.
//!
//! ABI: `include/uapi/linux/vmclock-abi.h` (Linux 7.0). A page made here has a counter and no
//! clock: `counter_id` is invalid, and no time field is ever valid.
#![allow(unsafe_code, reason = "writes shared memory through raw pointers")]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{AtFlags, CWD, MemfdFlags, Mode, OFlags, SealFlags};

use crate::world::vmclock::abi;

/// Bytes of either page.
pub const PAGE_BYTES: usize = 4096;

/// Who may read the page, and who may write it.
const PAGE_MODE: Mode = Mode::from_raw_mode(0o644);

/// `counter_id` of a page without a clock (`VMCLOCK_COUNTER_INVALID`).
const COUNTER_ID_INVALID: u8 = 0xff;

/// Memory that holds a page.
enum Memory {
    Mapped { map: MmapRaw, file: OwnedFd },
    Foreign(NonNull<u8>),
}

impl Memory {
    fn map(file: OwnedFd) -> io::Result<Self> {
        let map = MmapOptions::new().len(PAGE_BYTES).map_raw(file.as_raw_fd())?;
        Ok(Self::Mapped { map, file })
    }

    fn base(&self) -> *mut u8 {
        match self {
            Self::Mapped { map, .. } => map.as_mut_ptr(),
            Self::Foreign(pointer) => pointer.as_ptr(),
        }
    }

    fn u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= PAGE_BYTES);
        // SAFETY: in bounds by the assertion.
        let word = unsafe { self.base().add(offset) }.cast::<u32>();
        // SAFETY: the page is aligned, writable and lives as long as `self`; others, who may be in
        // another process or machine, access it word by word too.
        unsafe { AtomicU32::from_ptr(word) }
    }

    fn u64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= PAGE_BYTES);
        // SAFETY: in bounds by the assertion.
        let word = unsafe { self.base().add(offset) }.cast::<u64>();
        // SAFETY: as in `u32`.
        unsafe { AtomicU64::from_ptr(word) }
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Mapped { file, .. } => Some(file.as_fd()),
            Self::Foreign(_) => None,
        }
    }
}

/// The writer of a vmclock page.
///
/// Every update follows the page's protocol: `seq_count` odd, the fields, `seq_count` even. One
/// writer at a time: two of them for one page are the caller's to keep apart.
///
/// ```
/// use snaprng::host::VmClockPage;
///
/// let mut page = VmClockPage::memfd()?;
/// // A hypervisor does this while no vCPU of the clone runs yet:
/// page.advance_counter();
/// assert_eq!(page.counter(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct VmClockPage {
    memory: Memory,
}

// SAFETY: all access is atomic, and writes need `&mut self`.
unsafe impl Send for VmClockPage {}
// SAFETY: as above.
unsafe impl Sync for VmClockPage {}

impl VmClockPage {
    /// A new page in a memfd that cannot shrink, to be handed to readers as a descriptor
    /// ([`VmClock::Fd`](crate::VmClock::Fd)): a stand-in for tests and demonstrations.
    ///
    /// The counter is present and 0, like the marker. The descriptor is not inherited by `exec`.
    ///
    /// # Errors
    /// Whatever the kernel answers.
    pub fn memfd() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create(c"vmclock", flags)?;
        rustix::fs::ftruncate(&file, PAGE_BYTES as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        let mut page = Self { memory: Memory::map(file)? };
        page.write_header();
        Ok(page)
    }

    /// A new page in a file, complete before it can be found under `path`. It must be on a tmpfs,
    /// or readers refuse it.
    ///
    /// # Errors
    /// Whatever the kernel answers; there must be no file at `path` yet.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = unnamed_file(path.as_ref())?;
        let mut page = Self { memory: Memory::map(file)? };
        page.write_header();
        name_file(&page.memory, path.as_ref())?;
        Ok(page)
    }

    /// The page in an existing file, as it is.
    ///
    /// # Errors
    /// Whatever the kernel answers; `InvalidData` for a file that is no vmclock page.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let page = Self { memory: Memory::map(existing_file(path.as_ref())?)? };
        if u32::from_le(page.memory.u32(abi::MAGIC_OFFSET).load(Ordering::Relaxed)) != abi::MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a vmclock page"));
        }
        Ok(page)
    }

    /// A page in memory of the caller, for a VMM: the guest's page. Writes the header.
    ///
    /// # Safety
    /// `base` points to [`PAGE_BYTES`] bytes, aligned to 8, that stay writable for as long as the
    /// value lives, and that nobody accesses in any other way than atomically (a running guest's
    /// accesses are such).
    pub unsafe fn new_in(base: NonNull<u8>) -> Self {
        let mut page = Self { memory: Memory::Foreign(base) };
        page.write_header();
        page
    }

    /// A page in memory of the caller, as it is: a restored guest's.
    ///
    /// # Safety
    /// As [`new_in`](Self::new_in).
    pub unsafe fn existing_in(base: NonNull<u8>) -> Self {
        Self { memory: Memory::Foreign(base) }
    }

    fn write_header(&mut self) {
        let memory = &self.memory;
        memory.u64(abi::FLAGS_OFFSET).store(abi::COUNTER_PRESENT.to_le(), Ordering::Relaxed);
        memory.u32(abi::SIZE_OFFSET).store((PAGE_BYTES as u32).to_le(), Ordering::Relaxed);
        let version = u32::from(abi::VERSION) | u32::from(COUNTER_ID_INVALID) << 16;
        memory.u32(abi::VERSION_OFFSET).store(version.to_le(), Ordering::Relaxed);
        // Last: a reader that finds the magic finds the rest.
        memory.u32(abi::MAGIC_OFFSET).store(abi::MAGIC.to_le(), Ordering::Release);
    }

    /// The VM generation counter.
    pub fn counter(&self) -> u64 {
        u64::from_le(self.memory.u64(abi::COUNTER_OFFSET).load(Ordering::Acquire))
    }

    /// The disruption marker.
    pub fn marker(&self) -> u64 {
        u64::from_le(self.memory.u64(abi::MARKER_OFFSET).load(Ordering::Acquire))
    }

    /// The flags.
    pub fn flags(&self) -> u64 {
        u64::from_le(self.memory.u64(abi::FLAGS_OFFSET).load(Ordering::Acquire))
    }

    /// The sequence count: odd while an update is in progress.
    pub fn seq_count(&self) -> u32 {
        u32::from_le(self.memory.u32(abi::SEQ_COUNT_OFFSET).load(Ordering::Acquire))
    }

    /// Sets the VM generation counter.
    pub fn set_counter(&mut self, counter: u64) {
        self.update(|u| u.counter(counter));
    }

    /// Sets the disruption marker.
    pub fn set_marker(&mut self, marker: u64) {
        self.update(|u| u.marker(marker));
    }

    /// Sets the flags. Bit 8 (0x100) says that the counter is present.
    pub fn set_flags(&mut self, flags: u64) {
        self.update(|u| u.flags(flags));
    }

    /// Moves the counter on by one, as Firecracker does when it loads a snapshot, and returns it.
    pub fn advance_counter(&mut self) -> u64 {
        let next = self.counter().wrapping_add(1);
        self.set_counter(next);
        next
    }

    /// Changes several fields in one update.
    pub fn update(&mut self, change: impl FnOnce(&mut Update<'_>)) {
        let seq_count = self.memory.u32(abi::SEQ_COUNT_OFFSET);
        // Odd, whether or not an earlier writer died in the middle.
        let odd = u32::from_le(seq_count.load(Ordering::Relaxed)) | 1;
        seq_count.store(odd.to_le(), Ordering::Relaxed);
        // Whoever sees a field of this update sees the odd count.
        fence(Ordering::Release);
        change(&mut Update { memory: &self.memory });
        seq_count.store(odd.wrapping_add(1).to_le(), Ordering::Release);
    }

    /// Another descriptor of the page's file, for a reader.
    ///
    /// # Errors
    /// Whatever the kernel answers; `Unsupported` for a page in memory of the caller.
    pub fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        let file = self.memory.file().ok_or(io::ErrorKind::Unsupported)?;
        file.try_clone_to_owned()
    }
}

impl core::fmt::Debug for VmClockPage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VmClockPage")
            .field("counter", &self.counter())
            .field("marker", &self.marker())
            .field("flags", &format_args!("{:#x}", self.flags()))
            .field("seq_count", &self.seq_count())
            .finish()
    }
}

/// The fields that one update changes.
#[derive(Debug)]
pub struct Update<'a> {
    memory: &'a Memory,
}

impl core::fmt::Debug for Memory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Memory { .. }")
    }
}

impl Update<'_> {
    /// Sets the VM generation counter.
    pub fn counter(&mut self, counter: u64) {
        self.memory.u64(abi::COUNTER_OFFSET).store(counter.to_le(), Ordering::Relaxed);
    }

    /// Sets the disruption marker.
    pub fn marker(&mut self, marker: u64) {
        self.memory.u64(abi::MARKER_OFFSET).store(marker.to_le(), Ordering::Relaxed);
    }

    /// Sets the flags.
    pub fn flags(&mut self, flags: u64) {
        self.memory.u64(abi::FLAGS_OFFSET).store(flags.to_le(), Ordering::Relaxed);
    }
}

/// The writer of the agent page.
///
/// The page must never be truncated, unlinked or renamed while readers may have it mapped: keep it
/// over restarts of the agent, and [`open`](Self::open) it again. Truncated, it kills them (SIGBUS);
/// under another name, they go on looking at a page that nobody writes.
pub struct AgentPage {
    memory: Memory,
}

// SAFETY: all access is atomic.
unsafe impl Send for AgentPage {}
// SAFETY: as above.
unsafe impl Sync for AgentPage {}

impl AgentPage {
    /// A new page in a file, complete before it can be found under `path`. It must be on a tmpfs,
    /// or readers refuse it.
    ///
    /// # Errors
    /// Whatever the kernel answers; there must be no file at `path` yet.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let page = Self { memory: Memory::map(unnamed_file(path.as_ref())?)? };
        // 0 is what a reader without a page reads.
        page.memory.u64(0).store(1, Ordering::Release);
        name_file(&page.memory, path.as_ref())?;
        Ok(page)
    }

    /// The page in an existing file, as it is.
    ///
    /// # Errors
    /// Whatever the kernel answers; `InvalidData` for a file that is too small.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { memory: Memory::map(existing_file(path.as_ref())?)? })
    }

    /// The generation.
    pub fn generation(&self) -> u64 {
        self.memory.u64(0).load(Ordering::Acquire)
    }

    /// Moves the generation on by one, and returns it. Safe with several writers.
    pub fn advance(&self) -> u64 {
        self.memory.u64(0).fetch_add(1, Ordering::AcqRel).wrapping_add(1)
    }
}

impl core::fmt::Debug for AgentPage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AgentPage").field("generation", &self.generation()).finish()
    }
}

/// A file of full size in the directory of `path`, without a name yet.
fn unnamed_file(path: &Path) -> io::Result<OwnedFd> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, directory, flags, PAGE_MODE)?;
    // Whatever the umask says: a reader that cannot open the page has no witness.
    rustix::fs::fchmod(&file, PAGE_MODE)?;
    rustix::fs::ftruncate(&file, PAGE_BYTES as u64)?;
    Ok(file)
}

/// Gives an unnamed file its name, unless that is taken.
fn name_file(memory: &Memory, path: &Path) -> io::Result<()> {
    let file = memory.file().ok_or(io::ErrorKind::Unsupported)?;
    let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, itself, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

fn existing_file(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    if rustix::fs::fstat(&file)?.st_size < PAGE_BYTES as i64 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "smaller than a page of 4096 bytes",
        ));
    }
    Ok(file)
}
