//! Static pages that witnesses are mapped over.
//!
//! A page lives in `.bss` and reads zero until a source is moved over it with
//! `mremap(MREMAP_FIXED)`. The source is first mapped somewhere else and validated there: mapping
//! it here directly could fail half-way and leave a hole under an address that is read on every
//! request. Nothing that was installed is ever unmapped, so a look needs no lock and no lifetime.
#![allow(unsafe_code, reason = "moves memory mappings and reads words that the kernel changes")]

use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, AtomicU64};

use rustix::io::Errno;
use rustix::mm::munmap;

use super::Cause;
use crate::errno;

#[cfg(not(all(target_arch = "x86_64", not(any(miri, fuzzing)))))]
mod elsewhere;

/// What the page is aligned to, and its size: at least one page of the machine. 4 KiB on x86;
/// other architectures run kernels with pages of up to 64 KiB.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub(super) const PAGE_BYTES: usize = 4096;
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
pub(super) const PAGE_BYTES: usize = 65536;

/// Bytes of a source that are mapped: one page of 4 KiB, whatever the machine's page size.
pub(super) const SOURCE_BYTES: usize = 4096;

/// A page of words that other processes, the kernel or the hypervisor may change at any time:
/// atomics throughout, which also puts it into writable `.bss`.
#[cfg_attr(any(target_arch = "x86", target_arch = "x86_64"), repr(C, align(4096)))]
#[cfg_attr(not(any(target_arch = "x86", target_arch = "x86_64")), repr(C, align(65536)))]
pub(super) struct Page {
    words: [AtomicU64; PAGE_BYTES / 8],
}

impl Page {
    pub(super) const fn new() -> Self {
        Self { words: [const { AtomicU64::new(0) }; PAGE_BYTES / 8] }
    }

    /// The 64-bit word at byte offset `8 * INDEX`.
    #[inline(always)]
    pub(super) fn word<const INDEX: usize>(&self) -> &AtomicU64 {
        const { assert!(INDEX < SOURCE_BYTES / 8) };
        #[cfg(fuzzing)]
        crate::fuzzing::about_to_read(
            Some(self.as_ptr().addr()),
            size_of_val(&self.words[..INDEX]),
        );
        &self.words[INDEX]
    }

    /// The first 32-bit word.
    #[inline]
    pub(super) fn first_half_word(&self) -> &AtomicU32 {
        let first: *const AtomicU64 = &raw const self.words[0];
        // SAFETY: the pointer is to four valid, aligned bytes of a static that is only ever
        // accessed atomically; pages read by this method are never read by `word`.
        unsafe { &*first.cast::<AtomicU32>() }
    }

    pub(super) fn as_ptr(&self) -> *mut c_void {
        (&raw const self.words).cast_mut().cast()
    }
}

/// The pages that are looked at around every output. One behind the other, so that code which
/// looks needs one address.
#[repr(C)]
pub(super) struct Watched {
    pub(super) process: Page,
    pub(super) vmclock: Page,
}

pub(super) static WATCHED: Watched = Watched { process: Page::new(), vmclock: Page::new() };

impl Watched {
    /// Byte offsets of the pages.
    pub(super) const PROCESS: usize = core::mem::offset_of!(Self, process);
    pub(super) const VMCLOCK: usize = core::mem::offset_of!(Self, vmclock);

    /// Whether the 64-bit words at byte offsets `A`, `B` and `C` are these. Acquire loads.
    ///
    /// On x86-64 three comparisons with memory, which the compiler does not make of atomic loads and
    /// comparisons, and which share one address: around each output it counts. Fuzz targets, which are
    /// told of each read before it is made, get what other CPUs do.
    #[inline(always)]
    pub(super) fn hold<const A: usize, const B: usize, const C: usize>(
        &self,
        [a, b, c]: [u64; 3],
    ) -> bool {
        const { assert!(Self::is_word(A) && Self::is_word(B) && Self::is_word(C)) };
        let words = (&raw const *self).cast::<AtomicU64>();
        #[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
        // SAFETY: reads valid, aligned words of eight bytes, which is atomic, and ordered like
        // Acquire loads (Intel SDM 3A, 9.1.1 and 9.2.2); writes nothing but flags. Not `readonly`,
        // so that the compiler moves no memory access across it.
        unsafe {
            core::arch::asm!(
                "cmp qword ptr [{words} + {at_a}], {a}",
                "jne {other}",
                "cmp qword ptr [{words} + {at_b}], {b}",
                "jne {other}",
                "cmp qword ptr [{words} + {at_c}], {c}",
                "jne {other}",
                words = in(reg) words,
                at_a = const A,
                at_b = const B,
                at_c = const C,
                a = in(reg) a,
                b = in(reg) b,
                c = in(reg) c,
                other = label { return false },
                options(nostack),
            );
            true
        }
        #[cfg(not(all(target_arch = "x86_64", not(any(miri, fuzzing)))))]
        // SAFETY: words of this value, as asserted above.
        unsafe {
            elsewhere::hold(words, [(A, a), (B, b), (C, c)])
        }
    }

