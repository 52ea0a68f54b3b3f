//! The agent page's file from anybody. An input is a script of what is done to the file and to the
//! directories above it, before it is opened and while it is mapped.
//!
//! The rules of trust are stated here a second time, by path and by name, and must agree with the
//! library's, which goes by descriptors: what they refuse is refused with the same cause and never
//! mapped, and what they let pass shows what is in the file, whatever becomes of its name and mode.
//! What nobody is protected from, a trusted owner who truncates, is left out while it is mapped.
#![no_main]

use std::cell::RefCell;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::os::unix::fs::{
    FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink,
};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, SeekFrom, mknodat, renameat_with, seek};
use snaprng::fuzzing::{install_agent_page, look_at_agent_page};
use snaprng::{Cause, WitnessState};
use snaprng_fuzz::Input;
use snaprng_fuzz::place::{Place, ROOM, c_path};

const EVE: u32 = 12345;
const MODES: [u32; 16] = [
    0o644, 0o600, 0o400, 0o000, 0o664, 0o646, 0o666, 0o755, 0o700, 0o777, 0o775, 0o757, 0o1777,
    0o1770, 0o2755, 0o4755,
];
/// Beside the file's own path: spellings of it, and of what is not it.
const SPELLINGS: [&str; 16] = [
    "d/page",
    "d/./page",
    "d//page",
    "./d/page",
    "d/../d/page",
    "d/page/",
    "d/page/x",
    "d",
    "d/.",
    "d/..",
    "d/other",
    "e/page",
    "page",
    "d/page.",
    "",
    "//d//.//page",
];

thread_local! {
    static PLACE: Place = Place::new();
    /// What is mapped, from an earlier input.
    static MAPPED: RefCell<Option<File>> = const { RefCell::new(None) };
}

/// What the agent page must show.
fn expected() -> u64 {
    MAPPED.with_borrow(|file| {
        let mut word = [0; 8];
        if let Some(file) = file {
            file.read_exact_at(&mut word, 0).expect("our own file");
        }
        u64::from_ne_bytes(word)
    })
}

// The rules of trust, by name.

fn owner(file: &Metadata) -> Result<(), Cause> {
    match file.uid() {
        0 => Ok(()),
        65534 => Err(Cause::UnmappedOwner),
        user if user == rustix::process::geteuid().as_raw() => Ok(()),
        user => Err(Cause::ForeignOwner(user)),
    }
}

fn look_at(path: &Path) -> Result<Metadata, Cause> {
    let found =
        fs::symlink_metadata(path).map_err(|error| Cause::Open(error.raw_os_error().unwrap()));
    match found {
        Ok(found) if found.is_symlink() => Err(Cause::SymbolicLink),
        found => found,
    }
}

fn directory(path: &Path) -> Result<(), Cause> {
    let found = look_at(path)?;
    if !found.is_dir() {
        return Err(Cause::Open(libc::ENOTDIR));
    }
    owner(&found)?;
    let mode = found.mode() & 0o7777;
    match mode & 0o022 {
        0 => Ok(()),
        _ if mode & 0o1000 != 0 && found.uid() == 0 => Ok(()),
        _ => Err(Cause::UnsafeDirectory(mode)),
    }
}

fn file(path: &Path) -> Result<(), Cause> {
    let found = look_at(path)?;
    if found.file_type().is_socket() {
        return Err(Cause::Open(libc::ENXIO));
    }
    // Root reads everything.
    let opened = (!found.file_type().is_fifo()).then(|| File::open(path)).transpose();
    let opened = opened.map_err(|error| Cause::Open(error.raw_os_error().unwrap()))?;
    let Some(opened) = opened.filter(|_| found.is_file()) else { return Err(Cause::NotAFile) };
    owner(&found)?;
    if found.mode() & 0o022 != 0 {
        return Err(Cause::WritableByOthers(found.mode() & 0o7777));
    }
    match found.len() {
        4096.. => {}
        short => return Err(Cause::TooSmall(short as u32)),
    }
    // It is on the tmpfs of this target.
    match seek(&opened, SeekFrom::Data(0)) {
        Ok(0) => Ok(()),
        _ => Err(Cause::Hole),
    }
}

fn trusted(path: &str) -> Result<(), Cause> {
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(Cause::BadPath);
    }
    let mut way = PathBuf::from("/");
    directory(&way)?;
    let names: Vec<_> = path.split('/').filter(|name| !name.is_empty()).collect();
    let Some((last, folders)) = names.split_last() else { return Err(Cause::BadPath) };
    for name in folders {
        if *name == ".." || name.len() > 255 {
            return Err(Cause::BadPath);
        }
        way.push(name);
        directory(&way)?;
    }
    if [".", ".."].contains(last) {
        return Err(Cause::BadPath);
    }
    file(&way.join(last))
}

// What is done to them.

/// Not blocked by a FIFO.
fn writable() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK);
    options
}

