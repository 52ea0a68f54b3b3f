//! How files are opened. Which ones are refused is for processes: `tests/hostile_witnesses.rs`.

use rustix::io::FdFlags;

use super::*;

#[test]
fn what_is_opened_is_not_left_to_programs_that_are_started() {
    let root = open_directory(CWD, c"/").unwrap();
    let file = open_plain(CWD, c"/proc/version").unwrap();
    for fd in [&root, &file] {
        assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
    }
}

#[test]
fn what_might_wait_for_somebody_is_not_waited_for() {
    let file = open_plain(CWD, c"/proc/version").unwrap();
    assert!(rustix::fs::fcntl_getfl(&file).unwrap().contains(OFlags::NONBLOCK));
}

#[test]
fn a_directory_is_opened_as_a_mere_place_and_need_not_be_readable() {
    let root = open_directory(CWD, c"/").unwrap();
    assert!(rustix::fs::fcntl_getfl(&root).unwrap().contains(OFlags::PATH));
    assert_eq!(open_directory(CWD, c"/proc/version").unwrap_err(), Cause::Open(libc::ENOTDIR));
}

#[test]
fn misc_devices_are_told_from_others_and_from_files() {
    let is_misc = |path: &str| {
        let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        is_misc_device(fd.as_fd()).unwrap()
    };
    assert!(!is_misc("/dev/zero") && !is_misc("/dev") && !is_misc("/proc/misc"));
    let minors = std::fs::read_to_string("/proc/misc").unwrap_or_default();
    let names = minors.lines().filter_map(|line| line.split_whitespace().nth(1));
    let devices: Vec<_> = names.map(|name| format!("/dev/{name}")).collect();
    let there: Vec<_> = devices.iter().filter(|path| std::fs::exists(path).unwrap()).collect();
    if there.is_empty() {
        return println!("SKIPPED: misc devices: none is shown here");
    }
    assert!(there.iter().all(|path| is_misc(path)), "{there:?}");
}
