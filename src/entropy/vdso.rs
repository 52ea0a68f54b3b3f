//! `getrandom` of the vDSO (Linux 6.11 on x86-64, 6.12 on aarch64): the kernel's generator run in user
//! space, several times quicker than the system call.
//!
//! Its state is as old as the kernel's last reseed, and a machine's clones share it until then: so
//! it serves requests that take CPU bytes as well, never a rekey. The kernel wipes the states in a
//! child; CRIU before 4.2 restores them, which those CPU bytes make harmless too.
//!
//! Sources: `lib/vdso/getrandom.c` and `include/uapi/linux/random.h` of Linux 6.18. A state belongs
//! to one call at a time and must not cross a page. Where others keep one per thread, here a call
//! takes any that is free: no thread has to be known, and a thread that dies leaves none behind. A
//! signal handler finds its thread's state taken and takes another.
#![allow(unsafe_code, reason = "reads the vDSO's image and calls a function in it")]

use core::ffi::{CStr, c_uint, c_void};
use core::ptr::{null_mut, with_exposed_provenance};
use core::sync::atomic::{AtomicPtr, AtomicUsize};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::FULL;
use crate::sync::{self, AtomicBool, Exclusive, Ordering};

#[cfg(target_arch = "aarch64")]
const NAME: &CStr = c"__kernel_getrandom";
#[cfg(not(target_arch = "aarch64"))]
const NAME: &CStr = c"__vdso_getrandom";

type GetRandom = unsafe extern "C" fn(*mut c_void, usize, c_uint, *mut c_void, usize) -> isize;

/// `struct vgetrandom_opaque_params`.
#[repr(C)]
#[derive(Default)]
struct Parameters {
    state_bytes: u32,
    protection: u32,
    flags: u32,
    reserved: [u32; 13],
}

/// States that there are; more calls than that at the same time ask the kernel itself.
const STATES: usize = if cfg!(all(test, loom)) { 2 } else { 32 };

/// Apart from each other, so that two threads do not share a cache line, and on no page's border.
const STRIDE: usize = 256;

/// Bytes on which a state's flag is alone.
#[repr(align(128))]
struct Taken {
    flag: AtomicBool,
    state: Exclusive,
}

impl Taken {
    sync::constructor! {
        fn new() -> Self {
            Self { flag: AtomicBool::new(false), state: Exclusive::new() }
        }
    }
}

sync::statics! {
    static TAKEN: [Taken; STATES] = sync::array![Taken::new(); STATES];
}

/// The function, the states, and the size of one. Stored in this order; null where there is none.
static FUNCTION: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static STATE_BYTES: AtomicUsize = AtomicUsize::new(0);
static MEMORY: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// Looks for the function and maps the states: once, at install. Neither allocates nor panics.
pub(super) fn prepare() {
    let Some(address) = image().and_then(|image| address_of(image, NAME)) else { return };
    let mut parameters = Parameters::default();
    // SAFETY: the kernel exports a function of this type under this name.
    let function = unsafe { core::mem::transmute::<*const u8, GetRandom>(address) };
    let asked = (&raw mut parameters).cast();
    // SAFETY: an opaque length of all ones asks for the parameters, which go to the state pointer.
    let answer = unsafe { function(null_mut(), 0, 0, asked, usize::MAX) };
    let size = parameters.state_bytes as usize;
    if !fits(answer, size) {
        return;
    }
    let protection = ProtFlags::from_bits_retain(parameters.protection);
    let flags = MapFlags::from_bits_retain(parameters.flags);
    // SAFETY: a new mapping at an address that the kernel chooses. It adds MAP_ANONYMOUS itself.
    let memory = unsafe { mmap_anonymous(null_mut(), STATES * STRIDE, protection, flags) };
    let Ok(memory) = memory else { return };
    FUNCTION.store(address.cast_mut().cast(), Ordering::Relaxed);
    STATE_BYTES.store(size, Ordering::Relaxed);
    MEMORY.store(memory, Ordering::Release);
}

/// Whether the kernel has answered, and a state of this size has its place.
fn fits(answer: isize, state_bytes: usize) -> bool {
    answer == 0 && (1..=STRIDE).contains(&state_bytes)
}

/// Where a state is.
fn state(memory: *mut c_void, index: usize) -> *mut c_void {
    memory.wrapping_byte_add(index * STRIDE)
}

/// Fills `out`; false, with anything in it, if that is not to be had.
#[inline(never)]
pub(super) fn fill(out: &mut [u8; FULL]) -> bool {
    let memory = MEMORY.load(Ordering::Acquire);
    if memory.is_null() {
        return false;
    }
    let Some(index) = take() else { return false };
    let state = state(memory, index);
    let function = FUNCTION.load(Ordering::Relaxed);
    // SAFETY: stored before `MEMORY`, and not null; the kernel's function has this type.
    let function = unsafe { core::mem::transmute::<*mut c_void, GetRandom>(function) };
    let size = STATE_BYTES.load(Ordering::Relaxed);
    // SAFETY: `out` may be written for its length; the state is in the mapping that the kernel asked
    // for, crosses no page, has the size that it gave, and is this call's alone: it is taken.
    let filled = unsafe { function(out.as_mut_ptr().cast(), FULL, 0, state, size) };
    give_back(index);
    filled == FULL as isize
}

