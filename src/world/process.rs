//! The process word: tells a fork, a raw `clone`, and the restore of a checkpointed process.
//!
//! The word lives on a page that the kernel clears in a child (`MADV_WIPEONFORK`, Linux 4.14) and,
//! where it can be had, that no checkpoint contains (`MAP_DROPPABLE`, Linux 6.11, which implies the
//! former). A look that finds 0 *arms* the word: it stores a value that this lineage of processes
//! has never had. Every generator compares with the value that it remembered itself: there is no
//! flag that one of them could clear for the others.
//!
//! Second layer, for kernels and emulators that only pretend: a `pthread_atfork` child handler
//! clears the word, and rekeys compare the process id. Where neither kind of page works (gVisor,
//! old qemu-user), the process id is asked for at every request, and the report says so.
//!
//! The kernel may drop a droppable page under memory pressure. A second word on a page that is
//! cleared by forks but never dropped tells this from a copy: the drop is *proven* when that word is
//! intact and process id, boot id and start time are unchanged. What cannot be read counts as a
//! copy, as it does in children, which inherit no way to read their own start time.
//!
//! Limits: `vfork` and threads made by a bare `CLONE_VM` share the memory, so no word can tell
//! them apart. CRIU before 4.2 restores a process without clearing either page.
#![allow(unsafe_code, reason = "maps pages, registers an atfork handler and a constructor")]

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::AtomicBool;

use rustix::mm::{Advice, MapFlags, ProtFlags, mmap_anonymous};

use super::page::{Mapping, Page, Watched, machine_page};
use super::{Cause, WitnessState};
use crate::sync::{self, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::syscall::{getrandom, thread_id};

mod identity;
#[cfg(all(test, loom))]
mod models;
mod pages;

use identity::{BOOT_ID, START_TIME};

sync::statics! {
    /// How many times the word was armed in this lineage of processes. Makes every armed word new.
    static ARMED: AtomicU32 = AtomicU32::new(0);

    /// Which copy of the process this is. Ordinary memory: a child inherits it and moves it on.
    static COPY: AtomicU64 = AtomicU64::new(0);

    /// Counts process restores and host calls.
    static MACHINE: AtomicU64 = AtomicU64::new(0);

    /// The process that armed the word last.
    static PROCESS_ID: AtomicU32 = AtomicU32::new(0);

    static KIND: AtomicU8 = AtomicU8::new(NOT_INSTALLED);
}
const NOT_INSTALLED: u8 = 0;
const DROPPABLE: u8 = 1;
const WIPE_ON_FORK: u8 = 2;
const PROCESS_ID_ONLY: u8 = 3;

/// A word that keeps vanishing is armed this often in one look. More than once takes a fork, a
/// drop or a host call within nanoseconds.
const ARM_TRIES: u32 = 8;

/// The process word; never 0.
///
/// Acquire: a word that another thread cleared (`notify_restored`) or armed must not be seen
/// before what that thread wrote in front of it.
#[inline]
pub(super) fn word() -> u64 {
    if KIND.load(Ordering::Relaxed) == PROCESS_ID_ONLY {
        confirm();
    }
    match pages::word().load(Ordering::Acquire) {
        0 => arm(),
        word => word,
    }
}

/// Where the word is in [`WATCHED`](super::page::WATCHED), whose other words are looked at with it.
pub(super) const WORD_AT: usize = Watched::PROCESS;

/// Whether the word is still `word`: all that there is to look at in a model.
#[cfg(all(test, loom))]
pub(super) fn is_still(word: u64) -> bool {
    pages::word().load(Ordering::Acquire) == word
}

pub(super) fn copy() -> u64 {
    COPY.load(Ordering::Acquire)
}

pub(super) fn machine() -> u64 {
    MACHINE.load(Ordering::Acquire)
}

/// Whether forks are told by the process id alone.
pub(super) fn is_process_id_only() -> bool {
    KIND.load(Ordering::Relaxed) == PROCESS_ID_ONLY
}

/// Whether the restore of a checkpointed process clears the word (with CRIU 4.2 or later, which
/// cannot be seen from inside).
pub(crate) fn sees_restores() -> bool {
    KIND.load(Ordering::Relaxed) == DROPPABLE
}

/// Clears the word if this is not the process that armed it.
pub(super) fn confirm() {
    let armed_by = PROCESS_ID.load(Ordering::Relaxed);
    if armed_by != 0 && armed_by != process_id() {
        begin_new_copy();
    }
}

/// The host says that this machine was restored: a copy that no witness may have shown.
pub(crate) fn host_says_restored() {
    MACHINE.fetch_add(1, Ordering::AcqRel);
    begin_new_copy();
}

/// Makes every generator, and every generation, see a copy. The intact word goes first, or a look in
/// between could take the other for a mere drop.
pub(crate) fn begin_new_copy() {
    pages::intact().store(0, Ordering::Release);
    pages::word().store(0, Ordering::Release);
}

fn process_id() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().cast_unsigned()
}

