//! Whoever asks for bytes gets them, and nobody else has them: signal handlers, first uses in
//! them, threads that end, many threads at once.
#![cfg(target_os = "linux")]

mod common;

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::Barrier;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use common::blocks::{assert_nothing_repeats, numbered};
use common::copies::{Board, WAYS, Way, child};
use common::draws::assert_is_busy;
use common::in_a_fresh_process;
use common::interruption::Trap;
use common::maps::{NOT_DUMPED, WIPED_ON_FORK, mappings};
use common::seccomp::{self, Answer};
use common::worlds::{self, ALL, PER_CALL, PROCESS_ONLY, SYNCHRONOUS, in_worlds};
use snaprng::{Error, Generation};

/// Handles a signal.
fn on_signal(signal: i32, handler: extern "C" fn(i32)) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeros is a valid sigaction.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler is a function of this type.
    assert_eq!(unsafe { libc::sigaction(signal, action, null_mut()) }, 0);
}

fn raise(signal: i32) {
    // SAFETY: the signal has a handler.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// Where handlers leave their records, and how many there are.
static BOARD: AtomicPtr<Board> = AtomicPtr::new(null_mut());
static DRAWN: AtomicUsize = AtomicUsize::new(0);
static WHILE_BUSY: AtomicUsize = AtomicUsize::new(0);

/// Gives handlers a board that lives as long as the process.
fn publish(slots: usize, size: usize) -> &'static Board {
    let board = Box::leak(Box::new(Board::new(slots, size)));
    BOARD.store(board, Ordering::SeqCst);
    board
}

/// Draws into the next free slot.
extern "C" fn draw_in_handler(_: i32) {
    // SAFETY: published before the first signal, and never freed.
    let board = unsafe { &*BOARD.load(Ordering::SeqCst) };
    if snaprng::reseed(&[]) == Err(Error::Reentered) {
        WHILE_BUSY.fetch_add(1, Ordering::SeqCst);
    }
    let slot = DRAWN.fetch_add(1, Ordering::SeqCst);
    if slot < board.len() {
        snaprng::fill(board.slot(slot)).expect("bytes in a handler");
    }
}

#[test]
fn the_first_use_of_a_process_may_be_in_a_signal_handler() {
    in_a_fresh_process(|| {
        let board = publish(2, 256);
        on_signal(libc::SIGUSR1, draw_in_handler);
        raise(libc::SIGUSR1);
        // The handler's first use was this thread's, and left a generator.
        snaprng::fill(board.slot(1)).expect("bytes");
        assert_nothing_repeats(&numbered("request", &board.records()));
        assert_eq!(WHILE_BUSY.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn the_first_use_of_a_thread_may_be_in_a_signal_handler() {
    in_worlds(&ALL, |_| {
        let board = publish(16, 256);
        on_signal(libc::SIGUSR1, draw_in_handler);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    raise(libc::SIGUSR1);
                    snaprng::fill(board.slot(8 + thread)).expect("bytes");
                });
            }
        });
        assert_nothing_repeats(&numbered("request", &board.records()));
    });
}

/// A timer that sends a signal to this thread.
struct Timer(libc::timer_t);

impl Timer {
    fn new(signal: i32) -> Self {
        let mut event = MaybeUninit::<libc::sigevent>::zeroed();
        // SAFETY: all zeros is a valid sigevent.
        let event = unsafe { event.assume_init_mut() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        event.sigev_notify_thread_id = rustix::thread::gettid().as_raw_nonzero().get();
        let mut timer = null_mut();
        // SAFETY: both point to locals.
        let answer = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, event, &mut timer) };
        assert_eq!(answer, 0);
        Self(timer)
    }

    /// Sends the signal once, this much later. Not periodically: handlers that take longer than
    /// the period would be all that runs.
    fn start(&self, nanoseconds: i64) {
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let then = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds };
        let times = libc::itimerspec { it_interval: never, it_value: then };
        // SAFETY: made in `new` and not deleted yet.
        assert_eq!(unsafe { libc::timer_settime(self.0, 0, &times, null_mut()) }, 0);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: made in `new` and deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