/// One line of the script, in the directory `w`. What does not work is not done.
fn act(input: &mut Input<'_>, w: &Path, is_mapped: bool) {
    let is_own = PLACE.with(|place| place.is_own);
    let is_root = rustix::process::geteuid().is_root();
    let action = input.byte() % 24;
    let argument = input.byte();
    let page = w.join("d/page");
    let set_mode = |path: &Path, modes: &[u32]| {
        let mode = modes[usize::from(argument) % modes.len()];
        // Not through a link: there is nothing below a directory that this process may not enter.
        if is_root || mode & 0o700 == 0o700 || path == page {
            let _ = fs::set_permissions(path, Permissions::from_mode(mode));
        }
    };
    let set_owner = |path: &Path| {
        let users = [0, EVE, 65534, 1000];
        let _ = chown(path, Some(users[usize::from(argument) % users.len()]), None);
    };
    let node = |path: &Path, kind| {
        let device = rustix::fs::makedev(1, if argument & 1 == 0 { 3 } else { 5 });
        let _ = mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device);
    };
    match action {
        0 => {
            let file = writable().create(true).open(&page);
            if let Ok(file) =
                file.as_ref().map(|file| (file, file.metadata().is_ok_and(|m| m.is_file())))
                && file.1
            {
                let _ = file.0.write_all_at(&[argument; 4096], 0);
            }
        }
        1 | 2 if is_mapped => {}
        1 => {
            let lengths = [0, 1, 8, 4095, 4096, 4097, 1 << 20, 1 << 40];
            if let Ok(file) = writable().open(&page) {
                let _ = file.set_len(lengths[usize::from(argument) % lengths.len()]);
            }
        }
        2 => {
            if let Ok(file) = File::create_new(w.join("d/other")) {
                let _ = file.set_len(4096);
                let _ = file.write_at(&[argument], 4096 * u64::from(argument & 3));
            }
        }
        3 => set_mode(&page, &MODES),
        4 => set_mode(&w.join("d"), &MODES),
        5 => set_mode(w, &MODES),
        6 => set_owner(&page),
        7 => set_owner(&w.join("d")),
        8 => set_owner(w),
        9 => drop(fs::rename(&page, w.join("d/other"))),
        10 => drop(fs::rename(w.join("d/other"), &page)),
        11 => drop(symlink("other", &page)),
        12 => drop(fs::rename(w.join("d"), w.join("e"))),
        13 => drop(symlink("e", w.join("d"))),
        14 => drop(fs::hard_link(&page, w.join("d/other"))),
        15 => drop(fs::remove_file(&page)),
        16 => node(&page, FileType::Fifo),
        17 => drop(fs::create_dir(&page)),
        18 => drop(UnixListener::bind(&page)),
        19 if is_root && is_own => node(&page, FileType::CharacterDevice),
        20 => {
            let _ = renameat_with(CWD, w.join("d"), CWD, w.join("e"), RenameFlags::EXCHANGE);
        }
        21 => {
            let _ = renameat_with(CWD, &page, CWD, w.join("d/other"), RenameFlags::EXCHANGE);
        }
        22 if is_own => drop(fs::write(w.join("full"), vec![1; ROOM])),
        23 => drop(fs::create_dir(w.join("d"))),
        _ => {}
    }
}

/// What no line of a script writes: those write a byte over and over.
const BEHIND_THE_LINK: u64 = 0x0102_0304_0506_0708;

/// Opens the page while somebody else swaps it for a link to another one, whose bytes must not be
/// seen.
fn open_in_a_race(w: &Path) {
    let (page, link) = (w.join("d/page"), w.join("d/link"));
    let prepared = fs::create_dir_all(w.join("d"))
        .and_then(|()| fs::write(w.join("theirs"), BEHIND_THE_LINK.to_ne_bytes().repeat(512)))
        .and_then(|()| symlink("../theirs", &link))
        .is_ok()
        && fs::symlink_metadata(&page).is_ok_and(|page| page.is_file());
    if !prepared {
        return;
    }
    let before = look_at_agent_page();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..16 {
                let _ = renameat_with(CWD, &page, CWD, &link, RenameFlags::EXCHANGE);
            }
        });
        let outcome = install_agent_page(&c_path(&page));
        let now = look_at_agent_page();
        match outcome {
            Ok(_) => assert_ne!(now, BEHIND_THE_LINK),
            Err(_) => assert_eq!(now, before),
        }
    });
    // It was swapped an even number of times: the file is where it was.
    if look_at_agent_page() != expected() {
        MAPPED.set(File::open(&page).ok());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let spelling = input.choice(&SPELLINGS);
    let (before, race) = (input.byte() % 16, input.byte() == 0xff);
    let w = PLACE.with(Place::fresh);
    fs::create_dir(w.join("d")).expect("our own directory");
    fs::set_permissions(w.join("d"), Permissions::from_mode(0o755)).expect("our own directory");
    fs::write(w.join("d/page"), [1; 4096]).expect("our own file");
    fs::set_permissions(w.join("d/page"), Permissions::from_mode(0o644)).expect("our own file");

    for _ in 0..before {
        act(&mut input, &w, false);
    }
    if race {
        return open_in_a_race(&w);
    }
    let path = format!("{}/{spelling}", w.display());
    let expectation = trusted(&path);
    let outcome = install_agent_page(&c_path(Path::new(&path)));
    assert_eq!(outcome, expectation.map(|()| WitnessState::Active), "{path}");
    if outcome.is_ok() {
        MAPPED.set(Some(File::open(&path).expect("it was opened a moment ago")));
    }
    assert_eq!(look_at_agent_page(), expected());
    while !input.is_over() {
        act(&mut input, &w, true);
        assert_eq!(look_at_agent_page(), expected());
    }
});
