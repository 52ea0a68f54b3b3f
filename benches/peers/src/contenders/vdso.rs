//! `getrandom` of the vDSO (Linux 6.11 on x86-64, 6.12 on aarch64): the kernel's own user-space
//! generator, called as its documentation asks: a state per caller, in memory mapped the way the vDSO
//! says.
//!
//! The function is looked for in the image that the kernel maps into every process; everything but
//! the last step is done on a slice of bytes.

use std::ffi::{CStr, c_uint, c_void};
use std::{fs, ptr, slice};

#[cfg(target_arch = "aarch64")]
const NAME: &CStr = c"__kernel_getrandom";
#[cfg(not(target_arch = "aarch64"))]
const NAME: &CStr = c"__vdso_getrandom";

type GetRandom = unsafe extern "C" fn(*mut c_void, usize, c_uint, *mut c_void, usize) -> isize;

/// `struct vgetrandom_opaque_params` of include/uapi/linux/random.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Parameters {
    state_bytes: u32,
    protection: u32,
    flags: u32,
    reserved: [u32; 13],
}

/// The function, and how it wants its state.
#[derive(Clone, Copy)]
pub(crate) struct Vdso {
    function: GetRandom,
    parameters: Parameters,
}

impl Vdso {
    pub(crate) fn find() -> Result<Self, String> {
        let image = image()?;
        let offset =
            symbol(image, NAME).ok_or("the kernel's vDSO has none (Linux 6.11 and later have)")?;
        let address = image.as_ptr().wrapping_add(offset);
        // SAFETY: the kernel documents the function under this name with these types.
        let function = unsafe { std::mem::transmute::<*const u8, GetRandom>(address) };
        let mut parameters = Parameters::default();
        let state = (&raw mut parameters).cast();
        // SAFETY: an opaque length of all ones asks for the parameters, which are written to the
        // state pointer; nothing else is touched.
        let outcome = unsafe { function(ptr::null_mut(), 0, 0, state, usize::MAX) };
        if outcome != 0 {
            return Err(format!("the vDSO gave no parameters (error {outcome})"));
        }
        Ok(Self { function, parameters })
    }

    /// A state of its own, for one thread at a time.
    pub(crate) fn state(&self) -> Result<State, String> {
        const PAGE: usize = 4096;
        let bytes = self.parameters.state_bytes as usize;
        if bytes > PAGE {
            return Err(format!("a state of {bytes} bytes does not fit a page"));
        }
        // SAFETY: a new mapping at an address that the kernel chooses.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE,
                self.parameters.protection as i32,
                self.parameters.flags as i32,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(format!("mmap: {}", std::io::Error::last_os_error()));
        }
        Ok(State { function: self.function, page, bytes })
    }
}

/// The function with its state, which is not unmapped: the kernel may share its page with nobody.
pub(crate) struct State {
    function: GetRandom,
    page: *mut c_void,
    bytes: usize,
}

impl State {
    #[inline]
    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        // SAFETY: pointer and length are those of a slice that may be written; the state is of the
        // size and mapping that the function asked for, and nobody else uses it (`&mut self`).
        let got = unsafe {
            (self.function)(out.as_mut_ptr().cast(), out.len(), 0, self.page, self.bytes)
        };
        assert_eq!(got, out.len() as isize, "the vDSO was interrupted");
    }
}

/// The vDSO of this process.
fn image() -> Result<&'static [u8], String> {
    let maps =
        fs::read_to_string("/proc/self/maps").map_err(|e| format!("/proc/self/maps: {e}"))?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).ok_or("there is no vDSO")?;
    let range = line.split_whitespace().next().and_then(|range| range.split_once('-'));
    let parsed = range.and_then(|(begin, end)| {
        Some((usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
    });
    let (begin, end) = parsed.ok_or("/proc/self/maps cannot be understood")?;
    // SAFETY: the kernel maps the vDSO there, readable, for the life of the process, and nobody
    // writes to it.
    Ok(unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(begin), end - begin) })
}

