//! The look at watched words where it is no block of assembly: on other CPUs, in an interpreter, and in
//! fuzz targets, which are told of each read before it is made.

use core::sync::atomic::{AtomicU64, Ordering};

#[cfg(fuzzing)]
use super::PAGE_BYTES;

/// Whether the words at these byte offsets from `words` have these values. Acquire loads.
///
/// # Safety
/// At each offset is an aligned word of the value that `words` points to, an atomic like all of it.
#[inline(always)]
pub(super) unsafe fn hold(words: *const AtomicU64, watched: [(usize, u64); 3]) -> bool {
    watched.iter().all(|&(at, value)| {
        #[cfg(fuzzing)]
        crate::fuzzing::about_to_read(
            Some(words.addr() + at / PAGE_BYTES * PAGE_BYTES),
            at % PAGE_BYTES,
        );
        // SAFETY: by the contract of this function.
        let word = unsafe { words.byte_add(at) };
        // SAFETY: the same.
        let word = unsafe { &*word };
        word.load(Ordering::Acquire) == value
    })
}
