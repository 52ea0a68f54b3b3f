//! Witness files from people who mean harm, or do not care: whatever they do to a file, its
//! directories, its mount or its descriptor, a process either has the witness or says why not, goes
//! on at the level that it then has, and lives.
//!
//! What remains is shown as well: whom a file's trusted owner can kill, and by what.
#![cfg(target_os = "linux")]

mod common;

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use common::copies::{Board, Way, child};
use common::privileges::{
    become_user, enter_user_namespace, keep_mounts_to_itself, mount, mount_tmpfs,
};
use common::scratch::Scratch;
use common::sources::Refusal::{Absent, For};
use common::sources::{
    NAMES, assert_config_refused, assert_in_use, assert_refused, assert_taken, page_bytes, source,
    witness, write,
};
use common::worlds::no_sources;
use common::{in_a_fresh_process, in_fresh_processes, is_root, skip};
use rustix::fs::{
    CWD, FileType, MemfdFlags, Mode, OFlags, RenameFlags, SealFlags, fcntl_add_seals, ftruncate,
    memfd_create, mknodat, renameat_with,
};
use snaprng::host::{AgentPage, VmClockPage};
use snaprng::{Cause, Config, Level, Source, VmClock, WitnessState};

/// Somebody else.
const EVE: u32 = 12345;

fn make_node(path: impl AsRef<Path>, kind: FileType, mode: u32, major: u32, minor: u32) {
    let device = rustix::fs::makedev(major, minor);
    mknodat(CWD, path.as_ref(), kind, Mode::from_raw_mode(mode), device).expect("a node");
    // Whatever the umask says.
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own node");
}

/// A file that is good for each witness.
fn good(directory: &Scratch, name: &str) -> std::path::PathBuf {
    write(directory, name, &page_bytes(&[]))
}

// What is at the path.

#[test]
fn whatever_is_not_a_regular_file_is_refused_at_once() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let base = directory.path();
        // Nobody writes to it: who opened it as others do would wait here for ever.
        make_node(base.join("fifo"), FileType::Fifo, 0o644, 0, 0);
        fs::create_dir(base.join("directory")).expect("a directory");
        let _listener = UnixListener::bind(base.join("socket")).expect("a socket");
        for (what, path, cause) in [
            ("a FIFO without a writer", base.join("fifo"), Cause::NotAFile),
            ("a directory", base.join("directory"), Cause::NotAFile),
            ("a socket", base.join("socket"), Cause::Open(libc::ENXIO)),
            ("a device without pages", "/dev/null".into(), Cause::NotAFile),
            ("a device with pages that never change", "/dev/zero".into(), Cause::NotAFile),
        ] {
            for name in NAMES {
                assert_config_refused(what, name, source(name, &path), For(cause), || {});
            }
        }
    });
}

#[test]
fn no_link_is_followed_and_no_step_up_taken() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let base = directory.path();
        fs::create_dir_all(base.join("real/below")).expect("directories");
        good(&directory, "real/below/page");
        symlink("page", base.join("real/below/link")).expect("a link");
        symlink("nowhere", base.join("real/below/dangling")).expect("a link");
        symlink("below", base.join("real/beside")).expect("a link");
        symlink("real", base.join("linked")).expect("a link");
        let own_name = base.file_name().expect("a name").to_str().expect("ASCII");
        for (path, cause) in [
            ("real/below/link", Cause::SymbolicLink),
            ("real/below/dangling", Cause::SymbolicLink),
            ("real/beside/page", Cause::SymbolicLink),
            ("linked/below/page", Cause::SymbolicLink),
            ("linked/below/link", Cause::SymbolicLink),
            ("real/below/../below/page", Cause::BadPath),
            (&format!("../{own_name}/real/below/page"), Cause::BadPath),
            ("real/below/page/", Cause::Open(libc::ENOTDIR)),
            ("real/below/page/page", Cause::Open(libc::ENOTDIR)),
        ] {
            for name in NAMES {
                // Before anything is opened.
                let slash = path.ends_with('/') && name == "agent page";
                let refusal = For(if slash { Cause::BadPath } else { cause });
                assert_config_refused(path, name, source(name, base.join(path)), refusal, || {});
            }
        }
        // The same file by its own name, and by one that goes nowhere in between.
        for path in ["real/below/page", "./real//below/./page"] {
            NAMES.iter().for_each(|name| assert_taken(path, name, base.join(path), || {}));
        }
    });
}