/// Where a symbol is in a 64-bit ELF image whose addresses are offsets, as those of a vDSO are.
fn symbol(image: &[u8], name: &CStr) -> Option<usize> {
    let dynamic = Dynamic::of(image)?;
    (0..dynamic.symbols).find_map(|index| {
        let entry = dynamic.symbol_table + index * 24;
        let named = image.get(dynamic.strings + u32_at(image, entry)? as usize..)?;
        let value = usize::try_from(u64_at(image, entry + 8)?).ok()?;
        let is_it = CStr::from_bytes_until_nul(named).ok()? == name && value != 0;
        is_it.then_some(value)
    })
}

/// What the dynamic section tells.
struct Dynamic {
    symbol_table: usize,
    strings: usize,
    symbols: usize,
}

impl Dynamic {
    fn of(image: &[u8]) -> Option<Self> {
        const HASH: u64 = 4;
        const STRINGS: u64 = 5;
        const SYMBOLS: u64 = 6;
        const GNU_HASH: u64 = 0x6fff_fef5;
        let table = dynamic_section(image)?;
        let entry = |tag| {
            (table..image.len())
                .step_by(16)
                .take_while(|at| u64_at(image, *at).is_some_and(|found| found != 0))
                .find(|at| u64_at(image, *at) == Some(tag))
                .and_then(|at| usize::try_from(u64_at(image, at + 8)?).ok())
        };
        let symbols = match entry(HASH) {
            Some(hash) => u32_at(image, hash + 4)? as usize,
            None => symbols_of_gnu_hash(image, entry(GNU_HASH)?)?,
        };
        Some(Self { symbol_table: entry(SYMBOLS)?, strings: entry(STRINGS)?, symbols })
    }
}

/// The offset of the dynamic section, from the program headers.
fn dynamic_section(image: &[u8]) -> Option<usize> {
    const DYNAMIC: u32 = 2;
    let headers = usize::try_from(u64_at(image, 32)?).ok()?;
    let size = u16_at(image, 54)? as usize;
    let count = u16_at(image, 56)? as usize;
    (0..count)
        .map(|index| headers + index * size)
        .find(|header| u32_at(image, *header) == Some(DYNAMIC))
        .and_then(|header| usize::try_from(u64_at(image, header + 8)?).ok())
}

/// How many symbols there are: one more than the last of the longest chain.
fn symbols_of_gnu_hash(image: &[u8], hash: usize) -> Option<usize> {
    let buckets = u32_at(image, hash)? as usize;
    let first = u32_at(image, hash + 4)? as usize;
    let filters = u32_at(image, hash + 8)? as usize;
    let bucket = hash + 16 + filters * 8;
    let chain = bucket + buckets * 4;
    let mut last = (0..buckets).map(|i| u32_at(image, bucket + i * 4)).max()?? as usize;
    if last < first {
        return Some(first);
    }
    // The last entry of a chain has its lowest bit set.
    while u32_at(image, chain + (last - first) * 4)? & 1 == 0 {
        last += 1;
    }
    Some(last + 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_where_the_kernel_has_it_and_repeats_nothing() {
        let vdso = match Vdso::find() {
            Ok(vdso) => vdso,
            Err(why) => return eprintln!("SKIPPED: vDSO getrandom: {why}"),
        };
        let (mut one, mut other) = (vdso.state().expect("a page"), vdso.state().expect("a page"));
        let [mut a, mut b, mut c] = [[0; 32]; 3];
        one.fill(&mut a);
        one.fill(&mut b);
        other.fill(&mut c);
        assert!(a != b && b != c && c != a && ![a, b, c].contains(&[0; 32]));
    }

    #[test]
    fn what_is_no_elf_image_has_no_symbols() {
        assert_eq!(symbol(&[], NAME), None);
        assert_eq!(symbol(&[0; 4096], NAME), None);
    }
}