/// Stores a value that the word never had before, and returns what it then holds.
#[cold]
#[inline(never)]
fn arm() -> u64 {
    let mut fresh = fresh_word();
    for _ in 0..ARM_TRIES {
        // The copy is begun before the word is armed: whoever sees the new word sees the new copy.
        if !is_proven_drop() {
            record_copy();
        }
        match pages::word().compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {}
            Err(armed_by_another) => return armed_by_another,
        }
        match pages::word().load(Ordering::Acquire) {
            0 => fresh = fresh_word(),
            word => return word,
        }
    }
    // Nobody else has this value, so the next look differs from it: a rekey too many, none too few.
    fresh
}

/// What the word never held before; not 0.
fn fresh_word() -> u64 {
    unlike_all_before().max(1)
}

/// A number of this lineage, and 32 bits that siblings differ in.
fn unlike_all_before() -> u64 {
    let number = ARMED.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
    u64::from(number) << 32 | u64::from(random_bits())
}

/// 32 bits that siblings of one process differ in. Uniqueness within a lineage does not rest on
/// them, so the thread's id will do where the kernel does not answer.
fn random_bits() -> u32 {
    let mut bytes = [0; 4];
    match getrandom(&mut bytes, libc::GRND_NONBLOCK) {
        Ok(4) => u32::from_ne_bytes(bytes),
        _ => thread_id(),
    }
}

fn record_copy() {
    // A fork clears the intact word and a host call does so too; a restored process has it.
    let restored = sees_restores() && pages::intact().load(Ordering::Acquire) != 0;
    if restored {
        MACHINE.fetch_add(1, Ordering::AcqRel);
    }
    COPY.store(unlike_all_before(), Ordering::Release);
    let now = process_id();
    let forked = PROCESS_ID.swap(now, Ordering::AcqRel) != now;
    if forked {
        START_TIME.forget();
    } else {
        START_TIME.record();
        BOOT_ID.record();
    }
    pages::intact().store(1, Ordering::Release);
}

/// Whether a cleared word is provably only a page that was dropped under memory pressure.
fn is_proven_drop() -> bool {
    KIND.load(Ordering::Relaxed) == DROPPABLE
        && pages::intact().load(Ordering::Acquire) != 0
        && PROCESS_ID.load(Ordering::Acquire) == process_id()
        && START_TIME.is_unchanged()
        && BOOT_ID.is_unchanged()
}

/// Maps both pages and records who this process is.
pub(super) fn install() -> (WitnessState, Option<Cause>) {
    register_atfork();
    PROCESS_ID.store(process_id(), Ordering::Release);
    START_TIME.open(c"/proc/self/stat");
    BOOT_ID.open(c"/proc/sys/kernel/random/boot_id");
    let (kind, cause) = match map_pages() {
        Ok(found) => found,
        Err(cause) => (PROCESS_ID_ONLY, Some(cause)),
    };
    KIND.store(kind, Ordering::Release);
    match kind {
        PROCESS_ID_ONLY => (WitnessState::Unusable, cause),
        _ => (WitnessState::Active, cause),
    }
}

