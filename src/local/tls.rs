//! Two words per thread, without a destructor: where a thread's generator is, and whether it may be
//! used.
//!
//! Never a buffer: a shared library that is loaded late finds little room in the static thread-local
//! block.
//!
//! In shared libraries (feature `initial_exec`) they are in the *initial-exec* model: at a fixed
//! distance from the thread pointer, in every thread from its start. What `thread_local!` becomes in
//! a shared library asks the loader instead (`__tls_get_addr`), which allocates at a thread's first
//! use of a library that was loaded after the thread had begun, and so is not for signal handlers.
//! Stable Rust cannot choose the model of a `thread_local!`: the symbol is defined in assembly. musl
//! loads no libraries with such symbols, and Miri runs no assembly: they keep `thread_local!`.
#![allow(unsafe_code, reason = "defines and finds a thread-local symbol in assembly")]

use core::sync::atomic::{AtomicPtr, AtomicU64};

use super::slab::LocalGenerator;

/// Which state a slot is in. A whole word: a byte that was just stored is slower to load again.
pub(super) type State = AtomicU64;

/// What each thread has; all zeros in a new one. Atomics, for handlers on this thread read and set
/// them between any two instructions.
///
/// Every request writes the state, and CPUs compare the low bits of addresses first: a load that
/// seems to read what a store in flight has written waits for it. So the state is where no word that
/// a request reads is in *its* line of 64 bytes: process and marker at 0x00 and 0x10, counter at 0x28,
/// epoch and position of a generator at 0x00 to 0x10 and 0x38. And it is a word of its own, beside the
/// pointer: the address of everything else would wait for the store before.
///
/// Elsewhere than on x86-64 it is aligned as words are: what is loaded late and wants more than the
/// thread control block does is refused by glibc ("cannot allocate memory in static TLS block"), and
/// that block has 64 bytes there, and 16 on AArch64.
#[cfg_attr(target_arch = "x86_64", repr(C, align(64)))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
pub(super) struct Slot {
    _away: [u64; 3],
    pub(super) state: State,
    pub(super) generator: AtomicPtr<LocalGenerator>,
}

const _: () = assert!(core::mem::offset_of!(Slot, state) == 0x18);

/// Runs `serve` on the calling thread's slot.
#[inline(always)]
pub(super) fn with<R>(serve: impl FnOnce(&Slot) -> R) -> R {
    // SAFETY: an aligned, initialized slot of this thread's, there until the thread has ended;
    // `serve` cannot keep a reference beyond its call.
    serve(unsafe { &*model::slot() })
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
    use core::sync::atomic::{AtomicPtr, AtomicU64};

    use super::Slot;

    thread_local! {
        static SLOT: Slot = const {
            Slot {
                _away: [0; 3],
                state: AtomicU64::new(0),
                generator: AtomicPtr::new(null_mut()),
            }
        };
    }

    /// The pointer alone is asked for: what is served must not be compiled into a function of
    /// `LocalKey`, which is not always inlined.
    #[inline(always)]
    pub(super) fn slot() -> *const Slot {
        SLOT.with(core::ptr::from_ref)
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

    use super::Slot;

    /// The symbol. It carries the version, so that two versions can be linked into one program, and
    /// is hidden, so that two libraries in one process have one each.
    macro_rules! symbol {
        () => {
            concat!(
                "snaprng_slot_",
                env!("CARGO_PKG_VERSION_MAJOR"),
                "_",
                env!("CARGO_PKG_VERSION_MINOR"),
                "_",
                env!("CARGO_PKG_VERSION_PATCH"),
            )
        };
    }

    // Zeros in every thread, aligned: a `Slot`.
    global_asm!(
        concat!(".pushsection .tbss.", symbol!(), ",\"awT\",@nobits"),
        concat!(".globl ", symbol!()),
        concat!(".hidden ", symbol!()),
        concat!(".type ", symbol!(), ",@tls_object"),
        concat!(".size ", symbol!(), ",{size}"),
        ".balign {alignment}",
        concat!(symbol!(), ":"),
        ".zero {size}",
        ".popsection",
        size = const size_of::<Slot>(),
        alignment = const align_of::<Slot>(),
    );

    /// "ELF Handling For Thread-Local Storage", 4.4.6, initial-exec: the thread pointer is at its
    /// own address, `fs:0`; the linker puts the symbol's distance into the global offset table.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn slot() -> *const Slot {
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
    pub(super) fn slot() -> *const Slot {
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
