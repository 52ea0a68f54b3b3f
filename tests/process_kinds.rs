//! The less usual ways in which processes come about and go: clone3, vfork, posix_spawn, forks of
//! forks, many threads that fork, processes without a vDSO, forks between any two instructions of a
//! request, and processes that have the id of another one. Nothing is shared, and who only lends its memory is unharmed.
//!
//! Forks as such, and how they meet requests of the library, are in `process_clones.rs`.
#![cfg(target_os = "linux")]

mod common;

use std::cell::Cell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::blocks::{assert_nothing_repeats, numbered};
use common::copies::{Board, Child, WAYS, Way, child, leave, split, split_with_id};
use common::vdso::in_fresh_processes_without_a_vdso;
use common::worlds::{
    self, ALL, NOT_DROPPABLE, PER_CALL, PROCESS_ID, PROCESS_ONLY, SYNCHRONOUS, in_worlds,
};
use common::{count, in_a_fresh_process, in_fresh_processes, skip};
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

// Processes that the kernel gives no vDSO.

#[test]
fn a_process_without_a_vdso_has_bytes_at_every_level_and_shares_nothing_with_its_children() {
    in_fresh_processes_without_a_vdso(&ALL, |world| {
        // Fails if the report has another level or fork safety than with a vDSO.
        let _page = worlds::enter(world);
        let mut owned = worlds::owned();
        let board = Board::new(1 + 2 * WAYS.len(), RECORD);
        draw(&mut owned, &mut [0; RECORD]);
        for (number, way) in WAYS.into_iter().enumerate() {
            child(way, || draw(&mut owned, board.slot(2 * number))).join();
            draw(&mut owned, board.slot(2 * number + 1));
        }
        snaprng::reseed(&[]).expect("a rekey");
        draw(&mut owned, board.slot(2 * WAYS.len()));
        compare("no vDSO", &board);
    });
}

// Forks between any two instructions.

#[cfg(target_arch = "x86_64")]
mod stepping {
    use super::*;

    /// The trap flag: the kernel raises SIGTRAP after every instruction (Intel SDM, volume 1, 3.4.3.3).
    const TRAP_FLAG: i64 = 0x100;

    thread_local! {
        static STATE: Cell<State> = const { Cell::new(State::Idle) };
    }

    #[derive(Clone, Copy)]
    pub(super) enum State {
        Idle,
        /// A fork after every `stride` instructions; `made` so far, of `most`.
        Stepping {
            stride: usize,
            most: usize,
            instructions: usize,
            made: usize,
        },
        /// This is the child of that number.
        Child(usize),
    }

    pub(super) fn state() -> State {
        STATE.get()
    }

    extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let context = context.cast::<libc::ucontext_t>();
        // SAFETY: the kernel gives a valid context to a handler with SA_SIGINFO.
        let flags = unsafe { &mut (*context).uc_mcontext.gregs[libc::REG_EFL as usize] };
        let state = STATE.get();
        let State::Stepping { stride, most, mut instructions, mut made } = state else {
            *flags &= !TRAP_FLAG;
            return;
        };
        if ENDED.load(Ordering::SeqCst) {
            *flags &= !TRAP_FLAG;
            return;
        }
        *flags |= TRAP_FLAG;
        instructions += 1;
        if instructions.is_multiple_of(stride) && made < most {
            made += 1;
            match split(Way::RawClone) {
                // It must be over before the next, or there would be too many.
                Some(child) => child.join(),
                None => {
                    *flags &= !TRAP_FLAG;
                    return STATE.set(State::Child(made));
                }
            }
        }
        STATE.set(State::Stepping { stride, most, instructions, made });
    }

    /// Forks after every `stride` instructions of `request`, `most` times, and returns in each of the
    /// processes.
    pub(super) fn fork_everywhere(stride: usize, most: usize, request: impl FnOnce()) {
        // SAFETY: all zeros is a valid sigaction.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_trap as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        // SAFETY: the handler is a function of this type.
        assert_eq!(unsafe { libc::sigaction(libc::SIGTRAP, &action, std::ptr::null_mut()) }, 0);
        STATE.set(State::Stepping { stride, most, instructions: 0, made: 0 });
        ENDED.store(false, Ordering::SeqCst);
        // SAFETY: the signal has a handler, which begins the stepping.
        unsafe { libc::raise(libc::SIGTRAP) };
        request();
        ENDED.store(true, Ordering::SeqCst);
        if let State::Stepping { instructions, made, .. } = STATE.get() {
            LAST.0.store(instructions, Ordering::SeqCst);
            LAST.1.store(made, Ordering::SeqCst);
        }
    }

    /// How many instructions `request` takes, more or less: a later one may find another state.
    pub(super) fn instructions_of(request: impl FnOnce()) -> usize {
        fork_everywhere(usize::MAX, 0, request);
        LAST.0.load(Ordering::SeqCst)
    }

    /// The request is over. Nobody forks from here on, so that nobody takes itself for its parent.
    static ENDED: AtomicBool = AtomicBool::new(false);

    /// Instructions and forks of the last request.
    pub(super) static LAST: (AtomicUsize, AtomicUsize) = (AtomicUsize::new(0), AtomicUsize::new(0));
}

