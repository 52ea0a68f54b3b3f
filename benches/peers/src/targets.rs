//! What was promised: the limits, as data, and the verdict on what was measured.
//!
//! All are ratios of medians of one interleaved run, ours by theirs. Those of [`World::Settled`] and
//! [`World::Twelve`] are for x86-64 with AVX-512; on other machines they are shown and not judged: see
//! [`World::objects_to`].

use crate::contenders::{SIZES, name};
use crate::world::World;

/// A limit for one cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) world: World,
    pub(crate) ours: &'static str,
    pub(crate) theirs: &'static str,
    pub(crate) size: usize,
    pub(crate) limit: f64,
}

/// For each peer and the one of ours that is compared with it, the limits at all [`SIZES`].
const SETTLED: [(&str, &str, [f64; SIZES.len()]); 5] = [
    (name::RAND_HELD, name::HELD, [0.95, 0.82, 0.52, 0.63, 0.68, 0.52, 0.48, 0.48]),
    (name::RAND_PER_CALL, name::PER_CALL, [0.62, 0.60, 0.47, 0.58, 0.68, 0.52, 0.48, 0.48]),
    (name::VDSO, name::HELD, [0.15, 0.13, 0.13, 0.12, 0.13, 0.11, 0.11, 0.11]),
    (name::AWS_LC, name::HELD, [0.010, 0.010, 0.014, 0.022, 0.13, 0.72, 1.00, 1.00]),
    (name::OPENSSL, name::HELD, [0.005, 0.006, 0.008, 0.012, 0.06, 0.40, 0.85, 0.85]),
];

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The limits for single cells.
const SINGLE: [(World, &str, &str, usize, f64); 11] = [
    (World::Settled, name::C_ABI, name::VDSO, 8, 0.24),
    (World::Settled, name::C_ABI, name::VDSO, 32, 0.20),
    (World::Settled, name::C_ABI, name::AWS_LC, 32, 0.04),
    (World::Twelve, name::HELD, name::AWS_LC, 64 * KIB, 0.75),
    (World::Twelve, name::HELD, name::AWS_LC, MIB, 0.75),
    (World::Avx2, name::HELD, name::RAND_HELD, 8, 1.20),
    (World::Avx2, name::HELD, name::RAND_HELD, 16, 0.80),
    (World::Avx2, name::HELD, name::RAND_HELD, 64 * KIB, 1.00),
    (World::Avx2, name::PER_CALL, name::RAND_PER_CALL, 8, 0.95),
    (World::Default, name::HELD, name::AWS_LC, 32, 0.50),
    (World::Default, name::HELD, name::OPENSSL, 32, 0.25),
];

/// The limits for figures that are no times per call.
pub(crate) mod other {
    /// A rekey without RDSEED may cost this much more than `getrandom` of 32 bytes.
    pub(crate) const REKEY_NANOSECONDS: f64 = 450.0;
    pub(crate) const FIRST_OF_EPOCH_MICROSECONDS: f64 = 4.0;
    pub(crate) const FIRST_OF_THREAD_BY_RAND: f64 = 1.5;
    pub(crate) const FIRST_OF_PROCESS_MICROSECONDS: f64 = 100.0;
    pub(crate) const TWO_THREADS_BY_ONE: f64 = 1.9;
    pub(crate) const THREAD_KIB: f64 = 4.0;
    pub(crate) const TAIL_BY_RAND: f64 = 3.0;
}

/// All limits for cells.
pub(crate) fn all() -> Vec<Target> {
    let of_all_sizes = SETTLED.iter().flat_map(|(theirs, ours, limits)| {
        SIZES.iter().zip(limits).map(move |(&size, &limit)| Target {
            world: World::Settled,
            ours,
            theirs,
            size,
            limit,
        })
    });
    let single = SINGLE.iter().map(|&(world, ours, theirs, size, limit)| Target {
        world,
        ours,
        theirs,
        size,
        limit,
    });
    of_all_sizes.chain(single).collect()
}

/// The pairs that one table of limits compares, theirs and ours, in the order in which they are shown.
pub(crate) fn pairs(world: World) -> Vec<(&'static str, &'static str)> {
    let mut pairs = SETTLED.map(|(theirs, ours, _)| (theirs, ours)).to_vec();
    for target in all().iter().filter(|target| target.world == world) {
        if !pairs.contains(&(target.theirs, target.ours)) {
            pairs.push((target.theirs, target.ours));
        }
    }
    pairs
}

pub(crate) fn limit(world: World, ours: &str, theirs: &str, size: usize) -> Option<f64> {
    all()
        .iter()
        .find(|t| t.world == world && t.ours == ours && t.theirs == theirs && t.size == size)
        .map(|target| target.limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_found_again_and_there_is_one_for_each_cell() {
        let all = all();
        assert_eq!(all.len(), SETTLED.len() * SIZES.len() + SINGLE.len());
        for target in &all {
            let found = limit(target.world, target.ours, target.theirs, target.size);
            assert_eq!(found, Some(target.limit), "{target:?}");
        }
    }
}
