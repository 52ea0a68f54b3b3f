//! Which system calls are made, and when: none between rekeys and absorbs, and none but those that
//! they need.
#![cfg(target_os = "linux")]

mod common;

use std::time::Duration;

use common::copies::{Board, Way, child, leave};
use common::seccomp::{Answer, install};
use common::trace::{Calls, calls_of};
use common::vdso::in_fresh_processes_without_a_vdso;
use common::worlds::{self, PER_CALL, PROCESS_ONLY, SYNCHRONOUS};
use common::{in_a_fresh_process, in_fresh_processes};
use snaprng::rand_core::{Rng, TryRng, UnwrapErr};
use snaprng::{Level, Protection, TrySnapRng};

/// How long it takes until an absorb settles a generator, and a second more.
fn past_the_deadline() -> Duration {
    snaprng::protection().settling_for() + Duration::from_secs(1)
}

/// Runs `scenario` in a process with one thread, whose time can be made to pass.
fn alone(scenario: impl FnOnce()) {
    child(Way::Fork, scenario).join();
}

/// Fails unless the thread's generator has just rekeyed and is settled.
fn settle() {
    common::clock::pass(past_the_deadline());
    snaprng::reseed(&[]).expect("a rekey");
    assert!(snaprng::protection().is_settled());
}

fn draw(rng: &mut impl Rng, count: usize) {
    let mut before = rng.next_u64();
    for _ in 1..count {
        let next = rng.next_u64();
        // Equal by chance: 2^-64 each time.
        assert_ne!(before, next);
        before = next;
    }
}

/// From here on, every system call but those that end the process kills it.
fn forbid_system_calls() {
    install(&[(libc::SYS_exit_group, Answer::Allow)], Answer::Kill);
}

#[test]
fn a_settled_generator_makes_no_system_call_for_100_000_numbers() {
    in_fresh_processes(&[SYNCHRONOUS, PROCESS_ONLY], |world| {
        alone(|| {
            let _page = worlds::enter(world);
            settle();
            forbid_system_calls();
            draw(&mut snaprng::rng(), 100_000);
            // At once: what is dropped now may give memory back.
            leave(0);
        });
    });
}

#[test]
fn a_settled_owned_generator_makes_no_system_call_for_100_000_numbers() {
    in_fresh_processes(&[SYNCHRONOUS, PROCESS_ONLY], |world| {
        alone(|| {
            let _page = worlds::enter(world);
            let mut owned = worlds::owned();
            settle();
            owned.reseed(&[]).expect("a rekey");
            assert!(owned.protection().is_settled());
            forbid_system_calls();
            draw(&mut UnwrapErr(&mut owned), 100_000);
            leave(0);
        });
    });
}

#[test]
fn a_settled_generator_looks_at_generations_without_a_system_call() {
    in_a_fresh_process(|| {
        alone(|| {
            let mut page = worlds::enter(SYNCHRONOUS);
            settle();
            forbid_system_calls();
            for _ in 0..1000 {
                let generation = snaprng::generation();
                assert!(generation.is_current());
                page.advance_counter();
                assert!(!generation.is_current());
            }
            leave(0);
        });
    });
}

#[test]
fn the_filter_sees_a_system_call_where_there_is_one() {
    in_a_fresh_process(|| {
        let status = child(Way::Fork, || {
            let mut page = worlds::enter(SYNCHRONOUS);
            settle();
            forbid_system_calls();
            page.advance_counter();
            draw(&mut snaprng::rng(), 1);
        })
        .status();
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS, "{status:#x}");
    });
}

/// What the report counted while something was traced.
struct Counted {
    rekeys: usize,
    absorbs: usize,
}

/// The system calls of `work`, and how often generators rekeyed and absorbed meanwhile.
fn traced(prepare: impl FnOnce(), work: impl FnOnce()) -> (Calls, Counted) {
    let board = Board::new(2, 16);
    let note = |slot: usize| {
        let report = snaprng::protection();
        let slot = board.slot(slot);
        slot[..8].copy_from_slice(&report.rekeys().to_ne_bytes());
        slot[8..].copy_from_slice(&report.absorbs().to_ne_bytes());
    };
    let calls = calls_of(
        || {
            prepare();
            note(0);
        },
        work,
        || note(1),
    );
    let read = |at: usize| {
        let number = |slot: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&board.slot(slot)[at..at + 8]);
            u64::from_ne_bytes(bytes)
        };
        usize::try_from(number(1) - number(0)).expect("a small number")
    };
    (calls, Counted { rekeys: read(0), absorbs: read(8) })
}

