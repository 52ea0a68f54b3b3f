//! The AVX2 kernel: eight blocks side by side, one word of all of them in each register.
//!
//! Written in assembly, because the compiler spills key material to the stack where it likes and
//! turns byte shuffles into slower ones. What it computes is eight times the block function of
//! ChaCha (D. J. Bernstein, "ChaCha, a variant of Salsa20", 2008); no address and no branch depends
//! on key or keystream.
//!
//! What is wiped: all sixteen vector registers and the frame on the stack, which held the key.
//! General registers hold pointers and counts alone. Nothing else is written but the output.
#![allow(unsafe_code, reason = "assembly")]

use core::arch::asm;
use core::mem::MaybeUninit;

use super::Key;

/// Bytes that one turn of the loop makes: eight blocks.
pub(super) const GROUP: usize = 512;

/// The initial state, each word eight times; then where two words of the third row are kept while
/// the other two are in registers; then the step of the counter.
#[repr(C, align(32))]
struct Frame {
    initial: [[u32; 8]; 16],
    third_row: [[u32; 8]; 4],
}

/// What is the same in every call.
#[repr(C, align(32))]
struct Constants {
    /// Rotations of each 32-bit word by 16 and by 8 bits, as byte shuffles.
    rotate_16: [u8; 32],
    rotate_8: [u8; 32],
    /// Block numbers within a group, and their step from one group to the next.
    lanes: [u32; 8],
    step: [u32; 8],
    /// "expand 32-byte k"
    sigma: [u32; 4],
}

static CONSTANTS: Constants = Constants {
    rotate_16: rotation([2, 3, 0, 1]),
    rotate_8: rotation([3, 0, 1, 2]),
    lanes: [0, 1, 2, 3, 4, 5, 6, 7],
    step: [8; 8],
    sigma: super::SIGMA,
};

/// The byte shuffle that does this to each word.
const fn rotation(of_word: [u8; 4]) -> [u8; 32] {
    let mut shuffle = [0; 32];
    let mut byte = 0;
    while byte < 32 {
        // Within each half of the register.
        shuffle[byte] = of_word[byte % 4] + (byte / 4 * 4 % 16) as u8;
        byte += 1;
    }
    shuffle
}

macro_rules! add {
    ($x:literal, $y:literal) => {
        concat!("vpaddd ymm", $x, ", ymm", $x, ", ymm", $y, "\n")
    };
}

macro_rules! xor {
    ($x:literal, $y:literal) => {
        concat!("vpxor ymm", $x, ", ymm", $x, ", ymm", $y, "\n")
    };
}

/// Rotates by a byte shuffle, which is one instruction.
macro_rules! shuffle {
    ($x:literal, $by:literal) => {
        concat!("vpshufb ymm", $x, ", ymm", $x, ", [{constants} + ", $by, "]\n")
    };
}

/// Rotates by two shifts.
macro_rules! rotate {
    ($x:literal, $left:literal, $right:literal, $free:literal) => {
        concat!(
            "vpslld ymm",
            $free,
            ", ymm",
            $x,
            ", ",
            $left,
            "\n",
            "vpsrld ymm",
            $x,
            ", ymm",
            $x,
            ", ",
            $right,
            "\n",
            "vpor ymm",
            $x,
            ", ymm",
            $x,
            ", ymm",
            $free,
            "\n",
        )
    };
}

/// Half of two quarter rounds: a rotation by a shuffle, and one by shifts.
macro_rules! half {
    ($a:literal $b:literal $c:literal $d:literal, $e:literal $f:literal $g:literal $h:literal:
     $shuffle:literal, $left:literal $right:literal) => {
        concat!(
            add!($a, $b),
            add!($e, $f),
            xor!($d, $a),
            xor!($h, $e),
            shuffle!($d, $shuffle),
            shuffle!($h, $shuffle),
            add!($c, $d),
            add!($g, $h),
            xor!($b, $c),
            xor!($f, $g),
            rotate!($b, $left, $right, 10),
            rotate!($f, $left, $right, 11),
        )
    };
}

/// Two quarter rounds.
macro_rules! quarter_rounds {
    ($a:literal $b:literal $c:literal $d:literal, $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            half!($a $b $c $d, $e $f $g $h: 0, 12 20),
            half!($a $b $c $d, $e $f $g $h: 32, 7 25),
        )
    };
}

