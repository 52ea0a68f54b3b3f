//! Structs that carry their own size in front, so that they can grow.
//!
//! A program may be older or newer than the library that it finds at run time. Its size says which
//! fields it knows. Those of an older program are fewer, and the rest count as zero, the default.
//! Those of a newer program may be more: that is fine as long as it leaves them at zero, and refused
//! otherwise, since the library would not do what was asked. A newer program's fields in a report
//! are set to zero. (The kernel treats the structs of openat2(2) and clone3(2) in the same way.)

use core::ffi::c_int;
use core::mem::MaybeUninit;

use super::SNAPRNG_EINVAL;

/// A struct that begins with its size.
///
/// # Safety
/// It is `repr(C)`, its first field is a `usize`, and all zeros is a value of it.
pub(super) unsafe trait Sized: Copy {
    /// Its size in the first release that had it, which never changes.
    const FIRST_SIZE: usize;
}

/// No version will be larger: such a size is an uninitialized variable.
const LARGEST: usize = 4096;

/// The size that the caller set.
///
/// # Safety
/// `of` is null or can be read for the size of a `usize`.
pub(super) unsafe fn size<T: Sized>(of: *const T) -> Result<usize, c_int> {
    if of.is_null() {
        return Err(SNAPRNG_EINVAL);
    }
    // SAFETY: readable by the caller's contract.
    let size = unsafe { of.cast::<usize>().read_unaligned() };
    let possible =
        (T::FIRST_SIZE..=LARGEST).contains(&size) && size.is_multiple_of(align_of::<T>());
    possible.then_some(size).ok_or(SNAPRNG_EINVAL)
}

/// Reads a struct of any version.
///
/// # Safety
/// `from` is null or can be read for the size that it carries.
pub(super) unsafe fn read<T: Sized>(from: *const T) -> Result<T, c_int> {
    // SAFETY: the caller's contract.
    let size = unsafe { size(from) }?;
    let known = size.min(size_of::<T>());
    let from = from.cast::<u8>();
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: readable for `size` bytes, writable for the size of `T`; `value` is not the caller's.
    unsafe { from.copy_to_nonoverlapping(value.as_mut_ptr().cast(), known) };
    for beyond in known..size {
        // SAFETY: within `size`.
        if unsafe { from.wrapping_add(beyond).read() } != 0 {
            return Err(SNAPRNG_EINVAL);
        }
    }
    // SAFETY: all zeros is a value, and what was copied are fields that C set.
    Ok(unsafe { value.assume_init() })
}

/// Writes as much of a struct as the caller knows, and zeros where it knows more.
///
/// # Safety
/// `to` is writable for `size` bytes, which `size()` gave.
pub(super) unsafe fn write<T: Sized>(to: *mut T, size: usize, value: &T) {
    let known = size.min(size_of::<T>());
    let to = to.cast::<u8>();
    let from: *const T = value;
    // SAFETY: readable for the size of `T`, writable for `size` bytes; `value` is not the caller's.
    unsafe { from.cast::<u8>().copy_to_nonoverlapping(to, known) };
    // SAFETY: within `size`.
    unsafe { to.wrapping_add(known).write_bytes(0, size - known) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a first release had it, and as later ones may.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Version<const FIELDS: usize> {
        size: usize,
        fields: [u64; FIELDS],
    }

    // SAFETY: repr(C), begins with a usize, plain numbers.
    unsafe impl<const FIELDS: usize> Sized for Version<FIELDS> {
        const FIRST_SIZE: usize = size_of::<Version<1>>();
    }

    fn from_program<const FIELDS: usize>(fields: [u64; FIELDS]) -> Version<FIELDS> {
        Version { size: size_of::<Version<FIELDS>>(), fields }
    }

    /// What a library that knows two fields reads.
    fn read_by_library<const FIELDS: usize>(program: &Version<FIELDS>) -> Result<[u64; 2], c_int> {
        let program: *const Version<FIELDS> = program;
        // SAFETY: it carries its size.
        unsafe { read::<Version<2>>(program.cast()) }.map(|read| read.fields)
    }

    #[test]
    fn fields_that_an_older_program_does_not_know_are_zero() {
        assert_eq!(read_by_library(&from_program([7])), Ok([7, 0]));
        assert_eq!(read_by_library(&from_program([7, 8])), Ok([7, 8]));
    }

    #[test]
    fn fields_that_the_library_does_not_know_must_be_zero() {
        assert_eq!(read_by_library(&from_program([7, 8, 0])), Ok([7, 8]));
        assert_eq!(read_by_library(&from_program([7, 8, 9])), Err(SNAPRNG_EINVAL));
        assert_eq!(read_by_library(&from_program([7, 8, 0, 1 << 63])), Err(SNAPRNG_EINVAL));
    }

    #[test]
    fn a_size_of_no_version_is_refused() {
        let first = size_of::<Version<1>>();
        for size in [0, 1, first - 1, first + 1, LARGEST + 8, usize::MAX] {
            let program = Version { size, ..from_program([0; 600]) };
            assert_eq!(read_by_library(&program), Err(SNAPRNG_EINVAL), "{size}");
        }
        // SAFETY: null is allowed.
        assert_eq!(unsafe { size::<Version<2>>(core::ptr::null()) }, Err(SNAPRNG_EINVAL));
    }

    #[test]
    fn a_report_is_cut_or_padded_to_what_the_program_knows() {
        let report = Version { size: 0, fields: [7, 8] };
        let mut program = [u64::MAX; 5];
        let to: *mut Version<2> = program.as_mut_ptr().cast();
        // SAFETY: the array is larger.
        unsafe { write(to, size_of::<Version<1>>(), &report) };
        assert_eq!(program[size_of::<usize>().div_ceil(8)..], [7, u64::MAX, u64::MAX, u64::MAX]);
        // SAFETY: as above.
        unsafe { write(to, size_of::<Version<3>>(), &report) };
        assert_eq!(program[size_of::<usize>().div_ceil(8)..], [7, 8, 0, u64::MAX]);
    }
}
