//! Copies of a process share no output: forks, raw clones, their descendants, children of threaded
//! processes, and children made in the middle of a request.
//!
//! Each scenario runs in several worlds (see `common/worlds.rs`): buffered on a stand-in of the
//! hypervisor's page, buffered without one, and unbuffered; and on kernels that know fewer ways to
//! clear a page in a child.
#![cfg(target_os = "linux")]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use common::blocks::{assert_nothing_repeats, numbered};
use common::copies::{Board, Child, WAYS, Way, child, leave, split};
use common::draws::{RECORD, Source, assert_is_busy};
use common::interruption::Trap;
use common::worlds::{self, ALL, SYNCHRONOUS, in_worlds};
use common::{in_a_fresh_process, in_fresh_processes};
use snaprng::Generation;

#[test]
fn a_child_shares_nothing_with_its_parent() {
    in_worlds(&ALL, |_| {
        let mut source = Source::new();
        for way in WAYS {
            let board = Board::new(2, RECORD);
            let child = child(way, || source.draw(board.slot(1)));
            source.draw(board.slot(0));
            child.join();
            assert_nothing_repeats(&numbered("process", &board.records()));
        }
    });
}

#[test]
fn siblings_share_nothing_with_each_other() {
    in_worlds(&ALL, |_| {
        let mut source = Source::new();
        for way in WAYS {
            let board = Board::new(5, RECORD);
            // One after the other, of a parent that draws nothing in between.
            for number in 0..5 {
                child(way, || source.draw(board.slot(number))).join();
            }
            assert_nothing_repeats(&numbered("sibling", &board.records()));
        }
    });
}

#[test]
fn grandchildren_share_nothing_with_any_ancestor() {
    in_worlds(&ALL, |_| {
        let mut source = Source::new();
        let ways = [Way::RawClone, Way::Fork, Way::RawClone, Way::RawClone];
        let board = Board::new(ways.len() + 1, RECORD);
        descend(&mut source, &board, &ways);
        assert_nothing_repeats(&numbered("generation", &board.records()));
    });
}

/// Makes a chain of descendants in these ways. Each draws after its child has ended, and so after
/// all of its descendants.
fn descend(source: &mut Source, board: &Board, ways: &[Way]) {
    if let Some((way, further)) = ways.split_first() {
        child(*way, || descend(source, board, further)).join();
    }
    source.draw(board.slot(ways.len()));
}

#[test]
fn a_grandchild_of_a_child_that_drew_nothing_shares_nothing() {
    in_worlds(&ALL, |_| {
        let mut source = Source::new();
        for way in WAYS {
            let board = Board::new(2, RECORD);
            // The process in the middle never looks, so nobody arms the word for it.
            child(way, || child(way, || source.draw(board.slot(1))).join()).join();
            source.draw(board.slot(0));
            assert_nothing_repeats(&numbered("process", &board.records()));
        }
    });
}

#[test]
fn children_of_a_process_that_drew_nothing_share_nothing() {
    in_a_fresh_process(|| {
        let board = Board::new(4, RECORD);
        for number in 0..4 {
            child(WAYS[number % 2], || Source::new().draw(board.slot(number))).join();
        }
        assert_nothing_repeats(&numbered("child", &board.records()));
    });
}

#[test]
fn threads_that_fork_at_once_share_nothing() {
    const THREADS: usize = 6;
    const CHILDREN: usize = 3;
    in_worlds(&ALL, |_| {
        let board = Board::new(THREADS * (CHILDREN + 1), 2048);
        let together = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (board, together) = (&board, &together);
                scope.spawn(move || {
                    let first = thread * (CHILDREN + 1);
                    draw_small(&mut [0; 2048]);
                    together.wait();
                    let children: Vec<Child> = (1..=CHILDREN)
                        .map(|n| child(WAYS[n % 2], || draw_small(board.slot(first + n))))
                        .collect();
                    draw_small(board.slot(first));
                    children.into_iter().for_each(Child::join);
                });
            }
        });
        assert_nothing_repeats(&numbered("process", &board.records()));
    });
}

/// Fills the record in small requests of this thread's generator.
fn draw_small(record: &mut [u8]) {
    for chunk in record.chunks_mut(32) {
        snaprng::fill(chunk).expect("bytes");
    }
}

