//! The C ABI, called as C calls it.
#![cfg(all(target_os = "linux", feature = "capi"))]

mod common;

use std::ffi::{CStr, CString, c_int};
use std::fs::File;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{null, null_mut};
use std::thread;

use common::{Daemon, asks, is_held, nobody, wait_for_the_end};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use snapsafe_client::capi::*;
use snapsafe_client::wire::manager::{Inhibit, Register};
use snapsafe_client::wire::{self, Mode, Phase, Reply};

fn config(socket: &CStr) -> snapsafe_config {
    let size = size_of::<snapsafe_config>();
    snapsafe_config { size, socket: socket.as_ptr(), mode: SNAPSAFE_DELAY, order: 0 }
}

fn path_of(daemon: &Daemon) -> CString {
    CString::new(daemon.socket().into_os_string().into_encoded_bytes()).unwrap()
}

fn nothing_asked() -> snapsafe_asked {
    snapsafe_asked {
        size: size_of::<snapsafe_asked>(),
        phase: 0,
        missed: 0,
        transition: 0,
        generation: 0,
        deadline_ms: 0,
    }
}

fn register(name: &CStr, config: &snapsafe_config) -> Result<*mut snapsafe_participant, c_int> {
    let mut participant = null_mut();
    // SAFETY: strings, a struct of its size, and a place for a pointer.
    match unsafe { snapsafe_register(name.as_ptr(), config, &raw mut participant) } {
        0 => Ok(participant),
        error => {
            assert!(participant.is_null());
            Err(error)
        }
    }
}

fn negative(error: Errno) -> c_int {
    -error.raw_os_error()
}

/// Waits for the next request.
fn next(participant: *mut snapsafe_participant) -> snapsafe_asked {
    let mut asked = nothing_asked();
    loop {
        // SAFETY: a participant, and a struct of its size.
        match unsafe { snapsafe_dispatch(participant, &raw mut asked) } {
            1 => return asked,
            result => assert_eq!(result, 0),
        }
        // SAFETY: a participant.
        let descriptor = unsafe { snapsafe_fd(participant) };
        // SAFETY: it is open as long as the participant is.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        poll(&mut [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)], None).unwrap();
    }
}

#[test]
fn a_program_in_c_takes_part_from_its_registration_to_its_end() {
    let daemon = Daemon::new();
    let path = path_of(&daemon);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut line = daemon.accept();
            let asked = line.expect::<Register>();
            assert_eq!((asked.name.as_str(), asked.order), ("c", Some(60)));
            assert_eq!(asked.mode, Some(Mode::Notify));
            let pipe = line.register("secret");
            line.subscribed("secret");
            line.tell(&asks(Phase::Quiesce));
            let vetoed = daemon.acked();
            line.tell(&asks(Phase::Restored));
            (vetoed, daemon.acked(), line, pipe)
        });
        let config = snapsafe_config { mode: SNAPSAFE_NOTIFY, order: 60, ..config(&path) };
        let participant = register(c"c", &config).unwrap();
        let asked = next(participant);
        assert_eq!((asked.phase, asked.missed), (SNAPSAFE_QUIESCE, 0));
        assert_eq!((asked.transition, asked.generation, asked.deadline_ms), (7, 1, 1000));
        // SAFETY: a participant, a struct of its size, and a string.
        let result = unsafe { snapsafe_ack(participant, &raw const asked, c"not now".as_ptr()) };
        assert_eq!(result, 0);
        let asked = next(participant);
        assert_eq!((asked.phase, asked.generation), (SNAPSAFE_RESTORED, 2));
        // SAFETY: as above.
        assert_eq!(unsafe { snapsafe_ack(participant, &raw const asked, null()) }, 0);
        let (vetoed, restored, _line, pipe) = server.join().unwrap();
        assert_eq!((vetoed.ok, vetoed.why.as_deref()), (Some(false), Some("not now")));
        assert_eq!((restored.ok, restored.phase), (Some(true), Some(Phase::Restored)));
        assert!(is_held(&pipe));
        // SAFETY: a participant, not used after this.
        unsafe { snapsafe_unregister(participant) };
        wait_for_the_end(pipe);
    });
}

