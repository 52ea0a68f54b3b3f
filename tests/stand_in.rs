//! A stand-in for the hypervisor's page: what its words do, and which sources are refused.
#![cfg(target_os = "linux")]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use common::blocks::{assert_nothing_repeats, numbered};
use common::copies::{Way, child};
use common::interruption::{PAGE, Trap};
use common::privileges::{become_user, enter_user_namespace, mount_tmpfs};
use common::scratch::Scratch;
use common::sources::Refusal::{Absent, For};
use common::sources::{
    assert_config_refused, assert_counts_for_nothing, assert_refused, page_bytes, source, witness,
    write,
};
use common::worlds::{self, SYNCHRONOUS, in_worlds, no_sources, stand_in};
use common::{in_a_fresh_process, is_root, seccomp, skip};
use snaprng::host::{AgentPage, VmClockPage};
use snaprng::{Cause, Config, Error, Level, Source, VmClock, WitnessState};

// What the words of the page do.

#[test]
fn a_memfd_and_a_file_on_a_tmpfs_are_stand_ins_at_level_synchronous() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        // A name is any bytes, and is reported as it is.
        let path = directory.path().join(OsStr::from_bytes(b"vmclock \xff"));
        VmClockPage::create(&path).expect("a file");
        let memfd = VmClockPage::memfd().expect("a memfd");
        for (vmclock, path) in [(VmClock::Path(path.clone()), Some(path)), (stand_in(&memfd), None)]
        {
            child(Way::Fork, || {
                Config { vmclock, ..no_sources() }.install().expect("the first installation");
                let report = snaprng::protection();
                let witness = witness(&report, "vmclock");
                assert_eq!(report.level(), Level::Synchronous);
                assert!(report.is_stand_in());
                assert_eq!((witness.state(), witness.cause()), (WitnessState::StandIn, None));
                assert_eq!(witness.path(), path.as_deref());
                assert!(report.to_string().contains("stand-in"), "{report}");
            })
            .join();
        }
    });
}

/// The ways in which a hypervisor's page tells of a restore.
type Move = fn(&mut VmClockPage);
const MOVES: [(&str, Move); 4] = [
    ("counter", |page| {
        page.advance_counter();
    }),
    ("marker", |page| page.set_marker(page.marker() + 1)),
    ("both", |page| {
        let (counter, marker) = (page.counter() + 1, page.marker() + 1);
        page.update(|update| {
            update.counter(counter);
            update.marker(marker);
        });
    }),
    ("counter, backwards and by its highest bit alone", |page| {
        page.set_counter(page.counter() ^ 1 << 63);
    }),
];

#[test]
fn every_move_of_the_page_rekeys_the_next_request_and_ends_the_generation() {
    in_worlds(&[SYNCHRONOUS], |page| {
        let mut owned = worlds::owned();
        assert_eq!(snaprng::protection().epoch_changes(), 0, "a first use is no change");
        for (name, move_page) in MOVES {
            owned.fill(&mut [0; 8]).expect("bytes");
            let generation = snaprng::generation();
            let before = snaprng::protection();
            move_page(page);
            assert!(!generation.is_current(), "{name}");
            // One request of the owned generator, and then the thread's, for the report.
            owned.fill(&mut [0; 8]).expect("bytes");
            let after = snaprng::protection();
            assert_eq!(after.rekeys() - before.rekeys(), 2, "{name}");
            assert_eq!(after.epoch_changes() - before.epoch_changes(), 2, "{name}");
            assert!(!after.is_settled());
            // Once is enough.
            owned.fill(&mut [0; 8]).expect("bytes");
            assert_eq!(snaprng::protection().rekeys(), after.rekeys(), "{name}");
        }
    });
}

#[test]
fn a_page_that_does_not_move_rekeys_nothing_and_ends_nothing() {
    in_worlds(&[SYNCHRONOUS], |page| {
        let generation = snaprng::generation();
        let before = snaprng::protection().rekeys();
        for _ in 0..100 {
            snaprng::fill(&mut [0; 32]).expect("bytes");
            // An update that changes nothing moves seq_count alone.
            page.update(|_| {});
        }
        assert!(generation.is_current());
        assert_eq!(snaprng::protection().rekeys(), before);
    });
}

