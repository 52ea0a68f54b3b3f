//! What the core does for this provider: it tells the configuration, and keeps the error stack.
//!
//! The pointers come with the provider's start and are good for as long as the core has the
//! provider, which is for as long as anything of it (a context, an algorithm) is there.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt::{self, Write};
use core::ptr;

use crate::abi::CoreHandle;
use crate::abi::dispatch::{
    CoreGetParams, CoreNewError, CoreSetErrorDebug, CoreVsetError, Dispatch, entries,
};
use crate::abi::params::Param;
use crate::refusal::Reason;

/// The core, as one provider sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Core {
    handle: *const CoreHandle,
    get_params: Option<CoreGetParams>,
    errors: Option<ErrorStack>,
}

#[derive(Clone, Copy, Debug)]
struct ErrorStack {
    new: CoreNewError,
    set_debug: CoreSetErrorDebug,
    vset: CoreVsetError,
}

impl Core {
    /// # Safety
    /// `handle` and `table` are what the core passed to `OSSL_provider_init`, and the result is not
    /// used once the core has given up the provider.
    pub(crate) unsafe fn new(handle: *const CoreHandle, table: *const Dispatch) -> Self {
        let (mut get_params, mut new, mut set_debug, mut vset) = (None, None, None, None);
        // SAFETY: the core's table ends with 0.
        for entry in unsafe { entries(table) } {
            get_params = get_params.or(entry.core_get_params());
            new = new.or(entry.core_new_error());
            set_debug = set_debug.or(entry.core_set_error_debug());
            vset = vset.or(entry.core_vset_error());
        }
        let errors = match (new, set_debug, vset) {
            (Some(new), Some(set_debug), Some(vset)) => Some(ErrorStack { new, set_debug, vset }),
            _ => None,
        };
        Self { handle, get_params, errors }
    }

    /// Asks for the values of these keys in the provider's section of the configuration. A value
    /// that is not there is null. False if the core cannot be asked.
    ///
    /// The core tells no keys: it only answers for those that it is asked for.
    pub(crate) fn configuration(
        &self,
        keys: &[*const c_char],
        values: &mut [*const c_char],
    ) -> bool {
        let Some(get_params) = self.get_params else { return false };
        values.fill(ptr::null());
        let mut questions: Vec<Param> = keys
            .iter()
            .zip(values)
            .map(|(key, value)| Param::question(*key, value))
            .chain([Param::END])
            .collect();
        // SAFETY: the core's function, on its own handle and an array that ends with a null key,
        // whose keys and answers the caller holds.
        unsafe { get_params(self.handle, questions.as_mut_ptr()) != 0 }
    }

    /// Puts an error onto the calling thread's error stack.
    #[cold]
    pub(crate) fn raise(&self, place: Place, reason: Reason, details: impl fmt::Display) {
        let Some(errors) = self.errors else { return };
        let mut text = Text::new();
        // Whatever does not fit is left out.
        let _ = write!(text, "{details}");
        let mut arguments = NoArguments::new();
        // SAFETY: the core's function on its own handle.
        unsafe { (errors.new)(self.handle) };
        // SAFETY: as above; the core copies both names.
        unsafe {
            (errors.set_debug)(
                self.handle,
                place.file.as_ptr(),
                place.line,
                place.function.as_ptr(),
            )
        };
        // SAFETY: as above; the text ends with a zero and holds no conversion, so that none of the
        // arguments is looked at: see `NoArguments`.
        unsafe { (errors.vset)(self.handle, reason as u32, text.as_ptr(), arguments.as_ptr()) };
    }
}

/// Where an error was raised, for `ERR_print_errors`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) file: &'static CStr,
    pub(crate) line: c_int,
    pub(crate) function: &'static CStr,
}

/// The place that this stands at, in the function of that name.
macro_rules! place {
    ($function:literal) => {
        $crate::upcalls::Place {
            file: match core::ffi::CStr::from_bytes_with_nul(concat!(file!(), "\0").as_bytes()) {
                Ok(file) => file,
                Err(_) => c"snaprng",
            },
            line: line!() as core::ffi::c_int,
            function: $function,
        }
    };
}
pub(crate) use place;

/// The `va_list` of a message without conversions.
///
/// `core_vset_error` takes a format and a `va_list`, which Rust cannot make. The format here is the
/// finished message, with every `%` doubled, so that nothing reads an argument. What remains is to
/// pass the list itself. On every Linux ABI that is one machine word: a pointer to the caller's
/// list, where the type is an array (x86-64, s390x, 32-bit PowerPC) or a structure too large for
/// registers, which the callee may copy (AArch64, 32 bytes); or, where the type is a pointer or a
/// structure of one (x86, Arm, RISC-V, LoongArch, 64-bit PowerPC), the pointer to arguments that
/// is never followed. So the word points to zeros, more than any of these types has bytes.
#[repr(C, align(16))]
struct NoArguments([u64; 8]);

impl NoArguments {
    fn new() -> Self {
        Self([0; 8])
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }
}

/// A message as a format without conversions: a C string of limited length, made without
/// allocating.
struct Text {
    /// Zero from `length` on.
    bytes: [u8; Self::ROOM],
    length: usize,
}

impl Text {
    /// OpenSSL 3.0 has room for 1024 bytes with the zero, and drops all of a longer message.
    const ROOM: usize = 1000;

    fn new() -> Self {
        Self { bytes: [0; Self::ROOM], length: 0 }
    }

    fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars().filter(|character| *character != '\0') {
            let mut encoded = [0; 4];
            let encoded: &str = match character {
                '%' => "%%",
                _ => character.encode_utf8(&mut encoded),
            };
            // One byte stays zero.
            let end = self.length + encoded.len();
            let Some(room) = self.bytes[..Self::ROOM - 1].get_mut(self.length..end) else {
                return Err(fmt::Error);
            };
            room.copy_from_slice(encoded.as_bytes());
            self.length = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &str) -> (Vec<u8>, bool) {
        let mut text = Text::new();
        let whole = text.write_str(message).is_ok();
        // SAFETY: the last byte is zero.
        let shown = unsafe { CStr::from_ptr(text.as_ptr()) }.to_bytes().to_vec();
        (shown, whole)
    }

    #[test]
    fn a_message_holds_no_conversion_and_no_zero() {
        assert_eq!(text("100% %s %n\0!").0, b"100%% %%s %%n!");
        let (shown, _) = text(&"%".repeat(3000));
        assert_eq!(shown.len() % 2, 0, "a single sign would be a conversion");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let (shown, whole) = text(&"ä".repeat(2000));
        assert!(!whole);
        assert!(str::from_utf8(&shown).is_ok());
        assert!(shown.len() >= Text::ROOM - 4);
    }
}
