//! Where per-thread generators live.
//!
//! A thread's first use neither allocates nor locks, since it may be in a signal handler or in the
//! child of a threaded process: generators come from a *slab*, chunks of memory mapped on demand,
//! and a thread finds its own through a thread-local *slot*. Each generator has a *seat*, which says
//! who owns it. Seats are ordinary memory; the generators are on pages that the kernel wipes in a
//! child (where it can) and leaves out of core dumps, so that a child has no keys of its parent's
//! other threads.
//!
//! What must survive a fork stands outside of what it wipes: seats, and slots, which say whether a
//! request is at a generator: a handler that interrupts one finds it *busy*. In the child of a
//! handler that forked in the middle of a request, the outer request goes on with a wiped
//! generator, finds at its last look that the process is another one, and begins anew.
//!
//! A seat is given back by a `pthread_key` destructor. Where that cannot be armed without
//! allocating, it stays taken until its owner is found dead and somebody needs a seat. Seats that
//! a child inherited are never reclaimed: the forking thread may still point at its own, and who
//! that is cannot be told after a raw `clone`.
#![allow(unsafe_code, reason = "maps memory, and hands out generators from it by raw pointer")]

use core::ffi::c_void;
use core::ptr::null_mut;

#[cfg(not(all(test, loom)))]
use rustix::mm::{Advice, madvise};

use crate::config::{self, ProcessTerms};
use crate::entropy::SystemEntropy;
use crate::generator::Generator;
use crate::sync::{
    self, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Exclusive, Ordering, compiler_fence,
};
use crate::syscall::{is_alive, thread_id};
use crate::world::{SystemWorld, World};

use super::tls;

/// All zeros is a valid, unkeyed value of it: plain words, and no embedder state of its own.
pub(super) type LocalGenerator = Generator<SystemWorld, SystemEntropy, ProcessTerms>;

/// Runs `serve` on this thread's generator. `None` if that is busy (this is a signal handler that
/// interrupted it), gone, or cannot be had.
#[inline(always)]
pub(super) fn with_generator<R>(serve: impl FnOnce(&mut LocalGenerator) -> R) -> Option<R> {
    tls::with(|slot| {
        let generator = match slot.state.load(Ordering::Relaxed) {
            FREE => slot.generator.load(Ordering::Relaxed),
            _ => settle_in()?,
        };
        let in_use = InUse::begin(&slot.state);
        // SAFETY: it lies in a chunk that is never unmapped, and is valid or all zeros, which is
        // valid too. Only this thread uses it; a handler on this thread finds it busy; a child has
        // a copy of its own.
        let outcome = serve(unsafe { &mut *generator });
        drop(in_use);
        Some(outcome)
    })
}

/// The states of a slot: no generator yet; one that is free; one that a request is at; the thread is
/// ending, and its generator gone.
const NOTHING: u64 = 0;
const FREE: u64 = 1;
const BUSY: u64 = 2;
const OVER: u64 = 3;

/// The busy flag, for as long as a generator is in use. Compiler fences suffice: who else looks at
/// it runs on the same thread.
struct InUse<'a>(&'a tls::State);

impl<'a> InUse<'a> {
    #[inline(always)]
    fn begin(state: &'a tls::State) -> Self {
        state.store(BUSY, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        Self(state)
    }
}

impl Drop for InUse<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        self.0.store(FREE, Ordering::Relaxed);
    }
}

/// No thread has these ids.
const NOBODY: u32 = 0;
const SOMEBODY: u32 = u32::MAX;

/// Who owns a generator. Nothing here is wiped by a fork.
pub(super) struct Seat {
    generator: *mut LocalGenerator,
    /// The copy of the process in which it was taken.
    copy: AtomicU64,
    /// [`NOBODY`], or [`SOMEBODY`] whose exit gives the seat back, or the thread id of whose does not.
    owner: AtomicU32,
    /// Stands for the generator.
    used: Exclusive,
}

/// Chunks double in size, so that few pointers serve any number of threads.
const FIRST_CHUNK: usize = if cfg!(all(test, loom)) { 1 } else { 64 };
const CHUNKS: usize = if cfg!(all(test, loom)) { 2 } else { 16 };

sync::statics! {
    static SLAB: [AtomicPtr<Seat>; CHUNKS] = sync::array![AtomicPtr::new(null_mut()); CHUNKS];

    /// How many seats may have to be reclaimed because their owner's exit does not give them back.
    static UNARMED: AtomicUsize = AtomicUsize::new(0);
}

/// The `pthread_key` whose destructor gives seats back; `NO_KEY` if there is none.
static EXIT_KEY: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(NO_KEY);
const NO_KEY: u32 = u32::MAX;

/// glibc keeps the values of the first 32 keys in the thread itself and allocates for later ones.
const KEYS_WITHOUT_ALLOCATION: u32 = 32;