macro_rules! load {
    ($x:literal, $at:literal) => {
        concat!("vmovdqa ymm", $x, ", [{frame} + 32 * ", $at, "]\n")
    };
}

macro_rules! store {
    ($x:literal, $at:literal) => {
        concat!("vmovdqa [{frame} + 32 * ", $at, "], ymm", $x, "\n")
    };
}

macro_rules! broadcast {
    ($($word:literal)*) => {
        concat!($(
            "vpbroadcastd ymm0, [{key} + 4 * ", $word, "]\n",
            "vmovdqa [{frame} + 32 * (4 + ", $word, ")], ymm0\n",
        )*)
    };
}

macro_rules! broadcast_sigma {
    ($($word:literal)*) => {
        concat!($(
            "vpbroadcastd ymm0, [{constants} + 128 + 4 * ", $word, "]\n",
            "vmovdqa [{frame} + 32 * ", $word, "], ymm0\n",
        )*)
    };
}

/// Adds the initial state's word to the register.
macro_rules! add_initial {
    ($($x:literal + $word:literal),*) => {
        concat!($("vpaddd ymm", $x, ", ymm", $x, ", [{frame} + 32 * ", $word, "]\n",)*)
    };
}

/// Transposes four words of four blocks in each half: the rows of the first block to the fourth
/// are then in `$a`, `$c`, `$x` and `$y`; `$b` and `$d` are free.
macro_rules! transpose {
    ($a:literal $b:literal $c:literal $d:literal, $x:literal $y:literal) => {
        concat!(
            "vpunpckldq ymm",
            $x,
            ", ymm",
            $a,
            ", ymm",
            $b,
            "\n",
            "vpunpckhdq ymm",
            $b,
            ", ymm",
            $a,
            ", ymm",
            $b,
            "\n",
            "vpunpckldq ymm",
            $y,
            ", ymm",
            $c,
            ", ymm",
            $d,
            "\n",
            "vpunpckhdq ymm",
            $d,
            ", ymm",
            $c,
            ", ymm",
            $d,
            "\n",
            "vpunpcklqdq ymm",
            $a,
            ", ymm",
            $x,
            ", ymm",
            $y,
            "\n",
            "vpunpckhqdq ymm",
            $c,
            ", ymm",
            $x,
            ", ymm",
            $y,
            "\n",
            "vpunpcklqdq ymm",
            $x,
            ", ymm",
            $b,
            ", ymm",
            $d,
            "\n",
            "vpunpckhqdq ymm",
            $y,
            ", ymm",
            $b,
            ", ymm",
            $d,
            "\n",
        )
    };
}

/// Writes half of a block, and half of the block that is four further on.
macro_rules! write {
    ($x:literal $y:literal, $block:literal, $half:literal, $free:literal) => {
        concat!(
            "vperm2i128 ymm",
            $free,
            ", ymm",
            $x,
            ", ymm",
            $y,
            ", 0x20\n",
            "vmovdqu [{out} + 64 * ",
            $block,
            " + 32 * ",
            $half,
            "], ymm",
            $free,
            "\n",
            "vperm2i128 ymm",
            $free,
            ", ymm",
            $x,
            ", ymm",
            $y,
            ", 0x31\n",
            "vmovdqu [{out} + 64 * (",
            $block,
            " + 4) + 32 * ",
            $half,
            "], ymm",
            $free,
            "\n",
        )
    };
}

macro_rules! wipe_frame {
    ($($at:literal)*) => {
        concat!($("vmovdqa [{frame} + 32 * ", $at, "], ymm0\n",)*)
    };
}

