//! The buffer: keystream that has not been handed out, and what is left where some was.
//!
//! Bytes lie at the end, are handed out in order, and are wiped as they are copied: what the buffer
//! holds tells nothing about what it gave. A buffer of all zeros is an empty one.
//!
//! Whoever looks at no more than the three words at fixed addresses may take *open* bytes alone;
//! *reserved* ones are for whoever looks at every witness. There is never some of both.

use crate::cipher::{self, KEY_LEN, Key, Rounds, SPARE};
use crate::point::point;
use crate::wipe::wipe;

/// Keystream of one refill: the next key and what is handed out. Two groups of the widest kernel,
/// which makes them faster than one; a smaller buffer only pays its fixed costs more often.
pub(super) const BUFFER: usize = 2048;

#[repr(C)]
pub(super) struct Buffer {
    open: usize,
    reserved: usize,
    bytes: [u8; BUFFER],
}

impl Buffer {
    pub(super) const fn empty() -> Self {
        Self { open: 0, reserved: 0, bytes: [0; BUFFER] }
    }

    /// How many bytes there are.
    pub(super) fn left(&self) -> usize {
        self.open + self.reserved
    }

    /// Hands out `N` open bytes; `None` if there are fewer.
    #[inline(always)]
    pub(super) fn take_open<const N: usize>(&mut self) -> Option<[u8; N]> {
        let left = self.open.checked_sub(N)?;
        let begin = BUFFER.wrapping_sub(self.open);
        // Before the copy: whatever interrupts it, these bytes are never handed out again.
        self.open = left;
        point("claimed");
        // As one value and not byte by byte, which is slow.
        let bytes = self.bytes.get_mut(begin..)?.first_chunk_mut::<N>()?;
        Some(core::mem::replace(bytes, [0; N]))
    }

    /// Fills `out` with open bytes; false if there are fewer.
    #[inline(always)]
    pub(super) fn fill_from_open(&mut self, out: &mut [u8]) -> bool {
        move_out(&mut self.open, &mut self.bytes, out)
    }

    /// Fills `out` with bytes of either kind; false if there are fewer.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> bool {
        let left = if self.reserved == 0 { &mut self.open } else { &mut self.reserved };
        move_out(left, &mut self.bytes, out)
    }

    /// Replaces what is left by `length` bytes and, made in front of them, the next key.
    pub(super) fn refill(&mut self, rounds: Rounds, key: &mut Key, length: usize, is_open: bool) {
        self.close();
        let begin = BUFFER.saturating_sub(KEY_LEN + length);
        let Some((before, fresh)) = self.bytes.split_at_mut_checked(begin) else { return };
        before.fill(0);
        cipher::keystream(rounds, key, fresh);
        if let Some((next_key, rest)) = fresh.split_first_chunk_mut::<KEY_LEN>() {
            cipher::copy_key(next_key, key);
            point("keyed for the next refill");
            wipe(next_key);
            *(if is_open { &mut self.open } else { &mut self.reserved }) = rest.len();
        }
    }

    /// Replaces what is left by a few bytes, reserved.
    pub(super) fn stock(&mut self, bytes: &[u8; SPARE]) {
        self.discard();
        if let Some(last) = self.bytes.last_chunk_mut() {
            *last = *bytes;
            point("stocked");
            self.reserved = SPARE;
        }
    }

    /// Nothing is left; for a buffer that has been wiped.
    #[inline(always)]
    pub(super) fn close(&mut self) {
        self.open = 0;
        self.reserved = 0;
    }

    /// Wipes what has not been handed out: the rest is wiped.
    pub(super) fn discard(&mut self) {
        if self.left() == 0 {
            return;
        }
        let begin = BUFFER.saturating_sub(self.left());
        self.close();
        if let Some(left) = self.bytes.get_mut(begin..) {
            wipe(left);
        }
    }

    /// Wipes everything, whatever state it is in.
    pub(super) fn wipe(&mut self) {
        self.close();
        wipe(&mut self.bytes);
    }
}

