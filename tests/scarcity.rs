//! Processes that lack something: file descriptors, `/dev`, memory, the system calls that the library
//! sets itself up with, stack. They get bytes all the same, or the promised error; the report says
//! what is missing; and what is missing makes no copies share anything.
#![cfg(target_os = "linux")]

mod common;

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

use common::blocks::{assert_nothing_repeats, numbered};
use common::copies::{Board, WAYS, Way, child};
use common::faults::{Call, Fault, Reply, interpose};
use common::scratch::Scratch;
use common::seccomp::{Answer, install, refuse_droppable_pages};
use common::worlds::{self, ALL, PER_CALL, SYNCHRONOUS, in_worlds, no_sources, stand_in};
use common::{count, in_a_fresh_process, in_fresh_processes, skip};
use snaprng::host::VmClockPage;
use snaprng::{Cause, Config, Error, ForkSafety, Level, Policy, WitnessState};

/// Without the system call, so that descriptors and `/dev` are needed.
const FORBIDDEN: Fault = Fault {
    name: "getrandom is forbidden",
    replies: &[(Call::GetRandom, Reply::Fail(libc::EPERM))],
    interruptions: 0,
    error: None,
};

/// Small requests and a large one.
fn draw(record: &mut [u8]) {
    let (small, large) = record.split_at_mut(1024);
    small.chunks_mut(32).for_each(|chunk| snaprng::fill(chunk).expect("bytes"));
    snaprng::fill(large).expect("a large request");
}

/// Fails unless this process and its children, made in every way, get bytes that nobody shares.
fn assert_copies_share_nothing(name: &str) -> usize {
    let board = Board::new(2 + 2 * WAYS.len(), 2048);
    draw(board.slot(0));
    for (number, way) in WAYS.iter().enumerate() {
        child(*way, || {
            draw(board.slot(2 + 2 * number));
            child(*way, || draw(board.slot(3 + 2 * number))).join();
        })
        .join();
    }
    draw(board.slot(1));
    assert_nothing_repeats(&numbered(name, &board.records()))
}

/// Fails unless a request fails like this and leaves nothing in the buffer.
fn assert_refused(errno: i32) {
    for size in [16, 256, 4096] {
        let mut out = vec![0xa5; size];
        assert_eq!(snaprng::fill(&mut out), Err(Error::EntropyUnavailable(errno)));
        assert!(out.iter().all(|&byte| byte == 0));
    }
}

fn limit(resource: libc::__rlimit_resource_t, soft: Option<u64>) {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes a local.
    assert_eq!(unsafe { libc::getrlimit(resource, &mut limits) }, 0);
    limits.rlim_cur = soft.unwrap_or(limits.rlim_max).min(limits.rlim_max);
    // SAFETY: reads a local.
    assert_eq!(unsafe { libc::setrlimit(resource, &limits) }, 0);
}

/// No file can be opened any more.
fn no_descriptors() {
    limit(libc::RLIMIT_NOFILE, Some(0));
}

fn descriptors_again() {
    limit(libc::RLIMIT_NOFILE, None);
}

#[test]
fn no_descriptors_are_needed_to_install_and_to_draw() {
    in_fresh_processes(&["install", "first use", "handed in"], |when| {
        let page = VmClockPage::memfd().expect("a memfd");
        let handed_in = stand_in(&page);
        no_descriptors();
        match when {
            "install" => {
                Config::default().install().expect("the default policy takes what there is")
            }
            "first use" => snaprng::fill(&mut [0; 8]).expect("bytes"),
            _ => Config { vmclock: handed_in, ..no_sources() }.install().expect("it is open"),
        }
        let report = snaprng::protection();
        assert_eq!(report.level() == Level::Synchronous, when == "handed in", "{report}");
        assert_eq!(report.error(), None);
        for witness in report.witnesses() {
            // What cannot be opened is not absent: it is said why.
            let unusable = (WitnessState::Unusable, Some(Cause::Open(libc::EMFILE)));
            let told = (witness.state(), witness.cause());
            match witness.name() {
                "process" => assert_eq!(witness.state(), WitnessState::Active),
                _ if when == "handed in" => assert_ne!(told, unusable),
                _ => assert_eq!(told, unusable, "{report}"),
            }
        }
        assert_copies_share_nothing(when);
        descriptors_again();
        snaprng::rediscover().expect("nobody else is at it");
        for witness in snaprng::protection().witnesses() {
            assert_ne!(witness.cause(), Some(Cause::Open(libc::EMFILE)));
        }
        assert_copies_share_nothing(when);
    });
}

