//! Netlink: messages with attributes in, messages with attributes out.
//!
//! Only what the gate needs of it. The kernel answers a netlink request before `sendto` returns,
//! and fills the receive queue with the next part of a dump when one is taken: nothing here waits.
//!
//! Layout: `include/uapi/linux/netlink.h` (`struct nlmsghdr`, `struct nlattr`). Headers and lengths
//! are in the machine's byte order, what is inside of attributes is as each protocol likes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname,
    recvfrom, sendto, socket_with, sockopt,
};

/// `nlmsg_flags`.
pub(super) const REQUEST: u16 = 0x01;
pub(super) const ACK: u16 = 0x04;
pub(super) const DUMP: u16 = 0x300;
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;
/// In answers: the dump did not see one state of the world.
const DUMP_INTERRUPTED: u16 = 0x10;

/// `nlmsg_type` of answers.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// `NLA_F_NESTED`, and the bits of `nla_type` that are not its type.
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

const HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// More than the kernel puts into one datagram (`NLMSG_GOODSIZE`, and dumps up to 32 KiB).
const RECEIVE_BYTES: usize = 64 * 1024;

/// How often a dump is asked for again that did not see one state.
const DUMP_TRIES: usize = 16;

fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Messages that are sent together.
#[derive(Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    count: u32,
    /// How many of them ask for an acknowledgement.
    acks: usize,
}

impl Messages {
    /// Appends one: `fixed` is the protocol's own header, `attributes` writes what follows.
    pub(super) fn push(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        // The sequence number, counted from the socket's when it is sent; and the sender, which the
        // kernel fills in.
        self.bytes.extend_from_slice(&self.count.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        attributes(&mut Attributes { bytes: &mut self.bytes });
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.count += 1;
        self.acks += usize::from(flags & ACK != 0);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(align(bytes.len()), 0);
}

/// The attributes of a message in the making.
pub(super) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    /// A number in network order, as nf_tables has them.
    pub(super) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A string with its NUL.
    pub(super) fn string(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    pub(super) fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.open(kind | NESTED);
        inner(&mut Attributes { bytes: self.bytes });
        self.close(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    /// The length is without the padding that follows.
    fn close(&mut self, start: usize) {
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        pad(self.bytes);
    }
}

/// A message that came.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) kind: u16,
    flags: u16,
    sequence: u32,
    /// Whose request it is about: in notifications, the port of whoever made the change.
    pub(super) port: u32,
    /// The protocol's own header, and the attributes.
    body: Vec<u8>,
}

impl Message {
    pub(super) fn fixed<const N: usize>(&self) -> Option<[u8; N]> {
        self.body.first_chunk().copied()
    }

    /// The attributes after a fixed header of this size.
    pub(super) fn attributes(&self, fixed: usize) -> Parsed<'_> {
        Parsed(self.body.get(align(fixed)..).unwrap_or(&[]))
    }

    /// The error number of an `NLMSG_ERROR`: 0 acknowledges.
    fn error(&self) -> i32 {
        self.fixed().map_or(-Errno::INVAL.raw_os_error(), i32::from_ne_bytes)
    }
}

/// Attributes that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parsed<'a>(&'a [u8]);

impl<'a> Parsed<'a> {
    pub(super) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    pub(super) fn nested(self, kind: u16) -> Parsed<'a> {
        Parsed(self.get(kind).unwrap_or(&[]))
    }

    pub(super) fn be32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    pub(super) fn string(self, kind: u16) -> Option<&'a str> {
        let value = self.get(kind)?;
        std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
    }

    /// In their order. Ends where one does not fit.
    pub(super) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
            let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
            let value = rest.get(ATTRIBUTE_HEADER_BYTES..length)?;
            rest = rest.get(align(length)..).unwrap_or(&[]);
            Some((kind & TYPE_MASK, value))
        })
    }
}

impl<'a> From<&'a [u8]> for Parsed<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

