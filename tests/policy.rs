//! Configuration, policy and failing closed: what is refused, and that nothing comes of it.
#![cfg(target_os = "linux")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::blocks::{assert_nothing_repeats, numbered};
use common::copies::{Way, child};
use common::scratch::Scratch;
use common::seccomp::{Answer, answer, install, on_trapped_call};
use common::worlds::{
    self, ALL, PER_CALL, PROCESS_ONLY, SYNCHRONOUS, in_worlds, no_sources, stand_in,
};
use common::{in_a_fresh_process, in_a_process_with, in_fresh_processes, is_root, skip};
use snaprng::host::VmClockPage;
use snaprng::rand_core::Rng;
use snaprng::{Config, Error, Level, Policy, SnapRng, Source, TrySnapRng, VmClock};

/// A buffer that must not come back like this: neither untouched nor filled.
const STALE: [u8; 64] = [0xa5; 64];

/// Fails unless a request fails like this and leaves nothing in the buffer.
fn assert_refused(error: Error) {
    let mut out = STALE;
    assert_eq!(snaprng::fill(&mut out), Err(error));
    assert_eq!(out, [0; 64]);
    let mut large = vec![0xa5; 4096];
    assert_eq!(snaprng::fill(&mut large), Err(error));
    assert!(large.iter().all(|&b| b == 0));
}

/// Whether this is bare metal as far as the library can tell: there `Require` is met.
fn is_bare_metal() -> bool {
    snaprng::protection().level() == Level::ProcessOnly
}

/// Set once a thread is in the middle of installing.
static INSTALLING: AtomicBool = AtomicBool::new(false);

/// Makes the opening of a source slow, and then fail.
extern "C" fn open_slowly(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    INSTALLING.store(true, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(50));
    answer(context, -libc::ENOENT);
}

#[test]
fn a_thread_that_builds_a_generator_waits_for_the_one_that_installs() {
    in_a_fresh_process(|| {
        on_trapped_call(open_slowly);
        let slow = std::thread::spawn(|| {
            install(&[(libc::SYS_openat, Answer::Trap)], Answer::Allow);
            Config::default().install()
        });
        while !INSTALLING.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        TrySnapRng::new().expect("a generator, however slow the installation is");
        assert_eq!(Config::default().install(), Err(Error::AlreadyInstalled));
        assert_eq!(slow.join().expect("no panic"), Ok(()));
    });
}

#[test]
fn require_refuses_every_request_without_a_synchronous_witness() {
    in_a_fresh_process(|| {
        let installed = Config { policy: Policy::Require, ..no_sources() }.install();
        if is_bare_metal() {
            return skip("a refusal of `require`", "this is bare metal");
        }
        let refusal = Error::NotProtected(Level::PerCall);
        assert_eq!(installed, Err(refusal));
        // In force all the same.
        assert_refused(refusal);
        assert_refused(refusal);
        let report = snaprng::protection();
        assert_eq!((report.policy(), report.error()), (Policy::Require, Some(refusal)));
        assert!(report.next_steps().iter().any(|s| s.contains("/dev/vmclock0")), "{report}");
        assert_eq!(Config::default().install(), Err(Error::AlreadyInstalled));
        // A generator that chose for itself is not bound by it.
        TrySnapRng::new().expect("a generator under `prefer`").fill(&mut [0; 8]).expect("bytes");
    });
}

#[test]
fn require_is_met_by_a_synchronous_witness() {
    in_a_fresh_process(|| {
        let page = VmClockPage::memfd().expect("a memfd");
        let vmclock = stand_in(&page);
        let installed = Config { policy: Policy::Require, vmclock, ..no_sources() }.install();
        let report = snaprng::protection();
        assert_eq!((report.level(), report.policy()), (Level::Synchronous, Policy::Require));
        if report.diversity().is_none() {
            assert_eq!(report.error(), Some(Error::NotYetDiverse));
        } else {
            assert_eq!(installed, Ok(()));
            assert_eq!(report.error(), None);
            snaprng::fill(&mut [0; 8]).expect("bytes");
        }
    });
}

