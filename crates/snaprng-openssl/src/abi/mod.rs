//! What OpenSSL 3 and its providers say to each other, written down by hand.
//!
//! Layouts and numbers are those of `openssl/core.h`, `openssl/core_dispatch.h` and
//! `openssl/core_names.h` of OpenSSL 3.0, which later versions only add to (a test compares the
//! headers). No symbol of libcrypto is used, here or anywhere: what OpenSSL offers to a provider
//! comes as pointers in a table.

pub(crate) mod dispatch;
pub(crate) mod params;

/// `openssl/core.h`, `OSSL_CORE_HANDLE`: opaque, a provider as the core knows it.
#[repr(C)]
pub(crate) struct CoreHandle {
    _private: [u8; 0],
}

/// `openssl/core.h`, `struct ossl_item_st`: the table of reasons is an array of these, which ends
/// with an entry of zeros.
#[repr(C)]
pub(crate) struct Item {
    pub(crate) id: core::ffi::c_uint,
    pub(crate) text: *const core::ffi::c_char,
}

// SAFETY: items are constants that point to constants; neither side writes to them.
unsafe impl Sync for Item {}

impl Item {
    pub(crate) const END: Self = Self { id: 0, text: core::ptr::null() };

    pub(crate) const fn new(id: u32, text: &'static core::ffi::CStr) -> Self {
        Self { id, text: text.as_ptr() }
    }
}