/// A request of this size during which the page moves, after half of it was written.
fn move_in_the_middle(
    page: &mut VmClockPage,
    move_page: Move,
    length: usize,
    mut request: impl FnMut(&mut [u8]),
) {
    let half = length / 2;
    let mut trap = Trap::new(half, length - half);
    let base = trap.base();
    // The move before this one is over, and there are bytes in the buffer.
    request(&mut [0; 8]);
    let mut written = vec![0; half];
    let filled = trap.spring(half, length - half, &mut request, || {
        // SAFETY: the request has written these bytes, and waits for this handler.
        written.copy_from_slice(unsafe { std::slice::from_raw_parts(base.start(half), half) });
        move_page(page);
    });
    assert!(written.iter().any(|&b| b != 0), "nothing was written before the move");
    // What had been written before the move is in no output.
    assert_nothing_repeats(&numbered("before and after the move", &[&written, filled]));
}

#[test]
fn a_request_during_which_the_page_moves_gives_none_of_the_bytes_made_before() {
    in_worlds(&[SYNCHRONOUS], |page| {
        let mut owned = worlds::owned();
        for (_, move_page) in MOVES {
            for length in [256, 64 << 10] {
                move_in_the_middle(page, move_page, length, |out| {
                    snaprng::fill(out).expect("bytes of the thread's generator");
                });
                move_in_the_middle(page, move_page, length, |out| {
                    owned.fill(out).expect("bytes of the owned generator");
                });
            }
        }
    });
}

#[test]
fn a_one_shot_request_during_which_the_page_moves_gives_none_of_the_bytes_made_before() {
    in_worlds(&[SYNCHRONOUS], |page| {
        for (_, move_page) in MOVES {
            let mut outer = Trap::new(1024, 1024);
            outer.spring(
                1024,
                1024,
                |out| snaprng::fill(out).expect("a large request"),
                || {
                    common::draws::assert_is_busy();
                    move_in_the_middle(page, move_page, 256, |out| {
                        snaprng::fill(out).expect("one-shot bytes");
                    });
                },
            );
        }
    });
}

#[test]
fn a_page_that_never_stops_moving_is_an_error_and_leaves_no_bytes() {
    in_worlds(&[SYNCHRONOUS], |page| {
        let mut moves = 0;
        let mut outcome = Ok(());
        let mut trap = Trap::new(4096, 2 * PAGE);
        let filled = trap.spring_again_and_again(
            4096,
            |out| outcome = snaprng::fill(out),
            || {
                page.advance_counter();
                moves += 1;
            },
        );
        assert_eq!(outcome, Err(Error::WorldUnstable));
        assert!(moves >= 8, "it tried {moves} times");
        assert!(filled.iter().all(|&b| b == 0));
        snaprng::fill(&mut [0; 32]).expect("bytes, now that it has stopped");
    });
}

/// The page that the handler below moves, how often it still does, and how often it was called.
static MOVED: AtomicPtr<VmClockPage> = AtomicPtr::new(std::ptr::null_mut());
static MOVES_LEFT: AtomicUsize = AtomicUsize::new(0);
static DRAWS: AtomicUsize = AtomicUsize::new(0);

/// In place of the kernel's answer to a draw: moves the page, and sends the caller to the device.
extern "C" fn on_draw(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    DRAWS.fetch_add(1, Ordering::SeqCst);
    if MOVES_LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
        // SAFETY: set before the filter, and nobody else uses the page meanwhile.
        unsafe { &mut *MOVED.load(Ordering::SeqCst) }.advance_counter();
    }
    seccomp::answer(context, -libc::ENOSYS);
}

#[test]
fn a_move_in_the_middle_of_a_gather_makes_it_gather_again() {
    in_worlds(&[SYNCHRONOUS], |page| {
        MOVED.store(page, Ordering::SeqCst);
        let draws_during = |moves: usize, request: &mut dyn FnMut() -> Result<(), Error>| {
            MOVES_LEFT.store(moves, Ordering::SeqCst);
            let before = DRAWS.load(Ordering::SeqCst);
            request().map(|()| DRAWS.load(Ordering::SeqCst) - before)
        };
        let mut owned = worlds::owned();
        let mut trap = Trap::new(1024, 1024);
        seccomp::on_trapped_call(on_draw);
        seccomp::install(&[(libc::SYS_getrandom, seccomp::Answer::Trap)], seccomp::Answer::Allow);
        // A rekey draws once, and once more for each move that it saw behind its first look.
        for moves in 0..7 {
            assert_eq!(draws_during(moves, &mut || snaprng::reseed(&[])), Ok(moves + 1));
            assert_eq!(draws_during(moves, &mut || owned.reseed(&[])), Ok(moves + 1));
        }
        assert_eq!(draws_during(8, &mut || owned.reseed(&[])), Err(Error::WorldUnstable));
        assert_eq!(draws_during(0, &mut || owned.fill(&mut [0; 8])), Ok(1), "unkeyed");
        assert_eq!(draws_during(0, &mut || snaprng::reseed(&[])), Ok(1));
        // So does a one-shot request.
        let mut one_shot = Vec::new();
        trap.spring(
            1024,
            1024,
            |out| snaprng::fill(out).expect("a large request"),
            || {
                common::draws::assert_is_busy();
                for moves in 0..3 {
                    one_shot.push(draws_during(moves, &mut || snaprng::fill(&mut [0; 8])));
                }
            },
        );
        assert_eq!(one_shot, [Ok(1), Ok(2), Ok(3)]);
    });
}

