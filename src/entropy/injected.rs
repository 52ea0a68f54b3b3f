//! Bytes handed in by the host or the embedder: a lock-free, process-wide cell.
//!
//! The cell holds a running sum of hashes, so that any number of threads can add to it at once and
//! nothing that was handed in is lost. A reader may meet a sum half-way: it absorbs whatever it
//! finds, and rekeys once more when the writer clears the process word afterwards.

use blake2::Blake2s256;
use blake2::digest::{Digest, Update};

use super::stamp::Stamp;
use crate::cipher::Key;
use crate::sync::{self, AtomicU64, Ordering};
use crate::world::Epoch;

sync::statics! {
    static CELL: [AtomicU64; 4] = sync::array![AtomicU64::new(0); 4];
    static COUNT: AtomicU64 = AtomicU64::new(0);

    /// The VM epoch in which unique bytes were handed in last. In a later one, all clones have them.
    static UNIQUE_IN: Stamp = Stamp::new();
}

/// Adds `unique` to the cell. The caller moves the process word afterwards.
///
/// `epoch` is the one in which the bytes tell this clone from its siblings.
pub(crate) fn publish(unique: &[u8], epoch: &Epoch) {
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let hash = hash(b"snaprng injected 1\0", number, unique);
    for (cell, part) in CELL.iter().zip(hash.chunks_exact(8)) {
        let mut word = [0; 8];
        word.copy_from_slice(part);
        cell.fetch_add(u64::from_le_bytes(word), Ordering::Relaxed);
    }
    if !unique.is_empty() {
        UNIQUE_IN.set(epoch, 1);
    }
}

/// Reads the cell; true if unique bytes were handed in in this VM epoch.
pub(super) fn read(epoch: &Epoch, out: &mut Key) -> bool {
    for (to, cell) in out.chunks_exact_mut(8).zip(CELL.iter()) {
        to.copy_from_slice(&cell.load(Ordering::Acquire).to_le_bytes());
    }
    UNIQUE_IN.get(epoch).is_some()
}

/// A hash of personalization bytes; zero where there are none.
pub(crate) fn digest(personalization: &[u8]) -> Key {
    if personalization.is_empty() {
        return Key::default();
    }
    hash(b"snaprng personalization 1\0", 0, personalization)
}

fn hash(domain: &[u8], number: u64, bytes: &[u8]) -> Key {
    let mut hasher = Blake2s256::new();
    Update::update(&mut hasher, domain);
    Update::update(&mut hasher, &number.to_le_bytes());
    Update::update(&mut hasher, bytes);
    hasher.finalize().into()
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handing_in_the_same_bytes_twice_cancels_nothing() {
        let epoch = Epoch { counter: 0x1234, ..Epoch::default() };
        let mut seen = Vec::new();
        for _ in 0..3 {
            let mut now = Key::default();
            read(&epoch, &mut now);
            assert!(!seen.contains(&now));
            seen.push(now);
            publish(b"same", &epoch);
        }
    }

    #[test]
    fn unique_bytes_count_in_their_own_vm_epoch_alone() {
        let epoch = Epoch { counter: 0x5678, ..Epoch::default() };
        publish(b"unique", &epoch);
        let mut out = Key::default();
        assert!(read(&epoch, &mut out));
        assert!(!read(&Epoch { counter: 0x5679, ..epoch }, &mut out));
    }

    #[test]
    fn no_personalization_is_zero_and_any_other_is_not() {
        assert_eq!(digest(b""), [0; 32]);
        assert_ne!(digest(b"a"), digest(b"b"));
    }
}