#[test]
fn without_the_system_call_and_descriptors_a_request_fails_until_there_are_some() {
    in_worlds(&ALL, |_| {
        snaprng::fill(&mut [0; 8]).expect("bytes");
        interpose();
        FORBIDDEN.begin();
        for _ in 0..3 {
            no_descriptors();
            let refusal = Err(Error::EntropyUnavailable(libc::EMFILE));
            assert_eq!(snaprng::reseed(&[]), refusal);
            assert_refused(libc::EMFILE);
            for way in WAYS {
                child(way, || {
                    assert_refused(libc::EMFILE);
                    descriptors_again();
                    draw(&mut [0; 2048]);
                })
                .join();
            }
            descriptors_again();
            assert_copies_share_nothing("without the system call");
        }
    });
}

/// Makes an empty directory the root of this process; a descriptor of the old one, to go back.
fn enter_an_empty_root(directory: &Scratch) -> std::io::Result<std::fs::File> {
    let old = std::fs::File::open("/")?;
    if !common::is_root() {
        // SAFETY: takes no pointers; this process has one thread.
        if unsafe { libc::unshare(libc::CLONE_NEWUSER) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    std::os::unix::fs::chroot(directory.path())?;
    std::env::set_current_dir("/")?;
    Ok(old)
}

fn leave_the_empty_root(old: &std::fs::File) {
    // SAFETY: an open directory.
    assert_eq!(unsafe { libc::fchdir(old.as_raw_fd()) }, 0);
    std::os::unix::fs::chroot(".").expect("back");
}

#[test]
fn without_dev_there_are_bytes_and_without_the_system_call_too_an_error_until_it_is_there() {
    in_fresh_processes(&["from the beginning", "later"], |when| {
        let directory = Scratch::new();
        child(Way::Fork, || {
            if when == "later" {
                no_sources().install().expect("the first installation");
                draw(&mut [0; 2048]);
            }
            let old = match enter_an_empty_root(&directory) {
                Ok(old) => old,
                Err(error) => {
                    return skip("a process without /dev", &format!("no chroot: {error}"));
                }
            };
            assert!(std::fs::metadata("/dev").is_err());
            assert_copies_share_nothing("without /dev");
            let report = snaprng::protection();
            let vmclock = report.witnesses().iter().find(|w| w.name() == "vmclock").expect("it");
            let expected = if when == "later" { WitnessState::Off } else { WitnessState::Absent };
            assert_eq!(vmclock.state(), expected, "{report}");
            interpose();
            FORBIDDEN.begin();
            assert_eq!(snaprng::reseed(&[]), Err(Error::EntropyUnavailable(libc::ENOENT)));
            assert_refused(libc::ENOENT);
            for way in WAYS {
                child(way, || assert_refused(libc::ENOENT)).join();
            }
            leave_the_empty_root(&old);
            assert_copies_share_nothing("without the system call");
        })
        .join();
    });
}

/// What the library sets itself up with, each refused as a sandbox would.
const SETUP: [(&str, libc::c_long, i32); 8] = [
    ("mmap", libc::SYS_mmap, libc::ENOMEM),
    ("mremap", libc::SYS_mremap, libc::EPERM),
    ("madvise", libc::SYS_madvise, libc::ENOSYS),
    ("munmap", libc::SYS_munmap, libc::EPERM),
    ("openat", libc::SYS_openat, libc::EACCES),
    ("uname", libc::SYS_uname, libc::EPERM),
    ("mlock", libc::SYS_mlock, libc::EPERM),
    ("sched_yield", libc::SYS_sched_yield, libc::EPERM),
];

#[test]
fn a_system_call_that_is_refused_at_install_costs_a_witness_at_most_and_is_reported() {
    in_a_fresh_process(|| {
        for (name, call, errno) in SETUP {
            child(Way::Fork, || {
                // Room for what the test itself allocates.
                let board = Board::new(4, 2048);
                drop(vec![0u8; 1 << 16]);
                install(&[(call, Answer::Fail(errno))], Answer::Allow);
                draw(board.slot(0));
                for (number, way) in WAYS.iter().enumerate() {
                    child(*way, || draw(board.slot(1 + number))).join();
                }
                draw(board.slot(3));
                assert_nothing_repeats(&numbered(name, &board.records()));
                let report = snaprng::protection();
                let process = report.witnesses().iter().find(|w| w.name() == "process");
                let process = process.expect("the witness");
                // Memory that is there already needs no more than the advice.
                let by_id = name == "madvise";
                assert_eq!(
                    report.fork_safety() == ForkSafety::ProcessId,
                    by_id,
                    "{name}: {report}"
                );
                assert_eq!(process.state() == WitnessState::Unusable, by_id, "{name}: {report}");
                assert!(!by_id || process.cause().is_some(), "{name}: {report}");
                assert_eq!(report.error(), None, "{name}: {report}");
            })
            .join();
        }
    });
}

/// Bytes of address space that this process has (proc_pid_statm(5)).
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages: u64 = statm.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    // SAFETY: takes no pointers.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.cast_unsigned()
}

#[test]
fn without_memory_there_are_bytes_and_with_it_a_generator_again() {
    in_fresh_processes(&["at install", "at a thread's first use"], |when| {
        child(Way::Fork, || {
            let board = Board::new(4, 2048);
            if when != "at install" {
                Config { policy: Policy::AssumeNeverCloned, ..no_sources() }
                    .install()
                    .expect("the first installation");
            }
            limit(libc::RLIMIT_AS, Some(address_space()));
            draw(board.slot(0));
            assert_eq!(snaprng::reseed(&[]), Err(Error::Reentered), "no place for a generator");
            for (number, way) in WAYS.iter().enumerate() {
                child(*way, || draw(board.slot(1 + number))).join();
            }
            limit(libc::RLIMIT_AS, None);
            draw(board.slot(3));
            assert_eq!(snaprng::reseed(&[]), Ok(()), "there is memory again");
            assert_nothing_repeats(&numbered(when, &board.records()));
            let report = snaprng::protection();
            // What could not be mapped at install stays so, and is said: a page that a restore clears.
            assert_eq!(report.fork_safety(), ForkSafety::ClearedPage, "{report}");
            let process = report.witnesses().iter().find(|w| w.name() == "process").expect("it");
            let no_memory = (when == "at install").then_some(Cause::Map(libc::ENOMEM));
            assert_eq!(process.cause(), no_memory, "{report}");
            assert_copies_share_nothing(when);
        })
        .join();
    });
}

#[test]
fn a_process_that_may_lock_no_memory_is_as_well_off_as_any() {
    in_a_fresh_process(|| {
        limit(libc::RLIMIT_MEMLOCK, Some(0));
        let refused = [libc::SYS_mlock, libc::SYS_mlock2, libc::SYS_mlockall];
        install(&refused.map(|call| (call, Answer::Fail(libc::EPERM))), Answer::Allow);
        let page = VmClockPage::memfd().expect("a memfd");
        Config { vmclock: stand_in(&page), ..no_sources() }.install().expect("installed");
        let report = snaprng::protection();
        assert_eq!((report.level(), report.error()), (Level::Synchronous, None));
        assert_eq!(report.fork_safety(), ForkSafety::ClearedPage);
        assert_copies_share_nothing("without locked memory");
    });
}

// Small stacks.

/// As small as libc takes where registers are large; the smallest that an embedder would choose.
const SMALL_STACK: usize = 32 << 10;

/// What untouched stack holds.
const PAINT: u8 = 0x5c;

/// Bytes of its stack that a thread's work used, on a thread whose stack has `size` bytes, with all
/// that libc puts there.
fn stack_used_by(size: usize, work: fn()) -> usize {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let guard = 65536;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe { libc::mmap(null_mut(), guard + size, protection, flags, -1, 0) };
    assert_ne!(base, libc::MAP_FAILED);
    // SAFETY: the first bytes of that mapping.
    assert_eq!(unsafe { libc::mprotect(base, guard, libc::PROT_NONE) }, 0);
    let stack = base.wrapping_byte_add(guard).cast::<u8>();
    // SAFETY: the rest of that mapping.
    unsafe { stack.write_bytes(PAINT, size) };
    run_on(stack, size, work);
    // SAFETY: the thread has ended, and nobody else has this memory.
    let used = unsafe { std::slice::from_raw_parts(stack, size) };
    size - used.iter().take_while(|&&byte| byte == PAINT).count()
}

fn run_on(stack: *mut u8, size: usize, work: fn()) {
    extern "C" fn start(work: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: `run_on` passes a function of this type.
        let work = unsafe { std::mem::transmute::<*mut libc::c_void, fn()>(work) };
        work();
        null_mut()
    }
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initializes a local.
    assert_eq!(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) }, 0);
    // SAFETY: initialized above.
    let attributes = unsafe { attributes.assume_init_mut() };
    // SAFETY: mapped memory that nobody else uses.
    assert_eq!(unsafe { libc::pthread_attr_setstack(attributes, stack.cast(), size) }, 0);
    let mut thread = 0;
    let argument = work as *mut libc::c_void;
    // SAFETY: the attributes are initialized, and `start` takes what it is given.
    assert_eq!(unsafe { libc::pthread_create(&mut thread, attributes, start, argument) }, 0);
    // SAFETY: just created, and joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, null_mut()) }, 0);
}