/// Forks all over the instructions of `request`, of which there are about as many as `expected`, and
/// compares what all processes are given, by it and afterwards. How many instructions and forks
/// there were, and blocks compared.
#[cfg(target_arch = "x86_64")]
fn forked_everywhere(
    expected: usize,
    length: usize,
    mut request: impl FnMut(&mut [u8]),
) -> (usize, usize, usize) {
    const MOST: usize = if cfg!(debug_assertions) { 100 } else { 400 };
    const AFTER: usize = 64;
    let stride = expected / MOST + 1;
    let board = Board::new(MOST + 1, length + AFTER);
    let mut out = vec![0; length + AFTER];
    let (now, after) = out.split_at_mut(length);
    stepping::fork_everywhere(stride, MOST, || request(now));
    match stepping::state() {
        stepping::State::Child(number) => {
            snaprng::fill(after).expect("bytes");
            board.slot(number).copy_from_slice(&out);
            leave(0)
        }
        _ => snaprng::fill(after).expect("bytes"),
    }
    board.slot(0).copy_from_slice(&out);
    let (instructions, forks) = (&stepping::LAST.0, &stepping::LAST.1);
    let (instructions, forks) = (instructions.load(Ordering::SeqCst), forks.load(Ordering::SeqCst));
    let records = &board.records()[..=forks];
    // Copies made after the request's last look have what it was given. They are the last ones.
    let has_it = |fork: &usize| records[*fork][..length] == records[0][..length];
    let late = (1..=forks).rev().take_while(has_it).count();
    assert!(late < forks, "{instructions} instructions: no fork came before the last look");
    let (before, after) = records.split_at(forks + 1 - late);
    let mut compared = numbered("fork", before);
    let after = after.iter().map(|record| &record[length..]).collect::<Vec<_>>();
    compared.extend(numbered("fork after the last look", &after));
    (instructions, forks, assert_nothing_repeats(&compared))
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_fork_between_any_two_instructions_of_a_request_shares_nothing() {
    in_worlds(&ALL, |_| {
        let mut owned = worlds::owned();
        snaprng::reseed(&[]).expect("a rekey");
        snaprng::fill(&mut [0; 16]).expect("bytes");
        let (mut forks, mut blocks) = (0, 0);
        let mut over = |length: usize, request: &mut dyn FnMut(&mut [u8])| {
            let expected = stepping::instructions_of(|| request(&mut vec![0; length]));
            let (_, more, compared) = forked_everywhere(expected, length, request);
            forks += more;
            blocks += compared;
        };
        over(16, &mut |out| snaprng::fill(out).expect("bytes"));
        over(16, &mut |out| out.copy_from_slice(&snaprng::bytes::<16>()));
        over(32, &mut |out| owned.fill(out).expect("bytes"));
        over(32, &mut |out| {
            snaprng::reseed(&[]).expect("a rekey");
            snaprng::fill(out).expect("bytes");
        });
        over(480, &mut |out| snaprng::fill(out).expect("a refill"));
        over(1024, &mut |out| snaprng::fill(out).expect("a large request"));
        let kind = snaprng::protection().fork_safety();
        count(&format!(
            "forks between instructions, {kind:?}: {forks} forks, {blocks} blocks compared, 0 shared"
        ));
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_fork_between_any_two_instructions_of_a_first_use_shares_nothing() {
    in_a_fresh_process(|| {
        let first_use = |out: &mut [u8]| snaprng::fill(out).expect("bytes");
        // How long it is, from one in a child; then forks over all of it.
        let length = Board::new(1, size_of::<usize>());
        child(Way::Fork, || {
            let instructions = stepping::instructions_of(|| first_use(&mut [0; 32]));
            length.slot(0).copy_from_slice(&instructions.to_ne_bytes());
        })
        .join();
        let length = usize::from_ne_bytes(length.slot(0).try_into().expect("a word"));
        let (instructions, forks, blocks) = forked_everywhere(length, 32, first_use);
        count(&format!(
            "first use: {instructions} instructions, {forks} forks, {blocks} blocks compared, 0 shared"
        ));
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