/// Moves the first of the `left` bytes at the end of `bytes` to `out` and wipes them there; false if
/// there are fewer.
#[inline(always)]
fn move_out(left: &mut usize, bytes: &mut [u8; BUFFER], out: &mut [u8]) -> bool {
    let Some(remainder) = left.checked_sub(out.len()) else { return false };
    let begin = BUFFER.wrapping_sub(*left);
    *left = remainder;
    point("claimed");
    let taken = bytes.get_mut(begin..).and_then(|rest| rest.get_mut(..out.len()));
    let Some(bytes) = taken else { return false };
    // Inlined, for what is small: two calls, of memcpy and memset, take longer than this.
    let (large, bytes) = bytes.as_chunks_mut::<16>();
    let (large_out, out) = out.as_chunks_mut::<16>();
    move_chunks(large, large_out);
    point("moved some");
    let (small, bytes) = bytes.as_chunks_mut::<4>();
    let (small_out, out) = out.as_chunks_mut::<4>();
    move_chunks(small, small_out);
    move_chunks(bytes.as_chunks_mut::<1>().0, out.as_chunks_mut::<1>().0);
    true
}

#[inline(always)]
fn move_chunks<const N: usize>(from: &mut [[u8; N]], out: &mut [[u8; N]]) {
    for (from, to) in from.iter_mut().zip(out) {
        *to = core::mem::replace(from, [0; N]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Buffer {
        /// What is gone, and what is left.
        pub(in super::super) fn parts(&self) -> (&[u8], &[u8]) {
            self.bytes.split_at(BUFFER - self.left())
        }

        pub(in super::super) fn is_wiped(&self) -> bool {
            self.left() == 0 && self.bytes == [0; BUFFER]
        }

        pub(in super::super) fn duplicate(&self) -> Self {
            Self { ..*self }
        }
    }

    const KEY: Key = [7; KEY_LEN];

    fn filled(length: usize, is_open: bool) -> (Buffer, Key, Vec<u8>) {
        let (mut buffer, mut key) = (Buffer::empty(), KEY);
        buffer.refill(Rounds::Twenty, &mut key, length, is_open);
        let mut stream = vec![0; KEY_LEN + length];
        cipher::keystream(Rounds::Twenty, &KEY, &mut stream);
        (buffer, key, stream)
    }

    #[test]
    fn a_refill_makes_the_next_key_and_then_what_is_handed_out() {
        let (mut buffer, key, stream) = filled(BUFFER - KEY_LEN, true);
        assert_eq!(key, stream[..KEY_LEN]);
        let mut out = vec![0; BUFFER - KEY_LEN];
        assert!(buffer.fill(&mut out[..100]) && buffer.fill_from_open(&mut out[100..]));
        assert_eq!(out, stream[KEY_LEN..]);
        assert_eq!(buffer.left(), 0);
    }

    #[test]
    fn what_was_handed_out_is_wiped_and_what_was_not_is_still_there() {
        let (mut buffer, _, stream) = filled(200, true);
        assert_eq!(buffer.take_open::<32>(), Some(stream[KEY_LEN..][..32].try_into().unwrap()));
        assert!(buffer.bytes[..BUFFER - 168].iter().all(|&b| b == 0));
        assert_eq!(buffer.bytes[BUFFER - 168..], stream[KEY_LEN + 32..]);
    }

    #[test]
    fn more_than_is_there_is_not_handed_out_and_costs_nothing() {
        let (mut buffer, _, _) = filled(20, true);
        assert_eq!(buffer.take_open::<21>(), None);
        assert!(!buffer.fill_from_open(&mut [0; 21]) && !buffer.fill(&mut [0; 21]));
        assert_eq!(buffer.left(), 20);
        assert!(buffer.take_open::<20>().is_some());
    }

    #[test]
    fn reserved_bytes_are_not_open() {
        let (mut buffer, _, stream) = filled(64, false);
        assert_eq!((buffer.take_open::<1>(), buffer.fill_from_open(&mut [0])), (None, false));
        let mut out = [0; 64];
        assert!(!buffer.fill(&mut [0; 65]) && buffer.fill(&mut out));
        assert_eq!(out, stream[KEY_LEN..]);
    }

    #[test]
    fn memory_of_all_zeros_is_an_empty_buffer() {
        let mut empty = Buffer::empty();
        assert_eq!((empty.left(), empty.take_open::<1>(), empty.fill(&mut [0])), (0, None, false));
        let (mut buffer, _, _) = filled(64, true);
        buffer.discard();
        assert_eq!((buffer.left(), buffer.bytes), (0, [0; BUFFER]));
    }
}
