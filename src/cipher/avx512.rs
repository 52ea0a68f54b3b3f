//! The AVX-512 kernel: sixteen blocks side by side, one word of all of them in each register; two
//! such sets at once where there is that much to make.
//!
//! Written in assembly, because the compiler spills key material to the stack where it likes. What
//! it computes is the block function of ChaCha (D. J. Bernstein, "ChaCha, a variant of Salsa20",
//! 2008); no address and no branch depends on key or keystream. It needs AVX512F and nothing else.
//!
//! What is wiped: all 32 vector registers. There is nothing on the stack: the initial state is read
//! from the key itself, and where registers run out, finished keystream waits in the output.
//! General registers hold pointers and counts alone.
#![allow(unsafe_code, reason = "assembly")]

use core::arch::asm;

use super::Key;

/// Bytes that one set of registers makes: sixteen blocks.
pub(super) const GROUP: usize = 1024;

/// What is the same in every call.
#[repr(C, align(64))]
struct Constants {
    /// Block numbers within a set.
    lanes: [u32; 16],
    /// "expand 32-byte k"
    sigma: [u32; 4],
    /// How much further on the second set is.
    second: u32,
}

static CONSTANTS: Constants = Constants {
    lanes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    sigma: super::SIGMA,
    second: 16,
};

macro_rules! add {
    ($($x:literal $y:literal),*) => {
        concat!($("vpaddd zmm", $x, ", zmm", $x, ", zmm", $y, "\n",)*)
    };
}

macro_rules! xor {
    ($($x:literal $y:literal),*) => {
        concat!($("vpxord zmm", $x, ", zmm", $x, ", zmm", $y, "\n",)*)
    };
}

macro_rules! rotate {
    ($by:literal: $($x:literal),*) => {
        concat!($("vprold zmm", $x, ", zmm", $x, ", ", $by, "\n",)*)
    };
}

/// Some quarter rounds, step by step.
macro_rules! quarter_rounds {
    ($($a:literal $b:literal $c:literal $d:literal),*) => {
        concat!(
            add!($($a $b),*), xor!($($d $a),*), rotate!(16: $($d),*),
            add!($($c $d),*), xor!($($b $c),*), rotate!(12: $($b),*),
            add!($($a $b),*), xor!($($d $a),*), rotate!(8: $($d),*),
            add!($($c $d),*), xor!($($b $c),*), rotate!(7: $($b),*),
        )
    };
}

/// Columns, then diagonals, of the set in registers 0 to 15.
macro_rules! double_round {
    () => {
        concat!(
            quarter_rounds!(0 4 8 12, 1 5 9 13, 2 6 10 14, 3 7 11 15),
            quarter_rounds!(0 5 10 15, 1 6 11 12, 2 7 8 13, 3 4 9 14),
        )
    };
}

/// An operation on a row of the first set and another on a row of the second, two registers of
/// each in turn.
macro_rules! add_and_rotate {
    ([$a:literal $b:literal $c:literal $d:literal] [$e:literal $f:literal $g:literal $h:literal],
     $by:literal: [$i:literal $j:literal $k:literal $l:literal]) => {
        concat!(
            add!($a $e, $b $f), rotate!($by: $i, $j),
            add!($c $g, $d $h), rotate!($by: $k, $l),
        )
    };
}

macro_rules! xor_and_add {
    ([$a:literal $b:literal $c:literal $d:literal] [$e:literal $f:literal $g:literal $h:literal],
     [$i:literal $j:literal $k:literal $l:literal] [$m:literal $n:literal $o:literal $p:literal]) => {
        concat!(
            xor!($a $e, $b $f), add!($i $m, $j $n),
            xor!($c $g, $d $h), add!($k $o, $l $p),
        )
    };
}

macro_rules! rotate_and_xor {
    ($by:literal: [$a:literal $b:literal $c:literal $d:literal],
     [$i:literal $j:literal $k:literal $l:literal] [$m:literal $n:literal $o:literal $p:literal]) => {
        concat!(
            rotate!($by: $a, $b), xor!($i $m, $j $n),
            rotate!($by: $c, $d), xor!($k $o, $l $p),
        )
    };
}

macro_rules! add_row {
    ([$a:literal $b:literal $c:literal $d:literal] [$e:literal $f:literal $g:literal $h:literal]) => {
        add!($a $e, $b $f, $c $g, $d $h)
    };
}

