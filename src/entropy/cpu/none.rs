//! No instruction that is known here.

pub(super) fn random() -> Option<u64> {
    None
}

pub(super) const SEED_TRIES: u32 = 0;

pub(super) fn seed(_tries: u32) -> Option<u64> {
    None
}
