//! What goes over the links, what is seen of it, and how long it takes to stop it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, eth, recv, socket_with, sockopt,
};

use snapsafed::gate::Gate;

use crate::namespace::Namespace;

/// A connection that a cut must not end.
pub(crate) struct Conversation {
    client: TcpStream,
    server: TcpStream,
}

impl Conversation {
    pub(crate) fn begin(guest: &Namespace, outside: &Namespace, port: u16) -> Self {
        let listener = outside.run(move || TcpListener::bind(("10.1.0.2", port)).unwrap());
        let mut client = guest.run(move || TcpStream::connect(("10.1.0.2", port)).unwrap());
        let (server, _) = listener.accept().unwrap();
        client.write_all(b"before ").unwrap();
        Self { client, server }
    }

    pub(crate) fn go_on_while_shut(&mut self) {
        self.client.write_all(b"while it was shut ").unwrap();
        self.server.write_all(b"and from outside").unwrap();
    }

    /// Nothing that was said is lost.
    pub(crate) fn end(mut self) {
        self.client.write_all(b"after").unwrap();
        for (heard, said) in [
            (&mut self.server, &b"before while it was shut after"[..]),
            (&mut self.client, b"and from outside"),
        ] {
            let mut received = vec![0; said.len()];
            heard.read_exact(&mut received).unwrap();
            assert_eq!(received, said);
        }
    }
}

/// Sees the frames of one sender that reach a namespace.
pub(crate) struct Gauge {
    socket: OwnedFd,
    sender: [u8; 6],
}

impl Gauge {
    /// `sender`: its hardware address.
    pub(crate) fn new(at: &Namespace, sender: [u8; 6]) -> Self {
        let socket = at.run(|| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(eth::ALL)).unwrap()
        });
        sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20).unwrap();
        let mut gauge = Self { socket, sender };
        // What came between its making and now is nobody's business.
        gauge.count();
        gauge
    }

    /// How many since the last look.
    pub(crate) fn count(&mut self) -> usize {
        self.packets().len()
    }

    /// Those since the last look, from the first byte of their IP header.
    pub(crate) fn packets(&mut self) -> Vec<Vec<u8>> {
        let is_ip = |frame: &Vec<u8>| matches!(frame[..2], [0x08, 0x00] | [0x86, 0xdd]);
        let frames = self.frames();
        frames.into_iter().filter(is_ip).map(|mut frame| frame.split_off(2)).collect()
    }

    /// Frames of any kind since the last look, from the two bytes of their type.
    pub(crate) fn frames(&mut self) -> Vec<Vec<u8>> {
        let mut frame = [0; 2048];
        let mut frames = Vec::new();
        while let Ok((length, _)) = recv(&self.socket, &mut frame[..], RecvFlags::empty()) {
            if length >= 14 && frame[6..12] == self.sender {
                frames.push(frame[12..length].to_vec());
            }
        }
        frames
    }
}

/// Datagrams from one namespace to an address in another.
pub(crate) struct Flow<'a> {
    pub(crate) name: &'static str,
    sender: &'a Namespace,
    receiver: UdpSocket,
    address: SocketAddr,
}

const SHUT: &[u8] = b"shut";
const OPEN: &[u8] = b"open";

impl<'a> Flow<'a> {
    pub(crate) fn new(
        name: &'static str,
        sender: &'a Namespace,
        receiver: &Namespace,
        address: &str,
    ) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let receiver = receiver.run(move || UdpSocket::bind(address).unwrap());
        receiver.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { name, sender, receiver, address }
    }

    fn send(&self, payload: &'static [u8]) {
        let address = self.address;
        self.sender.run(move || {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            // The gate's EPERM is one of the ways not to arrive.
            let _ = UdpSocket::bind(any).unwrap().send_to(payload, address);
        });
    }

    /// Sends what must not arrive.
    pub(crate) fn try_in_vain(&self) {
        (0..20).for_each(|_| self.send(SHUT));
    }

    /// Sends until it arrives, and returns how much came of what was tried in vain: packets of one
    /// path keep their order, so that none of it can still be on its way.
    pub(crate) fn arrives_and_before_it(&self) -> usize {
        let mut early = 0;
        let mut payload = [0; 16];
        loop {
            self.send(OPEN);
            match self.receiver.recv(&mut payload) {
                Ok(length) if &payload[..length] == OPEN => return early,
                Ok(_) => early += 1,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => panic!("{}: {error}", self.name),
            }
        }
    }
}

/// What a gate's moves take, in words.
pub(crate) fn times(gate: &mut dyn Gate) -> String {
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..21 {
        let mut time = |kind: usize, work: &mut dyn FnMut()| {
            let start = Instant::now();
            work();
            times[kind].push(start.elapsed());
        };
        time(0, &mut || gate.shut().unwrap());
        time(1, &mut || gate.shut().unwrap());
        time(2, &mut || while !gate.is_drained().unwrap() {});
        time(3, &mut || gate.open().unwrap());
    }
    let [shut, again, drained, open] = times.map(|mut times: Vec<Duration>| {
        times.sort();
        format!("{:?} (at most {:?})", times[times.len() / 2], times[times.len() - 1])
    });
    format!("shut {shut}; again {again}; empty queues {drained}; open {open}")
}