#[test]
fn a_sequence_count_that_stays_odd_keeps_nobody_waiting() {
    in_a_fresh_process(|| {
        let page = VmClockPage::memfd().expect("a memfd");
        let file = File::from(page.try_clone_fd().expect("a descriptor"));
        file.write_at(&7u32.to_le_bytes(), 0x0c).expect("a write");
        Config { vmclock: stand_in(&page), ..no_sources() }.install().expect("installed");
        assert_eq!(snaprng::protection().level(), Level::Synchronous);
        let generation = snaprng::generation();
        snaprng::fill(&mut [0; 32]).expect("bytes");
        // A writer that died in the middle: the counter has moved, the count never becomes even.
        file.write_at(&9u64.to_le_bytes(), 0x68).expect("a write");
        assert_eq!(page.seq_count() & 1, 1);
        assert!(!generation.is_current());
        snaprng::fill(&mut [0; 32]).expect("bytes");
        assert_eq!(snaprng::protection().level(), Level::Synchronous);
    });
}

#[test]
fn a_page_that_loses_its_counter_lowers_the_level_at_the_next_rekey() {
    in_worlds(&[SYNCHRONOUS], |page| {
        page.set_flags(page.flags() & !0x100);
        // Restored on a hypervisor without the counter: the marker moves.
        page.set_marker(page.marker() + 1);
        let report = snaprng::protection();
        assert!(matches!(report.level(), Level::PerCall | Level::ProcessOnly), "{report}");
        assert!(!report.is_stand_in());
        assert_eq!(witness(&report, "vmclock").cause(), Some(Cause::NoCounter));
        page.set_flags(page.flags() | 0x100);
        page.set_marker(page.marker() + 1);
        assert_eq!(snaprng::protection().level(), Level::Synchronous);
    });
}

#[test]
fn a_page_that_stops_being_one_lowers_the_level_at_the_next_rekey() {
    in_worlds(&[SYNCHRONOUS], |page| {
        let file = File::from(page.try_clone_fd().expect("a descriptor"));
        file.write_at(b"????", 0).expect("a write");
        page.advance_counter();
        let report = snaprng::protection();
        assert_ne!(report.level(), Level::Synchronous);
        let magic = Cause::BadMagic(u32::from_le_bytes(*b"????"));
        assert_eq!(witness(&report, "vmclock").state(), WitnessState::Unusable);
        assert_eq!(witness(&report, "vmclock").cause(), Some(magic));
    });
}

#[test]
fn a_marker_is_a_witness_only_where_it_was_accepted_by_name() {
    common::in_fresh_processes(&["accepted", "not accepted"], |variant| {
        let accept_marker = variant == "accepted";
        let mut page = VmClockPage::memfd().expect("a memfd");
        page.set_flags(0);
        let vmclock = stand_in(&page);
        Config { vmclock, accept_marker, ..no_sources() }.install().expect("installed");
        let report = snaprng::protection();
        assert_eq!(report.level() == Level::Accepted, accept_marker, "{report}");
        assert_eq!(report.is_stand_in(), accept_marker);
        let generation = snaprng::generation();
        page.set_marker(1);
        assert!(!generation.is_current(), "it is watched either way");
        assert_eq!(snaprng::protection().rekeys(), report.rekeys() + 1);
    });
}

// Late witnesses.

