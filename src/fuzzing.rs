//! The seam for the fuzz targets in `fuzz/`: in no build but those with `--cfg fuzzing`.
//!
//! A configuration is installed once per process, and a target tries thousands of sources in one. So
//! it installs each witness by itself, again and again, and looks at it as a generator does. It is
//! told of every read of a page *before* it is made, and may change what is read.

use core::cell::RefCell;

pub use crate::world::seam::*;

/// A read that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The address of the static page; `None` for a mapping that has not been moved over one yet.
    pub page: Option<usize>,
    /// From its beginning.
    pub offset: usize,
}

type Hook = Box<dyn FnMut(Read)>;

thread_local! {
    static BEFORE_READS: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Has `hook` called before each read of this thread, until the next call of this function.
pub fn before_reads(hook: Option<Hook>) {
    BEFORE_READS.with(|cell| *cell.borrow_mut() = hook);
}

pub(crate) fn about_to_read(page: Option<usize>, offset: usize) {
    BEFORE_READS.with(|cell| {
        // A hook that reads a page is not called for that.
        if let Ok(mut hook) = cell.try_borrow_mut()
            && let Some(hook) = hook.as_mut()
        {
            hook(Read { page, offset });
        }
    });
}
