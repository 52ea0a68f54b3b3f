//! Everything that is measured: ours, the peers, and the floors below which nobody gets.
//!
//! A contender is a name and a way to make, for each size, a batch: a loop of calls that the
//! compiler sees together with what is called, as it does in a program that uses the generator.

pub(crate) mod c_abi;
mod dynamic;
mod floors;
mod kernel;
mod libraries;
mod ours;
mod rust;
pub(crate) mod vdso;

pub(crate) use kernel::system_call;

use std::hint::black_box;

use rand_core::Rng;
use serde::{Deserialize, Serialize};
use snaprng::Rounds;

use crate::measure::Batch;

/// Bytes of a request. The first two are a `u32` and a `u64` where a generator has such.
pub(crate) const SIZES: [usize; 8] = [4, 8, 16, 32, 256, 4 << 10, 64 << 10, 1 << 20];

/// Sizes from here on are given as throughput.
pub(crate) const BULK: usize = 4 << 10;

/// Names that targets speak of.
pub(crate) mod name {
    pub(crate) const HELD: &str = "snaprng::rng() held";
    pub(crate) const PER_CALL: &str = "snaprng::rng() per call";
    pub(crate) const C_ABI: &str = "snaprng C library";
    pub(crate) const RAND_HELD: &str = "rand::rng() held";
    pub(crate) const RAND_PER_CALL: &str = "rand::rng() per call";
    pub(crate) const VDSO: &str = "vDSO getrandom";
    pub(crate) const AWS_LC: &str = "aws-lc RAND_bytes";
    pub(crate) const OPENSSL: &str = "OpenSSL 3 RAND_bytes";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Ours,
    Peer,
    Floor,
}

/// One row of a table.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// `None` for a size that it does not have.
    pub(crate) batch: Box<dyn Fn(usize) -> Option<Batch>>,
}

/// Somebody who should be in the table and is not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) name: String,
    pub(crate) why: String,
}

/// Whoever is there, and who is not.
#[derive(Default)]
pub(crate) struct Field {
    pub(crate) present: Vec<Contender>,
    pub(crate) missing: Vec<Missing>,
}

impl Field {
    /// Everybody. The C library is handed in, for it needs the configuration of the table.
    pub(crate) fn all(rounds: Rounds, c_library: Result<c_abi::Library, String>) -> Self {
        let mut field = Self::default();
        ours::enter(&mut field, rounds);
        match c_library {
            Ok(library) => library.enter(&mut field),
            Err(why) => field.misses(name::C_ABI, why),
        }
        rust::enter(&mut field);
        kernel::enter(&mut field);
        libraries::enter(&mut field);
        floors::enter(&mut field);
        field
    }

    fn add(
        &mut self,
        kind: Kind,
        name: &'static str,
        batch: impl Fn(usize) -> Option<Batch> + 'static,
    ) {
        self.present.push(Contender { name, kind, batch: Box::new(batch) });
    }

    fn misses(&mut self, name: &str, why: impl Into<String>) {
        self.missing.push(Missing { name: name.into(), why: why.into() });
    }
}

/// Calls of a generator with rand_core's traits: `next_u32`, `next_u64`, and `fill_bytes` of an array
/// of a size that the compiler knows, or of a slice.
fn drawing<R: Rng + 'static>(mut rng: R, size: usize) -> Batch {
    match size {
        4 => Box::new(move |calls| {
            for _ in 0..calls {
                black_box(rng.next_u32());
            }
        }),
        8 => Box::new(move |calls| {
            for _ in 0..calls {
                black_box(rng.next_u64());
            }
        }),
        _ => filling(move |out| rng.fill_bytes(out), size),
    }
}

/// Calls of a function that fills a slice, whose length the compiler knows up to 256 bytes.
fn filling(mut fill: impl FnMut(&mut [u8]) + 'static, size: usize) -> Batch {
    match size {
        4 => filling_array::<4>(fill),
        8 => filling_array::<8>(fill),
        16 => filling_array::<16>(fill),
        32 => filling_array::<32>(fill),
        256 => filling_array::<256>(fill),
        _ => {
            let mut out = vec![0; size];
            Box::new(move |calls| {
                for _ in 0..calls {
                    fill(black_box(&mut out));
                }
            })
        }
    }
}

fn filling_array<const N: usize>(mut fill: impl FnMut(&mut [u8]) + 'static) -> Batch {
    Box::new(move |calls| {
        let mut out = [0; N];
        for _ in 0..calls {
            fill(&mut out);
            black_box(&mut out);
        }
    })
}
