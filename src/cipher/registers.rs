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

/// Empties every vector register. Some nanoseconds.
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) fn wipe() {
    macro_rules! wipe {
        ($($instruction:expr),*) => {
            asm!(
                $($instruction,)*
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
                out("xmm5") _, out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _,
                out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _,
                out("xmm15") _,
                options(nomem, nostack, preserves_flags),
            )
        };
    }
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the CPU has AVX, and all registers that change are named.
        unsafe { wipe!("vzeroall") }
    } else {
        // SAFETY: every x86-64 CPU has SSE, and all registers that change are named.
        unsafe {
            wipe!(
                "xorps xmm0, xmm0",
                "xorps xmm1, xmm1",
                "xorps xmm2, xmm2",
                "xorps xmm3, xmm3",
                "xorps xmm4, xmm4",
                "xorps xmm5, xmm5",
                "xorps xmm6, xmm6",
                "xorps xmm7, xmm7",
                "xorps xmm8, xmm8",
                "xorps xmm9, xmm9",
                "xorps xmm10, xmm10",
                "xorps xmm11, xmm11",
                "xorps xmm12, xmm12",
                "xorps xmm13, xmm13",
                "xorps xmm14, xmm14",
                "xorps xmm15, xmm15"
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