#[test]
fn require_refuses_as_soon_as_the_witness_is_worth_less() {
    in_a_fresh_process(|| {
        let mut page = VmClockPage::memfd().expect("a memfd");
        let vmclock = stand_in(&page);
        Config { policy: Policy::Require, vmclock, ..no_sources() }.install().expect("met");
        let mut owned = worlds::owned();
        snaprng::fill(&mut [0; 8]).expect("bytes");
        page.set_flags(0);
        page.set_marker(1);
        if is_bare_metal() {
            return skip("a refusal of `require`", "this is bare metal");
        }
        assert_refused(Error::NotProtected(Level::PerCall));
        let mut out = STALE;
        assert_eq!(owned.fill(&mut out), Err(Error::NotProtected(Level::PerCall)));
        assert_eq!(out, [0; 64]);
        page.set_flags(0x100);
        snaprng::fill(&mut [0; 8]).expect("bytes, now that it is met again");
        owned.fill(&mut [0; 8]).expect("bytes, now that it is met again");
    });
}

#[test]
fn the_environment_strengthens_the_policy() {
    in_a_process_with(&[("SNAPRNG_POLICY", "require")], || {
        let page = VmClockPage::memfd().expect("a memfd");
        for policy in [Policy::Prefer, Policy::AssumeNeverCloned] {
            // Without a witness it refuses, with one it does not.
            child(Way::Fork, || {
                let installed = Config { policy, ..no_sources() }.install();
                assert_eq!(snaprng::protection().policy(), Policy::Require);
                if !is_bare_metal() {
                    assert_eq!(installed, Err(Error::NotProtected(Level::PerCall)));
                    assert_refused(Error::NotProtected(Level::PerCall));
                    let owned = Config { policy, ..Config::default() }.build_try();
                    assert_eq!(owned.err(), Some(Error::NotProtected(Level::PerCall)));
                }
            })
            .join();
            child(Way::Fork, || {
                let vmclock = stand_in(&page);
                Config { policy, vmclock, ..no_sources() }.install().expect("met");
                let report = snaprng::protection();
                assert_eq!(
                    (report.policy(), report.level()),
                    (Policy::Require, Level::Synchronous)
                );
                snaprng::fill(&mut [0; 8]).expect("bytes");
            })
            .join();
        }
    });
}

#[test]
fn the_environment_does_not_weaken_the_policy() {
    in_a_process_with(&[("SNAPRNG_POLICY", "prefer")], || {
        let installed = Config { policy: Policy::Require, ..no_sources() }.install();
        assert_eq!(snaprng::protection().policy(), Policy::Require);
        if !is_bare_metal() {
            assert_eq!(installed, Err(Error::NotProtected(Level::PerCall)));
        }
    });
}

#[test]
fn an_unknown_word_in_the_environment_is_an_error_of_every_request() {
    in_a_process_with(&[("SNAPRNG_POLICY", "Require")], || {
        assert_refused(Error::BadEnvironment);
        assert_eq!(Config::default().install(), Err(Error::BadEnvironment));
        assert_eq!(TrySnapRng::new().err(), Some(Error::BadEnvironment));
        assert_eq!(SnapRng::new().err(), Some(Error::BadEnvironment));
        assert_eq!(snaprng::reseed(b""), Err(Error::BadEnvironment));
        assert_eq!(snaprng::protection().error(), Some(Error::BadEnvironment));
        assert!(!snaprng::generation().is_current(), "no such thing without witnesses");
        assert_refused(Error::BadEnvironment);
    });
}

#[test]
fn the_environment_is_ignored_where_the_process_gained_privileges() {
    const TEST: &str = "the_environment_is_ignored_where_the_process_gained_privileges";
    // Copied and started by a process that starts no others meanwhile: a file that somebody still
    // has open for writing cannot be executed, and a child of another test would have it.
    in_fresh_processes(&["copy"], |variant| {
        if variant == "copy" {
            return start_with_privileges(TEST);
        }
        // SAFETY: only reads a static of libc.
        assert_ne!(unsafe { libc::getauxval(libc::AT_SECURE) }, 0, "a set-user-ID program");
        no_sources().install().expect("nonsense is ignored too");
        assert_eq!(snaprng::protection().policy(), Policy::Prefer);
    });
}

