//! One block at a time: for steps, and for the little that a request without a buffer needs.
//!
//! Safe code over rows of four words, which the compiler keeps in vector registers where there are
//! any. For one block it beats kernels that make four and more, several times over.
//!
//! What is wiped: by [`keystream`] the vector registers, by whoever asks for one [`block()`] what it
//! gave. What the compiler spills to the stack stays there.

use super::{Key, Rounds, SIGMA, registers};
use crate::wipe::Wiped;

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

type Row = [u32; 4];

/// The block of `key` with this counter and nonce: 16 bytes, the counter's first.
#[inline(never)]
pub(super) fn block(rounds: Rounds, key: &Key, counter_and_nonce: &[u8; 16]) -> [u8; BLOCK] {
    let (low, high) = key.split_at(16);
    let initial = [SIGMA, row(low), row(high), row(counter_and_nonce)];
    let [mut a, mut b, mut c, mut d] = initial;
    for _ in 0..rounds.count() / 2 {
        quarter_rounds(&mut a, &mut b, &mut c, &mut d);
        // Diagonals become columns, and go back.
        (b, c, d) = (turned::<1>(b), turned::<2>(c), turned::<3>(d));
        quarter_rounds(&mut a, &mut b, &mut c, &mut d);
        (b, c, d) = (turned::<3>(b), turned::<2>(c), turned::<1>(d));
    }
    let mut out = [0; BLOCK];
    let (rows, _) = out.as_chunks_mut::<16>();
    for ((to, mixed), initial) in rows.iter_mut().zip([a, b, c, d]).zip(initial) {
        let (words, _) = to.as_chunks_mut::<4>();
        for (to, word) in words.iter_mut().zip(sum(mixed, initial)) {
            *to = word.to_le_bytes();
        }
    }
    out
}

/// Overwrites `out` with the keystream of `key`, block by block.
pub(super) fn keystream(rounds: Rounds, key: &Key, out: &mut [u8]) {
    for (counter, part) in (0u128..).zip(out.chunks_mut(BLOCK)) {
        let made = Wiped(block(rounds, key, &counter.to_le_bytes()));
        for (to, from) in part.iter_mut().zip(*made) {
            *to = from;
        }
    }
    registers::wipe();
}

/// The four of all columns.
#[inline(always)]
fn quarter_rounds(a: &mut Row, b: &mut Row, c: &mut Row, d: &mut Row) {
    *a = sum(*a, *b);
    *d = mixed::<16>(*d, *a);
    *c = sum(*c, *d);
    *b = mixed::<12>(*b, *c);
    *a = sum(*a, *b);
    *d = mixed::<8>(*d, *a);
    *c = sum(*c, *d);
    *b = mixed::<7>(*b, *c);
}

#[inline(always)]
fn sum(a: Row, b: Row) -> Row {
    core::array::from_fn(|i| a[i].wrapping_add(b[i]))
}

#[inline(always)]
fn mixed<const BITS: u32>(a: Row, b: Row) -> Row {
    core::array::from_fn(|i| (a[i] ^ b[i]).rotate_left(BITS))
}

#[inline(always)]
fn turned<const PLACES: usize>(a: Row) -> Row {
    core::array::from_fn(|i| a[(i + PLACES) % 4])
}

/// Four little-endian words; what is missing is zero.
#[inline(always)]
fn row(bytes: &[u8]) -> Row {
    let (words, _) = bytes.as_chunks::<4>();
    core::array::from_fn(|i| words.get(i).map_or(0, |word| u32::from_le_bytes(*word)))
}