#[test]
fn while_a_link_is_swapped_for_the_file_nothing_behind_the_link_is_ever_read() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let base = directory.path();
        for folder in ["ours", "theirs"] {
            fs::create_dir(base.join(folder)).expect("a directory");
        }
        // Ours has no counter, so that it is known which of the two was read.
        let without_counter = page_bytes(&[(0x18, &[0; 8])]);
        write(&directory, "ours/page", &without_counter);
        good(&directory, "theirs/page");
        symlink("theirs/page", base.join("link")).expect("a link");
        symlink("theirs", base.join("linked")).expect("a link");
        write(&directory, "page", &without_counter);
        let swap = |a: &str, b: &str| {
            renameat_with(CWD, base.join(a), CWD, base.join(b), RenameFlags::EXCHANGE)
                .expect("both are there");
        };
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop = StopAtLast(&over);
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    swap("page", "link");
                    swap("ours", "linked");
                }
            });
            for attempt in 0..100 {
                let path = if attempt % 2 == 0 { "page" } else { "ours/page" };
                child(Way::Fork, || {
                    source("vmclock", base.join(path)).install().expect("no error either way");
                    let report = snaprng::protection();
                    assert_ne!(report.level(), Level::Synchronous, "behind the link");
                    let witness = witness(&report, "vmclock");
                    match witness.state() {
                        WitnessState::StandIn => {
                            assert_eq!(witness.cause(), Some(Cause::NoCounter));
                        }
                        state => assert_eq!(state, WitnessState::Unusable, "{report}"),
                    }
                    snaprng::fill(&mut [0; 32]).expect("bytes");
                })
                .join();
            }
        });
    });
}

/// Has another thread stop, also where this one panics.
struct StopAtLast<'a>(&'a AtomicBool);

impl Drop for StopAtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_hard_link_is_as_good_as_its_file() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let (first, second) = (good(&directory, "first"), directory.path().join("second"));
        fs::hard_link(&first, &second).expect("a second name");
        NAMES.iter().for_each(|name| assert_taken("a second name", name, &second, || {}));
        directory.set_mode("first", 0o666);
        let cause = Cause::WritableByOthers(0o666);
        for name in NAMES {
            let config = source(name, &second);
            assert_config_refused("its other name's mode", name, config, For(cause), || {});
        }
        if !is_root() {
            return skip("hard links to files of others", "only root can make such files");
        }
        directory.set_mode("first", 0o644);
        chown(&first, Some(EVE), None).expect("root may");
        for name in NAMES {
            let refusal = For(Cause::ForeignOwner(EVE));
            let config = source(name, &second);
            assert_config_refused("another user's file", name, config, refusal, || {});
        }
    });
}

// How large it is, and whether its memory is there.

#[test]
fn a_huge_sparse_file_is_a_page_if_its_first_page_was_written_and_a_hole_if_not() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        let written = good(&directory, "written");
        let hole = directory.path().join("hole");
        File::create(&hole).expect("a file").write_at(b"x", 1 << 30).expect("far behind");
        directory.set_mode("hole", 0o644);
        let nothing = directory.path().join("nothing");
        File::create(&nothing).expect("a file").set_len(4096).expect("a length");
        directory.set_mode("nothing", 0o644);
        for file in [&written, &hole] {
            let file = OpenOptions::new().write(true).open(file).expect("our own file");
            file.set_len(1 << 42).expect("room for any size");
        }
        for name in NAMES {
            assert_taken("4 TiB", name, &written, || {});
            for (what, path) in [("4 TiB of nothing", &hole), ("4 KiB of nothing", &nothing)] {
                let config = source(name, path);
                assert_config_refused(what, name, config, For(Cause::Hole), || {});
            }
        }
    });
}

#[test]
fn whoever_fills_the_tmpfs_kills_nobody() {
    if !is_root() {
        return skip("full file systems", "only root can mount a small one");
    }
    in_a_fresh_process(|| {
        let bytes = page_bytes(&[]);
        let fill_up = || {
            keep_mounts_to_itself();
            mount(c"tmpfs", "/mnt", c"mode=0755,size=64k");
            fs::write("/mnt/written", &bytes).expect("a file");
            File::create("/mnt/hole").expect("a file").set_len(4096).expect("a length");
            let filler = File::create("/mnt/filler").expect("a file");
            let full = (0..).find_map(|at| filler.write_at(&[1; 4096], at << 12).err());
            assert_eq!(full.and_then(|e| e.raw_os_error()), Some(libc::ENOSPC));
        };
        for name in NAMES {
            assert_taken("full", name, "/mnt/written", fill_up);
            // Memory for this one would be looked for when it is read.
            let config = source(name, "/mnt/hole");
            assert_config_refused("a hole, and full", name, config, For(Cause::Hole), fill_up);
        }
    });
}

