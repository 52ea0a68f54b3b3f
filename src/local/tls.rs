//! One pointer per thread, without a destructor: where a thread's seat is.
//!
//! Always a plain pointer, never a buffer: a shared library that is loaded late finds little room
//! in the static thread-local block.

use core::ptr::null_mut;
use core::sync::atomic::AtomicPtr;

use super::slab::Seat;

thread_local! {
    /// An atomic, for handlers on this thread read and set it between any two instructions.
    static SEAT: AtomicPtr<Seat> = const { AtomicPtr::new(null_mut()) };
}

#[inline(always)]
pub(super) fn with<R>(serve: impl FnOnce(&AtomicPtr<Seat>) -> R) -> R {
    SEAT.with(serve)
}