/// Forks in a signal handler that interrupts a request of this size in the middle.
fn fork_in_the_middle(way: Way, length: usize, mut request: impl FnMut(&mut [u8])) {
    let before = length / 2;
    let mut trap = Trap::new(before, length - before);
    let board = Board::new(2, length + 1024);
    let mut made = None;
    let mut in_child = false;
    let filled = trap.spring(before, length - before, &mut request, || {
        made = split(way);
        in_child = made.is_none();
    });
    let (interrupted, after) = board.slot(usize::from(in_child)).split_at_mut(length);
    interrupted.copy_from_slice(filled);
    after.chunks_mut(32).for_each(request);
    match made {
        Some(child) => child.join(),
        None => leave(0),
    }
    assert_nothing_repeats(&numbered("process", &board.records()));
}

#[test]
fn a_request_that_is_forked_in_the_middle_ends_differently_in_parent_and_child() {
    in_worlds(&ALL, |_| {
        let mut owned = worlds::owned();
        for way in WAYS {
            // From the buffer, and straight into the caller's memory.
            for length in [256, 64 << 10] {
                fork_in_the_middle(way, length, |out| {
                    snaprng::fill(out).expect("bytes of the thread's generator");
                });
                fork_in_the_middle(way, length, |out| {
                    owned.fill(out).expect("bytes of the owned generator");
                });
            }
        }
    });
}

#[test]
fn a_one_shot_request_that_is_forked_in_the_middle_ends_differently_in_parent_and_child() {
    in_worlds(&ALL, |_| {
        for way in WAYS {
            let board = Board::new(2, 256);
            let mut one_shot = [0; 256];
            let mut outer = Trap::new(1024, 1024);
            let mut made = None;
            let mut in_child = false;
            outer.spring(
                1024,
                1024,
                |out| snaprng::fill(out).expect("a large request"),
                || {
                    // A fork in the middle of a one-shot request: the trap within the trap.
                    assert_is_busy();
                    let mut inner = Trap::new(128, 128);
                    let filled = inner.spring(
                        128,
                        128,
                        |out| snaprng::fill(out).expect("one-shot bytes"),
                        || {
                            made = split(way);
                            in_child = made.is_none();
                        },
                    );
                    one_shot.copy_from_slice(filled);
                },
            );
            board.slot(usize::from(in_child)).copy_from_slice(&one_shot);
            match made {
                Some(child) => child.join(),
                None => leave(0),
            }
            assert_nothing_repeats(&numbered("process", &board.records()));
        }
    });
}

#[test]
fn a_generation_ends_in_the_child_and_goes_on_in_the_parent() {
    in_worlds(&ALL, |_| {
        for way in WAYS {
            let before = snaprng::generation();
            child(way, || {
                assert!(!before.is_current(), "the parent's generation, in a child");
                let own = snaprng::generation();
                assert!(own.is_current() && own != before);
                child(way, || assert!(!own.is_current() && !before.is_current())).join();
                assert!(own.is_current());
            })
            .join();
            assert!(before.is_current(), "the parent's own");
            assert_eq!(before, snaprng::generation());
        }
    });
}

#[test]
fn generators_first_made_after_an_epoch_change_share_nothing() {
    in_worlds(&[SYNCHRONOUS], |page| {
        // Both copies of the process find the change behind them: neither saw it happen.
        for way in WAYS {
            page.advance_counter();
            let board = Board::new(4, 4096);
            let first_used = |record: &mut [u8], other: &mut [u8]| {
                draw_small(record);
                worlds::owned().fill(other).expect("bytes");
            };
            let children =
                [0, 2].map(|n| child(way, || first_used(board.slot(n), board.slot(n + 1))));
            children.into_iter().for_each(Child::join);
            assert_nothing_repeats(&numbered("first made after the change", &board.records()));
        }
    });
}

/// Where the winner of the installation is held: at its nth attempt to open a file. The first two
/// come before the process page is there, the others after.
const HELD_AT: [&str; 4] = ["0", "1", "2", "3"];

/// What the thread that installs has come to.
static OPENED: AtomicUsize = AtomicUsize::new(0);
static HOLD_AT: AtomicUsize = AtomicUsize::new(usize::MAX);
static IS_HELD: AtomicBool = AtomicBool::new(false);
static MAY_GO_ON: AtomicBool = AtomicBool::new(false);

/// Counts an attempt to open a file. Whether it is the one that the test is about.
fn is_the_one() -> bool {
    OPENED.fetch_add(1, Ordering::SeqCst) == HOLD_AT.load(Ordering::SeqCst)
}