// Where it is, and whose.

#[test]
fn a_memory_file_system_of_another_kind_is_refused() {
    if !is_root() {
        return skip("other file systems", "only root can mount them");
    }
    in_a_fresh_process(|| {
        let bytes = page_bytes(&[]);
        for name in NAMES {
            let config = source(name, "/mnt/page");
            assert_config_refused("on a ramfs", name, config, For(Cause::NotOnTmpfs), || {
                keep_mounts_to_itself();
                mount(c"ramfs", "/mnt", c"mode=0755");
                fs::write("/mnt/page", &bytes).expect("a file");
            });
        }
    });
}

#[test]
fn late_witnesses_that_others_could_change_are_refused_with_their_cause() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        for (what, folder, mode, cause) in [
            ("for the group", 0o755, 0o664, Cause::WritableByOthers(0o664)),
            ("for all", 0o755, 0o646, Cause::WritableByOthers(0o646)),
            ("in the group's folder", 0o775, 0o644, Cause::UnsafeDirectory(0o775)),
            ("in everybody's folder", 0o757, 0o644, Cause::UnsafeDirectory(0o757)),
        ] {
            fs::create_dir(directory.path().join(what)).expect("a directory");
            fs::create_dir(directory.path().join(what).join("inner")).expect("a directory");
            let page = format!("{what}/inner/page");
            let path = good(&directory, &page);
            directory.set_mode(&page, mode);
            directory.set_mode(what, folder);
            for name in ["sysgenid", "agent page"] {
                assert_config_refused(what, name, source(name, &path), For(cause), || {});
            }
        }
    });
}

#[test]
fn late_witnesses_of_somebody_else_are_refused_with_their_cause() {
    if !is_root() {
        return skip("late witnesses of other users", "only root can make them");
    }
    in_a_fresh_process(|| {
        const OWN: u32 = 4321;
        let directory = Scratch::new();
        // A folder's owner and mode, the file's, who reads it, and what is wrong with it.
        let cases = [
            ("eve's file", (0, 0o755), (EVE, 0o644), 0, Err(Cause::ForeignOwner(EVE))),
            ("eve's folder", (EVE, 0o755), (0, 0o644), 0, Err(Cause::ForeignOwner(EVE))),
            ("eve's file for us", (0, 0o755), (EVE, 0o644), OWN, Err(Cause::ForeignOwner(EVE))),
            ("our sticky folder", (OWN, 0o1777), (OWN, 0o644), OWN, {
                Err(Cause::UnsafeDirectory(0o1777))
            }),
            ("without permission", (0, 0o755), (OWN, 0o000), OWN, Err(Cause::Open(libc::EACCES))),
            ("for root alone", (0, 0o755), (0, 0o600), OWN, Err(Cause::Open(libc::EACCES))),
            // Nobody's files are everybody's whom a user namespace does not map.
            ("nobody's", (0, 0o755), (65534, 0o644), 65534, Err(Cause::UnmappedOwner)),
            ("root's", (0, 0o755), (0, 0o644), OWN, Ok(())),
            ("our own", (0, 0o755), (OWN, 0o400), OWN, Ok(())),
            ("our own folder", (OWN, 0o700), (OWN, 0o600), OWN, Ok(())),
            ("root's sticky folder", (0, 0o1777), (OWN, 0o600), OWN, Ok(())),
            ("without permission, for root", (0, 0o755), (0, 0o000), 0, Ok(())),
        ];
        for (what, folder, file, reader, expected) in cases {
            fs::create_dir(directory.path().join(what)).expect("a directory");
            let page = format!("{what}/page");
            let path = good(&directory, &page);
            directory.set_mode(&page, file.1);
            chown(&path, Some(file.0), None).expect("root may");
            directory.set_mode(what, folder.1);
            chown(directory.path().join(what), Some(folder.0), None).expect("root may");
            let prepare = || {
                if reader != 0 {
                    become_user(reader);
                }
            };
            for name in ["sysgenid", "agent page"] {
                match expected {
                    Ok(()) => assert_taken(what, name, &path, prepare),
                    Err(cause) => {
                        let config = source(name, &path);
                        assert_config_refused(what, name, config, For(cause), prepare);
                    }
                }
            }
        }
    });
}