/// A socket that only talks with the kernel.
pub(super) struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// `None` is rtnetlink. `groups` are those whose notifications come, as a mask.
    pub(super) fn open(protocol: Option<Protocol>, groups: u32) -> io::Result<Self> {
        // Not inherited by hooks: whoever holds it open keeps a table of ours owned.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        let port = SocketAddrNetlink::try_from(getsockname(&fd)?)?.pid();
        if groups != 0 {
            // As many notifications as the system lets it hold: an overflow is noticed, too.
            let _ = sockopt::set_socket_recv_buffer_size(&fd, 1 << 20);
        }
        Ok(Self { fd, port, sequence: 0, buffer: vec![0; RECEIVE_BYTES] })
    }

    /// The number by which the kernel knows this socket.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Sends them, and succeeds if all that ask for it are acknowledged.
    pub(super) fn commit(&mut self, messages: Messages) -> Result<(), Errno> {
        let (expected, count) = (messages.acks, messages.count);
        let first = self.send(messages)?;
        let mut acknowledged = 0;
        let mut failure = None;
        while let Some(answers) = self.receive()? {
            for answer in answers {
                if answer.kind != NLMSG_ERROR || answer.sequence.wrapping_sub(first) >= count {
                    continue;
                }
                match answer.error() {
                    0 => acknowledged += 1,
                    code => failure = failure.or(Some(Errno::from_raw_os_error(-code))),
                }
            }
        }
        match failure {
            Some(errno) => Err(errno),
            None if acknowledged == expected => Ok(()),
            None => Err(Errno::IO),
        }
    }

    /// The answers to one question: one message, or with [`DUMP`] all of them.
    pub(super) fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: impl Fn(&mut Attributes<'_>),
    ) -> Result<Vec<Message>, Errno> {
        for _ in 0..DUMP_TRIES {
            let mut question = Messages::default();
            question.push(kind, flags, fixed, &attributes);
            let sequence = self.send(question)?;
            match self.answers(sequence, flags & DUMP == DUMP) {
                Err(Errno::INTR) => {}
                answers => return answers,
            }
        }
        Err(Errno::BUSY)
    }

    /// `INTR`: what was being listed has changed meanwhile.
    fn answers(&mut self, sequence: u32, is_dump: bool) -> Result<Vec<Message>, Errno> {
        let mut found = Vec::new();
        let (mut is_complete, mut is_interrupted) = (!is_dump, false);
        while let Some(answers) = self.receive()? {
            for answer in answers.into_iter().filter(|answer| answer.sequence == sequence) {
                is_interrupted |= answer.flags & DUMP_INTERRUPTED != 0;
                match answer.kind {
                    NLMSG_ERROR if answer.error() != 0 => {
                        return Err(Errno::from_raw_os_error(-answer.error()));
                    }
                    NLMSG_ERROR => {}
                    NLMSG_DONE => is_complete = true,
                    _ => found.push(answer),
                }
            }
        }
        match (is_interrupted, is_complete) {
            (true, _) => Err(Errno::INTR),
            (false, true) => Ok(found),
            (false, false) => Err(Errno::IO),
        }
    }

    /// Returns the sequence number of the first.
    fn send(&mut self, mut messages: Messages) -> Result<u32, Errno> {
        // What is still there belongs to an earlier question.
        while self.receive()?.is_some() {}
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(messages.count);
        let mut at = 0;
        while at < messages.bytes.len() {
            let message = &mut messages.bytes[at..];
            let number = u32::from_ne_bytes([message[8], message[9], message[10], message[11]]);
            message[8..12].copy_from_slice(&first.wrapping_add(number).to_ne_bytes());
            at += u32::from_ne_bytes([message[0], message[1], message[2], message[3]]) as usize;
        }
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.fd, &messages.bytes, SendFlags::empty(), &kernel)?;
        Ok(first)
    }

    /// The next datagram's messages, if there is one. `NOBUFS`: some were lost.
    pub(super) fn receive(&mut self) -> Result<Option<Vec<Message>>, Errno> {
        loop {
            let received = recvfrom(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC);
            let (length, full_length, from) = match received {
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                other => other?,
            };
            if full_length > length {
                return Err(Errno::MSGSIZE);
            }
            // Others may send to this port, too. Only the kernel's word counts.
            if from.and_then(|from| SocketAddrNetlink::try_from(from).ok()).map(|from| from.pid())
                == Some(0)
            {
                return Ok(Some(split(&self.buffer[..length])));
            }
        }
    }
}

/// The messages of a datagram. Ends where one does not fit.
fn split(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let word = |at: usize| {
            u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let length = word(0) as usize;
        let Some(body) = bytes.get(HEADER_BYTES..length) else { break };
        messages.push(Message {
            kind: half(4),
            flags: half(6),
            sequence: word(8),
            port: word(12),
            body: body.to_vec(),
        });
        bytes = bytes.get(align(length)..).unwrap_or(&[]);
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let mut messages = Messages::default();
        messages.push(7, ACK, &[1, 2, 3, 4], |to| {
            to.string(1, "name");
            to.nest(2, |inner| inner.be32(3, 5));
            to.bytes(4, &[9]);
        });
        messages.push(8, 0, &[], |_| {});
        let read = split(&messages.bytes);
        assert_eq!(read.iter().map(|message| message.kind).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(read[0].fixed(), Some([1, 2, 3, 4]));
        let attributes = read[0].attributes(4);
        assert_eq!(attributes.string(1), Some("name"));
        assert_eq!(attributes.nested(2).be32(3), Some(5));
        assert_eq!(attributes.get(4), Some(&[9][..]));
        assert_eq!(attributes.get(5), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_go_on_for_ever(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), 0..40u8, any::<u8>()], 0..200),
        ) {
            for message in split(&bytes) {
                message.error();
                prop_assert!(message.attributes(4).iter().count() <= bytes.len());
                message.attributes(4).nested(1).string(1);
            }
        }
    }
}