macro_rules! rotate_row {
    ($by:literal: [$a:literal $b:literal $c:literal $d:literal]) => {
        rotate!($by: $a, $b, $c, $d)
    };
}

/// Quarter rounds of both sets, given by rows, the second set one operation behind the first.
///
/// CPUs add and xor in four places and rotate in two: were both sets to rotate at once, the other
/// two would stand idle. (On Zen 5 this is 7 % quicker than both at the same step, and within 2 % of
/// the best of a thousand other orders.)
macro_rules! staggered_quarter_rounds {
    ($a:tt $b:tt $c:tt $d:tt, $e:tt $f:tt $g:tt $h:tt) => {
        concat!(
            add_row!($a $b),
            xor_and_add!($d $a, $e $f), rotate_and_xor!(16: $d, $h $e), add_and_rotate!($c $d, 16: $h),
            xor_and_add!($b $c, $g $h), rotate_and_xor!(12: $b, $f $g), add_and_rotate!($a $b, 12: $f),
            xor_and_add!($d $a, $e $f), rotate_and_xor!(8: $d, $h $e), add_and_rotate!($c $d, 8: $h),
            xor_and_add!($b $c, $g $h), rotate_and_xor!(7: $b, $f $g), rotate_row!(7: $f),
        )
    };
}

/// A double round of both sets.
macro_rules! two_double_rounds {
    () => {
        concat!(
            staggered_quarter_rounds!(
                [0 1 2 3] [4 5 6 7] [8 9 10 11] [12 13 14 15],
                [16 17 18 19] [20 21 22 23] [24 25 26 27] [28 29 30 31]
            ),
            staggered_quarter_rounds!(
                [0 1 2 3] [5 6 7 4] [10 11 8 9] [15 12 13 14],
                [16 17 18 19] [21 22 23 20] [26 27 24 25] [31 28 29 30]
            ),
        )
    };
}

/// Words of memory, each in all lanes of a register.
macro_rules! broadcast {
    ($base:literal: $($x:literal at $at:literal),*) => {
        concat!($("vpbroadcastd zmm", $x, ", dword ptr [{", $base, "} + ", $at, "]\n",)*)
    };
}

macro_rules! add_broadcast {
    ($base:literal: $($x:literal at $at:literal),*) => {
        concat!($(
            "vpaddd zmm", $x, ", zmm", $x, ", dword ptr [{", $base, "} + ", $at, "]{{1to16}}\n",
        )*)
    };
}

macro_rules! zero {
    ($($x:literal)*) => {
        concat!($("vpxord zmm", $x, ", zmm", $x, ", zmm", $x, "\n",)*)
    };
}

/// The first three rows of the initial state, to or onto these registers.
macro_rules! sigma_and_key {
    ($with:ident: $a:literal $b:literal $c:literal $d:literal
     $e:literal $f:literal $g:literal $h:literal $i:literal $j:literal $k:literal $l:literal) => {
        concat!(
            $with!("constants": $a at 64, $b at 68, $c at 72, $d at 76),
            $with!("key": $e at 0, $f at 4, $g at 8, $h at 12),
            $with!("key": $i at 16, $j at 20, $k at 24, $l at 28),
        )
    };
}

/// The initial state of the set in registers 0 to 15.
macro_rules! begin_first {
    () => {
        concat!(
            sigma_and_key!(broadcast: 0 1 2 3 4 5 6 7 8 9 10 11),
            "vpbroadcastd zmm12, {low:e}\n",
            "vpaddd zmm12, zmm12, [{constants}]\n",
            "vpbroadcastd zmm13, {high:e}\n",
            zero!(14 15),
        )
    };
}

/// The initial state of the set in registers 16 to 31: sixteen blocks further on.
macro_rules! begin_second {
    () => {
        concat!(
            sigma_and_key!(broadcast: 16 17 18 19 20 21 22 23 24 25 26 27),
            "vmovdqa32 zmm28, zmm12\n",
            add_broadcast!("constants": 28 at 80),
            "vmovdqa32 zmm29, zmm13\n",
            zero!(30 31),
        )
    };
}

/// Adds the initial state, but for the number of the first block.
macro_rules! finish_first {
    () => {
        concat!(
            sigma_and_key!(add_broadcast: 0 1 2 3 4 5 6 7 8 9 10 11),
            "vpaddd zmm12, zmm12, [{constants}]\n",
        )
    };
}

