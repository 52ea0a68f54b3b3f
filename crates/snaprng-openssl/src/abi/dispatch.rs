//! Tables of functions, from and to the core.
//!
//! An entry is a number and a pointer without a type. Here each number is tied to the one type that
//! `openssl/core_dispatch.h` gives it, so that no table can be made whose entry is called with
//! other arguments than its function takes.

use core::ffi::{c_char, c_int, c_uchar, c_uint, c_void};
use core::mem::transmute;

use super::CoreHandle;
use super::params::Param;

/// `openssl/core.h`, `struct ossl_dispatch_st`. An array of these ends with [`Dispatch::END`].
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Dispatch {
    number: c_int,
    function: Option<unsafe extern "C" fn()>,
}

impl Dispatch {
    /// The end of a table.
    pub(crate) const END: Self = Self { number: 0, function: None };
}

/// `openssl/core.h`, `struct ossl_algorithm_st`. An array of these ends with [`Algorithm::END`].
#[repr(C)]
pub(crate) struct Algorithm {
    names: *const c_char,
    properties: *const c_char,
    implementation: *const Dispatch,
    description: *const c_char,
}

// SAFETY: algorithms are constants that point to constants; neither side writes to them.
unsafe impl Sync for Algorithm {}

impl Algorithm {
    pub(crate) const END: Self = Self {
        names: core::ptr::null(),
        properties: core::ptr::null(),
        implementation: core::ptr::null(),
        description: core::ptr::null(),
    };

    pub(crate) const fn new(
        names: &'static core::ffi::CStr,
        properties: &'static core::ffi::CStr,
        implementation: &'static [Dispatch],
        description: &'static core::ffi::CStr,
    ) -> Self {
        Self {
            names: names.as_ptr(),
            properties: properties.as_ptr(),
            implementation: implementation.as_ptr(),
            description: description.as_ptr(),
        }
    }
}

