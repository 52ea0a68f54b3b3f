//! The less usual ways in which processes come about and go: clone3, vfork, posix_spawn, forks of
//! forks, many threads that fork, and processes that have the id of another one. Nothing is shared, and who only lends its memory is unharmed.
//!
//! Forks as such, and how they meet requests of the library, are in `process_clones.rs`.
#![cfg(target_os = "linux")]

mod common;

use std::sync::Barrier;

use common::blocks::{assert_nothing_repeats, numbered};
use common::copies::{Board, Child, WAYS, Way, child, leave, split, split_with_id};
use common::worlds::{
    self, ALL, NOT_DROPPABLE, PER_CALL, PROCESS_ID, PROCESS_ONLY, SYNCHRONOUS, in_worlds,
};
use common::{count, in_fresh_processes, skip};
use snaprng::{ForkSafety, TrySnapRng};

const RECORD: usize = 2048;

/// From the thread's generator and an owned one, small and large requests. Does not allocate.
fn draw(owned: &mut TrySnapRng, record: &mut [u8]) {
    let (small, large) = record.split_at_mut(record.len() / 2);
    for (number, chunk) in small.chunks_mut(32).enumerate() {
        match number % 2 {
            0 => snaprng::fill(chunk).expect("bytes of the thread's generator"),
            _ => owned.fill(chunk).expect("bytes of the owned generator"),
        }
    }
    let (thread, own) = large.split_at_mut(large.len() / 2);
    snaprng::fill(thread).expect("a large request");
    owned.fill(own).expect("a large request");
}

/// Compares, and says how much.
fn compare(what: &str, board: &Board) {
    let blocks = assert_nothing_repeats(&numbered(what, &board.records()));
    let kind = snaprng::protection().fork_safety();
    count(&format!(
        "{what}, {kind:?}: {} processes, {blocks} blocks compared, 0 shared",
        board.len()
    ));
}

#[test]
fn a_child_of_clone3_shares_nothing() {
    in_worlds(&ALL, |_| {
        let mut owned = worlds::owned();
        let board = Board::new(1 + 5, RECORD);
        draw(&mut owned, &mut [0; RECORD]);
        for number in 1..=5 {
            child(Way::Clone3, || draw(&mut owned, board.slot(number))).join();
        }
        draw(&mut owned, board.slot(0));
        assert_nothing_repeats(&numbered("process", &board.records()));
    });
}

#[test]
fn ten_generations_of_forks_share_nothing() {
    fn descend(depth: usize, owned: &mut TrySnapRng, board: &Board) {
        const TURNS: [Way; 3] = [Way::Fork, Way::RawClone, Way::Clone3];
        if depth + 1 < board.len() / 2 {
            child(TURNS[depth % 3], || descend(depth + 1, owned, board)).join();
        }
        draw(owned, board.slot(2 * depth));
        // Once more, where the child has drawn and everything of it is over.
        draw(owned, board.slot(2 * depth + 1));
    }
    in_worlds(&ALL, |_| {
        let mut owned = worlds::owned();
        let board = Board::new(2 * 11, RECORD);
        draw(&mut owned, &mut [0; RECORD]);
        descend(0, &mut owned, &board);
        assert_nothing_repeats(&numbered("generation", &board.records()));
    });
}

#[test]
fn sixty_four_threads_that_fork_at_once_share_nothing() {
    const THREADS: usize = 64;
    const CHILDREN: usize = 2;
    in_worlds(&[SYNCHRONOUS, PER_CALL, PROCESS_ID], |_| {
        let board = Board::new(THREADS * (CHILDREN + 1), RECORD);
        let together = Barrier::new(THREADS);
        let fill = |slot: usize| {
            board.slot(slot).chunks_mut(64).for_each(|c| snaprng::fill(c).expect("bytes"));
        };
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (together, fill) = (&together, &fill);
                scope.spawn(move || {
                    let first = thread * (CHILDREN + 1);
                    snaprng::fill(&mut [0; 32]).expect("bytes");
                    together.wait();
                    let children =
                        [0, 1].map(|n| child(WAYS[(thread + n) % 2], || fill(first + 1 + n)));
                    fill(first);
                    children.into_iter().for_each(Child::join);
                });
            }
        });
        compare("64 threads fork at once", &board);
    });
}

// Children that are lent the memory of their parent.

