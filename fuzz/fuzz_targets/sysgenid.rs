//! A sysgenid stand-in from anybody: refused unless the embedder named it and it has a page, and then
//! its first four bytes, whatever they become, and nothing else.
//!
//! An input says whether the path was named, what is there, and what is written to it later.
#![no_main]

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};

use libfuzzer_sys::fuzz_target;
use snaprng::fuzzing::{install_sysgenid, look_at_sysgenid};
use snaprng::{Cause, WitnessState};
use snaprng_fuzz::Input;
use snaprng_fuzz::place::{Place, c_path};

thread_local! {
    static PLACE: Place = Place::new();
    /// What is installed, from an earlier input.
    static INSTALLED: RefCell<Option<File>> = const { RefCell::new(None) };
}

/// The first four bytes of what is installed.
fn expected() -> u64 {
    INSTALLED.with_borrow(|file| {
        let mut word = [0; 4];
        if let Some(file) = file {
            file.read_exact_at(&mut word, 0).expect("our own file");
        }
        u32::from_ne_bytes(word).into()
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let explicit = input.byte() & 1 != 0;
    let kind = input.byte() % 8;
    let size = input.choice(&[4096, 0, 4, 4095, 4097, 8192, 1 << 40, 65536]);
    let first = input.bytes(16);
    let path = PLACE.with(Place::fresh).join("sysgenid");

    let write = |length: u64| {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).open(&path).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("our own file");
        file.write_all_at(first, 0).expect("our own file");
        file.set_len(length).expect("our own file");
        file
    };
    let (named, cause, file) = match kind {
        0 => (path, Some(Cause::Open(libc::ENOENT)), None),
        1 => {
            symlink("/dev/zero", &path).expect("a link");
            (path, Some(Cause::SymbolicLink), None)
        }
        2 => ("/dev/zero".into(), Some(Cause::NotAFile), None),
        3 => {
            fs::create_dir(&path).expect("a directory");
            (path, Some(Cause::NotAFile), None)
        }
        _ => {
            let file = write(size);
            let cause = match size {
                ..4096 => Some(Cause::TooSmall(size as u32)),
                _ if first.is_empty() => Some(Cause::Hole),
                _ => None,
            };
            (path.clone(), cause, Some(file))
        }
    };
    let cause = match cause {
        // Nothing that could be a device was there.
        Some(Cause::Open(_) | Cause::SymbolicLink) => cause,
        _ if !explicit => Some(Cause::NotADevice),
        _ => cause,
    };
    let outcome = install_sysgenid(&c_path(&named), explicit);
    assert_eq!(outcome, cause.map_or(Ok(WitnessState::StandIn), Err));
    if outcome.is_ok() {
        INSTALLED.set(file);
    }
    assert_eq!(look_at_sysgenid(), expected());
    // The writer, who writes anything anywhere, in place.
    while !input.is_over() {
        let offset = input.choice(&[0, 0, 0, 1, 3, 4, 8, 4092]);
        let value = input.number::<4>() as u32;
        INSTALLED.with_borrow(|file| {
            if let Some(file) = file {
                file.write_all_at(&value.to_ne_bytes(), offset).expect("our own file");
            }
        });
        assert_eq!(look_at_sysgenid(), expected());
    }
});