#[test]
fn a_handler_that_interrupts_the_generator_anywhere_gets_bytes_that_nobody_else_has() {
    /// So many handlers must have drawn, and so many of them have found the generator in use.
    const IN_HANDLERS: usize = 2000;
    const BUSY: usize = 500;
    /// Outputs that are kept for the comparison.
    const KEPT: usize = 20_000;
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY, PER_CALL], |page| {
        let board = publish(IN_HANDLERS, 16);
        on_signal(libc::SIGUSR1, draw_in_handler);
        let timer = Timer::new(libc::SIGUSR1);
        let mut outputs = Vec::new();
        let mut delay = 1_000;
        while DRAWN.load(Ordering::SeqCst) < IN_HANDLERS || WHILE_BUSY.load(Ordering::SeqCst) < BUSY
        {
            // Requests of many sizes, so that refills, rekeys and absorbs are interrupted too.
            for length in [1, 200, 511, 600, 3000] {
                delay = 1_000 + (delay + 7_919) % 60_000;
                timer.start(delay);
                let mut output = [0; 16];
                snaprng::fill(&mut vec![0; length]).expect("bytes");
                snaprng::fill(&mut output).expect("bytes");
                outputs.push(output);
                outputs.truncate(KEPT);
            }
            page.advance_counter();
        }
        drop(timer);
        let mut records = numbered("handler", &board.records());
        let outputs: Vec<&[u8]> = outputs.iter().map(|o| &o[..]).collect();
        records.extend(numbered("request", &outputs));
        assert_nothing_repeats(&records);
    });
}

#[test]
fn a_handler_that_interrupts_a_request_half_way_gets_bytes_that_the_request_does_not() {
    in_worlds(&ALL, |_| {
        for length in [256, 64 << 10] {
            let half = length / 2;
            let mut trap = Trap::new(half, half);
            let (mut small, mut large) = ([0; 256], [0; 2048]);
            let filled = trap.spring(
                half,
                half,
                |out| snaprng::fill(out).expect("bytes"),
                || {
                    assert_is_busy();
                    snaprng::fill(&mut small).expect("bytes in a handler");
                    snaprng::fill(&mut large).expect("bytes in a handler");
                },
            );
            let records = [("outer", &*filled), ("small", &small), ("large", &large)];
            assert_nothing_repeats(&records.map(|(name, record)| (name.to_owned(), record)));
        }
    });
}

#[test]
fn a_generator_that_was_interrupted_is_not_reseeded_from_the_handler() {
    in_worlds(&[SYNCHRONOUS], |_| {
        let mut trap = Trap::new(128, 128);
        trap.spring(
            128,
            128,
            |out| snaprng::fill(out).expect("bytes"),
            || {
                assert_eq!(snaprng::reseed(b"more"), Err(Error::Reentered));
                // What does not need the generator works all the same.
                assert!(snaprng::generation().is_current());
                snaprng::notify_restored(b"unique");
            },
        );
        assert_eq!(snaprng::reseed(b"more"), Ok(()));
    });
}

/// Draws when the thread's destructors run, and again when those of pthread keys do.
struct Late {
    thread: usize,
}

/// Slots per thread: before the end, in a destructor of std's, in one of a pthread key made after
/// the library's own, and in the next round of those.
const PER_THREAD: usize = 4;

impl Drop for Late {
    fn drop(&mut self) {
        draw_late(self.thread * PER_THREAD + 1);
    }
}

fn draw_late(slot: usize) {
    // SAFETY: published before the threads were started, and never freed.
    let board = unsafe { &*BOARD.load(Ordering::SeqCst) };
    snaprng::fill(board.slot(slot)).expect("bytes in a thread that is ending");
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
    static ROUND: Cell<usize> = const { Cell::new(0) };
}

/// Runs in the thread's end, in two rounds; the library's own destructor has run before.
unsafe extern "C" fn on_thread_end(value: *mut libc::c_void) {
    let round = ROUND.replace(ROUND.get() + 1);
    assert_eq!(snaprng::reseed(&[]), Err(Error::Reentered), "the generator is gone");
    draw_late((value.addr() - 1) * PER_THREAD + 2 + round);
    if round == 0 {
        let key = LATE_KEY.load(Ordering::SeqCst) as libc::pthread_key_t;
        // SAFETY: the key was made and is never deleted.
        unsafe { libc::pthread_setspecific(key, value) };
    }
}