/// This thread's first use, if this is what it is: takes a seat. `None` otherwise.
#[cold]
#[inline(never)]
fn settle_in() -> Option<*mut LocalGenerator> {
    if tls::with(|slot| slot.state.load(Ordering::Relaxed)) != NOTHING {
        return None;
    }
    config::ensure_installed().ok()?;
    let seat = take_seat(SystemWorld.look().copy)?;
    let order = Ordering::Relaxed;
    tls::with(|slot| {
        match slot.generator.compare_exchange(null_mut(), seat.generator, order, order) {
            Ok(_) => {
                seat.arm();
                compiler_fence(Ordering::SeqCst);
                slot.state.store(FREE, order);
                Some(seat.generator)
            }
            // A handler that interrupted this function has settled in meanwhile.
            Err(by_handler) => {
                seat.give_back();
                (slot.state.load(order) != OVER).then_some(by_handler)
            }
        }
    })
}

fn take_seat(copy: u64) -> Option<&'static Seat> {
    for index in 0..CHUNKS {
        let seats = chunk(index)?;
        if let Some(seat) = seats.iter().find(|seat| seat.take_if_free(copy)) {
            return Some(seat);
        }
        if UNARMED.load(Ordering::Relaxed) > 0
            && let Some(seat) = seats.iter().find(|seat| seat.take_from_dead(copy))
        {
            return Some(seat);
        }
    }
    None
}

impl Seat {
    fn take_if_free(&self, copy: u64) -> bool {
        let taken = self.owner.load(Ordering::Relaxed) == NOBODY && self.change_owner(NOBODY);
        if taken {
            self.copy.store(copy, Ordering::Relaxed);
        }
        taken
    }

    fn change_owner(&self, from: u32) -> bool {
        let order = (Ordering::Acquire, Ordering::Relaxed);
        self.owner.compare_exchange(from, SOMEBODY, order.0, order.1).is_ok()
    }

    /// Takes a seat that nobody gave back, if its owner has ended in this copy of the process.
    fn take_from_dead(&self, copy: u64) -> bool {
        let owner = self.owner.load(Ordering::Relaxed);
        if owner == NOBODY
            || owner == SOMEBODY
            || self.copy.load(Ordering::Relaxed) != copy
            || is_alive(owner)
            || !self.change_owner(owner)
        {
            return false;
        }
        UNARMED.fetch_sub(1, Ordering::Relaxed);
        self.wipe();
        true
    }

    /// Arranges for the seat to be given back when this thread ends, if that allocates nothing.
    fn arm(&'static self) {
        let key = EXIT_KEY.load(Ordering::Acquire);
        let may_allocate = cfg!(target_env = "gnu") && key >= KEYS_WITHOUT_ALLOCATION;
        if key != NO_KEY && !may_allocate {
            let value: *const Self = self;
            // SAFETY: the key was created and is never deleted.
            if unsafe { libc::pthread_setspecific(key, value.cast()) } == 0 {
                return;
            }
        }
        let me = thread_id();
        self.owner.store(me, Ordering::Relaxed);
        UNARMED.fetch_add(1, Ordering::Relaxed);
    }

    fn give_back(&self) {
        self.wipe();
        self.owner.store(NOBODY, Ordering::Release);
    }

    fn wipe(&self) {
        self.used.is_mine();
        // SAFETY: whoever calls this owns the seat and is not using the generator.
        unsafe { &mut *self.generator }.wipe();
        // SAFETY: as above; all zeros is a valid generator.
        unsafe { self.generator.write_bytes(0, 1) };
    }
}

/// The seats of a chunk, mapped at its first use. `None` if there is no memory.
fn chunk(index: usize) -> Option<&'static [Seat]> {
    let slot = SLAB.get(index)?;
    let count = FIRST_CHUNK << index;
    let mut seats = slot.load(Ordering::Acquire);
    if seats.is_null() {
        let fresh = map_chunk(count)?;
        match slot.compare_exchange(null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => seats = fresh,
            Err(theirs) => {
                unmap_chunk(fresh, count);
                seats = theirs;
            }
        }
    }
    // SAFETY: `count` initialized seats, published with Release, never unmapped again.
    Some(unsafe { core::slice::from_raw_parts(seats, count) })
}

fn map_chunk(count: usize) -> Option<*mut Seat> {
    let seats = map(count * size_of::<Seat>())?.cast::<Seat>();
    let generators = map(count * size_of::<LocalGenerator>())?.cast::<LocalGenerator>();
    #[cfg(not(all(test, loom)))]
    let length = count * size_of::<LocalGenerator>();
    // Hygiene, no witness: where the kernel knows one of these not, copies of keys live longer.
    #[cfg(not(all(test, loom)))]
    for advice in [Advice::LinuxWipeOnFork, Advice::LinuxDontDump] {
        // SAFETY: our own, private, anonymous mapping, which holds nothing yet.
        let _ = unsafe { madvise(generators.cast(), length, advice) };
    }
    for number in 0..count {
        let seat = Seat {
            owner: AtomicU32::new(NOBODY),
            copy: AtomicU64::new(0),
            generator: generators.wrapping_add(number),
            used: Exclusive::new(),
        };
        // SAFETY: within the mapping, aligned (a mapping begins at a page), not shared yet.
        unsafe { seats.wrapping_add(number).write(seat) };
    }
    Some(seats)
}