/// Runs `work` in a child that shares this process's memory, while this thread waits: what vfork is
/// (vfork(2)), on a stack of its own, as posix_spawn does it.
fn lend_memory(work: &mut dyn FnMut()) -> Child {
    extern "C" fn start(work: *mut libc::c_void) -> i32 {
        let work = work.cast::<&mut dyn FnMut()>();
        // SAFETY: `lend_memory` passes this, and waits until the child has ended.
        let work = unsafe { &mut *work };
        work();
        leave(0)
    }
    let mut stack = vec![0u128; (256 << 10) / 16];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let mut work = work;
    let argument = (&raw mut work).cast();
    let top = stack.as_mut_ptr_range().end.cast();
    // SAFETY: the stack and what is on this one outlive the child, for which this thread waits.
    let pid = unsafe { libc::clone(start, top, flags, argument) };
    assert!(pid > 0, "no child: {}", std::io::Error::last_os_error());
    Child::of(pid)
}

#[test]
fn a_child_that_is_lent_the_memory_gets_bytes_of_its_own_and_leaves_the_generator_unharmed() {
    in_worlds(&ALL, |_| {
        let mut owned = worlds::owned();
        let board = Board::new(3 * 10, RECORD);
        draw(&mut owned, &mut [0; RECORD]);
        for round in 0..10 {
            draw(&mut owned, board.slot(3 * round));
            lend_memory(&mut || draw(&mut owned, board.slot(3 * round + 1))).join();
            draw(&mut owned, board.slot(3 * round + 2));
            // In use again, and not only by way of one-shot bytes.
            assert_eq!(snaprng::reseed(&[]), Ok(()));
            assert!(snaprng::generation().is_current());
        }
        compare("lent memory", &board);
    });
}

#[test]
fn a_child_that_is_lent_the_memory_and_dies_in_a_request_costs_its_thread_no_bytes() {
    in_worlds(&[SYNCHRONOUS, PER_CALL], |_| {
        let board = Board::new(3, 256);
        snaprng::fill(board.slot(0)).expect("bytes");
        let mut trap = common::interruption::Trap::new(128, 128);
        let ended = lend_memory(&mut || {
            trap.spring(128, 128, |out| snaprng::fill(out).expect("bytes"), || leave(3));
        })
        .status();
        assert!(libc::WIFEXITED(ended) && libc::WEXITSTATUS(ended) == 3, "{ended:#x}");
        // The generator of this thread stays in use: its requests are served without it.
        common::draws::assert_is_busy();
        snaprng::fill(board.slot(1)).expect("bytes");
        std::thread::scope(|scope| {
            scope.spawn(|| snaprng::fill(board.slot(2)).expect("bytes of another thread"));
        });
        assert_nothing_repeats(&numbered("request", &board.records()));
    });
}

#[test]
fn programs_that_are_started_leave_the_generator_unharmed() {
    in_worlds(&ALL, |_| {
        let generation = snaprng::generation();
        let mut owned = worlds::owned();
        let board = Board::new(2 * 5 + 1, RECORD);
        for round in 0..5 {
            draw(&mut owned, board.slot(2 * round));
            // posix_spawn.
            let ended = std::process::Command::new("/bin/true").status().expect("a program");
            assert!(ended.success());
            draw(&mut owned, board.slot(2 * round + 1));
            // SAFETY: a string.
            assert_eq!(unsafe { libc::system(c"exit 0".as_ptr()) }, 0);
        }
        draw(&mut owned, board.slot(10));
        assert!(generation.is_current(), "no copy that drew anything was made");
        assert_nothing_repeats(&numbered("request", &board.records()));
    });
}

// Equal process ids.

/// Runs `scenario` in a process whose id is 1, in a pid namespace of its own.
fn as_init(test: &str, scenario: impl FnOnce()) {
    // SAFETY: takes no pointers; this process has one thread.
    let alone = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    if alone != 0 {
        let error = std::io::Error::last_os_error();
        return skip(test, &format!("no namespaces: {error}"));
    }
    child(Way::RawCloneAsInit, || {
        assert_eq!(std::process::id(), 1);
        scenario();
    })
    .join();
}

