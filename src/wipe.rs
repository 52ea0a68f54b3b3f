//! Bytes that must not be left behind.
//!
//! What the `zeroize` crate does, by whole values: that one writes byte by byte, and on the way of a
//! request its 32 stores for each key take longer than the cipher. The compiler may not leave a
//! write out that [`black_box`] has been shown.

use core::hint::black_box;
use core::ops::{Deref, DerefMut};

/// Overwrites `bytes` with zeros, even if nobody reads them again.
#[inline(always)]
pub(crate) fn wipe<T: AsMut<[u8]> + ?Sized>(bytes: &mut T) {
    let bytes = bytes.as_mut();
    bytes.fill(0);
    black_box(bytes);
}

/// An array that is wiped when it goes.
pub(crate) struct Wiped<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Wiped<N> {
    pub(crate) const ZERO: Self = Self([0; N]);
}

impl<const N: usize> Deref for Wiped<N> {
    type Target = [u8; N];

    #[inline(always)]
    fn deref(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Wiped<N> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for Wiped<N> {
    #[inline(always)]
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}