/// Core functions that a provider is given: a type and a number for each.
macro_rules! given {
    ($($(#[$doc:meta])* $find:ident, $number:literal: $type:ident = $signature:ty;)*) => {
        $(
            $(#[$doc])*
            pub(crate) type $type = $signature;
        )*

        impl Dispatch {
            $(
                $(#[$doc])*
                pub(crate) fn $find(&self) -> Option<$type> {
                    let function = self.function.filter(|_| self.number == $number)?;
                    // SAFETY: the core's entry of this number has this type (core_dispatch.h).
                    Some(unsafe { transmute::<unsafe extern "C" fn(), $type>(function) })
                }
            )*
        }
    };
}

given! {
    /// `OSSL_FUNC_CORE_GET_PARAMS`
    core_get_params, 2: CoreGetParams =
        unsafe extern "C" fn(*const CoreHandle, *mut Param) -> c_int;
    /// `OSSL_FUNC_CORE_NEW_ERROR`
    core_new_error, 5: CoreNewError =
        unsafe extern "C" fn(*const CoreHandle);
    /// `OSSL_FUNC_CORE_SET_ERROR_DEBUG`
    core_set_error_debug, 6: CoreSetErrorDebug =
        unsafe extern "C" fn(*const CoreHandle, *const c_char, c_int, *const c_char);
    /// `OSSL_FUNC_CORE_VSET_ERROR`; its last argument is a `va_list`: see `upcalls`.
    core_vset_error, 7: CoreVsetError =
        unsafe extern "C" fn(*const CoreHandle, u32, *const c_char, *mut c_void);
}

/// Functions that a provider offers: a constructor of table entries for each.
macro_rules! offered {
    ($($(#[$doc:meta])* $make:ident, $number:literal: $signature:ty;)*) => {
        impl Dispatch {
            $(
                $(#[$doc])*
                pub(crate) const fn $make(function: $signature) -> Self {
                    // SAFETY: a function pointer; the core calls it as the number says.
                    let function = unsafe {
                        transmute::<$signature, unsafe extern "C" fn()>(function)
                    };
                    Self { number: $number, function: Some(function) }
                }
            )*
        }
    };
}

offered! {
    /// `OSSL_FUNC_PROVIDER_TEARDOWN`
    provider_teardown, 1024: unsafe extern "C" fn(*mut c_void);
    /// `OSSL_FUNC_PROVIDER_GETTABLE_PARAMS`
    provider_gettable_params, 1025: unsafe extern "C" fn(*mut c_void) -> *const Param;
    /// `OSSL_FUNC_PROVIDER_GET_PARAMS`
    provider_get_params, 1026: unsafe extern "C" fn(*mut c_void, *mut Param) -> c_int;
    /// `OSSL_FUNC_PROVIDER_QUERY_OPERATION`
    provider_query_operation, 1027:
        unsafe extern "C" fn(*mut c_void, c_int, *mut c_int) -> *const Algorithm;
    /// `OSSL_FUNC_PROVIDER_GET_REASON_STRINGS`
    provider_get_reason_strings, 1029: unsafe extern "C" fn(*mut c_void) -> *const super::Item;

    /// `OSSL_FUNC_RAND_NEWCTX`
    rand_newctx, 1:
        unsafe extern "C" fn(*mut c_void, *mut c_void, *const Dispatch) -> *mut c_void;
    /// `OSSL_FUNC_RAND_FREECTX`
    rand_freectx, 2: unsafe extern "C" fn(*mut c_void);
    /// `OSSL_FUNC_RAND_INSTANTIATE`
    rand_instantiate, 3: unsafe extern "C" fn(
        *mut c_void, c_uint, c_int, *const c_uchar, usize, *const Param,
    ) -> c_int;
    /// `OSSL_FUNC_RAND_UNINSTANTIATE`
    rand_uninstantiate, 4: unsafe extern "C" fn(*mut c_void) -> c_int;
    /// `OSSL_FUNC_RAND_GENERATE`
    rand_generate, 5: unsafe extern "C" fn(
        *mut c_void, *mut c_uchar, usize, c_uint, c_int, *const c_uchar, usize,
    ) -> c_int;
    /// `OSSL_FUNC_RAND_RESEED`
    rand_reseed, 6: unsafe extern "C" fn(
        *mut c_void, c_int, *const c_uchar, usize, *const c_uchar, usize,
    ) -> c_int;
    /// `OSSL_FUNC_RAND_NONCE`
    rand_nonce, 7:
        unsafe extern "C" fn(*mut c_void, *mut c_uchar, c_uint, usize, usize) -> usize;
    /// `OSSL_FUNC_RAND_ENABLE_LOCKING`
    rand_enable_locking, 8: unsafe extern "C" fn(*mut c_void) -> c_int;
    /// `OSSL_FUNC_RAND_LOCK`
    rand_lock, 9: unsafe extern "C" fn(*mut c_void) -> c_int;
    /// `OSSL_FUNC_RAND_UNLOCK`
    rand_unlock, 10: unsafe extern "C" fn(*mut c_void);
    /// `OSSL_FUNC_RAND_GETTABLE_CTX_PARAMS`
    rand_gettable_ctx_params, 12:
        unsafe extern "C" fn(*mut c_void, *mut c_void) -> *const Param;
    /// `OSSL_FUNC_RAND_GET_CTX_PARAMS`
    rand_get_ctx_params, 15: unsafe extern "C" fn(*mut c_void, *mut Param) -> c_int;
    /// `OSSL_FUNC_RAND_VERIFY_ZEROIZATION`
    rand_verify_zeroization, 17: unsafe extern "C" fn(*mut c_void) -> c_int;
    /// `OSSL_FUNC_RAND_GET_SEED`
    rand_get_seed, 18: unsafe extern "C" fn(
        *mut c_void, *mut *mut c_uchar, c_int, usize, usize, c_int, *const c_uchar, usize,
    ) -> usize;
    /// `OSSL_FUNC_RAND_CLEAR_SEED`
    rand_clear_seed, 19: unsafe extern "C" fn(*mut c_void, *mut c_uchar, usize);
}

/// `core_dispatch.h`, `OSSL_OP_RAND`: the only operation that this provider has.
pub(crate) const OPERATION_RAND: c_int = 5;

/// The entries of a table from the core, up to its end.
///
/// # Safety
/// `table` is null or points to entries that end with one whose number is 0, and outlives the
/// iteration.
pub(crate) unsafe fn entries(table: *const Dispatch) -> impl Iterator<Item = Dispatch> {
    let mut next = table;
    core::iter::from_fn(move || {
        if next.is_null() {
            return None;
        }
        // SAFETY: not past the end of the table.
        let entry = unsafe { *next };
        // An end is not stepped over, so that whoever asks again finds it again.
        if entry.number != 0 {
            next = next.wrapping_add(1);
        }
        (entry.number != 0).then_some(entry)
    })
}