#[test]
fn an_agent_page_is_watched_and_buffers_only_where_it_was_accepted_by_name() {
    common::in_fresh_processes(&["accepted", "not accepted"], |variant| {
        let accept_late = variant == "accepted";
        let directory = Scratch::new();
        let path = directory.path().join("generation");
        let page = AgentPage::create(&path).expect("a file");
        let agent_page = Source::Path(path.clone());
        Config { agent_page, accept_late, ..no_sources() }.install().expect("installed");
        let report = snaprng::protection();
        assert_eq!(report.level() == Level::Accepted, accept_late, "{report}");
        assert_eq!(witness(&report, "agent page").state(), WitnessState::Active);
        assert_eq!(witness(&report, "agent page").path(), Some(path.as_path()));
        let generation = snaprng::generation();
        page.advance();
        assert!(!generation.is_current());
        let after = snaprng::protection();
        assert_eq!(after.epoch_changes(), report.epoch_changes() + 1);
        assert_eq!(after.rekeys(), report.rekeys() + 1);
    });
}

#[test]
fn a_sysgenid_stand_in_is_watched_and_named_as_such() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let path = directory.path().join("sysgenid");
        fs::write(&path, [0; 4096]).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
        let file = fs::OpenOptions::new().write(true).open(&path).expect("our own file");
        let sysgenid = Source::Path(path);
        Config { sysgenid, accept_late: true, ..no_sources() }.install().expect("installed");
        let report = snaprng::protection();
        assert_eq!(report.level(), Level::Accepted);
        assert!(report.is_stand_in());
        assert_eq!(witness(&report, "sysgenid").state(), WitnessState::StandIn);
        let generation = snaprng::generation();
        file.write_at(&1u32.to_ne_bytes(), 0).expect("a write");
        assert!(!generation.is_current());
        assert_eq!(snaprng::protection().epoch_changes(), report.epoch_changes() + 1);
    });
}

// Sources that are refused.

#[test]
fn a_file_that_is_no_vmclock_page_is_refused_with_its_cause() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let size = |n: u32| n.to_le_bytes();
        for (what, bytes, cause) in [
            ("wrong magic", page_bytes(&[(0, b"KLCV")]), Cause::BadMagic(0x5643_4c4b)),
            ("version 2", page_bytes(&[(8, &[2, 0])]), Cause::BadVersion(2)),
            ("version 257", page_bytes(&[(8, &[1, 1])]), Cause::BadVersion(257)),
            ("no room for the counter", page_bytes(&[(4, &size(0x6f))]), Cause::TooSmall(0x6f)),
            ("100 bytes", page_bytes(&[])[..100].to_vec(), Cause::TooSmall(100)),
            ("4095 bytes", page_bytes(&[])[..4095].to_vec(), Cause::TooSmall(4095)),
            ("no bytes", Vec::new(), Cause::TooSmall(0)),
        ] {
            let path = write(&directory, what, &bytes);
            assert_refused(what, VmClock::Path(path), For(cause), || {});
        }
        // And the same file without a fault is taken.
        let good = write(&directory, "good", &page_bytes(&[]));
        child(Way::Fork, || {
            Config { vmclock: VmClock::Path(good), ..no_sources() }.install().expect("installed");
            assert_eq!(snaprng::protection().level(), Level::Synchronous);
        })
        .join();
    });
}

#[test]
fn a_path_that_is_not_plain_is_refused_with_its_cause() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let base = directory.path();
        let good = write(&directory, "good", &page_bytes(&[]));
        symlink(&good, base.join("link")).expect("a link");
        fs::create_dir(base.join("real")).expect("a directory");
        fs::copy(&good, base.join("real/good")).expect("a copy");
        symlink(base.join("real"), base.join("linked")).expect("a link");
        symlink("nowhere", base.join("dangling")).expect("a link");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            base.join("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .expect("a FIFO");
        let name = base.file_name().expect("a name").to_str().expect("ASCII");
        for (what, path, refusal) in [
            ("missing", base.join("missing"), Absent),
            ("in a missing directory", base.join("no/good"), Absent),
            ("a link", base.join("link"), For(Cause::SymbolicLink)),
            ("a dangling link", base.join("dangling"), For(Cause::SymbolicLink)),
            ("below a linked directory", base.join("linked/good"), For(Cause::SymbolicLink)),
            ("a FIFO", base.join("fifo"), For(Cause::NotAFile)),
            ("a directory", base.join("real"), For(Cause::NotAFile)),
            ("a file as a directory", good.join("x"), For(Cause::Open(libc::ENOTDIR))),
            ("with ..", base.join("../").join(name).join("good"), For(Cause::BadPath)),
            ("with .. at its end", base.join("real/.."), For(Cause::BadPath)),
            ("empty", PathBuf::new(), Absent),
            ("too long", base.join("x".repeat(300)), For(Cause::Open(libc::ENAMETOOLONG))),
        ] {
            assert_refused(what, VmClock::Path(path), refusal, || {});
        }
        // Relative to the directory that this process is in.
        assert_refused("relative", VmClock::Path("good".into()), For(Cause::BadPath), || {
            std::env::set_current_dir(base).expect("our own directory");
        });
        assert_eq!(
            Config { vmclock: VmClock::Path("/dev/shm/a\0b".into()), ..no_sources() }.install(),
            Err(Error::BadPath)
        );
    });
}

