//! The portable kernel: `rand_chacha`'s block core, four blocks at a time.
//!
//! It is the kernel of every machine without a faster one, and the oracle that faster ones are
//! held against. `rand_chacha` picks SSE2, SSSE3 or AVX2 at run time by itself.
//!
//! What is wiped: the scratch blocks, the core with its copy of the key, and the vector registers.
//! What is not: whatever the compiler spilled to the stack inside `rand_chacha`.

use core::hint::black_box;

use rand_chacha::{ChaCha8Core, ChaCha12Core, ChaCha20Core};
use rand_core::SeedableRng;
use rand_core::block::Generator;
use zeroize::Zeroize;

use super::{Key, Rounds, registers};

/// `rand_chacha` makes four blocks of 64 bytes at once.
const STRIDE: usize = 256;

pub(super) fn keystream(rounds: Rounds, key: &Key, out: &mut [u8]) {
    match rounds {
        Rounds::Twenty => from_core::<ChaCha20Core>(key, out),
        Rounds::Twelve => from_core::<ChaCha12Core>(key, out),
        Rounds::Eight => from_core::<ChaCha8Core>(key, out),
    }
}

fn from_core<C>(key: &Key, out: &mut [u8])
where
    C: SeedableRng<Seed = Key> + Generator<Output = [u32; STRIDE / 4]>,
{
    let mut core = C::from_seed(*key);
    let mut words = [0u32; STRIDE / 4];
    let mut strides = out.chunks_exact_mut(STRIDE);
    for stride in &mut strides {
        core.generate(&mut words);
        for (bytes, word) in stride.chunks_exact_mut(4).zip(&words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
    let rest = strides.into_remainder();
    if !rest.is_empty() {
        core.generate(&mut words);
        let stream = words.iter().flat_map(|word| word.to_le_bytes());
        for (to, from) in rest.iter_mut().zip(stream) {
            *to = from;
        }
    }
    words.zeroize();
    // The core keeps the key and has no way to be wiped: overwrite it with that of the zero key,
    // and keep the compiler from dropping the write as dead.
    core = C::from_seed([0; 32]);
    black_box(&mut core);
    registers::wipe();
}

/// Not of an interpreter, which has no registers.
#[cfg(all(test, target_arch = "x86_64", not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn no_vector_register_keeps_a_word_of_key_or_keystream() {
        for length in [STRIDE - 100, STRIDE, 4 * STRIDE + 20] {
            let mut out = [0; 5 * STRIDE];
            let mut left = [0; 32 * 64];
            keystream(Rounds::Twenty, &super::super::OF_TESTS, &mut out[..length]);
            registers::read(&mut left);
            super::super::assert_tells_nothing(&left, &out[..length]);
        }
    }
}
