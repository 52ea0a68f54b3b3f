//! When a file is believed to be the one it was.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use rustix::fs::MemfdFlags;
use rustix::io::FdFlags;

use super::*;

/// A file, and what it identifies by all of its content.
fn file_with(content: &[u8]) -> (File, Identity) {
    let file: File = rustix::fs::memfd_create(c"identity", MemfdFlags::CLOEXEC).unwrap().into();
    file.write_all_at(content, 0).unwrap();
    let identity = Identity::new(Part::Beginning(content.len()));
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    identity.open(&path);
    identity.record();
    (file, identity)
}

/// Makes the descriptor of `identity` one of `file`, as code does that closes what is not its own.
fn replace(identity: &Identity, file: &File) {
    let raw = identity.descriptor.load(Ordering::Relaxed);
    // SAFETY: both are open.
    assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), raw) }, raw);
}

#[test]
fn the_start_time_is_field_22_whatever_the_command_is_called() {
    let stat = b"42 (a ) b) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 START 20";
    assert_eq!(Part::StartTime.of(stat), Some(&b"START"[..]));
    assert_eq!(Part::StartTime.of(b"nonsense"), None);
}

#[test]
fn identities_that_differ_in_any_digit_are_told_apart() {
    let (file, identity) = file_with(b"123456");
    assert!(identity.is_unchanged());
    let mut digests = std::collections::HashSet::new();
    for number in 0..1000 {
        file.write_all_at(format!("{number:06}").as_bytes(), 0).unwrap();
        assert!(!identity.is_unchanged() && digests.insert(identity.read()));
    }
    file.write_all_at(b"123456", 0).unwrap();
    assert!(identity.is_unchanged());
}

#[test]
fn a_descriptor_that_was_closed_and_used_again_is_not_believed() {
    let (_, identity) = file_with(b"same content");
    let (other, _) = file_with(b"same content");
    replace(&identity, &other);
    assert!(!identity.is_unchanged());
}

#[test]
fn what_was_forgotten_has_neither_a_file_nor_a_digest() {
    let (_, mut identity) = file_with(b"content");
    let raw = *identity.descriptor.get_mut();
    identity.forget();
    assert_eq!((*identity.descriptor.get_mut(), identity.is_unchanged()), (-1, false));
    *identity.descriptor.get_mut() = raw;
    assert!(!identity.is_unchanged(), "the digest is still there");
    identity.record();
    assert!(identity.is_unchanged());
}

#[test]
fn descriptor_0_is_one_like_any_other() {
    let (file, mut identity) = file_with(b"content");
    // SAFETY: both are open, and no test reads the standard input.
    assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 0) }, 0);
    *identity.descriptor.get_mut() = 0;
    assert!(identity.is_unchanged());
}

#[test]
fn its_descriptor_is_not_left_to_programs_that_are_started() {
    let (_, identity) = file_with(b"content");
    // SAFETY: open, and not closed before the identity goes.
    let fd = unsafe { BorrowedFd::borrow_raw(identity.descriptor.load(Ordering::Relaxed)) };
    assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
}