#[test]
fn a_file_that_somebody_else_could_change_is_refused_with_its_cause() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let bytes = page_bytes(&[]);
        for (name, mode) in [("group-writable", 0o664), ("world-writable", 0o646)] {
            let path = write(&directory, name, &bytes);
            directory.set_mode(name, mode);
            assert_refused(name, VmClock::Path(path), For(Cause::WritableByOthers(mode)), || {});
        }
        for (name, mode) in [("open-to-all", 0o777), ("open-to-group", 0o775)] {
            fs::create_dir(directory.path().join(name)).expect("a directory");
            let path = write(&directory, &format!("{name}/page"), &bytes);
            directory.set_mode(name, mode);
            assert_refused(name, VmClock::Path(path), For(Cause::UnsafeDirectory(mode)), || {});
        }
        // Not only the last directory counts.
        fs::create_dir(directory.path().join("open-to-all/inner")).expect("a directory");
        let inner = write(&directory, "open-to-all/inner/page", &bytes);
        directory.set_mode("open-to-all/inner", 0o755);
        let refusal = For(Cause::UnsafeDirectory(0o777));
        assert_refused("below an open directory", VmClock::Path(inner), refusal, || {});
    });
}

#[test]
fn a_file_of_somebody_else_is_refused_with_its_cause() {
    if !is_root() {
        return skip("files of other users", "only root can make them");
    }
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let bytes = page_bytes(&[]);
        let foreign = write(&directory, "foreign", &bytes);
        std::os::unix::fs::chown(&foreign, Some(12345), None).expect("root may");
        let refusal = For(Cause::ForeignOwner(12345));
        assert_refused("another user's", VmClock::Path(foreign), refusal, || {});

        fs::create_dir(directory.path().join("theirs")).expect("a directory");
        let below = write(&directory, "theirs/page", &bytes);
        std::os::unix::fs::chown(directory.path().join("theirs"), Some(12345), None)
            .expect("root may");
        assert_refused("in another user's directory", VmClock::Path(below), refusal, || {});

        // A sticky directory keeps others from replacing files only if it is root's.
        let sticky = directory.path().join("sticky");
        fs::create_dir(&sticky).expect("a directory");
        directory.set_mode("sticky", 0o1777);
        std::os::unix::fs::chown(&sticky, Some(4321), None).expect("root may");
        let below = write(&directory, "sticky/page", &bytes);
        let refusal = For(Cause::UnsafeDirectory(0o1777));
        assert_refused("in its own user's sticky directory", VmClock::Path(below), refusal, || {
            become_user(4321);
        });

        // Private to root, for somebody else.
        let private = write(&directory, "private", &bytes);
        directory.set_mode("private", 0o600);
        let refusal = For(Cause::Open(libc::EACCES));
        assert_refused("unreadable", VmClock::Path(private), refusal, || become_user(4321));

        // A user's own file, and root's, are taken.
        let own = write(&directory, "own", &bytes);
        std::os::unix::fs::chown(&own, Some(4321), None).expect("root may");
        let of_root = write(&directory, "of-root", &bytes);
        for path in [own, of_root] {
            child(Way::Fork, || {
                become_user(4321);
                let vmclock = VmClock::Path(path);
                Config { vmclock, ..no_sources() }.install().expect("installed");
                assert_eq!(snaprng::protection().level(), Level::Synchronous);
            })
            .join();
        }
    });
}

