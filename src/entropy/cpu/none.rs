//! No instruction that is known here.

pub(super) fn random() -> Option<u64> {
    None
}

pub(super) fn seed() -> Option<u64> {
    None
}