/// Which kind of page there is, and why it is not the better one.
fn map_pages() -> Result<(u8, Option<Cause>), Cause> {
    let length = machine_page()?;
    wipe_in_children(&pages::INTACT, length)?;
    // MAP_DROPPABLE is a mapping type of its own: not ORed with MAP_PRIVATE (mmap(2)).
    let droppable = map_anonymous(length, MapFlags::DROPPABLE);
    let refusal = match droppable.and_then(|mapping| mapping.move_over(pages::of_word())) {
        Ok(()) => return Ok((DROPPABLE, None)),
        Err(Cause::Map(libc::EINVAL)) => Cause::NoDroppablePage,
        Err(cause) => cause,
    };
    wipe_in_children(pages::of_word(), length)?;
    Ok((WIPE_ON_FORK, Some(refusal)))
}

/// Has the kernel clear a page in children. Where it is memory like any other, which `.bss` nearly
/// always is, that is one call; moving a mapping there takes a first use 8 µs more.
fn wipe_in_children(page: &'static Page, length: usize) -> Result<(), Cause> {
    if wipes_on_fork(page.as_ptr(), length) {
        return Ok(());
    }
    let mapping = map_anonymous(length, MapFlags::PRIVATE)?;
    let (address, length) = mapping.range();
    if wipes_on_fork(address, length) { mapping.move_over(page) } else { Err(Cause::ProcessIdOnly) }
}

fn map_anonymous(length: usize, kind: MapFlags) -> Result<Mapping, Cause> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let address = unsafe { mmap_anonymous(null_mut(), length, protection, kind) }
        .map_err(|e| Cause::Map(e.raw_os_error()))?;
    // SAFETY: just mapped with this length, readable, and known to nobody else.
    Ok(unsafe { Mapping::from_raw(address, length) })
}

static ATFORK_REGISTERED: AtomicBool = AtomicBool::new(false);

/// Registers the child handler, once. Never on a path that a first use takes lazily: it may
/// allocate.
fn register_atfork() {
    if !ATFORK_REGISTERED.swap(true, Ordering::AcqRel) {
        // SAFETY: the handler is a static function that only stores to statics. If the
        // registration fails for lack of memory, the other layers remain.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(clear_in_child)) };
    }
}

extern "C" fn clear_in_child() {
    // A process that never used the library need not touch the pages.
    if KIND.load(Ordering::Relaxed) != NOT_INSTALLED {
        begin_new_copy();
    }
}

extern "C" fn at_load() {
    register_atfork();
}

// SAFETY: `.init_array` holds pointers to functions that the loader calls once before `main`, or
// when the library is loaded; the arguments it passes may be ignored (System V gABI).
#[used]
#[cfg_attr(not(miri), unsafe(link_section = ".init_array"))]
static AT_LOAD: extern "C" fn() = at_load;

/// Asks for memory of ours to be cleared in children; false if the kernel has no such thing, or not
/// for this memory, or only pretends to (qemu-user before 7.0 says yes to any advice).
fn wipes_on_fork(address: *mut c_void, length: usize) -> bool {
    let no_such_advice = -1;
    // SAFETY: an advice that no kernel knows changes nothing.
    if unsafe { libc::madvise(address, length, no_such_advice) } == 0 {
        return false;
    }
    // SAFETY: whole pages of ours, which hold nothing that a child needs. (The kernel refuses what
    // is not private and anonymous.)
    unsafe { rustix::mm::madvise(address, length, Advice::LinuxWipeOnFork) }.is_ok()
}

#[cfg(test)]
mod tests;