#[test]
fn late_witnesses_of_users_whom_the_namespace_does_not_map_are_refused_with_their_cause() {
    if !is_root() {
        return skip("unmapped owners", "only root can make files of other users");
    }
    in_a_fresh_process(|| {
        for name in ["sysgenid", "agent page"] {
            for user in [0, 1000, 65534] {
                let what = format!("for user {user} of a user namespace");
                let config = source(name, "/mnt/page");
                let refusal = For(Cause::UnmappedOwner);
                assert_config_refused(&what, name, config, refusal, || {
                    mount_tmpfs("/mnt");
                    fs::write("/mnt/page", [1; 4096]).expect("a file");
                    chown("/mnt/page", Some(EVE), None).expect("root may");
                    enter_user_namespace(user);
                });
            }
        }
    });
}

// The usual paths, and descriptors.

#[test]
fn at_the_usual_paths_nothing_but_the_real_thing_is_taken() {
    if !is_root() {
        return skip("the usual paths", "only root can put something there");
    }
    in_a_fresh_process(|| {
        let bytes = page_bytes(&[]);
        let in_dev = |name: &str, what: &str, refusal, make: &dyn Fn(&Path)| {
            let config = match name {
                "vmclock" => Config { vmclock: VmClock::Default, ..no_sources() },
                _ => Config { sysgenid: Source::Default, ..no_sources() },
            };
            let path = if name == "vmclock" { "/dev/vmclock0" } else { "/dev/sysgenid" };
            assert_config_refused(what, name, config, refusal, || {
                mount_tmpfs("/dev");
                make(Path::new(path));
            });
        };
        for name in ["vmclock", "sysgenid"] {
            let device = For(Cause::NotADevice);
            in_dev(name, "nothing", Absent, &|_| {});
            in_dev(name, "a good file", device, &|at| fs::write(at, &bytes).expect("a file"));
            in_dev(name, "a FIFO", device, &|at| make_node(at, FileType::Fifo, 0o666, 0, 0));
            in_dev(name, "a directory", device, &|at| fs::create_dir(at).expect("a directory"));
            in_dev(name, "a device of zeros", device, &|at| {
                make_node(at, FileType::CharacterDevice, 0o666, 1, 5);
            });
            in_dev(name, "a link", For(Cause::SymbolicLink), &|at| {
                symlink("/mnt/page", at).expect("a link");
            });
            in_dev(name, "for root alone", For(Cause::Open(libc::EACCES)), &|at| {
                make_node(at, FileType::CharacterDevice, 0o600, 10, 12345);
                become_user(4321);
            });
        }
        let in_run = |what: &str, refusal, make: &dyn Fn()| {
            let config = Config { agent_page: Source::Default, ..no_sources() };
            assert_config_refused(what, "agent page", config, refusal, || {
                mount_tmpfs("/run");
                fs::create_dir("/run/snapsafe").expect("a directory");
                make();
            });
        };
        in_run("nothing", Absent, &|| {});
        in_run("a short file", For(Cause::TooSmall(8)), &|| {
            fs::write("/run/snapsafe/generation", [1; 8]).expect("a file");
        });
        in_run("eve's folder", For(Cause::ForeignOwner(EVE)), &|| {
            fs::write("/run/snapsafe/generation", [1; 4096]).expect("a file");
            chown("/run/snapsafe", Some(EVE), None).expect("root may");
        });
        in_run("a linked folder", For(Cause::SymbolicLink), &|| {
            fs::rename("/run/snapsafe", "/run/elsewhere").expect("both are ours");
            symlink("/run/elsewhere", "/run/snapsafe").expect("a link");
        });
        child(Way::Fork, || {
            mount_tmpfs("/run");
            fs::create_dir("/run/snapsafe").expect("a directory");
            AgentPage::create("/run/snapsafe/generation").expect("a file");
            let agent_page = Source::Default;
            Config { agent_page, accept_late: true, ..no_sources() }.install().expect("installed");
            assert_in_use("as an agent makes it", "agent page");
        })
        .join();
    });
}

