//! The two words of the process, on pages of their own. In a model they are ordinary words.

use super::super::page::{Page, WATCHED};
#[cfg(all(test, loom))]
use crate::sync;
use crate::sync::AtomicU64;

/// The page of the word that looks read.
#[inline(always)]
pub(super) fn of_word() -> &'static Page {
    &WATCHED.process
}

/// The page of the word that tells a drop from a copy: cleared in children, never dropped.
pub(super) static INTACT: Page = Page::new();

#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(super) fn word() -> &'static AtomicU64 {
    of_word().word::<0>()
}

#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(super) fn intact() -> &'static AtomicU64 {
    INTACT.word::<0>()
}

#[cfg(all(test, loom))]
sync::statics! {
    static MODEL_OF_WORD: AtomicU64 = AtomicU64::new(0);
    static MODEL_OF_INTACT: AtomicU64 = AtomicU64::new(0);
}

#[cfg(all(test, loom))]
pub(super) fn word() -> &'static AtomicU64 {
    &MODEL_OF_WORD
}

#[cfg(all(test, loom))]
pub(super) fn intact() -> &'static AtomicU64 {
    &MODEL_OF_INTACT
}
