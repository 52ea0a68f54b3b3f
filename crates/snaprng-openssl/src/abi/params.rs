//! `OSSL_PARAM`: named values, asked for in an array and answered in place.
//!
//! Whoever asks owns the array and the memory that its entries point at; what is asked for and not
//! known is passed over, as OpenSSL's own providers do. A value is never cut: what does not fit is
//! an error, and the size that it needs is left in the entry.

use core::ffi::{CStr, c_char, c_uint, c_void};
use core::ptr;

/// `openssl/core.h`, `struct ossl_param_st`. An array of these ends with a null key.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Param {
    key: *const c_char,
    data_type: c_uint,
    data: *mut c_void,
    data_size: usize,
    return_size: usize,
}

// SAFETY: what is shared between threads are the constant tables of what can be asked for: they
// hold no data and are only read.
unsafe impl Sync for Param {}

/// `openssl/core.h`: the types that are used here.
const INTEGER: c_uint = 1;
const UNSIGNED_INTEGER: c_uint = 2;
const UTF8_STRING: c_uint = 4;
const UTF8_PTR: c_uint = 6;

/// `openssl/params.h`: what `return_size` holds until somebody answers.
const UNMODIFIED: usize = usize::MAX;

impl Param {
    /// The end of an array.
    pub(crate) const END: Self = Self {
        key: ptr::null(),
        data_type: 0,
        data: ptr::null_mut(),
        data_size: 0,
        return_size: 0,
    };

    /// In a table of what can be asked for: a number without a sign, of any size.
    pub(crate) const fn number(key: &'static CStr) -> Self {
        Self { key: key.as_ptr(), data_type: UNSIGNED_INTEGER, ..Self::END }
    }

    /// In a table of what can be asked for: a number with a sign, of any size.
    pub(crate) const fn signed_number(key: &'static CStr) -> Self {
        Self { key: key.as_ptr(), data_type: INTEGER, ..Self::END }
    }

    /// In a table of what can be asked for: a constant text.
    pub(crate) const fn text(key: &'static CStr) -> Self {
        Self { key: key.as_ptr(), data_type: UTF8_PTR, ..Self::END }
    }

    /// A question to the core for a text, which `answer` will point at.
    ///
    /// `key` and `answer` must be there when the question is put: the caller of the core vouches for
    /// that.
    pub(crate) fn question(key: *const c_char, answer: *mut *const c_char) -> Self {
        Self {
            key,
            data_type: UTF8_PTR,
            data: answer.cast(),
            data_size: 0,
            return_size: UNMODIFIED,
        }
    }

    /// The name of what is asked for.
    ///
    /// # Safety
    /// The entry is not the end of its array, so that its key is a C string.
    #[inline]
    pub(crate) unsafe fn key(&self) -> &[u8] {
        // SAFETY: the caller's word.
        unsafe { CStr::from_ptr(self.key) }.to_bytes()
    }

    /// Answers with a number. False if it does not fit, or if no number was asked for.
    ///
    /// # Safety
    /// `data` is null or points to `data_size` bytes that may be written.
    #[inline]
    pub(crate) unsafe fn set_number(&mut self, value: u64) -> bool {
        let spare_bits = match self.data_type {
            UNSIGNED_INTEGER => 0,
            INTEGER => 1,
            _ => return false,
        };
        if self.data.is_null() {
            self.return_size = size_of::<u64>();
            return true;
        }
        let bits = u64::BITS - value.leading_zeros() + spare_bits;
        let needed = bits.div_ceil(u8::BITS).max(1) as usize;
        if needed > self.data_size {
            self.return_size = needed;
            return false;
        }
        let bytes = value.to_le_bytes();
        for index in 0..self.data_size {
            let place =
                if cfg!(target_endian = "little") { index } else { self.data_size - 1 - index };
            let byte = bytes.get(index).copied().unwrap_or(0);
            // SAFETY: within the `data_size` bytes that the caller vouches for.
            unsafe { self.data.cast::<u8>().wrapping_add(place).write(byte) };
        }
        self.return_size = self.data_size;
        true
    }

    /// Answers with a constant text: by a pointer or, where that is asked for, by a copy. False if
    /// the copy does not fit, or if no text was asked for.
    ///
    /// # Safety
    /// `data` is null or, for a pointer, points to one that may be written; for a copy, to
    /// `data_size` bytes.
    pub(crate) unsafe fn set_text(&mut self, text: &'static CStr) -> bool {
        self.return_size = text.count_bytes();
        match self.data_type {
            UTF8_PTR if self.data.is_null() => true,
            UTF8_PTR => {
                // SAFETY: the caller's word; the text is there for ever.
                unsafe { self.data.cast::<*const c_char>().write_unaligned(text.as_ptr()) };
                true
            }
            UTF8_STRING if self.data.is_null() => true,
            UTF8_STRING => {
                // OpenSSL's own setter leaves out the zero at the end where there is no room for it.
                let length = text.to_bytes_with_nul().len().min(self.data_size);
                if length < text.count_bytes() {
                    return false;
                }
                // SAFETY: no more than `data_size` bytes, and a constant overlaps nothing that may
                // be written.
                unsafe { ptr::copy_nonoverlapping(text.as_ptr(), self.data.cast(), length) };
                true
            }
            _ => false,
        }
    }
}

