//! Faults of the kernel's randomness: each gives the promised error and leaves nothing in the
//! caller's buffer, or the promised way round it; none makes copies share bytes, neither then nor
//! when it is over, and when it is over everything works again.
//!
//! The kernel's part is played by a handler of filtered system calls (`common/faults.rs`), so that
//! faults begin and end. What a process runs out of is in `scarcity.rs`; sources that no process can
//! make fail, the CPU above all, are in `src/entropy/tests.rs`.
#![cfg(target_os = "linux")]

mod common;

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::blocks::{assert_nothing_repeats, numbered};
use common::copies::{Board, WAYS, child};
use common::draws::assert_is_busy;
use common::faults::{Call, Fault, Reply, answered, astray, interpose};
use common::interruption::Trap;
use common::seccomp::refuse_droppable_pages;
use common::worlds::{self, ALL, PROCESS_ONLY, SYNCHRONOUS, in_worlds, no_sources};
use common::{count, in_a_fresh_process};
use snaprng::{Error, Level, TrySnapRng};

const REFUSED: (Call, Reply) = (Call::GetRandom, Reply::Fail(libc::EPERM));
const UNKNOWN: (Call, Reply) = (Call::GetRandom, Reply::Fail(libc::ENOSYS));

const fn fault(
    name: &'static str,
    replies: &'static [(Call, Reply)],
    interruptions: u32,
    error: Option<i32>,
) -> Fault {
    Fault { name, replies, interruptions, error }
}

const FAULTS: [Fault; 24] = [
    // The system call alone.
    fault("getrandom is forbidden", &[REFUSED], 0, None),
    fault("there is no getrandom", &[UNKNOWN], 0, None),
    fault("one byte at a time", &[(Call::GetRandom, Reply::Short(1))], 0, None),
    fault("31 bytes at a time", &[(Call::GetRandom, Reply::Short(31))], 0, None),
    fault("every call is interrupted", &[], 1000, None),
    fault("short, and interrupted", &[(Call::GetRandom, Reply::Short(5))], 20, None),
    fault("it gives nothing", &[(Call::GetRandom, Reply::Nothing)], 0, Some(libc::EIO)),
    fault("it fails", &[(Call::GetRandom, Reply::Fail(libc::EIO))], 0, Some(libc::EIO)),
    fault("no memory", &[(Call::GetRandom, Reply::Fail(libc::ENOMEM))], 0, Some(libc::ENOMEM)),
    fault("later", &[(Call::GetRandom, Reply::Fail(libc::EAGAIN))], 0, Some(libc::EAGAIN)),
    fault("EFAULT", &[(Call::GetRandom, Reply::Fail(libc::EFAULT))], 0, Some(libc::EFAULT)),
    // The way round it.
    fault("devices, interrupted", &[REFUSED], 50, None),
    fault("devices, 3 bytes at a time", &[UNKNOWN, (Call::Read, Reply::Short(3))], 0, None),
    fault("devices, short and interrupted", &[REFUSED, (Call::Read, Reply::Short(7))], 9, None),
    // And faults on that way.
    fault("no /dev", &[UNKNOWN, (Call::Open, Reply::Fail(libc::ENOENT))], 0, Some(libc::ENOENT)),
    fault("not for us", &[REFUSED, (Call::Open, Reply::Fail(libc::EACCES))], 0, Some(libc::EACCES)),
    fault("no opening", &[REFUSED, (Call::Open, Reply::Fail(libc::EPERM))], 0, Some(libc::EPERM)),
    fault("no files", &[REFUSED, (Call::Open, Reply::Fail(libc::EMFILE))], 0, Some(libc::EMFILE)),
    fault(
        "none at all",
        &[REFUSED, (Call::Open, Reply::Fail(libc::ENFILE))],
        0,
        Some(libc::ENFILE),
    ),
    fault("no poll", &[REFUSED, (Call::Poll, Reply::Fail(libc::ENOSYS))], 0, Some(libc::ENOSYS)),
    fault("poll fails", &[UNKNOWN, (Call::Poll, Reply::Fail(libc::ENOMEM))], 3, Some(libc::ENOMEM)),
    fault("an empty device", &[REFUSED, (Call::Read, Reply::Nothing)], 0, Some(libc::EIO)),
    fault("no reading", &[REFUSED, (Call::Read, Reply::Fail(libc::EPERM))], 0, Some(libc::EPERM)),
    fault("a broken device", &[UNKNOWN, (Call::Read, Reply::Fail(libc::EIO))], 3, Some(libc::EIO)),
];

/// Sizes of the requests that are made under a fault: within a word, from the buffer, more than a
/// buffer, straight into the caller's memory.
const SIZES: [usize; 4] = [8, 200, 511, 3000];

/// What is drawn under a fault, and elsewhere.
const RECORD: usize = 2 * (8 + 200 + 511 + 3000) + 64;