#[test]
fn a_file_of_a_user_whom_the_user_namespace_does_not_map_is_refused_with_its_cause() {
    if !is_root() {
        return skip("unmapped owners", "only root can make files of other users");
    }
    in_a_fresh_process(|| {
        let bytes = page_bytes(&[]);
        // Who this process is in the namespace: root, or the very id that stands for everybody
        // whom it does not map.
        for user in [0, 65534] {
            let vmclock = VmClock::Path("/mnt/page".into());
            let what = format!("for user {user} of a user namespace");
            assert_refused(&what, vmclock, For(Cause::UnmappedOwner), || {
                mount_tmpfs("/mnt");
                fs::write("/mnt/page", &bytes).expect("a file");
                std::os::unix::fs::chown("/mnt/page", Some(12345), None).expect("root may");
                enter_user_namespace(user);
            });
        }
    });
}

#[test]
fn a_file_that_is_not_on_a_tmpfs_is_refused_with_its_cause() {
    in_a_fresh_process(|| {
        let Some(parent) =
            ["/var/tmp", env!("CARGO_TARGET_TMPDIR")].into_iter().find(|p| !is_tmpfs(p))
        else {
            return skip("files that are not on a tmpfs", "there is no other file system here");
        };
        let directory = Scratch::below(parent);
        let path = write(&directory, "page", &page_bytes(&[]));
        assert_refused("on a disk", VmClock::Path(path), For(Cause::NotOnTmpfs), || {});
    });
}

fn is_tmpfs(path: &str) -> bool {
    rustix::fs::statfs(path).is_ok_and(|fs| fs.f_type == 0x0102_1994)
}

#[test]
fn a_descriptor_that_is_no_sealed_memfd_is_refused_with_its_cause() {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    in_a_fresh_process(|| {
        let memfd = |length: u64| {
            let fd = memfd_create("page", MemfdFlags::ALLOW_SEALING).expect("a memfd");
            ftruncate(&fd, length).expect("our own memfd");
            fd
        };
        let unsealed = memfd(4096);
        let sealed_otherwise = memfd(4096);
        fcntl_add_seals(&sealed_otherwise, SealFlags::GROW).expect("a seal");
        let small = memfd(100);
        fcntl_add_seals(&small, SealFlags::SHRINK).expect("a seal");
        let zeros = memfd(4096);
        fcntl_add_seals(&zeros, SealFlags::SHRINK).expect("a seal");
        let directory = Scratch::new();
        let page = VmClockPage::create(directory.path().join("page")).expect("a file");
        let (pipe, _writer) = std::io::pipe().expect("a pipe");
        for (what, fd, cause) in [
            ("unsealed", unsealed, Cause::NotSealed),
            ("sealed against growing", sealed_otherwise, Cause::NotSealed),
            ("100 bytes", small, Cause::TooSmall(100)),
            ("zeros", zeros, Cause::BadMagic(0)),
            ("a file", page.try_clone_fd().expect("a descriptor"), Cause::NotSealed),
            ("a pipe", pipe.into(), Cause::NotAFile),
        ] {
            assert_refused(what, VmClock::Fd(fd), For(cause), || {});
        }
    });
}

#[test]
fn late_sources_obey_the_same_rules() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let small = write(&directory, "small", &[0; 100]);
        let writable = write(&directory, "writable", &[0; 4096]);
        directory.set_mode("writable", 0o666);
        symlink(&small, directory.path().join("link")).expect("a link");
        let link = directory.path().join("link");
        for (path, cause) in [
            (small, Cause::TooSmall(100)),
            (writable, Cause::WritableByOthers(0o666)),
            (link, Cause::SymbolicLink),
        ] {
            for name in ["sysgenid", "agent page"] {
                let what = path.display().to_string();
                assert_config_refused(&what, name, source(name, &path), For(cause), || {});
            }
        }
    });
}

#[test]
fn a_source_that_appears_later_is_found_when_it_is_looked_for_again() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let path = directory.path().join("page");
        let vmclock = VmClock::Path(path.clone());
        Config { vmclock, ..no_sources() }.install().expect("installed");
        assert_counts_for_nothing("not there yet", "vmclock", Absent);
        let mut page = VmClockPage::create(&path).expect("a file");
        page.set_counter(5);
        snaprng::rediscover().expect("nobody else is at it");
        let report = snaprng::protection();
        assert_eq!(witness(&report, "vmclock").state(), WitnessState::StandIn);
        assert_eq!(report.level(), Level::Synchronous);
        let generation = snaprng::generation();
        page.advance_counter();
        assert!(!generation.is_current());
    });
}