/// Runs this test from a copy of the test binary that is set-user-ID, under two environments.
fn start_with_privileges(test: &str) {
    let directory = Scratch::below(env!("CARGO_TARGET_TMPDIR"));
    let nosuid = rustix::fs::statvfs(directory.path())
        .is_ok_and(|fs| fs.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID));
    if !is_root() || nosuid {
        return skip(test, "it takes root and a file system that honours set-user-ID");
    }
    let program = directory.path().join("test");
    std::fs::copy(std::env::current_exe().expect("a path"), &program).expect("a copy");
    std::os::unix::fs::chown(&program, Some(65534), None).expect("root may");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).expect("root may");
    for word in ["require", "nonsense"] {
        let environment = [("SNAPRNG_POLICY", word)];
        let output =
            common::command(&program, test, word, &environment).output().expect("it starts");
        common::check(test, word, &output);
    }
}

#[test]
fn a_configuration_is_installed_once() {
    in_a_fresh_process(|| {
        assert_eq!(no_sources().install(), Ok(()));
        assert_eq!(no_sources().install(), Err(Error::AlreadyInstalled));
        // And stays what it was.
        let require = Config { policy: Policy::Require, ..no_sources() };
        assert_eq!(require.install(), Err(Error::AlreadyInstalled));
        assert_eq!(snaprng::protection().policy(), Policy::Prefer);
    });
}

#[test]
fn a_configuration_comes_before_the_first_use() {
    in_a_fresh_process(|| {
        let first_uses: [fn(); 6] = [
            || snaprng::fill(&mut [0; 8]).expect("bytes"),
            || drop(snaprng::protection()),
            || drop(TrySnapRng::new().expect("a generator")),
            || assert!(snaprng::generation().is_current()),
            || snaprng::reseed(b"").expect("a rekey"),
            || snaprng::notify_restored(b""),
        ];
        for first_use in first_uses {
            child(Way::Fork, || {
                first_use();
                assert_eq!(no_sources().install(), Err(Error::AlreadyInstalled));
            })
            .join();
        }
    });
}

#[test]
fn a_configuration_holds_for_the_children_of_its_process() {
    in_worlds(&ALL, |_| {
        let report = snaprng::protection();
        for way in common::copies::WAYS {
            child(way, || {
                let theirs = snaprng::protection();
                assert_eq!((theirs.level(), theirs.policy()), (report.level(), report.policy()));
                assert_eq!(no_sources().install(), Err(Error::AlreadyInstalled));
            })
            .join();
        }
    });
}

#[test]
fn an_owned_generator_may_name_no_sources_but_those_of_the_process() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let path = directory.path().join("page");
        let page = VmClockPage::create(&path).expect("a file");
        let ours = || Config { vmclock: VmClock::Path(path.clone()), ..no_sources() };
        ours().install().expect("installed");
        let level =
            |config: Config| config.build_try().map(|mut generator| generator.protection().level());
        assert_eq!(level(ours()), Ok(Level::Synchronous), "the same");
        assert_eq!(level(Config::default()), Ok(Level::Synchronous), "none");
        let differing = [
            Config { vmclock: VmClock::Path("/dev/vmclock0".into()), ..Config::default() },
            Config { vmclock: VmClock::Off, ..Config::default() },
            Config { vmclock: stand_in(&page_in_memory()), ..Config::default() },
            Config { agent_page: Source::Path(path.clone()), ..Config::default() },
            Config { sysgenid: Source::Path(path.clone()), ..Config::default() },
        ];
        for config in differing {
            assert_eq!(level(config), Err(Error::SourcesAreProcessWide));
        }
        assert_eq!(page.counter(), 0);
    });
}

fn page_in_memory() -> VmClockPage {
    VmClockPage::memfd().expect("a memfd")
}

#[test]
fn debug_output_shows_no_state() {
    in_worlds(&[SYNCHRONOUS, PER_CALL], |_| {
        let mut owned = TrySnapRng::new().expect("a generator");
        owned.fill(&mut [0; 8]).expect("bytes");
        assert_eq!(format!("{owned:?}"), "TrySnapRng { .. }");
        assert_eq!(format!("{:#?}", SnapRng::new().expect("a generator")), "SnapRng { .. }");
        assert_eq!(format!("{:?}", snaprng::rng()), "ThreadRng { .. }");
        assert_eq!(format!("{:?}", snaprng::generation()), "Generation { .. }");
    });
}

