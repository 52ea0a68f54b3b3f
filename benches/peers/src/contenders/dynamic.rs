//! Libraries that are looked for when the program runs, so that building needs none of them.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

/// A library that stays loaded for ever.
#[derive(Clone, Copy)]
pub(super) struct Library {
    handle: Option<NonNull<c_void>>,
}

impl Library {
    pub(super) fn open(name: &CStr) -> Result<Self, String> {
        // SAFETY: the name is a C string; the constructors of the libraries that are opened here
        // (OpenSSL's and ours) may run at any time.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        let handle = Some(NonNull::new(handle).ok_or_else(last_error)?);
        Ok(Self { handle })
    }

    /// Whatever this program is linked with.
    pub(super) fn of_this_process() -> Self {
        Self { handle: None }
    }

    /// The address of a function, not null.
    pub(super) fn symbol(&self, name: &CStr) -> Result<*mut c_void, String> {
        let handle = self.handle.map_or(libc::RTLD_DEFAULT, NonNull::as_ptr);
        // SAFETY: the handle is of `dlopen` and never closed, or the one that means this process;
        // the name is a C string.
        let found = unsafe { libc::dlsym(handle, name.as_ptr()) };
        if found.is_null() { Err(last_error()) } else { Ok(found) }
    }
}

fn last_error() -> String {
    // SAFETY: there are no other conditions than that the text is read before the next call of dl*
    // in this thread.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "not found".into();
    }
    // SAFETY: not null, so it is a C string.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