static LATE_KEY: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_thread_that_is_ending_gets_bytes_of_its_own() {
    const THREADS: usize = 20;
    in_worlds(&ALL, |_| {
        let mut key = 0;
        // SAFETY: the destructor is a static function.
        let answer = unsafe { libc::pthread_key_create(&mut key, Some(on_thread_end)) };
        assert_eq!(answer, 0);
        LATE_KEY.store(key as usize, Ordering::SeqCst);
        let board = publish(THREADS * PER_THREAD, 600);
        for thread in 0..THREADS {
            std::thread::spawn(move || {
                LATE.set(Some(Late { thread }));
                let value = std::ptr::without_provenance_mut::<libc::c_void>(thread + 1);
                // SAFETY: the key was made and is never deleted; the value is not dereferenced.
                unsafe { libc::pthread_setspecific(key, value) };
                snaprng::fill(board.slot(thread * PER_THREAD)).expect("bytes");
            })
            .join()
            .expect("the thread");
        }
        assert_nothing_repeats(&numbered("draw", &board.records()));
    });
}

#[test]
fn a_thread_that_ends_gives_its_place_to_others() {
    /// Far more threads than there are places in the memory that the first one's generator is in.
    const THREADS: usize = 5000;
    in_worlds(&[SYNCHRONOUS], |_| {
        std::thread::spawn(|| snaprng::fill(&mut [0; 32])).join().expect("it").expect("bytes");
        let before = generator_memory();
        assert!(before > 0);
        let mut outputs = vec![0; THREADS * 16];
        for pair in outputs.chunks_mut(2 * 16) {
            std::thread::scope(|scope| {
                for output in pair.chunks_mut(16) {
                    scope.spawn(|| snaprng::fill(output).expect("bytes"));
                }
            });
        }
        assert_eq!(generator_memory(), before, "it did not grow");
        assert_nothing_repeats(&numbered("thread", &outputs.chunks(16).collect::<Vec<_>>()));
    });
}

/// Bytes of the mappings that generators of threads are in.
fn generator_memory() -> usize {
    mappings()
        .iter()
        .filter(|m| m.has(WIPED_ON_FORK) && m.has(NOT_DUMPED) && !m.has(common::maps::DROPPABLE))
        .map(|m| m.length)
        .sum()
}

/// Each of so many new threads fills its slot by requests of `size` bytes, all beginning together,
/// while this one does something else.
fn all_draw_at_once(board: &Board, threads: usize, size: usize, meanwhile: impl FnOnce()) {
    let together = Barrier::new(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                for chunk in board.slot(thread).chunks_mut(size) {
                    snaprng::fill(chunk).expect("bytes");
                }
            });
        }
        meanwhile();
    });
}

#[test]
fn many_threads_at_once_share_nothing() {
    const THREADS: usize = 200;
    const BYTES: usize = 4096;
    in_worlds(&[SYNCHRONOUS, PER_CALL], |page| {
        let board = Board::new(THREADS, BYTES);
        all_draw_at_once(&board, THREADS, 64, || {
            // The machine is restored in the midst of it.
            page.advance_counter();
        });
        assert_nothing_repeats(&numbered("thread", &board.records()));
    });
}

#[test]
fn the_first_use_of_many_threads_at_once_gives_each_its_own_bytes() {
    const THREADS: usize = 32;
    in_a_fresh_process(|| {
        let board = Board::new(THREADS, 512);
        all_draw_at_once(&board, THREADS, 32, || ());
        assert_nothing_repeats(&numbered("thread", &board.records()));
    });
}

unsafe extern "C" {
    fn pthread_cancel(thread: libc::pthread_t) -> i32;
    fn pthread_setcancelstate(state: i32, old: *mut i32) -> i32;
}

/// Runs on a thread that ends at the first cancellation point, which would be the process's end here.
fn on_a_cancelled_thread(call: impl FnOnce() + Send) {
    const DISABLE: i32 = 1;
    let cancelled = || {
        // SAFETY: takes nothing.
        let this = unsafe { libc::pthread_self() };
        // SAFETY: a thread that exists.
        assert_eq!(unsafe { pthread_cancel(this) }, 0);
        call();
        // SAFETY: the old state is not asked for.
        assert_eq!(unsafe { pthread_setcancelstate(DISABLE, null_mut()) }, 0);
    };
    std::thread::scope(|scope| scope.spawn(cancelled).join()).expect("it is not cut short");
}

