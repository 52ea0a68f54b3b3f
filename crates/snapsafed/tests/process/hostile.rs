//! Clients that mean harm, as another user, while root takes snapshots. They can neither hold a
//! transition up, nor the network shut, nor make the daemon grow.

use std::io::{IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use snapsafe_client::wire::manager::{Ack, Inhibit, Register, Status, Subscribe};
use snapsafe_client::wire::{Error as Refusal, Expectation, Mode, State};
use snapsafe_client::{Client, Error};

use super::daemon::{Daemon, OTHER, can_be_others, copy_program, refusal};

/// The most that the daemon may have in memory, whatever is done to it: what it has without anybody
/// (a debug build's) and the most that its limits allow for one user.
const MOST_KIB: u64 = 32 * 1024;

/// Connections, participants and locks of one user, by default; and two of root's on their way.
const MOST_OF_ONE_USER: usize = 64 + 32 + 8 + 2;

/// This test binary again, as another user, in a role.
pub(crate) struct Other(Child);

pub(crate) fn as_other(daemon: &Daemon, role: &str) -> Other {
    let copy = daemon.directory.join("role");
    if !copy.exists() {
        copy_program(&std::env::current_exe().unwrap(), &copy);
    }
    let child = Command::new(copy)
        .args(["--exact", "hostile::role", "--nocapture"])
        .env("ROLE", role)
        .env("DIRECTORY", &daemon.directory)
        .uid(OTHER)
        .gid(OTHER)
        .current_dir("/")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    Other(child)
}

impl Other {
    pub(crate) fn succeed(mut self) {
        assert!(self.0.wait().unwrap().success());
    }

    /// Waits until it says that it is at it.
    fn at_work(&mut self) {
        let mut said = Vec::new();
        let out = self.0.stdout.as_mut().unwrap();
        let mut byte = [0];
        while !said.ends_with(b"AT WORK") {
            assert_eq!(out.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Does nothing by itself: the other tests start it again, in a role.
#[test]
fn role() {
    let Ok(role) = std::env::var("ROLE") else { return };
    let directory = PathBuf::from(std::env::var_os("DIRECTORY").unwrap());
    let socket = directory.join("run/io.snapsafe.Manager");
    match role.as_str() {
        "connects_without_end" => connects_without_end(&socket),
        "asks_without_end" => asks_without_end(&socket),
        "sends_a_huge_message" => sends_a_huge_message(&socket),
        "sends_halves" => sends_halves(&socket),
        "sends_garbage" => sends_garbage(&socket),
        "sends_descriptors" => sends_descriptors(&socket),
        "registers_without_end" => registers_without_end(&socket),
        "never_reads" => never_reads(&socket),
        "takes_locks" => takes_locks(&socket),
        "asks_for_what_is_roots" => asks_for_what_is_roots(&socket),
        "registers_required_names" => registers_required_names(&socket),
        "uses_anothers_id" => {
            let id = std::fs::read_to_string(directory.join("id")).unwrap();
            uses_anothers_id(&socket, &id);
        }
        _ => panic!("{role}"),
    }
}

fn at_work() {
    println!("AT WORK");
}

fn until_killed() {
    at_work();
    loop {
        std::thread::park();
    }
}

type Socket = PathBuf;

fn connects_without_end(socket: &Socket) {
    let mut kept = Vec::new();
    for count in 0_u64.. {
        kept.extend(UnixStream::connect(socket));
        if kept.len() >= 200 {
            kept.clear();
        }
        if count == 1000 {
            at_work();
        }
    }
}

fn asks_without_end(socket: &Socket) {
    let call = b"{\"method\":\"io.snapsafe.Manager.ListParticipants\"}\0".repeat(100);
    let mut streams: Vec<_> = (0..32).map(|_| UnixStream::connect(socket).unwrap()).collect();
    for stream in &streams {
        stream.set_nonblocking(true).unwrap();
    }
    at_work();
    let mut buffer = vec![0; 65536];
    loop {
        for stream in &mut streams {
            let _ = stream.write(&call);
            let _ = stream.read(&mut buffer);
        }
    }
}

fn sends_a_huge_message(socket: &Socket) {
    at_work();
    loop {
        let Ok(mut stream) = UnixStream::connect(socket) else { continue };
        while stream.write_all(&[b'{'; 65536]).is_ok() {}
    }
}

fn sends_halves(socket: &Socket) {
    let connect = || {
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.write_all(b"{\"method\":\"io.snapsafe.").ok()?;
        Some(stream)
    };
    let _halves: Vec<_> = (0..300).filter_map(|_| connect()).collect();
    until_killed();
}

fn sends_garbage(socket: &Socket) {
    at_work();
    let deep = "[".repeat(60_000);
    let garbage: [&[u8]; 7] = [
        b"\0\0\0",
        b"null\0",
        b"{\"method\":1}\0",
        b"{\"method\":\"\"}\0{\"method\":\"a\",\"parameters\":[]}\0",
        b"\xff\xfe\0",
        b"{\"method\":\"io.snapsafe.Manager.Ack\",\"parameters\":{\"id\":\"\",\"transition\":-1}}\0",
        deep.as_bytes(),
    ];
    loop {
        for bytes in garbage {
            if let Ok(mut stream) = UnixStream::connect(socket) {
                let _ = stream.write_all(bytes);
                let _ = stream.write_all(b"\0");
            }
        }
    }
}

fn sends_descriptors(socket: &Socket) {
    at_work();
    let null = std::fs::File::open("/dev/null").unwrap();
    let call = b"{\"method\":\"io.snapsafe.Manager.Status\"}\0";
    loop {
        let Ok(stream) = UnixStream::connect(socket) else { continue };
        let fds = [null.as_fd(); 100];
        let mut space = vec![std::mem::MaybeUninit::uninit(); 1024];
        for _ in 0..10 {
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            let bytes = [IoSlice::new(call)];
            let _ = sendmsg(&stream, &bytes, &mut control, SendFlags::NOSIGNAL);
        }
    }
}

fn registers_without_end(socket: &Socket) {
    let mut kept = Vec::new();
    let register = Register { name: "crowd".to_owned(), mode: Some(Mode::Delay), order: None };
    loop {
        let mut client = Client::connect_to(socket).unwrap();
        match client.call_for_descriptors(&register) {
            Ok((_, descriptors)) => kept.extend(descriptors),
            Err(Error::Refused(Refusal::TooMany { what, limit })) if what == "participants" => {
                assert_eq!(limit, kept.len() as u64);
                return until_killed();
            }
            // The rate.
            Err(_) => {}
        }
    }
}

fn never_reads(socket: &Socket) {
    let mut kept = Vec::new();
    for _ in 0..60 {
        let Ok(client) = Client::connect_to(socket) else { continue };
        kept.extend(client.subscribe(&Subscribe { id: None }));
        if let Ok(mut stream) = UnixStream::connect(socket) {
            let _ = stream.set_nonblocking(true);
            let list =
                b"{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":\
                         {\"interface\":\"io.snapsafe.Manager\"}}\0";
            for _ in 0..200 {
                let _ = stream.write(list);
            }
            std::mem::forget(stream);
        }
    }
    until_killed();
}

fn takes_locks(socket: &Socket) {
    let inhibit = Inhibit {
        what: "quiesce:unquiesce".to_owned(),
        who: "hostile".to_owned(),
        why: "to hold it up".to_owned(),
        mode: Some(Mode::Delay),
    };
    let mut kept = Vec::new();
    loop {
        match Client::connect_to(socket).unwrap().call_for_descriptors(&inhibit) {
            Ok((_, descriptors)) => kept.extend(descriptors),
            Err(error) => {
                assert!(matches!(error, Error::Refused(Refusal::TooMany { .. })), "{error}");
                return until_killed();
            }
        }
    }
}

fn asks_for_what_is_roots(socket: &Socket) {
    let register = |mode, order| {
        let name = "other".to_owned();
        let register = Register { name, mode: Some(mode), order };
        Client::connect_to(socket).unwrap().call(&register)
    };
    assert!(matches!(refusal(register(Mode::Block, None)), Refusal::NotPermitted { .. }));
    assert!(matches!(refusal(register(Mode::Delay, Some(1))), Refusal::NotPermitted { .. }));
    assert!(register(Mode::Delay, None).is_ok());
    assert!(register(Mode::Notify, Some(50)).is_ok());
}

fn registers_required_names(socket: &Socket) {
    let register = |name: &str, mode| {
        let register = Register { name: name.to_owned(), mode: Some(mode), order: None };
        Client::connect_to(socket).unwrap().call(&register)
    };
    assert!(matches!(refusal(register("roots", Mode::Delay)), Refusal::NotPermitted { .. }));
    assert!(register("theirs", Mode::Block).is_ok());
    assert!(matches!(refusal(register("theirs", Mode::Notify)), Refusal::InvalidParameter { .. }));
}

fn uses_anothers_id(socket: &Socket, id: &str) {
    let connect = || Client::connect_to(socket).unwrap();
    let ack =
        Ack { id: id.to_owned(), transition: 1, generation: 1, phase: None, ok: None, why: None };
    assert!(matches!(refusal(connect().call(&ack)), Refusal::UnknownParticipant {}));
    let mut events = connect().subscribe(&Subscribe { id: Some(id.to_owned()) }).unwrap();
    assert!(matches!(refusal(events.next(None)), Refusal::UnknownParticipant {}));
}

/// Root takes snapshots meanwhile, and nothing of the other is left afterwards.
fn survives(role: &str) {
    if !can_be_others() {
        return;
    }
    let daemon = Daemon::with("optional_delay = \"100ms\"");
    let before = daemon.descriptors();
    let mut other = as_other(&daemon, role);
    other.at_work();
    for _ in 0..3 {
        daemon.quiesce().unwrap();
        assert!(daemon.gate_is_shut());
        daemon.unquiesce(Expectation::Any).unwrap();
        assert!(!daemon.gate_is_shut());
    }
    let most = daemon.memory_kib("VmHWM");
    println!("{role}: {most} KiB at most, {} descriptors", daemon.descriptors());
    assert!(most <= MOST_KIB, "{most} KiB");
    assert!(daemon.descriptors() <= before + MOST_OF_ONE_USER, "{}", daemon.descriptors());
    drop(other);
    while daemon.descriptors() > before {
        std::thread::yield_now();
    }
    assert_eq!(daemon.client().call(&Status {}).unwrap().state, State::Running);
}

macro_rules! survived {
    ($($name:ident: $role:literal,)*) => { $(
        #[test]
        fn $name() {
            survives($role);
        }
    )* };
}

survived! {
    a_flood_of_connections_holds_nothing_up: "connects_without_end",
    a_flood_of_requests_holds_nothing_up: "asks_without_end",
    messages_without_end_are_cut_off: "sends_a_huge_message",
    halves_of_messages_hold_nothing_up: "sends_halves",
    garbage_harms_nobody: "sends_garbage",
    descriptors_that_are_sent_in_are_closed: "sends_descriptors",
    thousands_of_registrations_are_refused_and_the_crowd_is_not_waited_for: "registers_without_end",
    whoever_never_reads_is_dropped_or_bounded: "never_reads",
    locks_of_other_users_hold_a_transition_up_for_a_moment_only: "takes_locks",
}