#[test]
fn a_reseed_changes_the_key_and_nothing_else() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY, PER_CALL], |_| {
        let generation = snaprng::generation();
        let mut owned = worlds::owned();
        let mut outputs = vec![0; 64 * 16];
        for (number, output) in outputs.chunks_mut(64).enumerate() {
            let before = snaprng::protection().rekeys();
            // With the same input every time.
            snaprng::reseed(b"additional").expect("a rekey");
            owned.reseed(b"additional").expect("a rekey");
            assert_eq!(snaprng::protection().rekeys(), before + 2, "round {number}");
            let (one, other) = output.split_at_mut(32);
            snaprng::fill(one).expect("bytes");
            owned.fill(other).expect("bytes");
        }
        assert!(generation.is_current());
        assert_nothing_repeats(&numbered("output", &outputs.chunks(32).collect::<Vec<_>>()));
    });
}

#[test]
fn a_reported_restore_ends_the_generation_and_counts_its_bytes_as_diversity() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY, PER_CALL], |page| {
        let mut owned = worlds::owned();
        let before = snaprng::protection();
        assert_eq!(before.diversity().injected_bits(), 0);
        let generation = snaprng::generation();
        snaprng::notify_restored(b"bytes that no other clone has");
        assert!(!generation.is_current());
        let after = snaprng::protection();
        assert_eq!(after.diversity().injected_bits(), 256);
        assert!(after.rekeys() > before.rekeys() && after.epoch_changes() > before.epoch_changes());
        assert_eq!(owned.protection().diversity().injected_bits(), 256, "every generator");
        let late = std::thread::spawn(|| snaprng::protection().diversity().injected_bits());
        assert_eq!(late.join().expect("the thread"), 256, "later ones too");
        // They told this clone from its siblings. In a clone of it they tell nothing.
        page.advance_counter();
        if after.level() == Level::Synchronous {
            assert_eq!(snaprng::protection().diversity().injected_bits(), 0);
        }
        // No bytes, no diversity.
        let generation = snaprng::generation();
        snaprng::notify_restored(b"");
        assert!(!generation.is_current());
        assert_eq!(snaprng::protection().diversity().injected_bits(), 0);
    });
}

// Failing closed.

/// No randomness from the kernel: neither the system call nor a device.
fn take_entropy_away(errno: i32) {
    let rules = [
        (libc::SYS_getrandom, Answer::Fail(errno)),
        (libc::SYS_openat, Answer::Fail(libc::EACCES)),
    ];
    install(&rules, Answer::Allow);
}

#[test]
fn without_entropy_every_request_fails_and_leaves_no_bytes() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY, PER_CALL], |_| {
        let mut owned = worlds::owned();
        for errno in [libc::EPERM, libc::ENOSYS] {
            child(Way::Fork, || {
                take_entropy_away(errno);
                let refusal = Error::EntropyUnavailable(libc::EACCES);
                for _ in 0..3 {
                    assert_refused(refusal);
                    let mut out = STALE;
                    assert_eq!(owned.fill(&mut out), Err(refusal));
                    assert_eq!(out, [0; 64]);
                    assert_eq!(owned.reseed(b"more"), Err(refusal));
                    assert_eq!(TrySnapRng::new().err(), Some(refusal));
                }
                assert_eq!(snaprng::protection().error(), Some(refusal));
            })
            .join();
        }
        child(Way::Fork, || {
            // An answer that no kernel gives is no reason to look elsewhere.
            install(&[(libc::SYS_getrandom, Answer::Fail(libc::EIO))], Answer::Allow);
            assert_refused(Error::EntropyUnavailable(libc::EIO));
        })
        .join();
    });
}

#[test]
fn a_rekey_that_failed_leaves_no_generator_that_works_by_accident() {
    in_worlds(&[SYNCHRONOUS], |page| {
        let mut owned = worlds::owned();
        snaprng::fill(&mut [0; 8]).expect("bytes");
        owned.fill(&mut [0; 8]).expect("bytes");
        take_entropy_away(libc::EPERM);
        // What is in the buffer needs no entropy.
        snaprng::fill(&mut [0; 8]).expect("bytes of the buffer");
        owned.fill(&mut [0; 8]).expect("bytes of the buffer");
        let counter = page.counter();
        page.advance_counter();
        let refusal = Error::EntropyUnavailable(libc::EACCES);
        let mut out = STALE;
        assert_refused(refusal);
        assert_eq!(owned.fill(&mut out), Err(refusal));
        // The very epoch again under which the old key was made: it must not come back to life.
        page.set_counter(counter);
        assert_refused(refusal);
        out = STALE;
        assert_eq!(owned.fill(&mut out), Err(refusal));
        assert_eq!(out, [0; 64]);
    });
}