#[test]
fn no_descriptor_but_a_readable_one_of_sealed_memory_is_taken() {
    in_a_fresh_process(|| {
        let again = |fd: &OwnedFd, flags: OFlags| {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            rustix::fs::open(path, flags, Mode::empty()).expect("our own memory")
        };
        let page = VmClockPage::memfd().expect("a memfd");
        let sealed = page.try_clone_fd().expect("a descriptor");
        let (socket, _other) = UnixStream::pair().expect("sockets");
        let zeros = File::open("/dev/zero").expect("it is everywhere");
        for (what, fd, cause) in [
            ("write-only", again(&sealed, OFlags::WRONLY), Cause::Map(libc::EACCES)),
            ("a mere path", again(&sealed, OFlags::PATH), Cause::NotSealed),
            ("a directory", File::open("/").expect("it is there").into(), Cause::NotAFile),
            ("a socket", socket.into(), Cause::NotAFile),
            ("a device of zeros", zeros.into(), Cause::NotAFile),
        ] {
            assert_refused(what, VmClock::Fd(fd), For(cause), || {});
        }
        // The same memory, readable.
        child(Way::Fork, || {
            let vmclock = VmClock::Fd(again(&sealed, OFlags::RDONLY));
            Config { vmclock, ..no_sources() }.install().expect("installed");
            assert_in_use("read-only", "vmclock");
        })
        .join();
    });
}

#[test]
fn sealed_memory_in_pages_of_another_size_is_refused() {
    in_a_fresh_process(|| {
        let flags = MemfdFlags::HUGETLB | MemfdFlags::ALLOW_SEALING;
        let Ok(fd) = memfd_create("huge", flags) else {
            return skip("memory in huge pages", "this kernel has none");
        };
        ftruncate(&fd, 2 << 20).expect("a length");
        fcntl_add_seals(&fd, SealFlags::SHRINK).expect("a seal");
        assert_refused("huge pages", VmClock::Fd(fd), For(Cause::NotOnTmpfs), || {});
    });
}

// What happens to a file that is in use.

/// Makes the file of a witness, and returns what moves it.
fn page_at(name: &str, path: &Path) -> Box<dyn FnMut()> {
    match name {
        "vmclock" => {
            let mut page = VmClockPage::create(path).expect("a file");
            Box::new(move || {
                page.advance_counter();
            })
        }
        "agent page" => {
            let page = AgentPage::create(path).expect("a file");
            Box::new(move || {
                page.advance();
            })
        }
        _ => {
            fs::write(path, [1; 4096]).expect("a file");
            fs::set_permissions(path, Permissions::from_mode(0o644)).expect("our own file");
            let file = OpenOptions::new().write(true).open(path).expect("our own file");
            let mut count = 1_u32;
            Box::new(move || {
                count += 1;
                file.write_at(&count.to_ne_bytes(), 0).expect("our own file");
            })
        }
    }
}

/// Fails unless moving a page ends the generation, if it is the one in use.
fn assert_watched(what: &str, name: &str, is_watched: bool, move_page: &mut dyn FnMut()) {
    assert_in_use(what, name);
    let generation = snaprng::generation();
    move_page();
    assert_eq!(!generation.is_current(), is_watched, "{what}, as {name}");
    assert_in_use(what, name);
}

#[test]
fn a_file_in_use_stays_in_use_whatever_its_mode_and_its_name_become() {
    in_fresh_processes(&NAMES, |name| {
        let directory = Scratch::new();
        let path = directory.path().join("page");
        let mut move_page = page_at(name, &path);
        source(name, &path).install().expect("the first installation");
        for mode in [0o664, 0o666, 0o000, 0o644] {
            directory.set_mode("page", mode);
            assert_watched(&format!("mode {mode:o}"), name, true, &mut move_page);
        }
        directory.set_mode("", 0o777);
        assert_watched("everybody's folder", name, true, &mut move_page);
        directory.set_mode("", 0o755);
        fs::rename(&path, directory.path().join("moved")).expect("our own file");
        assert_watched("moved away", name, true, &mut move_page);
        // Another file under its name is not seen: the one in use is stale for ever if its writer
        // goes on with the new one. What is in use stays, whoever looks for it again.
        let mut move_other = page_at(name, &path);
        assert_watched("another file's moves", name, false, &mut move_other);
        snaprng::rediscover().expect("nobody else is at it");
        assert_watched("another file's moves, looked for again", name, false, &mut move_other);
        assert_watched("its own moves", name, true, &mut move_page);
        fs::rename(directory.path().join("moved"), &path).expect("our own files");
        assert_watched("back over the other", name, true, &mut move_page);
        fs::remove_file(&path).expect("our own file");
        assert_watched("without a name", name, true, &mut move_page);
        fs::create_dir(&path).expect("a directory");
        snaprng::rediscover().expect("nobody else is at it");
        assert_watched("a directory in its place", name, true, &mut move_page);
    });
}

// What remains: SIGBUS, by whoever is trusted with the file.

