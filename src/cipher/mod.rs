//! The ChaCha keystream, and nothing else.
//!
//! One documented stream: the original ChaCha of D. J. Bernstein (64-bit block counter, 64-bit
//! nonce), counter and nonce zero, for a key that is used for exactly one call. Because every key
//! is used once, neither counter nor nonce ever has to be remembered, and no position can be
//! handed out twice. With twenty rounds, for the first 256 GiB of a key, this is the keystream of RFC
//! 8439 with a zero nonce and an initial counter of 0.
//!
//! This room chooses the kernel; it must never keep a key, and it must not branch on one. All
//! kernels make the same stream, for each number of rounds.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod kernel;
mod portable;
mod registers;

use crate::point::point;
use crate::wipe::Wiped;

pub(crate) use kernel::{Kernel, force};

/// Bytes of a key.
pub(crate) const KEY_LEN: usize = 32;

/// Bytes of a tweak, and what a step makes besides the next key.
pub(crate) const TWEAK: usize = 16;
pub(crate) const SPARE: usize = 32;

/// A ChaCha key. A plain array, so that whoever holds one says where it is wiped.
pub(crate) type Key = [u8; KEY_LEN];

/// "expand 32-byte k", the first row of the state.
const SIGMA: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// How many rounds of ChaCha make the output.
///
/// Attacks better than trying all keys are known for seven rounds of ChaCha with 256-bit keys, and
/// for none of eight (J.-P. Aumasson, "Too Much Crypto", 2019). Keys are always made with twenty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rounds {
    /// ChaCha20: the default, and what RFC 8439 specifies.
    #[default]
    Twenty = 0,
    /// ChaCha12: a third faster, five rounds beyond what is broken. What the `rand` crate uses.
    Twelve = 12,
    /// ChaCha8: twice as fast, one round beyond what is broken. Where speed is worth the margin.
    Eight = 8,
}

impl Rounds {
    /// How many rounds.
    pub fn count(self) -> u32 {
        match self {
            Self::Twenty => 20,
            Self::Twelve => 12,
            Self::Eight => 8,
        }
    }

    /// The number stored as `code`; anything unknown is the most careful one.
    pub(crate) fn from_code(code: u8) -> Self {
        match code {
            8 => Self::Eight,
            12 => Self::Twelve,
            _ => Self::Twenty,
        }
    }
}

/// Overwrites `out` with the keystream of `key`, from its first byte.
///
/// The key must not be used for another call. What the kernel leaves behind is said in its file.
pub(crate) fn keystream(rounds: Rounds, key: &Key, out: &mut [u8]) {
    #[cfg(test)]
    crate::point::observed::in_the_middle_of(out, |part| {
        Kernel::in_use().keystream(rounds, key, part);
    });
    Kernel::in_use().keystream(rounds, key, out);
    point("made");
}

/// One absorbing step: the block of ChaCha20 under `key XOR input`, with `tweak` where counter and
/// nonce are. Its first half is the next key; the second goes to `spare`, and may be handed out.
///
/// The old key cannot be had back from the block. Whoever knows `key` but not `input`, or `input`
/// but not `key`, does not know the key of the block and learns nothing about it; copies that know
/// both, because they are copies, have blocks of their own as soon as their tweaks differ.
pub(crate) fn step(key: &mut Key, input: &Key, tweak: &[u8; TWEAK], spare: &mut [u8; SPARE]) {
    let mixed: Wiped<KEY_LEN> = Wiped(core::array::from_fn(|i| key[i] ^ input[i]));
    let made = Wiped(block::block(Rounds::Twenty, &mixed, tweak));
    let (next, rest) = made.split_at(KEY_LEN);
    point("mixed");
    key.copy_from_slice(next);
    point("stepped");
    spare.copy_from_slice(rest);
    registers::wipe();
}

/// Copies a key, and leaves nothing of it in the vector registers that it went through.
pub(crate) fn copy_key(from: &Key, to: &mut Key) {
    *to = *from;
    registers::wipe();
}

/// A key whose words are all different.
#[cfg(test)]
const OF_TESTS: Key = *b"any 32 bytes, all different: ABC";

