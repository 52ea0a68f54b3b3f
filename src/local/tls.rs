//! One pointer per thread, without a destructor: where a thread's seat is.
//!
//! Always a plain pointer, never a buffer: a shared library that is loaded late finds little room
//! in the static thread-local block.
//!
//! In shared libraries (feature `initial_exec`) the pointer is in the *initial-exec* model: at a
//! fixed distance from the thread pointer, in every thread from its start. What `thread_local!`
//! becomes in a shared library asks the loader instead (`__tls_get_addr`), which allocates at a
//! thread's first use of a library that was loaded after the thread had begun, and so is not for
//! signal handlers. Stable Rust cannot choose the model of a `thread_local!`: the symbol is defined
//! in assembly. musl loads no libraries with such symbols, and Miri runs no assembly: they keep
//! `thread_local!`.
#![allow(unsafe_code, reason = "defines and finds a thread-local symbol in assembly")]

use core::sync::atomic::AtomicPtr;

use super::slab::Seat;

/// Runs `serve` on the calling thread's slot, which is null in a new thread. An atomic, for
/// handlers on this thread read and set it between any two instructions.
#[inline(always)]
pub(super) fn with<R>(serve: impl FnOnce(&AtomicPtr<Seat>) -> R) -> R {
    model::with(serve)
}

#[cfg(not(all(
    feature = "initial_exec",
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri)
)))]
mod model {
    use core::ptr::null_mut;
    use core::sync::atomic::AtomicPtr;

    use super::Seat;

    thread_local! {
        static SEAT: AtomicPtr<Seat> = const { AtomicPtr::new(null_mut()) };
    }

    #[inline(always)]
    pub(super) fn with<R>(serve: impl FnOnce(&AtomicPtr<Seat>) -> R) -> R {
        SEAT.with(serve)
    }
}

#[cfg(all(
    feature = "initial_exec",
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri)
))]
mod model {
    use core::arch::{asm, global_asm};
    use core::sync::atomic::AtomicPtr;

    use super::Seat;

    /// The symbol. It carries the version, so that two versions can be linked into one program, and
    /// is hidden, so that two libraries in one process have one each.
    macro_rules! symbol {
        () => {
            concat!(
                "snaprng_seat_",
                env!("CARGO_PKG_VERSION_MAJOR"),
                "_",
                env!("CARGO_PKG_VERSION_MINOR"),
                "_",
                env!("CARGO_PKG_VERSION_PATCH"),
            )
        };
    }

    // Eight bytes of zeros in every thread, aligned: an `AtomicPtr` that is null.
    global_asm!(
        concat!(".pushsection .tbss.", symbol!(), ",\"awT\",@nobits"),
        concat!(".globl ", symbol!()),
        concat!(".hidden ", symbol!()),
        concat!(".type ", symbol!(), ",@tls_object"),
        concat!(".size ", symbol!(), ",8"),
        ".balign 8",
        concat!(symbol!(), ":"),
        ".zero 8",
        ".popsection",
    );

    #[inline(always)]
    pub(super) fn with<R>(serve: impl FnOnce(&AtomicPtr<Seat>) -> R) -> R {
        // SAFETY: an aligned, initialized pointer of this thread's, there until the thread has
        // ended; `serve` cannot keep a reference beyond its call.
        serve(unsafe { &*slot() })
    }

    /// "ELF Handling For Thread-Local Storage", 4.4.6, initial-exec: the thread pointer is at its
    /// own address, `fs:0`; the linker puts the symbol's distance into the global offset table.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn slot() -> *const AtomicPtr<Seat> {
        let slot;
        // SAFETY: reads the thread pointer and one word of the offset table, neither of which ever
        // changes in a thread, and nothing else.
        unsafe {
            asm!(
                "mov {slot}, qword ptr fs:[0]",
                concat!("add {slot}, qword ptr [rip + ", symbol!(), "@GOTTPOFF]"),
                slot = out(reg) slot,
                options(pure, nomem, nostack),
            );
        }
        slot
    }

    /// "ELF for the Arm 64-bit Architecture", initial-exec: as above, from `TPIDR_EL0`.
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    fn slot() -> *const AtomicPtr<Seat> {
        let slot;
        // SAFETY: as on x86-64.
        unsafe {
            asm!(
                concat!("adrp {slot}, :gottprel:", symbol!()),
                concat!("ldr {slot}, [{slot}, :gottprel_lo12:", symbol!(), "]"),
                "mrs {pointer}, TPIDR_EL0",
                "add {slot}, {slot}, {pointer}",
                slot = out(reg) slot,
                pointer = out(reg) _,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        slot
    }
}