#[test]
fn the_first_use_of_a_thread_that_is_cancelled_is_finished() {
    in_a_fresh_process(|| {
        on_a_cancelled_thread(|| snaprng::fill(&mut [0; 64]).expect("bytes"));
        assert_eq!(snaprng::Config::default().install(), Err(Error::AlreadyInstalled));
    });
}

#[test]
fn no_request_of_a_thread_that_is_cancelled_is_cut_short() {
    in_worlds(&ALL, |_| {
        // From here on the device is opened, polled, read and closed.
        seccomp::install(&[(libc::SYS_getrandom, Answer::Fail(libc::ENOSYS))], Answer::Allow);
        on_a_cancelled_thread(|| {
            snaprng::reseed(b"by the device").expect("a rekey");
            snaprng::fill(&mut [0; 64]).expect("bytes");
        });
    });
}

#[test]
fn threads_of_a_child_that_are_cancelled_finish_their_first_use() {
    in_worlds(&ALL, |_| {
        child(Way::Fork, || on_a_cancelled_thread(|| snaprng::fill(&mut [0; 64]).expect("bytes")))
            .join();
    });
}

#[test]
fn a_restore_reported_by_one_thread_ends_the_generation_of_all() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY, PER_CALL], |_| {
        let (ready, is_ready) = channel();
        let (report, reported) = channel();
        let thread = std::thread::spawn(move || {
            snaprng::fill(&mut [0; 32]).expect("bytes");
            let before: Generation = snaprng::generation();
            ready.send(before).expect("somebody waits");
            reported.recv().expect("a report");
            assert!(!before.is_current());
        });
        let before = is_ready.recv().expect("the thread's generation");
        assert!(before.is_current(), "it is the process's");
        snaprng::notify_restored(b"from the host");
        report.send(()).expect("the thread waits");
        thread.join().expect("the thread");
        assert!(!before.is_current());
    });
}

#[test]
fn threads_of_a_child_draw_as_those_of_its_parent_do() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        let board = Board::new(2 * 8, 256);
        // Taken places that the child inherits, whose owners do not exist there.
        let _neighbours: Vec<Neighbour> = (0..8).map(|_| Neighbour::new()).collect();
        child(Way::Fork, || {
            std::thread::scope(|scope| {
                for thread in 0..8 {
                    let board = &board;
                    scope.spawn(move || snaprng::fill(board.slot(thread)).expect("bytes"));
                }
            });
        })
        .join();
        for thread in 8..16 {
            child(WAYS[thread % 2], || snaprng::fill(board.slot(thread)).expect("bytes")).join();
        }
        assert_nothing_repeats(&numbered("thread", &board.records()));
    });
}

/// A thread that has drawn bytes, and lives until this is dropped.
struct Neighbour(Option<Sender<()>>, Option<JoinHandle<()>>);

impl Neighbour {
    fn new() -> Self {
        let (until, dropped) = channel();
        let (drawn, has_drawn) = channel();
        let thread = std::thread::spawn(move || {
            let generation = snaprng::generation();
            snaprng::fill(&mut [0; 32]).expect("bytes");
            drawn.send(generation).expect("somebody waits");
            let _: Result<(), _> = dropped.recv();
        });
        let generation: Generation = has_drawn.recv().expect("bytes of the other thread");
        assert_eq!(generation, snaprng::generation(), "of the process, not of the thread");
        Self(Some(until), Some(thread))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.0.take());
        let ended = self.1.take().map(JoinHandle::join);
        assert!(ended.is_some_and(|outcome| outcome.is_ok()) || std::thread::panicking());
    }
}

#[test]
fn an_owned_generator_may_be_used_by_one_thread_after_another() {
    in_worlds(&[SYNCHRONOUS], |_| {
        let mut owned = worlds::owned();
        let mut outputs = vec![0; 32 * 20];
        for output in outputs.chunks_mut(32) {
            owned = std::thread::scope(|scope| {
                let draw = move || {
                    owned.fill(output).expect("bytes");
                    owned
                };
                scope.spawn(draw).join().expect("the thread")
            });
        }
        assert_nothing_repeats(&numbered("thread", &outputs.chunks(32).collect::<Vec<_>>()));
    });
}