/// Fails if a word of what was left behind is one of the key or of the keystream that it made.
#[cfg(all(test, target_arch = "x86_64", not(miri)))]
fn assert_tells_nothing(left: &[u8], made: &[u8]) {
    let words = |bytes: &[u8]| bytes.as_chunks::<4>().0.to_vec();
    let secret: std::collections::HashSet<[u8; 4]> =
        [words(made), words(&OF_TESTS)].concat().into_iter().filter(|w| *w != [0; 4]).collect();
    let at = words(left).iter().position(|word| secret.contains(word));
    assert_eq!(at, None, "a word that is secret");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, appendix A.1, test vectors 1 and 2 (key 0, nonce 0, counters 0 and 1).
    #[test]
    fn the_keystream_of_the_zero_key_is_that_of_rfc_8439() {
        let mut out = [0; 128];
        keystream(Rounds::Twenty, &[0; 32], &mut out);
        assert_eq!(
            hex(&out),
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7\
             da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586\
             9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed\
             29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
        );
    }

    /// RFC 8439, appendix A.1, test vectors 3 (counter 1) and 4 (counter 2).
    #[test]
    fn later_blocks_and_other_keys_are_those_of_rfc_8439() {
        let mut key = [0; 32];
        key[31] = 1;
        let mut out = [0; 128];
        keystream(Rounds::Twenty, &key, &mut out);
        assert_eq!(
            hex(&out[64..]),
            "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a\
             8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0"
        );
        let mut key = [0; 32];
        key[1] = 0xff;
        let mut out = [0; 192];
        keystream(Rounds::Twenty, &key, &mut out);
        assert_eq!(
            hex(&out[128..]),
            "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca\
             13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096"
        );
    }

    /// RFC 8439, section 2.3.2: a nonce and a counter, to hold the oracle itself to the standard.
    #[test]
    fn the_oracle_gives_the_block_of_rfc_8439_section_2_3_2() {
        use rand_core::{Rng, SeedableRng};
        let key: [u8; 32] = core::array::from_fn(|i| i as u8);
        let mut oracle = rand_chacha::ChaCha20Rng::from_seed(key);
        // The RFC's 96-bit nonce is the upper half of the counter and the stream number here.
        oracle.set_stream(u64::from_le_bytes([0, 0, 0, 0x4a, 0, 0, 0, 0]));
        oracle.set_word_pos((u128::from(0x0900_0000_u32) << 32 | 1) * 16);
        let mut out = [0; 64];
        oracle.fill_bytes(&mut out);
        assert_eq!(
            hex(&out),
            "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e\
             d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
        );
    }

    #[test]
    fn every_length_is_a_prefix_of_the_same_stream() {
        let key = [7; 32];
        let mut whole = [0; 2048];
        keystream(Rounds::Twenty, &key, &mut whole);
        for len in 0..whole.len() {
            let mut out = vec![0; len];
            keystream(Rounds::Twenty, &key, &mut out);
            assert_eq!(out, whole[..len], "length {len}");
        }
    }

    /// RFC 8439, section 2.3.2, for our own single block.
    #[test]
    fn a_single_block_is_that_of_rfc_8439_section_2_3_2() {
        let key: [u8; 32] = core::array::from_fn(|i| i as u8);
        let counter_and_nonce = [1, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0];
        assert_eq!(
            hex(&block::block(Rounds::Twenty, &key, &counter_and_nonce)),
            "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e\
             d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
        );
    }

    #[test]
    fn a_step_depends_on_key_and_input_and_tweak() {
        let step = |key: [u8; 32], input, tweak| {
            let (mut next, mut spare) = (key, [0; 32]);
            step(&mut next, &input, &tweak, &mut spare);
            (next, spare)
        };
        let (next, spare) = step([1; 32], [2; 32], [3; 16]);
        for other in [
            step([4; 32], [2; 32], [3; 16]),
            step([1; 32], [4; 32], [3; 16]),
            step([1; 32], [2; 32], [4; 16]),
        ] {
            assert!(next != other.0 && spare != other.1);
        }
        let stream = block::block(Rounds::Twenty, &[3; 32], &[3; 16]);
        assert_eq!([next, spare].concat(), stream, "the key and the input, xored");
    }

    /// Not of an interpreter, which has no registers.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[test]
    fn no_vector_register_keeps_a_word_of_a_step_or_of_a_few_blocks_or_of_a_copied_key() {
        let mut left = [0; 32 * 64];
        let (mut key, mut spare) = (OF_TESTS, [0; SPARE]);
        step(&mut key, &[1; KEY_LEN], &[2; TWEAK], &mut spare);
        registers::read(&mut left);
        assert_tells_nothing(&left, &[key, spare].concat());

        let mut out = [0; 100];
        block::keystream(Rounds::Twenty, &OF_TESTS, &mut out);
        registers::read(&mut left);
        assert_tells_nothing(&left, &out);

        let mut copy = Key::default();
        copy_key(&OF_TESTS, &mut copy);
        registers::read(&mut left);
        assert_tells_nothing(&left, &copy);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
}