#[test]
fn processes_with_equal_ids_share_nothing() {
    const TEST: &str = "processes_with_equal_ids_share_nothing";
    in_fresh_processes(&[SYNCHRONOUS, PROCESS_ONLY, PER_CALL, NOT_DROPPABLE], |world| {
        as_init(TEST, || {
            let mut page = worlds::enter(world);
            let mut owned = worlds::owned();
            draw(&mut owned, &mut [0; RECORD]);
            let board = Board::new(7, RECORD);
            for number in [1, 3, 5] {
                let generation = snaprng::generation();
                child(Way::RawCloneAsInit, || {
                    assert_eq!(std::process::id(), 1, "its parent's id, and its siblings'");
                    assert!(!generation.is_current());
                    draw(&mut owned, board.slot(number));
                    let generation = snaprng::generation();
                    child(Way::RawCloneAsInit, || {
                        assert!(!generation.is_current());
                        draw(&mut owned, board.slot(number + 1));
                    })
                    .join();
                })
                .join();
                page.advance_counter();
            }
            draw(&mut owned, board.slot(0));
            compare("equal ids", &board);
        });
    });
}

#[test]
fn where_the_id_alone_tells_processes_equal_ids_are_told_by_libcs_fork_and_by_nothing_else() {
    const TEST: &str = "where_the_id_alone_tells_processes";
    in_fresh_processes(&[PROCESS_ID], |world| {
        as_init(TEST, || {
            let _page = worlds::enter(world);
            assert_eq!(snaprng::protection().fork_safety(), ForkSafety::ProcessId);
            let mut owned = worlds::owned();
            draw(&mut owned, &mut [0; RECORD]);
            // libc's fork, into a namespace where the child has the same id: atfork tells.
            let board = Board::new(2, RECORD);
            // SAFETY: takes no pointers.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
            child(Way::Fork, || {
                assert_eq!(std::process::id(), 1);
                draw(&mut owned, board.slot(1));
            })
            .join();
            draw(&mut owned, board.slot(0));
            compare("equal ids, libc's fork", &board);
        });
        as_init(TEST, || {
            let _page = worlds::enter(world);
            snaprng::fill(&mut [0; 32]).expect("bytes");
            // What the report and the manual except: a raw clone with its parent's id. Shown, so that
            // a change of it is noticed.
            let board = Board::new(2, 64);
            child(Way::RawCloneAsInit, || snaprng::fill(board.slot(1)).expect("bytes")).join();
            snaprng::fill(board.slot(0)).expect("bytes");
            assert_eq!(board.slot(0), board.slot(1), "as ForkSafety::ProcessId says");
            count("equal ids, raw clone, ProcessId: all is shared, as the report says");
        });
    });
}

#[test]
fn a_process_that_has_the_id_of_a_dead_ancestor_shares_nothing_with_it() {
    const TEST: &str = "a_process_that_has_the_id_of_a_dead_ancestor";
    const REUSED: libc::pid_t = 300;
    in_fresh_processes(&[SYNCHRONOUS, PROCESS_ONLY, PER_CALL, NOT_DROPPABLE], |world| {
        as_init(TEST, || {
            let board = Board::new(3, RECORD);
            let over = Board::new(1, 1);
            let is_over = || over.slot(0).as_ptr();
            let ancestor = match split_with_id(REUSED) {
                Err(error) => return skip(TEST, &format!("no process id can be chosen: {error}")),
                Ok(Some(ancestor)) => ancestor,
                Ok(None) => {
                    let _page = worlds::enter(world);
                    let mut owned = worlds::owned();
                    draw(&mut owned, &mut [0; RECORD]);
                    // It looks at nothing until its parent has ended, and its parent's id is free.
                    if let Some(heir) = split(Way::RawClone) {
                        let _adopted_by_init = heir;
                        draw(&mut owned, board.slot(0));
                        leave(0);
                    }
                    // SAFETY: shared memory, which the init of this namespace writes once.
                    while unsafe { is_over().read_volatile() } == 0 {
                        std::thread::yield_now();
                    }
                    match split_with_id(REUSED).expect("its parent's id is free") {
                        Some(namesake) => namesake.join(),
                        None => {
                            assert_eq!(std::process::id(), REUSED.cast_unsigned());
                            draw(&mut owned, board.slot(1));
                            leave(0);
                        }
                    }
                    draw(&mut owned, board.slot(2));
                    leave(0);
                }
            };
            ancestor.join();
            over.slot(0)[0] = 1;
            // The heir, which is init's child now.
            Child::of(-1).join();
            let blocks = assert_nothing_repeats(&numbered("process", &board.records()));
            count(&format!("reused id, {world}: 3 processes, {blocks} blocks compared, 0 shared"));
        });
    });
}