/// Fails if there are others than those that `rekeys` and `absorbs` need: one draw of 32 bytes
/// each, and for a rekey the process id.
fn assert_only_those_of(calls: &Calls, counted: &Counted) {
    assert_no_more_than_those_of(calls, counted);
    let draws = counted.rekeys + counted.absorbs;
    assert_eq!(calls.get(&libc::SYS_getrandom), Some(&draws), "one draw each");
}

/// The same where the kernel may be asked by its code in user space, which calls it seldom.
fn assert_no_more_than_those_of(calls: &Calls, counted: &Counted) {
    let Counted { rekeys, absorbs } = *counted;
    for (&call, &count) in calls {
        let expected = match call {
            libc::SYS_getrandom => rekeys + absorbs,
            libc::SYS_getpid => rekeys,
            _ => 0,
        };
        assert!(
            count <= expected,
            "call {call}: {count} times, {rekeys} rekeys, {absorbs} absorbs"
        );
    }
}

#[test]
fn a_settled_generator_makes_only_the_system_calls_of_its_rekeys_for_1_000_000_numbers() {
    in_fresh_processes(&[SYNCHRONOUS, PROCESS_ONLY], |world| {
        alone(|| {
            let _page = worlds::enter(world);
            common::clock::pass(past_the_deadline());
            let (calls, counted) = traced(
                || {
                    snaprng::reseed(&[]).expect("a rekey");
                    assert!(snaprng::protection().is_settled(), "as the process is that made it");
                },
                || draw(&mut snaprng::rng(), 1_000_000),
            );
            // 8 000 000 bytes, and a rekey at the first refill after each 1 MiB of keystream.
            let most = 8_000_000 / (1 << 20) + 1;
            assert!((7..=most).contains(&counted.rekeys), "{} rekeys", counted.rekeys);
            assert_eq!(counted.absorbs, 0);
            assert_only_those_of(&calls, &counted);
        });
    });
}

/// The system calls of so many requests without a witness, each of which draws from the kernel; or
/// `None` where there are none, since this is bare metal.
fn of_requests_without_a_witness(what: &str, requests: usize) -> Option<(Calls, Counted)> {
    worlds::enter(PER_CALL);
    if snaprng::protection().level() != Level::PerCall {
        common::skip(what, "this is bare metal");
        return None;
    }
    let (calls, counted) =
        traced(|| snaprng::reseed(&[]).expect("a rekey"), || draw(&mut snaprng::rng(), requests));
    // The report at the end absorbs too, as any request would.
    let counted = Counted { absorbs: counted.absorbs - 1, ..counted };
    assert_eq!(counted.rekeys + counted.absorbs, requests);
    Some((calls, counted))
}

#[test]
fn without_a_witness_every_request_draws_from_the_kernel_once() {
    in_a_fresh_process(|| {
        alone(|| {
            if let Some((calls, counted)) =
                of_requests_without_a_witness("requests without a witness", 500)
            {
                assert_no_more_than_those_of(&calls, &counted);
            }
        });
    });
}

#[test]
fn without_a_vdso_every_request_takes_the_system_call() {
    in_fresh_processes_without_a_vdso(&["only"], |_| {
        alone(|| {
            let what = "requests without a vDSO";
            if let Some((mut calls, counted)) = of_requests_without_a_witness(what, 500) {
                // Where there is no vDSO, time is asked for in the same way.
                calls.remove(&libc::SYS_clock_gettime);
                assert_only_those_of(&calls, &counted);
            }
        });
    });
}

#[test]
fn with_a_vdso_most_requests_need_no_system_call() {
    const WHAT: &str = "requests with getrandom of the vDSO";
    in_a_fresh_process(|| {
        alone(|| {
            if !cfg!(target_arch = "x86_64") || linux() < (6, 11) {
                return common::skip(WHAT, "this kernel's vDSO has none");
            }
            let Some((calls, _)) = of_requests_without_a_witness(WHAT, 500) else { return };
            if snaprng::protection().diversity().cpu_bits() == 0 {
                return common::skip(WHAT, "this CPU has no randomness, beside which it is used");
            }
            // What a fresh state takes, or one that the kernel reseeded meanwhile.
            let made = calls.get(&libc::SYS_getrandom).copied().unwrap_or(0);
            assert!(made < 50, "{made} for 500 requests");
        });
    });
}

