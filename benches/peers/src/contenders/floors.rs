//! What nobody is faster than: writing the bytes at all, and handing them out of a buffer with the
//! looks and the wiping but no cipher.

use core::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use rand_core::TryRng;

use super::{Field, Kind, drawing, filling};
use crate::measure::Batch;

pub(super) fn enter(field: &mut Field) {
    field.add(Kind::Floor, "memset", |size| Some(filling(|out| out.fill(black_box(0x5a)), size)));
    field.add(Kind::Floor, "checked pop, no cipher", checked_pop);
}

/// Words in the place of the witnesses.
static WORDS: [AtomicU64; 3] = [AtomicU64::new(1), AtomicU64::new(2), AtomicU64::new(3)];

const BUFFER: usize = 1024;

/// A buffer that is never filled again: its position is set back instead.
struct Pop {
    seen: [u64; 3],
    next: usize,
    buffer: [u8; BUFFER],
}

impl Pop {
    fn new() -> Self {
        Self { seen: [1, 2, 3], next: 0, buffer: [0; BUFFER] }
    }

    #[inline(always)]
    fn unmoved(&self) -> bool {
        let moved = |(word, seen): (&AtomicU64, &u64)| word.load(Ordering::Relaxed) ^ *seen;
        WORDS.iter().zip(&self.seen).map(moved).fold(0, |all, one| all | one) == 0
    }

    #[inline(always)]
    fn pop(&mut self, out: &mut [u8]) {
        let end = self.next + out.len();
        if end > BUFFER || !self.unmoved() {
            return self.begin_anew();
        }
        compiler_fence(Ordering::SeqCst);
        if let Some(bytes) = self.buffer.get_mut(self.next..end) {
            self.next = end;
            out.copy_from_slice(bytes);
            bytes.fill(0);
        }
        compiler_fence(Ordering::SeqCst);
        if !self.unmoved() {
            self.begin_anew();
        }
    }

    /// Where a generator would rekey or refill.
    #[cold]
    #[inline(never)]
    fn begin_anew(&mut self) {
        self.next = 0;
    }
}

impl TryRng for Pop {
    type Error = Infallible;

    #[inline(always)]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.pop(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.pop(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.pop(out);
        Ok(())
    }
}

fn checked_pop(size: usize) -> Option<Batch> {
    (size < BUFFER / 2).then(|| drawing(Box::new(Pop::new()), size))
}