fn small_request() {
    snaprng::fill(&mut [0; 32]).expect("bytes");
}

fn rekeys_and_requests() {
    small_request();
    snaprng::reseed(b"more").expect("a rekey");
    snaprng::notify_restored(b"unique");
    small_request();
    assert!(snaprng::generation().is_current());
}

fn large_requests() {
    let length = 1 << 20;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory = unsafe { libc::mmap(null_mut(), length, protection, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    // SAFETY: that mapping, which nobody else has.
    let out = unsafe { std::slice::from_raw_parts_mut(memory.cast::<u8>(), length) };
    snaprng::fill(out).expect("bytes");
    snaprng::fill(&mut out[..513]).expect("bytes");
}

fn nothing() {}

#[test]
fn a_stack_of_32_kib_is_enough_for_every_request() {
    let works: [(&str, fn()); 4] = [
        ("first use of the process", small_request),
        ("first use of a thread", small_request),
        ("rekeys", rekeys_and_requests),
        ("large requests", large_requests),
    ];
    in_fresh_processes(&["nothing installed", SYNCHRONOUS, PER_CALL], |world| {
        let _page = (world != "nothing installed").then(|| worlds::enter(world));
        // What libc and the thread itself take.
        let own = stack_used_by(SMALL_STACK, nothing);
        let used = works.map(|(name, work)| (stack_used_by(SMALL_STACK, work) - own, name));
        let (most, by) = used.into_iter().max().expect("several");
        count(&format!(
            "stack, {BUILD}, {world}: {most} bytes at most ({by}), besides libc's own {own}"
        ));
        assert!(own + most < SMALL_STACK);
    });
}

const BUILD: &str = if cfg!(debug_assertions) { "without optimization" } else { "optimized" };

#[test]
fn handlers_on_a_small_stack_of_their_own_get_bytes() {
    static HANDLED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    extern "C" fn handler(_: i32) {
        let mut out = [0; 32];
        snaprng::fill(&mut out).expect("bytes in a handler");
        assert_ne!(out, [0; 32]);
        HANDLED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
    in_fresh_processes(&["first use", "synchronous", "per-call", "devices"], |when| {
        let _page = match when {
            "synchronous" => Some(worlds::enter(SYNCHRONOUS)),
            "per-call" => Some(worlds::enter(PER_CALL)),
            "devices" => {
                refuse_droppable_pages();
                install(&[(libc::SYS_getrandom, Answer::Fail(libc::ENOSYS))], Answer::Allow);
                None
            }
            _ => None,
        };
        let mut area = vec![PAINT; SMALL_STACK];
        let stack =
            libc::stack_t { ss_sp: area.as_mut_ptr().cast(), ss_flags: 0, ss_size: area.len() };
        // SAFETY: memory that outlives the handlers.
        assert_eq!(unsafe { libc::sigaltstack(&stack, null_mut()) }, 0);
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: all zeros is a valid sigaction.
        let action = unsafe { action.assume_init_mut() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK;
        // SAFETY: the handler is a function of this type.
        assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, action, null_mut()) }, 0);
        for _ in 0..3 {
            // SAFETY: the signal has a handler.
            assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
        }
        assert_eq!(HANDLED.load(std::sync::atomic::Ordering::SeqCst), 3);
        let left = area.iter().take_while(|&&byte| byte == PAINT).count();
        let used = area.len() - left;
        count(&format!(
            "stack, {BUILD}, of a handler, {when}: {used} bytes with the kernel's frame"
        ));
        assert!(left > 0);
        // SAFETY: the stack is no longer used once this has returned.
        let off = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: reads a local.
        assert_eq!(unsafe { libc::sigaltstack(&off, null_mut()) }, 0);
    });
}
