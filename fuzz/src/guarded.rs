//! Memory that ends where the next byte may not be touched, and begins behind bytes that are known:
//! who reads or writes past its end dies there, who writes in front of it is found out.

use std::ptr::null_mut;

/// Pages that may be used.
const ROOM: usize = 4 * PAGE;
const PAGE: usize = 4096;
const KNOWN: u8 = 0xa5;
/// How many bytes in front of the memory are looked at.
const WATCHED: usize = 64;

/// The memory. Borrowed by nobody: it is there for calls that take pointers.
pub struct Guarded {
    start: *mut u8,
    length: usize,
}

impl Default for Guarded {
    fn default() -> Self {
        Self::new()
    }
}

impl Guarded {
    /// Maps it. Kept by a target over all inputs.
    pub fn new() -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(null_mut(), ROOM + PAGE, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        // SAFETY: the first pages of that mapping.
        let answer = unsafe { libc::mprotect(start, ROOM, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(answer, 0);
        Self { start: start.cast(), length: 0 }
    }

    /// Makes it hold these bytes, and returns where they are.
    pub fn hold(&mut self, bytes: &[u8]) -> *mut u8 {
        assert!(bytes.len() <= ROOM - WATCHED);
        self.length = bytes.len();
        let at = self.at();
        // SAFETY: within the pages that may be used, as is what lies in front of them.
        unsafe { at.sub(WATCHED).write_bytes(KNOWN, WATCHED) };
        // SAFETY: within the pages that may be used, up to their end.
        unsafe { at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        at
    }

    fn at(&self) -> *mut u8 {
        self.start.wrapping_add(ROOM - self.length)
    }

    /// What it holds now. Fails if something in front of it was written to.
    pub fn held(&self) -> Vec<u8> {
        let at = self.at();
        // SAFETY: mapped, initialized by `hold`, and not written to while this copies it.
        let all = unsafe { std::slice::from_raw_parts(at.sub(WATCHED), WATCHED + self.length) };
        assert!(all[..WATCHED].iter().all(|byte| *byte == KNOWN), "written in front of it");
        all[WATCHED..].to_vec()
    }
}