#[test]
fn a_generator_that_cannot_rekey_when_it_is_due_stops() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        snaprng::reseed(&[]).expect("a rekey");
        take_entropy_away(libc::EPERM);
        let mut drawn = 0;
        let error = loop {
            let mut out = STALE;
            match snaprng::fill(&mut out) {
                Ok(()) => drawn += out.len(),
                Err(error) => {
                    assert_eq!(out, [0; 64]);
                    break error;
                }
            }
            assert!(drawn <= 1 << 20, "a rekey was due");
        };
        assert_eq!(error, Error::EntropyUnavailable(libc::EACCES));
        assert_refused(error);
    });
}

#[test]
fn without_the_system_call_entropy_comes_from_the_device() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY, PER_CALL], |page| {
        for errno in [libc::ENOSYS, libc::EPERM] {
            child(Way::Fork, || {
                install(&[(libc::SYS_getrandom, Answer::Fail(errno))], Answer::Allow);
                let mut outputs = vec![0; 64 * 10];
                for output in outputs.chunks_mut(64) {
                    page.advance_counter();
                    snaprng::fill(output).expect("bytes");
                }
                let outputs: Vec<&[u8]> = outputs.chunks(64).collect();
                assert_nothing_repeats(&numbered("output", &outputs));
                assert_eq!(snaprng::protection().error(), None);
            })
            .join();
        }
    });
}

#[test]
fn something_else_under_the_devices_name_does_not_pass_for_randomness() {
    if !is_root() {
        return skip("another device under /dev/urandom's name", "only root can mount it there");
    }
    in_worlds(&[SYNCHRONOUS, PER_CALL], |_| {
        child(Way::Fork, || {
            // SAFETY: takes no pointers; this process has one thread.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0, "a mount namespace");
            mount(None, "/", libc::MS_REC | libc::MS_PRIVATE);
            mount(Some("/dev/zero"), "/dev/urandom", libc::MS_BIND);
            install(&[(libc::SYS_getrandom, Answer::Fail(libc::ENOSYS))], Answer::Allow);
            assert_refused(Error::EntropyUnavailable(libc::ENODEV));
        })
        .join();
    });
}

fn mount(from: Option<&str>, at: &str, flags: libc::c_ulong) {
    let string = |text| std::ffi::CString::new(text).expect("a path");
    let (from, at) = (from.map(string), string(at));
    let none = std::ptr::null();
    let from = from.as_ref().map_or(none, |f| f.as_ptr());
    // SAFETY: paths are strings, and type and options may be null for these flags.
    let answer = unsafe { libc::mount(from, at.as_ptr(), none, flags, none.cast()) };
    assert_eq!(answer, 0, "mount: {}", std::io::Error::last_os_error());
}

#[test]
fn the_infallible_interfaces_panic_with_advice() {
    in_worlds(&[SYNCHRONOUS], |page| {
        let mut owned = SnapRng::new().expect("a generator");
        take_entropy_away(libc::EPERM);
        page.advance_counter();
        std::panic::set_hook(Box::new(|_| {}));
        let panics: [Box<dyn FnOnce() + std::panic::UnwindSafe>; 4] = [
            Box::new(|| assert_ne!(snaprng::bytes::<16>(), [0; 16])),
            Box::new(|| assert_ne!(snaprng::rng().next_u64(), 0)),
            Box::new(|| snaprng::rng().fill_bytes(&mut [0; 8])),
            Box::new(move || assert_ne!(owned.next_u64(), 0)),
        ];
        for panics in panics {
            let payload = catch_unwind(panics).expect_err("a panic");
            let message = payload.downcast::<String>().expect("a message");
            assert!(message.contains("allow the getrandom system call"), "{message}");
        }
        // Afterwards nothing is in use that was left so by a panic.
        assert_refused(Error::EntropyUnavailable(libc::EACCES));
    });
}
