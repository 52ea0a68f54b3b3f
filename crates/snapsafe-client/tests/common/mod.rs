//! A daemon that does what the test says, on the codec that the real one uses.
#![allow(dead_code, reason = "each test program uses some of it")]

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use snapsafe_client::wire::manager::{Ack, Event, Inhibited, Nothing, Registered};
use snapsafe_client::wire::{Call, Channel, Filled, Message, Method, Outcome, Phase, Reply, State};

/// A folder of its own, a socket in it, and who has connected.
pub(crate) struct Daemon {
    folder: PathBuf,
    listener: Option<UnixListener>,
}

/// One connection, as the daemon has it.
pub(crate) struct Peer {
    pub(crate) channel: Channel,
}

impl Daemon {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("snapsafe-client-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let mut daemon = Self { folder, listener: None };
        daemon.start();
        daemon
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    pub(crate) fn start(&mut self) {
        self.listener = Some(UnixListener::bind(self.socket()).unwrap());
    }

    /// As kill -9: the socket's file stays, connections are the caller's to drop.
    pub(crate) fn stop(&mut self) {
        self.listener = None;
    }

    /// What a new process does with what the old one left.
    pub(crate) fn start_again(&mut self) {
        std::fs::remove_file(self.socket()).unwrap();
        self.start();
    }

    pub(crate) fn accept(&self) -> Peer {
        let (stream, _) = self.listener.as_ref().unwrap().accept().unwrap();
        Peer { channel: Channel::new(stream) }
    }

    /// Whether a connection waits to be accepted.
    pub(crate) fn is_called(&self) -> bool {
        let listener = self.listener.as_ref().unwrap();
        listener.set_nonblocking(true).unwrap();
        let called = listener.accept().is_ok();
        listener.set_nonblocking(false).unwrap();
        called
    }

    /// Takes the registration of one participant: its line, and the pipe that ends with it.
    pub(crate) fn register(&self, id: &str) -> (Peer, File) {
        let mut peer = self.accept();
        let call = peer.call();
        assert_eq!(call.method, "io.snapsafe.Manager.Register");
        let pipe = peer.register(id);
        peer.subscribed(id);
        (peer, pipe)
    }

    /// Takes an answer, and hears it.
    pub(crate) fn acked(&self) -> Ack {
        let mut peer = self.accept();
        let ack = peer.expect::<Ack>();
        peer.accept();
        ack
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Peer {
    pub(crate) fn message(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.channel.take().unwrap() {
                return Some(message);
            }
            if self.channel.fill().ok()? == Filled::End {
                return None;
            }
        }
    }

    pub(crate) fn call(&mut self) -> Call {
        self.message().expect("a call").read().unwrap()
    }

    pub(crate) fn expect<M: Method>(&mut self) -> M {
        let call = self.call();
        assert_eq!(call.method, M::NAME);
        call.read().unwrap()
    }

    pub(crate) fn reply(&mut self, reply: &impl Serialize, descriptors: Vec<OwnedFd>) {
        self.channel.queue(reply, descriptors).unwrap();
        assert!(self.channel.flush().unwrap());
    }

    /// Answers `Ack`, if that is of interest: a newer answer may have replaced it.
    pub(crate) fn accept(&mut self) {
        self.channel.queue(&Reply::of(&Nothing {}), vec![]).unwrap();
        let _ = self.channel.flush();
    }

    /// Answers `Register`; what is given ends with the registration.
    pub(crate) fn register(&mut self, id: &str) -> File {
        let (reader, writer) = std::io::pipe().unwrap();
        let registered = Registered {
            id: id.to_owned(),
            state: State::Running,
            transition: 6,
            generation: 1,
            fd: 0,
        };
        self.reply(&Reply::of(&registered), vec![writer.into()]);
        File::from(OwnedFd::from(reader))
    }

    /// Answers `Inhibit`.
    pub(crate) fn inhibit(&mut self) -> File {
        let (reader, writer) = std::io::pipe().unwrap();
        self.reply(&Reply::of(&Inhibited { fd: 0 }), vec![writer.into()]);
        File::from(OwnedFd::from(reader))
    }

    pub(crate) fn subscribed(&mut self, id: &str) {
        let call = self.call();
        let wanted = json!({
            "method": "io.snapsafe.Manager.Subscribe", "parameters": { "id": id }, "more": true
        });
        assert_eq!(serde_json::to_value(call).unwrap(), wanted);
    }

    pub(crate) fn tell(&mut self, event: &Event) {
        self.reply(&Reply::continued(event), vec![]);
    }
}

/// The present state, with nothing asked.
pub(crate) fn state(state: State) -> Event {
    Event { state, transition: 7, generation: 1, outcome: None, phase: None, deadline_ms: None }
}

/// A request, in transition 7; generation 2 begins with `restored`.
pub(crate) fn asks(phase: Phase) -> Event {
    let (in_state, generation, outcome) = match phase {
        Phase::Quiesce => (State::Quiescing, 1, None),
        Phase::Resumed => (State::Unquiescing, 1, Some(Outcome::Resumed)),
        Phase::Restored => (State::Unquiescing, 2, Some(Outcome::Restored)),
        Phase::Aborted => (State::Unquiescing, 1, Some(Outcome::Aborted)),
    };
    Event {
        state: in_state,
        transition: 7,
        generation,
        outcome,
        phase: Some(phase),
        deadline_ms: Some(1000),
    }
}

/// Waits until every copy of the other end is closed.
pub(crate) fn wait_for_the_end(mut pipe: File) {
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

/// Whether some copy of the other end is open.
pub(crate) fn is_held(pipe: &File) -> bool {
    rustix::io::ioctl_fionbio(pipe, true).unwrap();
    let held = rustix::io::read(pipe, &mut [0; 1]) == Err(rustix::io::Errno::WOULDBLOCK);
    rustix::io::ioctl_fionbio(pipe, false).unwrap();
    held
}

/// A path at which nobody listens.
pub(crate) fn nobody() -> &'static Path {
    Path::new("/nonexistent/snapsafe/socket")
}