    const fn is_word(at: usize) -> bool {
        at.is_multiple_of(8) && at % PAGE_BYTES < SOURCE_BYTES && at < size_of::<Self>()
    }
}

/// The machine's page size, or the cause why it does not fit.
pub(super) fn machine_page() -> Result<usize, Cause> {
    // libc's, which knows it from the start. rustix reads an auxiliary vector that valgrind garbles.
    // SAFETY: takes no pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    if size <= PAGE_BYTES { Ok(size) } else { Err(Cause::PageSize(size as u32)) }
}

/// A mapping of one machine page at an address that the kernel chose.
///
/// Unmapped on drop, unless it was moved over a static page.
pub(super) struct Mapping {
    address: *mut c_void,
    length: usize,
}

impl Mapping {
    /// Takes over a mapping.
    ///
    /// # Safety
    /// `address` and `length` are those of a mapping that nothing else uses or unmaps, readable
    /// for at least [`SOURCE_BYTES`].
    pub(super) unsafe fn from_raw(address: *mut c_void, length: usize) -> Self {
        Self { address, length }
    }

    /// Maps the first page of a file or device, shared and read-only.
    pub(super) fn of_file(fd: std::os::fd::BorrowedFd<'_>) -> Result<Self, Cause> {
        use std::os::fd::AsRawFd;
        let length = machine_page()?;
        let raw =
            memmap2::MmapOptions::new()
                .len(SOURCE_BYTES)
                .map_raw_read_only(fd.as_raw_fd())
                .map_err(|e| Cause::Map(e.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error())))?;
        let address = raw.as_ptr().cast_mut().cast();
        core::mem::forget(raw);
        // SAFETY: the mapping was just made, `forget` has given up its owner, and the kernel rounds
        // a mapping of 4096 bytes up to one page of the machine.
        Ok(unsafe { Self::from_raw(address, length) })
    }

    /// Address and length, for advice on the mapping.
    pub(super) fn range(&self) -> (*mut c_void, usize) {
        (self.address, self.length)
    }

    /// A copy of the 64-bit word at `offset`.
    pub(super) fn read(&self, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8) && offset < SOURCE_BYTES);
        #[cfg(fuzzing)]
        crate::fuzzing::about_to_read(None, offset);
        // SAFETY: in bounds by the assertion; the mapping is readable.
        let word = unsafe { self.address.byte_add(offset) }.cast::<u64>();
        // SAFETY: aligned, since a mapping begins at a page; atomic, since others may write it.
        let word = unsafe { AtomicU64::from_ptr(word) };
        word.load(core::sync::atomic::Ordering::Relaxed)
    }

    /// Moves the mapping over `page`, where it stays for the life of the process.
    ///
    /// By libc itself: rustix, where it goes by libc, passes a flag of `mmap` (seen in 1.1.6),
    /// which the kernel refuses.
    pub(super) fn move_over(self, page: &'static Page) -> Result<(), Cause> {
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: `page` is page-aligned, at least `length` bytes long, and consists of atomics
        // that tolerate a change of value at any time; what is replaced is anonymous memory of
        // this static alone (or an earlier mapping moved here). The kernel swaps the mappings
        // under its address-space lock, so a concurrent look reads the old page or the new one.
        let moved =
            unsafe { libc::mremap(self.address, self.length, self.length, flags, page.as_ptr()) };
        if moved == libc::MAP_FAILED {
            return Err(Cause::Map(errno::last()));
        }
        core::mem::forget(self);
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping and nothing points into it. A failure leaks a page.
        let _ = unsafe { munmap(self.address, self.length) };
    }
}

#[cfg(test)]
mod tests;
