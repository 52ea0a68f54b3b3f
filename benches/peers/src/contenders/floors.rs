//! What nobody is faster than: writing the bytes at all, and handing them out of a buffer with the
//! looks and the wiping but no cipher.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use super::{Field, Kind, filling};
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
        WORDS.iter().zip(&self.seen).all(|(word, seen)| word.load(Ordering::Relaxed) == *seen)
    }

    #[inline(always)]
    fn fill(&mut self, out: &mut [u8]) {
        assert!(self.unmoved());
        compiler_fence(Ordering::SeqCst);
        if BUFFER - self.next < out.len() {
            self.next = 0;
        }
        let end = self.next + out.len();
        let bytes = &mut self.buffer[self.next..end];
        self.next = end;
        out.copy_from_slice(bytes);
        bytes.fill(0);
        compiler_fence(Ordering::SeqCst);
        assert!(self.unmoved());
    }
}

fn checked_pop(size: usize) -> Option<Batch> {
    let mut pop = Box::new(Pop::new());
    (size < BUFFER / 2).then(|| filling(move |out| pop.fill(out), size))
}
