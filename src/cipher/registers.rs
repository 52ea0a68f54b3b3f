//! The vector registers after a keystream, emptied where compiled code used them.
//!
//! A core dump shows the registers of every thread, and code without vectors may run for a long
//! time before anything overwrites them: a kernel's core file showed the end of an output of 64 KiB
//! that had been made twenty requests earlier. The kernels in assembly empty their own.
//!
//! Limits: x86-64 and aarch64. What the compiler moved from a register to the stack stays there.

#![allow(unsafe_code, reason = "no other language can name a register")]

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
use core::arch::asm;

#[cfg(all(target_arch = "x86_64", not(miri)))]
use crate::features::{self, Feature};

/// Empties every vector register. Some nanoseconds.
///
/// Those that only AVX-512 has, too: libc copies with them wherever the CPU has them.
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) fn wipe() {
    macro_rules! wipe {
        ($($instruction:literal),*; $($further:tt)*) => {
            asm!(
                $($instruction,)*
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
                out("xmm5") _, out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _,
                out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _,
                out("xmm15") _,
                $(out($further) _,)*
                options(nomem, nostack, preserves_flags),
            )
        };
    }
    if features::has(Feature::Avx512) {
        // SAFETY: the CPU has AVX-512F, and all registers that change are named.
        unsafe {
            wipe!(
                "vzeroall",
                "vpxord zmm16, zmm16, zmm16", "vpxord zmm17, zmm17, zmm17",
                "vpxord zmm18, zmm18, zmm18", "vpxord zmm19, zmm19, zmm19",
                "vpxord zmm20, zmm20, zmm20", "vpxord zmm21, zmm21, zmm21",
                "vpxord zmm22, zmm22, zmm22", "vpxord zmm23, zmm23, zmm23",
                "vpxord zmm24, zmm24, zmm24", "vpxord zmm25, zmm25, zmm25",
                "vpxord zmm26, zmm26, zmm26", "vpxord zmm27, zmm27, zmm27",
                "vpxord zmm28, zmm28, zmm28", "vpxord zmm29, zmm29, zmm29",
                "vpxord zmm30, zmm30, zmm30", "vpxord zmm31, zmm31, zmm31";
                "zmm16" "zmm17" "zmm18" "zmm19" "zmm20" "zmm21" "zmm22" "zmm23" "zmm24" "zmm25"
                "zmm26" "zmm27" "zmm28" "zmm29" "zmm30" "zmm31"
            )
        }
    } else if features::has(Feature::Avx) {
        // SAFETY: the CPU has AVX, and all registers that change are named.
        unsafe { wipe!("vzeroall";) }
    } else {
        // SAFETY: every x86-64 CPU has SSE, and all registers that change are named.
        unsafe {
            wipe!(
                "xorps xmm0, xmm0", "xorps xmm1, xmm1", "xorps xmm2, xmm2", "xorps xmm3, xmm3",
                "xorps xmm4, xmm4", "xorps xmm5, xmm5", "xorps xmm6, xmm6", "xorps xmm7, xmm7",
                "xorps xmm8, xmm8", "xorps xmm9, xmm9", "xorps xmm10, xmm10",
                "xorps xmm11, xmm11", "xorps xmm12, xmm12", "xorps xmm13, xmm13",
                "xorps xmm14, xmm14", "xorps xmm15, xmm15";
            )
        }
    }
}

/// Empties every vector register that a call may change. Some nanoseconds.
#[cfg(all(target_arch = "aarch64", not(miri)))]
pub(super) fn wipe() {
    // SAFETY: every CPU of this architecture that Rust's targets with floats are for has these
    // registers, and all that change are named.
    unsafe {
        asm!(
            "movi v0.2d, #0", "movi v1.2d, #0", "movi v2.2d, #0", "movi v3.2d, #0",
            "movi v4.2d, #0", "movi v5.2d, #0", "movi v6.2d, #0", "movi v7.2d, #0",
            "movi v16.2d, #0", "movi v17.2d, #0", "movi v18.2d, #0", "movi v19.2d, #0",
            "movi v20.2d, #0", "movi v21.2d, #0", "movi v22.2d, #0", "movi v23.2d, #0",
            "movi v24.2d, #0", "movi v25.2d, #0", "movi v26.2d, #0", "movi v27.2d, #0",
            "movi v28.2d, #0", "movi v29.2d, #0", "movi v30.2d, #0", "movi v31.2d, #0",
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
            out("v6") _, out("v7") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _, out("v24") _, out("v25") _,
            out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nomem, nostack, preserves_flags),
        );
    }
}

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(super) fn wipe() {}

/// What all vector registers of this CPU hold, for tests: as many bytes of each as it has.
#[cfg(all(test, target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(super) fn read(left: &mut [u8; 32 * 64]) {
    macro_rules! copy {
        ($move:literal $register:literal: $($x:literal)*) => {
            concat!($($move, " [{left} + 64 * ", $x, "], ", $register, $x, "\n",)*)
        };
    }
    if features::has(Feature::Avx512) {
        // SAFETY: the CPU has AVX-512F, and there is room for 32 registers.
        unsafe {
            asm!(
                copy!("vmovdqu64" "zmm": 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
                copy!("vmovdqu64" "zmm": 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31),
                left = in(reg) left.as_mut_ptr(),
                options(nostack),
            );
        }
    } else if features::has(Feature::Avx) {
        // SAFETY: the CPU has AVX, and there is room for 16 registers.
        unsafe {
            asm!(
                copy!("vmovdqu" "ymm": 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
                left = in(reg) left.as_mut_ptr(),
                options(nostack),
            );
        }
    } else {
        // SAFETY: every x86-64 CPU has SSE2, and there is room for 16 registers.
        unsafe {
            asm!(
                copy!("movdqu" "xmm": 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
                left = in(reg) left.as_mut_ptr(),
                options(nostack),
            );
        }
    }
}