/// A free state, beginning at one that other threads do not begin at.
fn take() -> Option<usize> {
    let somewhere = 0u8;
    // Stacks are apart from each other by more than their guard pages.
    // (A model must do the same each time.)
    let begin = if cfg!(all(test, loom)) { 0 } else { (&raw const somewhere).addr() >> 16 };
    (0..STATES).map(|i| (begin + i) % STATES).find(|&index| {
        TAKEN.get(index).is_some_and(|taken| {
            let free = !taken.flag.load(Ordering::Relaxed);
            let won = free && !taken.flag.swap(true, Ordering::Acquire);
            if won {
                taken.state.is_mine();
            }
            won
        })
    })
}

fn give_back(index: usize) {
    if let Some(taken) = TAKEN.get(index) {
        taken.flag.store(false, Ordering::Release);
    }
}

/// The vDSO of this process, as far as its program headers say that it is loaded.
fn image() -> Option<&'static [u8]> {
    const FIRST_PAGE: usize = 4096;
    // SAFETY: getauxval only reads a static of libc.
    let begin = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
    if begin == 0 {
        return None;
    }
    let begin = with_exposed_provenance::<u8>(begin);
    // SAFETY: the kernel maps the vDSO there, readable and at least a page of it, for the life of the
    // process, and nobody writes to it.
    let first = unsafe { core::slice::from_raw_parts(begin, FIRST_PAGE) };
    let length = elf::loaded_length(first)?;
    // SAFETY: as above, as long as its own headers say.
    Some(unsafe { core::slice::from_raw_parts(begin, length) })
}

/// Where the function of this name is in the image.
fn address_of(image: &[u8], name: &CStr) -> Option<*const u8> {
    let offset = elf::symbol(image, name)?;
    Some(image.get(offset..)?.as_ptr())
}

/// As much of ELF as a vDSO takes (System V gABI): 64 bits, of this machine's byte order, with
/// addresses that are offsets. Everything read is bounded by the image.
mod elf {
    use core::ffi::CStr;

    const LOAD: u32 = 1;
    const DYNAMIC: u32 = 2;

    const HASH: u64 = 4;
    const STRINGS: u64 = 5;
    const SYMBOLS: u64 = 6;
    const GNU_HASH: u64 = 0x6fff_fef5;

    /// Up to where the file is loaded.
    pub(super) fn loaded_length(image: &[u8]) -> Option<usize> {
        let ends = segments(image, LOAD)
            .map(|segment| size_at(image, segment + 8)?.checked_add(size_at(image, segment + 32)?));
        ends.max().flatten()
    }

    /// The value of a defined symbol.
    pub(super) fn symbol(image: &[u8], name: &CStr) -> Option<usize> {
        let (symbols, strings) = (dynamic(image, SYMBOLS)?, dynamic(image, STRINGS)?);
        (0..symbol_count(image)?).find_map(|index| {
            let entry = symbols.checked_add(index.checked_mul(24)?)?;
            let named = image.get(strings.checked_add(u32_at(image, entry)? as usize)?..)?;
            let value = size_at(image, entry + 8)?;
            let is_it = value != 0 && CStr::from_bytes_until_nul(named).ok()? == name;
            is_it.then_some(value)
        })
    }

    /// Offsets of the program headers of one type.
    fn segments(image: &[u8], kind: u32) -> impl Iterator<Item = usize> {
        let is_elf64 = image.starts_with(b"\x7fELF\x02");
        let table = size_at(image, 32).filter(|_| is_elf64).unwrap_or(usize::MAX / 2);
        let (size, count) = (u16_at(image, 54).unwrap_or(0), u16_at(image, 56).unwrap_or(0));
        (0..usize::from(count))
            .map(move |index| table.saturating_add(index * usize::from(size)))
            .filter(move |&segment| u32_at(image, segment) == Some(kind))
    }

    /// The value of an entry of the dynamic section.
    fn dynamic(image: &[u8], tag: u64) -> Option<usize> {
        let table = size_at(image, segments(image, DYNAMIC).next()? + 8)?;
        (table..image.len())
            .step_by(16)
            .take_while(|&at| u64_at(image, at).is_some_and(|found| found != 0))
            .find(|&at| u64_at(image, at) == Some(tag))
            .and_then(|at| size_at(image, at + 8))
    }

    fn symbol_count(image: &[u8]) -> Option<usize> {
        match dynamic(image, HASH) {
            Some(hash) => Some(u32_at(image, hash.checked_add(4)?)? as usize),
            None => symbol_count_of_gnu_hash(image, dynamic(image, GNU_HASH)?),
        }
    }

    /// One more than the last symbol of the last chain.
    fn symbol_count_of_gnu_hash(image: &[u8], hash: usize) -> Option<usize> {
        let word = |index: usize| u32_at(image, hash.checked_add(index.checked_mul(4)?)?);
        let (buckets, first) = (word(0)? as usize, word(1)? as usize);
        let filters = word(2)? as usize;
        let bucket = filters.checked_mul(2)?.checked_add(4)?;
        let chain = bucket.checked_add(buckets)?;
        let last = (0..buckets.min(image.len())).map(|i| word(bucket.checked_add(i)?)).max()??;
        let last = last as usize;
        if last < first {
            return Some(first);
        }
        // The last entry of a chain has its lowest bit set.
        let mut chain = (last - first..image.len()).map(|i| word(chain.checked_add(i)?));
        let more = chain.position(|entry| entry.is_none_or(|hash| hash & 1 == 1))?;
        Some(last + more + 1)
    }

    fn u16_at(image: &[u8], at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(*image.get(at..)?.first_chunk()?))
    }

    fn u32_at(image: &[u8], at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*image.get(at..)?.first_chunk()?))
    }

    fn u64_at(image: &[u8], at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(*image.get(at..)?.first_chunk()?))
    }

    fn size_at(image: &[u8], at: usize) -> Option<usize> {
        usize::try_from(u64_at(image, at)?).ok()
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests;
