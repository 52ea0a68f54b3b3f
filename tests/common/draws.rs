//! One record of everything that a process can draw.

use snaprng::{Error, TrySnapRng};

use super::interruption::Trap;
use super::worlds;

/// Small requests of this size, this many of them, of each small kind.
const SMALL: usize = 32;
const COUNT: usize = 24;

/// A large request, and where it is interrupted for one-shot bytes.
const LARGE: usize = 64 << 10;
const INTERRUPTED_AT: usize = 16 << 10;

/// Bytes of one record.
pub(crate) const RECORD: usize = 3 * SMALL * COUNT + LARGE;

/// What a process draws with: made before it is copied, so that every copy has a state to repeat.
pub(crate) struct Source {
    pub(crate) owned: TrySnapRng,
    trap: Trap,
}

impl Source {
    pub(crate) fn new() -> Self {
        let mut source = Self { owned: worlds::owned(), trap: Trap::new(INTERRUPTED_AT, LARGE) };
        source.draw(&mut vec![0; RECORD]);
        source
    }

    /// Fills a record from this thread's generator, from the owned one, from one large request,
    /// and from the one-shot path, that is, from a signal handler that interrupts the large one.
    /// Does not allocate.
    pub(crate) fn draw(&mut self, record: &mut [u8]) {
        let (thread, rest) = record.split_at_mut(SMALL * COUNT);
        let (owned, rest) = rest.split_at_mut(SMALL * COUNT);
        let (one_shot, large) = rest.split_at_mut(SMALL * COUNT);
        for chunk in thread.chunks_mut(SMALL) {
            snaprng::fill(chunk).expect("bytes of the thread's generator");
        }
        for chunk in owned.chunks_mut(SMALL) {
            self.owned.fill(chunk).expect("bytes of the owned generator");
        }
        let filled = self.trap.spring(
            INTERRUPTED_AT,
            LARGE - INTERRUPTED_AT,
            |out| snaprng::fill(out).expect("a large request"),
            || {
                assert_is_busy();
                for chunk in one_shot.chunks_mut(SMALL) {
                    snaprng::fill(chunk).expect("one-shot bytes");
                }
            },
        );
        large.copy_from_slice(filled);
    }
}

/// Fails unless this thread's generator is in use, or gone: whoever asks for bytes now takes the
/// one-shot path.
pub(crate) fn assert_is_busy() {
    assert_eq!(snaprng::reseed(&[]), Err(Error::Reentered));
}