/// A process's generators, and how to interrupt one of them.
struct Victim {
    owned: TrySnapRng,
    trap: Trap,
}

impl Victim {
    fn new() -> Self {
        Self { owned: worlds::owned(), trap: Trap::new(4096, 4096) }
    }

    /// Makes every kind of request. All must give this; bytes go to `record`, and where there are
    /// none the caller's buffer must have been wiped.
    fn request_everything(&mut self, expected: Result<(), Error>, record: &mut [u8]) {
        record.fill(0xa5);
        let (one_shot, mut rest) = record.split_at_mut(64);
        for size in SIZES {
            let (thread, later) = rest.split_at_mut(size);
            let (own, later) = later.split_at_mut(size);
            assert_eq!(snaprng::fill(thread), expected, "the thread's, {size} bytes");
            assert_eq!(self.owned.fill(own), expected, "an owned one, {size} bytes");
            rest = later;
        }
        assert!(rest.is_empty());
        assert_eq!(snaprng::reseed(b"more"), expected);
        assert_eq!(self.owned.reseed(b"more"), expected);
        assert_eq!(snaprng::fill(one_shot), expected);
        if expected.is_err() {
            assert!(record.iter().all(|&byte| byte == 0), "something is left in the buffer");
        }
    }

    /// A request from a handler that interrupts another one, with the fault on there.
    fn request_in_a_handler(&mut self, fault: &Fault, expected: Result<(), Error>) {
        let mut out = [0xa5; 256];
        let filled = self.trap.spring(
            4096,
            4096,
            |out| snaprng::fill(out).expect("a request without a fault"),
            || {
                fault.begin();
                assert_is_busy();
                assert_eq!(snaprng::fill(&mut out), expected, "in a handler");
                Fault::end();
            },
        );
        if expected.is_ok() {
            assert_nothing_repeats(&[named("outer", filled), named("handler", &out)]);
        } else {
            assert_eq!(out, [0; 256], "in a handler");
        }
    }
}

fn named<'a>(name: &str, record: &'a [u8]) -> (String, &'a [u8]) {
    (name.to_owned(), record)
}

/// Fails unless `fault` gives what it promises, in this process and in its children, and nobody
/// shares anything during it or after.
fn endure(fault: &Fault, victim: &mut Victim) -> (usize, usize) {
    let expected = fault.error.map_or(Ok(()), |errno| Err(Error::EntropyUnavailable(errno)));
    // Before; and during and after, in this process, in children made during, and in those made
    // after the fault.
    let board = Board::new(1 + 2 * (1 + WAYS.len()) + WAYS.len(), RECORD);
    victim.request_everything(Ok(()), board.slot(0));

    victim.request_in_a_handler(fault, expected);
    fault.begin();
    // So that buffered bytes do not do.
    assert_eq!(snaprng::reseed(&[]), expected);
    assert_eq!(victim.owned.reseed(&[]), expected);
    victim.request_everything(expected, board.slot(1));
    for (number, way) in WAYS.iter().enumerate() {
        child(*way, || {
            victim.request_everything(expected, board.slot(3 + 2 * number));
            Fault::end();
            victim.request_everything(Ok(()), board.slot(4 + 2 * number));
        })
        .join();
    }
    Fault::end();
    victim.request_everything(Ok(()), board.slot(2));
    for (number, way) in WAYS.iter().enumerate() {
        child(*way, || victim.request_everything(Ok(()), board.slot(7 + number))).join();
    }
    // Where there was an error, a slot holds zeros.
    let mut records = board.records();
    records.retain(|record| record.iter().any(|&byte| byte != 0));
    assert_eq!(records.len(), if expected.is_ok() { 9 } else { 6 });
    let compared = assert_nothing_repeats(&numbered(fault.name, &records));
    (records.len(), compared)
}

#[test]
fn every_fault_gives_what_is_promised_and_nothing_is_shared_during_it_or_after() {
    in_worlds(&ALL, |_| {
        let mut victim = Victim::new();
        interpose();
        let (mut records, mut blocks) = (0, 0);
        for fault in &FAULTS {
            let (more_records, more_blocks) = endure(fault, &mut victim);
            records += more_records;
            blocks += more_blocks;
        }
        assert_eq!(astray(), 0, "the rest of a short answer belongs behind it");
        let report = snaprng::protection();
        count(&format!(
            "entropy faults, {}, {:?}, {:?}: {} faults, {records} records, {blocks} blocks compared, \
             0 shared",
            report.level(),
            report.fork_safety(),
            report.restore_safety(),
            FAULTS.len()
        ));
    });
}