fn unmap_chunk(seats: *mut Seat, count: usize) {
    // SAFETY: made by `map_chunk` and never published.
    let generators = unsafe { (*seats).generator };
    // SAFETY: as above.
    unsafe { unmap(generators.cast(), count * size_of::<LocalGenerator>()) };
    // SAFETY: as above.
    unsafe { unmap(seats.cast(), count * size_of::<Seat>()) };
}

/// A model maps once for each interleaving, more often than the kernel allows: from the heap there.
#[cfg(all(test, loom))]
fn map(length: usize) -> Option<*mut c_void> {
    let memory = vec![0u128; length.div_ceil(16) + 512].leak();
    let aligned = memory.as_mut_ptr().addr().next_multiple_of(4096);
    Some(memory.as_mut_ptr().with_addr(aligned).cast())
}

#[cfg(all(test, loom))]
unsafe fn unmap(_: *mut c_void, _: usize) {}

/// By libc, so that sanitizers know of it: to them, an address that one thread unmaps and another is
/// given would be the same memory still, and what both write there a race.
#[cfg(not(all(test, loom)))]
fn map(length: usize) -> Option<*mut c_void> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory = unsafe { libc::mmap(null_mut(), length, protection, kind, -1, 0) };
    (memory != libc::MAP_FAILED).then_some(memory)
}

/// # Safety
/// `memory` was mapped by [`map`] with this length, and is used no more.
#[cfg(not(all(test, loom)))]
unsafe fn unmap(memory: *mut c_void, length: usize) {
    // SAFETY: the caller's. It fails for no such mapping; if it did, memory would be lost.
    let _ = unsafe { libc::munmap(memory, length) };
}

/// Called by libc when a thread ends that has a seat.
extern "C" fn thread_ends(seat: *mut c_void) {
    let seat: *const Seat = seat.cast();
    tls::with(|slot| slot.state.store(OVER, Ordering::Relaxed));
    compiler_fence(Ordering::SeqCst);
    // SAFETY: the value set in `arm`: a seat in a chunk that is never unmapped, this thread's own.
    unsafe { &*seat }.give_back();
}

extern "C" fn at_load() {
    let mut key: libc::pthread_key_t = 0;
    // SAFETY: the destructor is a static function.
    if unsafe { libc::pthread_key_create(&mut key, Some(on_exit)) } == 0 {
        EXIT_KEY.store(key, Ordering::Release);
    }
}

/// `pthread_key_create` wants an unsafe function.
unsafe extern "C" fn on_exit(seat: *mut c_void) {
    thread_ends(seat);
}

// SAFETY: `.init_array` holds pointers to functions that the loader calls once before `main`, or
// when the library is loaded; the arguments it passes may be ignored (System V gABI).
#[used]
#[cfg_attr(not(miri), unsafe(link_section = ".init_array"))]
static AT_LOAD: extern "C" fn() = at_load;

// SAFETY: the pointer is to memory that only the seat's owner uses.
unsafe impl Sync for Seat {}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests {
    use core::mem::MaybeUninit;

    use super::*;

    #[test]
    fn memory_of_all_zeros_is_a_generator_that_rekeys() {
        config::ensure_installed().unwrap();
        // SAFETY: what this test is about: every field may be zero.
        let mut generator = unsafe { core::mem::zeroed::<LocalGenerator>() };
        let mut out = [0; 32];
        generator.fill(&mut out).unwrap();
        // By chance: 2^-256.
        assert_ne!(out, [0; 32]);
    }

    #[test]
    fn a_thread_keeps_its_generator_and_gives_it_back() {
        let mine = with_generator(|g| &raw const *g).unwrap();
        assert_eq!(with_generator(|g| &raw const *g), Some(mine));
        let theirs = std::thread::spawn(|| {
            let theirs = with_generator(|g| &raw const *g).unwrap();
            theirs.addr()
        });
        assert_ne!(theirs.join().unwrap(), mine.addr());
    }

    #[test]
    fn a_busy_generator_is_not_handed_out_again() {
        with_generator(|_| assert!(with_generator(|_| ()).is_none())).unwrap();
        assert!(with_generator(|_| ()).is_some());
    }

    #[test]
    fn a_seat_that_was_not_given_back_is_taken_from_a_dead_thread_alone() {
        let dead = std::thread::spawn(thread_id).join().unwrap();
        // `join` returns an instant before the kernel stops finding the thread.
        while is_alive(dead) {
            rustix::thread::sched_yield();
        }
        let mut state = MaybeUninit::<LocalGenerator>::zeroed();
        let mut seat = |owner, copy| Seat {
            owner: AtomicU32::new(owner),
            copy: AtomicU64::new(copy),
            generator: state.as_mut_ptr(),
            used: Exclusive::new(),
        };
        let me = thread_id();
        UNARMED.fetch_add(1, Ordering::Relaxed);
        assert!(!seat(me, 7).take_from_dead(7), "its owner lives");
        assert!(!seat(SOMEBODY, 7).take_from_dead(7), "its exit gives it back");
        assert!(!seat(dead, 6).take_from_dead(7), "it was inherited");
        assert!(seat(dead, 7).take_from_dead(7));
    }
}