/// Shows `answer` every entry of an array, until it says that one could not be answered. True if
/// all were.
///
/// # Safety
/// `params` is null or an array that ends with a null key, which nobody else uses meanwhile.
#[inline]
pub(crate) unsafe fn answer_all(
    params: *mut Param,
    mut answer: impl FnMut(&mut Param) -> bool,
) -> bool {
    if params.is_null() {
        return true;
    }
    let mut next = params;
    loop {
        // SAFETY: not past the end of the array, which nobody else uses.
        let param = unsafe { &mut *next };
        if param.key.is_null() {
            return true;
        }
        if !answer(param) {
            return false;
        }
        next = next.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(data_type: c_uint, data: &mut [u8]) -> Param {
        Param {
            key: c"x".as_ptr(),
            data_type,
            data: data.as_mut_ptr().cast(),
            data_size: data.len(),
            return_size: UNMODIFIED,
        }
    }

    /// Answers with a number into `N` bytes.
    fn number<const N: usize>(data_type: c_uint, value: u64) -> Option<[u8; N]> {
        let mut data = [0xAA; N];
        let mut param = asked(data_type, &mut data);
        // SAFETY: the data is there.
        let fits = unsafe { param.set_number(value) };
        assert!(!fits || param.return_size == N);
        fits.then_some(data)
    }

    #[test]
    fn numbers_are_written_in_every_size_that_holds_them() {
        assert_eq!(number(UNSIGNED_INTEGER, 256), Some(256_u32.to_ne_bytes()));
        assert_eq!(number(UNSIGNED_INTEGER, u64::MAX), Some(u64::MAX.to_ne_bytes()));
        assert_eq!(number(UNSIGNED_INTEGER, 7), Some(7_u128.to_ne_bytes()));
        assert_eq!(number(INTEGER, 1), Some(1_i32.to_ne_bytes()));
        assert_eq!(number(INTEGER, u64::MAX), Some(i128::from(u64::MAX).to_ne_bytes()));
        assert_eq!(number(UNSIGNED_INTEGER, 0), Some([0_u8]));
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused_and_nothing_is_written() {
        assert_eq!(number::<4>(UNSIGNED_INTEGER, 1 << 32), None);
        assert_eq!(number::<8>(INTEGER, u64::MAX), None);
        assert_eq!(number::<1>(INTEGER, 128), None);
        let mut data = [0xAA; 4];
        let mut param = asked(UNSIGNED_INTEGER, &mut data);
        // SAFETY: the data is there.
        assert!(!unsafe { param.set_number(1 << 40) });
        assert_eq!(param.return_size, 6);
        assert_eq!(data, [0xAA; 4]);
    }

    #[test]
    fn texts_are_pointed_at_or_copied_whole() {
        const TEXT: &CStr = c"per-call";
        let mut data = [0xAA; 9];
        let mut param = asked(UTF8_STRING, &mut data);
        // SAFETY: the data is there.
        assert!(unsafe { param.set_text(TEXT) });
        assert_eq!(param.return_size, 8);
        assert_eq!(data, *b"per-call\0");

        let mut data = [0xAA; 7];
        // SAFETY: the data is there.
        assert!(!unsafe { asked(UTF8_STRING, &mut data).set_text(TEXT) });

        let mut pointer: *const c_char = ptr::null();
        let mut param = Param::question(c"x".as_ptr(), &raw mut pointer);
        // SAFETY: the pointer is there.
        assert!(unsafe { param.set_text(TEXT) });
        assert_eq!(pointer, TEXT.as_ptr());
    }

    #[test]
    fn what_is_asked_for_in_another_type_is_refused() {
        const REAL: c_uint = 3;
        let mut data = [0; 8];
        // SAFETY: the data is there.
        assert!(!unsafe { asked(REAL, &mut data).set_number(1) });
        // SAFETY: the data is there.
        assert!(!unsafe { asked(INTEGER, &mut data).set_text(c"1") });
        // SAFETY: the data is there.
        assert!(!unsafe { asked(UTF8_PTR, &mut data).set_number(1) });
    }

    #[test]
    fn a_question_without_memory_is_answered_with_the_size() {
        let mut param = Param::number(c"x");
        // SAFETY: there is no data.
        assert!(unsafe { param.set_number(1) });
        assert_eq!(param.return_size, 8);
        let mut param = Param::text(c"x");
        // SAFETY: there is no data.
        assert!(unsafe { param.set_text(c"four") });
        assert_eq!(param.return_size, 4);
    }

    #[test]
    fn every_entry_of_an_array_is_shown_once() {
        let mut params = [Param::number(c"a"), Param::text(c"b"), Param::END];
        let mut seen = Vec::new();
        let see = |param: &mut Param| {
            // SAFETY: not the end.
            seen.push(unsafe { param.key() }.to_vec());
            true
        };
        // SAFETY: an array that ends with a null key.
        let all = unsafe { answer_all(params.as_mut_ptr(), see) };
        assert!(all);
        assert_eq!(seen, [b"a", b"b"]);
        // SAFETY: null.
        assert!(unsafe { answer_all(ptr::null_mut(), |_| false) });
    }
}