#[test]
fn a_short_answer_is_completed_and_never_taken_for_the_whole() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        snaprng::fill(&mut [0; 8]).expect("bytes");
        interpose();
        for (most, calls) in [(1, 32), (5, 7), (16, 2), (31, 2), (32, 1)] {
            let replies = Box::leak(Box::new([(Call::GetRandom, Reply::Short(most))]));
            fault("short", replies, 0, None).begin();
            snaprng::reseed(&[]).expect("a rekey");
            assert_eq!(answered(Call::GetRandom), calls, "{most} bytes at a time");
            let replies = Box::leak(Box::new([REFUSED, (Call::Read, Reply::Short(most))]));
            fault("short", replies, 0, None).begin();
            snaprng::reseed(&[]).expect("a rekey");
            assert_eq!(answered(Call::Read), calls, "{most} bytes at a time, of the device");
            Fault::end();
        }
        assert_eq!(astray(), 0, "the rest of a short answer belongs behind it");
    });
}

#[test]
fn a_first_use_under_a_fault_gives_what_is_promised_and_works_when_the_fault_is_over() {
    in_a_fresh_process(|| {
        interpose();
        for fault in &FAULTS {
            // Each in a child in which nothing has used the library yet.
            child(WAYS[0], || {
                let expected = fault.error.map_or(Ok(()), |e| Err(Error::EntropyUnavailable(e)));
                let board = Board::new(4, 64);
                fault.begin();
                let mut out = [0xa5; 64];
                assert_eq!(snaprng::fill(&mut out), expected, "{}", fault.name);
                assert!(expected.is_ok() || out == [0; 64], "{}", fault.name);
                Fault::end();
                board.slot(3).copy_from_slice(&out);
                for (number, way) in WAYS.iter().enumerate() {
                    child(*way, || snaprng::fill(board.slot(number)).expect("bytes")).join();
                }
                snaprng::fill(board.slot(2)).expect("bytes");
                let mut records = board.records();
                records.retain(|record| record.iter().any(|&byte| byte != 0));
                assert_eq!(records.len(), 3 + usize::from(expected.is_ok()));
                assert_nothing_repeats(&numbered(fault.name, &records));
            })
            .join();
        }
    });
}

/// How many signals there were.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_alarm(_: i32) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

/// Sends SIGALRM to this process all the time; system calls are interrupted, and not restarted.
fn storm(interval: i64) {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeros is a valid sigaction, without SA_RESTART.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = on_alarm as *const () as usize;
    // SAFETY: the handler is a function of this type.
    let answer = unsafe { libc::sigaction(libc::SIGALRM, action, std::ptr::null_mut()) };
    assert_eq!(answer, 0);
    let every = libc::timeval { tv_sec: 0, tv_usec: interval };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: reads a local.
    let answer = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    assert_eq!(answer, 0);
}

#[test]
fn a_storm_of_signals_makes_no_request_fail_and_no_bytes_repeat() {
    const STORM: usize = 500;
    const KEPT: usize = 5_000;
    in_worlds(&ALL, |_| {
        // From the system call, and from the devices.
        for refused in [false, true] {
            child(WAYS[0], || {
                if refused {
                    use common::seccomp::{Answer, install};
                    install(&[(libc::SYS_getrandom, Answer::Fail(libc::ENOSYS))], Answer::Allow);
                }
                storm(100);
                let mut outputs = vec![[0; 16]; KEPT];
                let mut next = 0;
                while SIGNALS.load(Ordering::SeqCst) < STORM {
                    snaprng::reseed(&[]).expect("a rekey in a storm");
                    snaprng::fill(&mut outputs[next % KEPT]).expect("bytes in a storm");
                    next += 1;
                }
                storm(0);
                let made: Vec<&[u8]> = outputs.iter().take(next).map(|o| &o[..]).collect();
                assert_nothing_repeats(&numbered("output", &made));
            })
            .join();
        }
    });
}

#[test]
fn without_the_kernels_code_in_user_space_every_request_asks_the_kernel_itself() {
    in_a_fresh_process(|| {
        // Its states are such pages: they cannot be had, as on a kernel before 6.11.
        refuse_droppable_pages();
        no_sources().install().expect("the first installation");
        if snaprng::protection().level() != Level::PerCall {
            return common::skip("requests without a witness", "this is bare metal");
        }
        snaprng::reseed(&[]).expect("a rekey");
        interpose();
        fault("none", &[], 0, None).begin();
        let mut outputs = vec![0; 500 * 16];
        for output in outputs.chunks_mut(16) {
            snaprng::fill(output).expect("bytes");
        }
        assert_eq!(answered(Call::GetRandom), 500);
        assert_nothing_repeats(&numbered("output", &outputs.chunks(16).collect::<Vec<_>>()));
        let broken = fault("broken", &[(Call::GetRandom, Reply::Fail(libc::EIO))], 0, None);
        broken.begin();
        let mut out = [0xa5; 16];
        assert_eq!(snaprng::fill(&mut out), Err(Error::EntropyUnavailable(libc::EIO)));
        assert_eq!(out, [0; 16]);
    });
}