/// The kernel's version.
fn linux() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[test]
fn an_unsettled_generator_absorbs_at_its_stages_and_is_settled_by_an_absorb_alone() {
    in_a_fresh_process(|| {
        alone(|| {
            let _page = worlds::enter(SYNCHRONOUS);
            let mut owned = worlds::owned();
            let (before, _) = more_than_a_buffer(&mut owned);
            assert!(!before.is_settled());
            if before.diversity().cpu_bits() == 0 {
                return common::skip("the stages of settling", "this CPU has no randomness");
            }
            // Past 10 ms, 100 ms, 1 s and 10 s: one absorb passes all of them.
            common::clock::pass(Duration::from_secs(11));
            let (after, absorbs) = more_than_a_buffer(&mut owned);
            assert_eq!((absorbs, after.rekeys()), (1, before.rekeys()), "the first refill");
            let (after, absorbs) = more_than_a_buffer(&mut owned);
            assert_eq!((absorbs, after.rekeys()), (0, before.rekeys()), "and no other");
            assert!(!after.is_settled());
            // Idle past the deadline: time passing ends nothing by itself.
            common::clock::pass(past_the_deadline());
            let idle = owned.protection();
            assert!(!idle.is_settled());
            assert_eq!(idle.settling_for(), Duration::ZERO);
            let (after, _) = more_than_a_buffer(&mut owned);
            assert_eq!(after.rekeys(), before.rekeys() + 1, "a minute old, so it rekeyed");
            assert!(after.is_settled());
        });
    });
}

/// Draws so much that a refill happens; the report, and how many absorbs that took.
fn more_than_a_buffer(owned: &mut TrySnapRng) -> (Protection, u64) {
    let before = owned.protection().absorbs();
    for _ in 0..300 {
        owned.try_next_u64().expect("bytes");
    }
    let report = owned.protection();
    let absorbs = report.absorbs() - before;
    (report, absorbs)
}

#[test]
fn a_move_of_the_page_unsettles_and_only_time_and_an_absorb_settle_again() {
    in_a_fresh_process(|| {
        alone(|| {
            let mut page = worlds::enter(SYNCHRONOUS);
            settle();
            page.advance_counter();
            assert!(!snaprng::protection().is_settled());
            snaprng::reseed(&[]).expect("a rekey");
            assert!(!snaprng::protection().is_settled(), "too early");
            settle();
            // A fork is a copy on the same machine, whose kernel has reseeded.
            child(Way::Fork, || assert!(snaprng::protection().is_settled())).join();
            // A host's word is as good as a witness.
            snaprng::notify_restored(b"");
            assert!(!snaprng::protection().is_settled());
        });
    });
}

#[test]
fn a_rekey_is_made_after_a_mebibyte_and_after_a_minute() {
    in_a_fresh_process(|| {
        alone(|| {
            worlds::enter(PROCESS_ONLY);
            let mut owned = worlds::owned();
            let rekeys = |owned: &mut TrySnapRng, bytes: usize| {
                let before = owned.protection().rekeys();
                for _ in 0..bytes / 32 {
                    owned.fill(&mut [0; 32]).expect("bytes");
                }
                owned.protection().rekeys() - before
            };
            assert_eq!(rekeys(&mut owned, 900 << 10), 0);
            assert_eq!(rekeys(&mut owned, 200 << 10), 1, "after 1 MiB");
            assert_eq!(rekeys(&mut owned, 100 << 10), 0);
            common::clock::pass(Duration::from_secs(61));
            assert_eq!(rekeys(&mut owned, 2048), 1, "after a minute");
            assert_eq!(rekeys(&mut owned, 2048), 0);
            // A large request counts as what it is.
            owned.fill(&mut vec![0; 2 << 20]).expect("bytes");
            assert_eq!(rekeys(&mut owned, 2048), 1, "after 2 MiB in one request");
        });
    });
}