#[test]
fn what_is_not_acceptable_is_einval_and_touches_nothing() {
    let invalid = negative(Errno::INVAL);
    let path = CString::new(nobody().to_str().unwrap()).unwrap();
    let good = config(&path);
    let mut place = null_mut();
    let mut asked = nothing_asked();
    let (a, b) = (c"a".as_ptr(), c"b".as_ptr());
    macro_rules! refused {
        ($($call:expr;)*) => { $(
            // SAFETY: null, or as the contract says.
            assert_eq!(unsafe { $call }, invalid, stringify!($call));
        )* };
    }
    refused! {
        snapsafe_register(null(), &raw const good, &raw mut place);
        snapsafe_register(a, &raw const good, null_mut());
        snapsafe_register(c"\xff".as_ptr(), &raw const good, &raw mut place);
        snapsafe_fd(null());
        snapsafe_dispatch(null_mut(), &raw mut asked);
        snapsafe_ack(null_mut(), &raw const asked, null());
        snapsafe_inhibit(0, a, b, &raw const good);
        snapsafe_inhibit(4, a, b, &raw const good);
        snapsafe_inhibit(1, null(), b, &raw const good);
        snapsafe_inhibit(1, a, null(), &raw const good);
    }
    // SAFETY: null is allowed.
    unsafe { snapsafe_unregister(null_mut()) };
    for wrong in [
        snapsafe_config { size: 0, ..config(&path) },
        snapsafe_config { size: good.size - 1, ..config(&path) },
        snapsafe_config { mode: 3, ..config(&path) },
    ] {
        assert_eq!(register(c"a", &wrong), Err(invalid));
    }
    assert_eq!(register(c"a", &good), Err(negative(Errno::NOENT)));

    // No version is so large, even where there is so much memory and all of it is zero.
    let mut large = [0_usize; 1024];
    large[0] = size_of_val(&large);
    // SAFETY: as large as it says, and of plain numbers and a null pointer.
    let large = unsafe { &*large.as_ptr().cast::<snapsafe_config>() };
    assert_eq!(register(c"a", large), Err(invalid));
}

#[test]
fn a_newer_programs_structs_are_taken_if_they_ask_for_nothing_unknown() {
    #[repr(C)]
    struct Newer<T> {
        known: T,
        unknown: u64,
    }
    let path = CString::new(nobody().to_str().unwrap()).unwrap();
    let size = size_of::<Newer<snapsafe_config>>();
    for (unknown, wanted) in [(0, Errno::NOENT), (1, Errno::INVAL)] {
        let newer = Newer { known: snapsafe_config { size, ..config(&path) }, unknown };
        // SAFETY: as large as it says.
        let newer = unsafe { &*(&raw const newer).cast::<snapsafe_config>() };
        assert_eq!(register(c"a", newer), Err(negative(wanted)));
    }
}

#[test]
fn refusals_are_the_numbers_that_their_words_belong_to() {
    let cases = [
        (wire::Error::NotPermitted { why: String::new() }, Errno::PERM, "root"),
        (wire::Error::TooMany { what: String::new(), limit: 1 }, Errno::DQUOT, "limit"),
        (wire::Error::InvalidParameter { parameter: String::new() }, Errno::INVAL, "argument"),
        (wire::Error::MethodNotFound { method: String::new() }, Errno::PROTO, "version"),
    ];
    for (refusal, wanted, words) in cases {
        let daemon = Daemon::new();
        let path = path_of(&daemon);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut peer = daemon.accept();
                peer.expect::<Register>();
                peer.reply(&Reply::from(refusal), vec![]);
            });
            let error = register(c"a", &config(&path)).unwrap_err();
            assert_eq!(error, negative(wanted));
            assert!(said(error).contains(words), "{}", said(error));
        });
    }
    assert_eq!(said(0), "success");
    assert!(said(negative(Errno::NOENT)).contains("not running"));
    assert!(said(c_int::MIN).contains("unexpected"));
}

fn said(error: c_int) -> String {
    // SAFETY: it is a string that is never freed.
    unsafe { CStr::from_ptr(snapsafe_strerror(error)) }.to_str().unwrap().to_owned()
}

#[test]
fn a_lock_of_a_program_in_c_is_its_descriptor() {
    let daemon = Daemon::new();
    let path = path_of(&daemon);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut peer = daemon.accept();
            assert_eq!(peer.expect::<Inhibit>().what, "quiesce:unquiesce");
            peer.inhibit()
        });
        let both = SNAPSAFE_INHIBIT_QUIESCE | SNAPSAFE_INHIBIT_UNQUIESCE;
        let config = config(&path);
        let (who, why) = (c"c".as_ptr(), c"because".as_ptr());
        // SAFETY: strings, and a struct of its size.
        let lock = unsafe { snapsafe_inhibit(both, who, why, &raw const config) };
        assert!(lock >= 0, "{}", said(lock));
        // SAFETY: it is this caller's now.
        let lock = File::from(unsafe { OwnedFd::from_raw_fd(lock) });
        let pipe = server.join().unwrap();
        assert!(is_held(&pipe));
        drop(lock);
        wait_for_the_end(pipe);
    });
}