/// Answers `openat` of the installing thread, and holds it in one of them.
extern "C" fn hold_on_open(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if is_the_one() {
        // A handler on the thread that installs gets bytes at once, or it would wait for itself.
        let mut bytes = [0; 32];
        snaprng::fill(&mut bytes).expect("bytes in a handler on the installing thread");
        assert_ne!(bytes, [0; 32]);
        IS_HELD.store(true, Ordering::SeqCst);
        while !MAY_GO_ON.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    }
    common::seccomp::answer(context, -libc::ENOENT);
}

/// Starts the first use on another thread, which stays in it until `MAY_GO_ON`.
fn hold_a_first_use(at: &str) -> std::thread::JoinHandle<[u8; 32]> {
    begin_a_first_use(at, hold_on_open)
}

/// Starts the first use on another thread, and waits until it has come to that attempt to open.
fn begin_a_first_use(
    at: &str,
    on_open: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void),
) -> std::thread::JoinHandle<[u8; 32]> {
    HOLD_AT.store(at.parse().expect("a number"), Ordering::SeqCst);
    common::seccomp::on_trapped_call(on_open);
    let installer = std::thread::spawn(|| {
        use common::seccomp::{Answer, install};
        install(&[(libc::SYS_openat, Answer::Trap)], Answer::Allow);
        snaprng::bytes::<32>()
    });
    while !IS_HELD.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    installer
}

#[test]
fn a_child_made_while_another_thread_is_in_first_use_gets_bytes_of_its_own() {
    in_fresh_processes(&HELD_AT, |at| {
        let installer = hold_a_first_use(at);
        let board = Board::new(6, 1024);
        for (number, way) in [Way::Fork, Way::RawClone, Way::Fork, Way::RawClone].iter().enumerate()
        {
            child(*way, || draw_small(board.slot(number))).join();
        }
        // This thread does not wait for the other one either.
        draw_small(board.slot(4));
        MAY_GO_ON.store(true, Ordering::SeqCst);
        let theirs = installer.join().expect("the installing thread");
        board.slot(5)[..32].copy_from_slice(&theirs);
        draw_small(&mut board.slot(5)[32..]);
        assert_nothing_repeats(&numbered("process", &board.records()));
    });
}

#[test]
fn a_child_of_a_held_first_use_installs_for_itself() {
    in_fresh_processes(&HELD_AT, |at| {
        let installer = hold_a_first_use(at);
        for way in WAYS {
            child(way, || {
                let before: Generation = snaprng::generation();
                assert!(before.is_current(), "the child has witnesses of its own");
                child(Way::RawClone, || assert!(!before.is_current())).join();
                assert!(before.is_current());
            })
            .join();
        }
        MAY_GO_ON.store(true, Ordering::SeqCst);
        installer.join().expect("the installing thread");
        assert!(snaprng::generation().is_current());
    });
}

/// Answers `openat` of the installing thread, and ends it in one of them, as nothing of libc's would.
extern "C" fn end_on_open(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if is_the_one() {
        IS_HELD.store(true, Ordering::SeqCst);
        // SAFETY: ends this thread alone. Its stack stays as it is, and nobody joins it.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
    common::seccomp::answer(context, -libc::ENOENT);
}

#[test]
fn an_installation_whose_thread_has_ended_in_it_is_taken_over() {
    in_fresh_processes(&HELD_AT, |at| {
        let threads = || std::fs::read_dir("/proc/self/task").expect("procfs").count();
        let before = threads();
        drop(begin_a_first_use(at, end_on_open));
        // It takes a moment to end.
        while threads() > before {
            std::thread::yield_now();
        }
        assert!(snaprng::generation().is_current(), "the witnesses are there");
        let board = Board::new(2, 1024);
        child(Way::Fork, || draw_small(board.slot(0))).join();
        draw_small(board.slot(1));
        assert_nothing_repeats(&numbered("process", &board.records()));
    });
}

#[test]
fn a_child_of_a_threaded_process_may_draw_first_and_start_threads() {
    in_a_fresh_process(|| {
        worlds::enter(SYNCHRONOUS);
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..4)
            .map(|_| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        draw_small(&mut [0; 1024]);
                    }
                })
            })
            .collect();
        let board = Board::new(3 * 20, 1024);
        for round in 0..20 {
            let slots = [0, 1, 2].map(|n| board.slot(3 * round + n));
            let [first, second, third] = slots;
            child(Way::Fork, || {
                draw_small(first);
                std::thread::scope(|scope| {
                    scope.spawn(|| draw_small(second));
                    scope.spawn(|| draw_small(third));
                });
            })
            .join();
        }
        stop.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|thread| thread.join().expect("a drawing thread"));
        assert_nothing_repeats(&numbered("thread of a child", &board.records()));
    });
}