/// What a request that was begun in a child left on the board.
const BEGUN: u8 = 1;
const SERVED: u8 = 2;

/// Whether a process that uses the file lives when this was done to it, by its own requests. If not,
/// it was SIGBUS that killed it, and in the first request after that.
fn survives(name: &str, path: &Path, harm: impl FnOnce()) -> bool {
    let board = Board::new(1, 1);
    let status = child(Way::Fork, || {
        // Its death is meant to be: no dump of it.
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: reads a local.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) }, 0);
        source(name, path).install().expect("the first installation");
        assert_in_use("before", name);
        harm();
        board.slot(0)[0] = BEGUN;
        snaprng::fill(&mut [0; 32]).expect("bytes");
        board.slot(0)[0] = SERVED;
    })
    .status();
    if libc::WIFSIGNALED(status) {
        assert_eq!(libc::WTERMSIG(status), libc::SIGBUS, "{name}");
        assert_eq!(board.slot(0)[0], BEGUN, "{name}");
        return false;
    }
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{name}: {status:#x}");
    assert_eq!(board.slot(0)[0], SERVED, "{name}");
    true
}

fn set_length(path: &Path, length: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("a file that may be written");
    file.set_len(length).expect("a file that may be written");
}

#[test]
fn a_trusted_owner_who_truncates_a_file_in_use_kills_the_process() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        for name in NAMES {
            let path = good(&directory, name);
            assert!(!survives(name, &path, || set_length(&path, 0)), "{name} is no longer mapped?");
        }
    });
}

#[test]
fn a_trusted_owner_who_leaves_the_first_page_or_brings_it_back_kills_nobody() {
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        for name in NAMES {
            let path = good(&directory, name);
            assert!(survives(name, &path, || set_length(&path, 1)), "a part of it is a page");
            let path = good(&directory, name);
            let there_and_back = || {
                set_length(&path, 0);
                set_length(&path, 4096);
            };
            assert!(survives(name, &path, there_and_back));
            let path = good(&directory, name);
            let written_anew = || {
                let file = OpenOptions::new().write(true).open(&path).expect("our own file");
                file.write_all_at(&[7; 4096], 0).expect("our own file");
            };
            assert!(survives(name, &path, written_anew), "in place, as it must be");
        }
    });
}

#[test]
fn whoever_the_owner_trusts_with_a_file_can_do_what_the_owner_can() {
    if !is_root() {
        return skip("other users' truncations", "only root can be two users");
    }
    in_a_fresh_process(|| {
        let directory = Scratch::new();
        for name in NAMES {
            // From a time when everybody was allowed to write it, which nobody can see later.
            let path = good(&directory, name);
            directory.set_mode(name, 0o666);
            let kept = OpenOptions::new().write(true).open(&path).expect("everybody may");
            directory.set_mode(name, 0o644);
            let by_eve = |work: &dyn Fn()| {
                child(Way::Fork, || {
                    become_user(EVE);
                    work();
                })
                .join();
            };
            let with_an_old_descriptor = || {
                by_eve(&|| {
                    OpenOptions::new()
                        .write(true)
                        .open(&path)
                        .expect_err("it is too late for that");
                    kept.set_len(0).expect("a descriptor stays what it was");
                });
            };
            assert!(!survives(name, &path, with_an_old_descriptor));
            // By a mode that was changed while the file was in use.
            let path = good(&directory, name);
            let by_a_new_mode = || {
                directory.set_mode(name, 0o666);
                by_eve(&|| set_length(&path, 0));
            };
            assert!(!survives(name, &path, by_a_new_mode));
            // And without either.
            let path = good(&directory, name);
            let in_vain = || {
                by_eve(&|| {
                    OpenOptions::new().write(true).open(&path).expect_err("not eve's");
                    fs::rename(&path, directory.path().join("x")).expect_err("not eve's");
                    fs::remove_file(&path).expect_err("not eve's");
                });
            };
            assert!(survives(name, &path, in_vain));
        }
    });
}

#[test]
fn sealed_memory_cannot_be_truncated_by_anybody() {
    in_a_fresh_process(|| {
        let page = VmClockPage::memfd().expect("a memfd");
        let fd = page.try_clone_fd().expect("a descriptor");
        let vmclock = VmClock::Fd(page.try_clone_fd().expect("a descriptor"));
        Config { vmclock, ..no_sources() }.install().expect("the first installation");
        assert_eq!(ftruncate(fd.as_fd(), 0), Err(rustix::io::Errno::PERM));
        assert_in_use("as it was", "vmclock");
    });
}