/// Writes as many groups of keystream as `out` holds, beginning at block `first`.
///
/// # Safety
/// The CPU has AVX2, and its operating system saves its registers. `out` holds at least one whole
/// group, and nothing besides. `first` is a multiple of eight, and no block's number has another
/// upper half than `first` has.
#[rustfmt::skip]
pub(super) unsafe fn groups(double_rounds: u32, key: &Key, first: u64, out: &mut [u8]) {
    debug_assert!(!out.is_empty() && out.len().is_multiple_of(GROUP));
    let mut frame = MaybeUninit::<Frame>::uninit();
    // SAFETY: the instructions exist, says the caller. They read the key and the constants, write
    // to the frame, which is aligned, and to the whole groups of the output. They leave the stack
    // and the direction flag alone.
    unsafe {
        asm!(
            broadcast_sigma!(0 1 2 3),
            broadcast!(0 1 2 3 4 5 6 7),
            "vmovd xmm0, {low:e}",
            "vpbroadcastd ymm0, xmm0",
            "vpaddd ymm0, ymm0, [{constants} + 64]",
            store!(0, 12),
            "vmovd xmm0, {high:e}",
            "vpbroadcastd ymm0, xmm0",
            store!(0, 13),
            "vpxor xmm0, xmm0, xmm0",
            store!(0, 14), store!(0, 15),

            "2:",
            load!(0, 0), load!(1, 1), load!(2, 2), load!(3, 3),
            load!(4, 4), load!(5, 5), load!(6, 6), load!(7, 7),
            load!(8, 10), load!(9, 11), store!(8, 18), store!(9, 19), load!(8, 8), load!(9, 9),
            load!(12, 12), load!(13, 13), load!(14, 14), load!(15, 15),
            "mov {left:e}, {double_rounds:e}",

            "3:",
            quarter_rounds!(0 4 8 12, 1 5 9 13),
            store!(8, 16), store!(9, 17), load!(8, 18), load!(9, 19),
            quarter_rounds!(2 6 8 14, 3 7 9 15),
            quarter_rounds!(0 5 8 15, 1 6 9 12),
            store!(8, 18), store!(9, 19), load!(8, 16), load!(9, 17),
            quarter_rounds!(2 7 8 13, 3 4 9 14),
            "dec {left:e}",
            "jnz 3b",

            add_initial!(0 + 0, 1 + 1, 2 + 2, 3 + 3, 4 + 4, 5 + 5, 6 + 6, 7 + 7),
            transpose!(0 1 2 3, 10 11),
            transpose!(4 5 6 7, 1 3),
            write!(0 4, 0, 0, 5), write!(2 6, 1, 0, 7), write!(10 1, 2, 0, 5), write!(11 3, 3, 0, 7),
            load!(0, 18), load!(1, 19),
            add_initial!(8 + 8, 9 + 9, 0 + 10, 1 + 11, 12 + 12, 13 + 13, 14 + 14, 15 + 15),
            transpose!(8 9 0 1, 2 3),
            transpose!(12 13 14 15, 9 1),
            write!(8 12, 0, 1, 5), write!(0 14, 1, 1, 7), write!(2 9, 2, 1, 5), write!(3 1, 3, 1, 7),

            load!(0, 12),
            "vpaddd ymm0, ymm0, [{constants} + 96]",
            store!(0, 12),
            "add {out}, 512",
            "dec {groups}",
            "jnz 2b",

            "vzeroall",
            wipe_frame!(4 5 6 7 8 9 10 11 16 17 18 19),
            "vzeroupper",
            constants = in(reg) &raw const CONSTANTS,
            key = in(reg) key.as_ptr(),
            frame = in(reg) frame.as_mut_ptr(),
            low = in(reg) first as u32,
            high = in(reg) (first >> 32) as u32,
            double_rounds = in(reg) double_rounds,
            left = out(reg) _,
            out = inout(reg) out.as_mut_ptr() => _,
            groups = inout(reg) out.len() / GROUP => _,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _,
            out("ymm5") _, out("ymm6") _, out("ymm7") _, out("ymm8") _, out("ymm9") _,
            out("ymm10") _, out("ymm11") _, out("ymm12") _, out("ymm13") _, out("ymm14") _,
            out("ymm15") _,
            options(nostack),
        );
    }
}

/// Not of an interpreter, which has no registers.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::features::{self, Feature};

    #[test]
    fn no_vector_register_keeps_a_word_of_key_or_keystream() {
        if !features::has(Feature::Avx2) {
            return println!("SKIPPED: registers of the avx2 kernel: this CPU does not have it");
        }
        for whole in 1..=3 {
            let mut out = [0; 3 * GROUP];
            let mut left = [0; 32 * 64];
            // SAFETY: the CPU has AVX2; whole groups, from block 0.
            unsafe { groups(10, &super::super::OF_TESTS, 0, &mut out[..whole * GROUP]) };
            super::super::registers::read(&mut left);
            super::super::assert_tells_nothing(&left, &out[..whole * GROUP]);
        }
    }
}