macro_rules! finish_second {
    () => {
        concat!(
            sigma_and_key!(add_broadcast: 16 17 18 19 20 21 22 23 24 25 26 27),
            add_broadcast!("constants": 28 at 80),
            "vpaddd zmm28, zmm28, [{constants}]\n",
        )
    };
}

/// Adds the number of the first block, with two registers that are free.
macro_rules! add_first_block {
    ($low:literal $high:literal: $($x:literal $y:literal),*) => {
        concat!(
            "vpbroadcastd zmm", $low, ", {low:e}\n",
            "vpbroadcastd zmm", $high, ", {high:e}\n",
            $(add!($x $low, $y $high),)*
        )
    };
}

macro_rules! store {
    ($($x:literal at $at:literal),*) => {
        concat!($("vmovdqu32 [{out} + ", $at, "], zmm", $x, "\n",)*)
    };
}

macro_rules! load {
    ($($x:literal at $at:literal),*) => {
        concat!($("vmovdqu32 zmm", $x, ", [{out} + ", $at, "]\n",)*)
    };
}

/// Transposes four words of four blocks in each quarter: the rows of the first block to the fourth
/// are then in `$a`, `$c`, `$x` and `$y`; `$b` and `$d` are free.
macro_rules! transpose_quarters {
    ($a:literal $b:literal $c:literal $d:literal, $x:literal $y:literal) => {
        concat!(
            "vpunpckldq zmm",
            $x,
            ", zmm",
            $a,
            ", zmm",
            $b,
            "\n",
            "vpunpckhdq zmm",
            $b,
            ", zmm",
            $a,
            ", zmm",
            $b,
            "\n",
            "vpunpckldq zmm",
            $y,
            ", zmm",
            $c,
            ", zmm",
            $d,
            "\n",
            "vpunpckhdq zmm",
            $d,
            ", zmm",
            $c,
            ", zmm",
            $d,
            "\n",
            "vpunpcklqdq zmm",
            $a,
            ", zmm",
            $x,
            ", zmm",
            $y,
            "\n",
            "vpunpckhqdq zmm",
            $c,
            ", zmm",
            $x,
            ", zmm",
            $y,
            "\n",
            "vpunpcklqdq zmm",
            $x,
            ", zmm",
            $b,
            ", zmm",
            $d,
            "\n",
            "vpunpckhqdq zmm",
            $y,
            ", zmm",
            $b,
            ", zmm",
            $d,
            "\n",
        )
    };
}

/// Four quarters of four blocks become the blocks, which are four apart.
macro_rules! write_blocks {
    ($a:literal $b:literal $c:literal $d:literal, $x:literal $y:literal,
     $p:literal $q:literal $r:literal $s:literal) => {
        concat!(
            "vshufi32x4 zmm", $x, ", zmm", $a, ", zmm", $b, ", 0x44\n",
            "vshufi32x4 zmm", $a, ", zmm", $a, ", zmm", $b, ", 0xee\n",
            "vshufi32x4 zmm", $y, ", zmm", $c, ", zmm", $d, ", 0x44\n",
            "vshufi32x4 zmm", $c, ", zmm", $c, ", zmm", $d, ", 0xee\n",
            "vshufi32x4 zmm", $b, ", zmm", $x, ", zmm", $y, ", 0x88\n",
            "vshufi32x4 zmm", $d, ", zmm", $x, ", zmm", $y, ", 0xdd\n",
            "vshufi32x4 zmm", $x, ", zmm", $a, ", zmm", $c, ", 0x88\n",
            "vshufi32x4 zmm", $y, ", zmm", $a, ", zmm", $c, ", 0xdd\n",
            store!($b at $p, $d at $q, $x at $r, $y at $s),
        )
    };
}

/// Writes the set in registers 0 to 15 as sixteen blocks, with the help of all other registers.
macro_rules! write_first {
    () => {
        concat!(
            transpose_quarters!(0 1 2 3, 16 17),
            transpose_quarters!(4 5 6 7, 18 19),
            transpose_quarters!(8 9 10 11, 20 21),
            transpose_quarters!(12 13 14 15, 22 23),
            write_blocks!(0 4 8 12, 24 25, 0 256 512 768),
            write_blocks!(2 6 10 14, 26 27, 64 320 576 832),
            write_blocks!(16 18 20 22, 28 29, 128 384 640 896),
            write_blocks!(17 19 21 23, 30 31, 192 448 704 960),
        )
    };
}

/// The second set waits in its place in the output until the first has been written.
macro_rules! put_second_aside {
    () => {
        store!(
            16 at 1024, 17 at 1088, 18 at 1152, 19 at 1216, 20 at 1280, 21 at 1344, 22 at 1408,
            23 at 1472, 24 at 1536, 25 at 1600, 26 at 1664, 27 at 1728, 28 at 1792, 29 at 1856,
            30 at 1920, 31 at 1984
        )
    };
}

macro_rules! fetch_second {
    () => {
        load!(
            0 at 0, 1 at 64, 2 at 128, 3 at 192, 4 at 256, 5 at 320, 6 at 384, 7 at 448, 8 at 512,
            9 at 576, 10 at 640, 11 at 704, 12 at 768, 13 at 832, 14 at 896, 15 at 960
        )
    };
}

/// Writes as many groups of keystream as `out` holds, beginning at block `first`.
///
/// # Safety
/// The CPU has AVX512F, and its operating system saves its registers. `out` holds at least one
/// whole group, and nothing besides. `first` is a multiple of sixteen, and no block's number has
/// another upper half than `first` has.
#[rustfmt::skip]
pub(super) unsafe fn groups(double_rounds: u32, key: &Key, first: u64, out: &mut [u8]) {
    debug_assert!(!out.is_empty() && out.len().is_multiple_of(GROUP));
    // SAFETY: the instructions exist, says the caller. They read the key and the constants, and
    // write to the whole groups of the output. They leave the stack and the direction flag alone.
    unsafe {
        asm!(
            "sub {groups}, 2",
            "jb 4f",

            // Two groups at once, while there are two.
            "2:",
            begin_first!(),
            begin_second!(),
            "mov {left:e}, {double_rounds:e}",
            "3:",
            two_double_rounds!(),
            "dec {left:e}",
            "jnz 3b",
            finish_first!(),
            finish_second!(),
            put_second_aside!(),
            add_first_block!(16 17: 12 13),
            write_first!(),
            "add {out}, 1024",
            fetch_second!(),
            add_first_block!(16 17: 12 13),
            write_first!(),
            "add {out}, 1024",
            "add {low:e}, 32",
            "sub {groups}, 2",
            "jae 2b",

            // The last one alone.
            "4:",
            "cmp {groups}, -2",
            "je 6f",
            begin_first!(),
            "mov {left:e}, {double_rounds:e}",
            "5:",
            double_round!(),
            "dec {left:e}",
            "jnz 5b",
            finish_first!(),
            add_first_block!(16 17: 12 13),
            write_first!(),

            "6:",
            "vzeroall",
            zero!(16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31),
            constants = in(reg) &raw const CONSTANTS,
            key = in(reg) key.as_ptr(),
            low = inout(reg) first as u32 => _,
            high = in(reg) (first >> 32) as u32,
            double_rounds = in(reg) double_rounds,
            left = out(reg) _,
            out = inout(reg) out.as_mut_ptr() => _,
            groups = inout(reg) out.len() / GROUP => _,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _,
            out("zmm5") _, out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _,
            out("zmm10") _, out("zmm11") _, out("zmm12") _, out("zmm13") _, out("zmm14") _,
            out("zmm15") _, out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
            out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _, out("zmm24") _,
            out("zmm25") _, out("zmm26") _, out("zmm27") _, out("zmm28") _, out("zmm29") _,
            out("zmm30") _, out("zmm31") _,
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
        if !features::has(Feature::Avx512) {
            return println!("SKIPPED: registers of the avx512 kernel: this CPU does not have it");
        }
        for whole in 1..=4 {
            let mut out = [0; 4 * GROUP];
            let mut left = [0; 32 * 64];
            // SAFETY: the CPU has AVX-512; whole groups, from block 0.
            unsafe { groups(10, &super::super::OF_TESTS, 0, &mut out[..whole * GROUP]) };
            super::super::registers::read(&mut left);
            super::super::assert_tells_nothing(&left, &out[..whole * GROUP]);
            assert!(left[16 * 64..].iter().all(|&b| b == 0), "nobody else uses the upper half");
        }
    }
}
