//! Messages over a Unix stream socket: each ends with a NUL, and may carry descriptors.
//!
//! Works on blocking and non-blocking sockets. Bytes that were read and not yet taken, and bytes
//! that were queued and not yet sent, are kept here and bounded; whoever goes beyond is a
//! [`Failure`], after which the connection is of no more use.
//!
//! Descriptors belong to the message of which the same `recvmsg` gave the last byte. That holds for
//! every peer that sends a message with descriptors by a `sendmsg` of its own, as this one does:
//! the kernel ends a read after a piece that has some.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message, with its NUL.
pub const MOST_MESSAGE_BYTES: usize = 64 * 1024;

/// The most that is kept for a peer that does not read.
pub const MOST_QUEUED_BYTES: usize = 4 * MOST_MESSAGE_BYTES;

/// The most descriptors that a message carries. Surplus ones are closed.
pub const MOST_DESCRIPTORS: usize = 4;

/// Both ends of a conversation over one socket.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    takes_descriptors: bool,
    /// Read: whole messages, and the beginning of one.
    incoming: Vec<u8>,
    /// How much of `incoming` was taken.
    taken: usize,
    /// Up to where `incoming` was searched for a NUL.
    searched: usize,
    /// Descriptors with the place in `incoming` of the last byte that came with them.
    incoming_descriptors: VecDeque<(usize, OwnedFd)>,
    /// Queued and not sent: each message with how much of it is gone, and its descriptors.
    outgoing: VecDeque<Outgoing>,
    queued: usize,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

/// One message as it came.
#[derive(Debug)]
pub struct Message {
    /// JSON, if the peer keeps to the protocol. Without the NUL.
    pub bytes: Vec<u8>,
    /// What came with it. Not what the message says, which may name none or more.
    pub descriptors: Vec<OwnedFd>,
}

/// What a look at the socket gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// There may be a message now.
    Some,
    /// Nothing for now: the socket does not block, and has nothing.
    Nothing,
    /// The peer has closed, and no message was cut short.
    End,
}

/// Why a connection is of no more use.
#[derive(Debug)]
pub enum Failure {
    /// Longer than [`MOST_MESSAGE_BYTES`], received or to be sent.
    TooLong,
    /// The peer closed in the middle of a message.
    Cut,
    /// The peer does not read: [`MOST_QUEUED_BYTES`] wait for it.
    Backlog,
    /// A message names a descriptor that did not come with it.
    NoDescriptor,
    /// Not JSON, or not an object of that form.
    Malformed(serde_json::Error),
    /// The socket failed.
    Io(io::Error),
}

impl Channel {
    /// Speaks over `stream`. Descriptors that the peer sends are closed by the kernel.
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            takes_descriptors: false,
            incoming: Vec::new(),
            taken: 0,
            searched: 0,
            incoming_descriptors: VecDeque::new(),
            outgoing: VecDeque::new(),
            queued: 0,
        }
    }

    /// The same, and accepts descriptors.
    pub fn with_descriptors(stream: UnixStream) -> Self {
        Self { takes_descriptors: true, ..Self::new(stream) }
    }

    /// The socket, for options and credentials.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// How many bytes wait to be sent.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Whether something came that was not taken: whole messages, or the beginning of one.
    pub fn holds_some(&self) -> bool {
        self.incoming.len() > self.taken
    }

    /// Reads once, as much as a message may have left. On a blocking socket this waits.
    ///
    /// Take what is whole before filling again: where whole messages leave no room, this does not
    /// read, and where [`MOST_DESCRIPTORS`] wait to be taken, further ones are closed.
    pub fn fill(&mut self) -> Result<Filled, Failure> {
        self.forget_what_was_taken();
        let before = self.incoming.len();
        if before >= MOST_MESSAGE_BYTES {
            return Ok(Filled::Some);
        }
        self.incoming.resize(MOST_MESSAGE_BYTES.min(before.max(2048) * 2), 0);
        let result = self.receive(before);
        let count = result.as_ref().map_or(0, |(count, _)| *count);
        self.incoming.truncate(before + count);
        match result {
            Ok((0, _)) if before == 0 => Ok(Filled::End),
            Ok((0, _)) if self.incoming.contains(&0) => Ok(Filled::Some),
            Ok((0, _)) => Err(Failure::Cut),
            Ok((count, descriptors)) => {
                let last = before + count - 1;
                let room = MOST_DESCRIPTORS.saturating_sub(self.incoming_descriptors.len());
                let kept = descriptors.into_iter().take(room).map(|fd| (last, fd));
                self.incoming_descriptors.extend(kept);
                Ok(Filled::Some)
            }
            Err(Errno::WOULDBLOCK) => Ok(Filled::Nothing),
            Err(error) => Err(Failure::Io(error.into())),
        }
    }

    fn forget_what_was_taken(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.incoming.drain(..taken);
        self.searched -= taken;
        for (last, _) in &mut self.incoming_descriptors {
            *last -= taken;
        }
    }

    /// One successful `recvmsg` behind the first `start` bytes: how many, and what came with them.
    fn receive(&mut self, start: usize) -> Result<(usize, Vec<OwnedFd>), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        // With no room for them the kernel closes descriptors, and so it does with surplus ones.
        let space = if self.takes_descriptors { &mut space[..] } else { &mut [] };
        let mut control = RecvAncillaryBuffer::new(space);
        let got = rustix::io::retry_on_intr(|| {
            let room = &mut [IoSliceMut::new(&mut self.incoming[start..])];
            recvmsg(&self.stream, room, &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        Ok((got.bytes, descriptors))
    }

    /// Takes the next whole message, if there is one.
    pub fn take(&mut self) -> Result<Option<Message>, Failure> {
        let rest = &self.incoming[self.searched..];
        let Some(end) = rest.iter().position(|&byte| byte == 0).map(|at| self.searched + at) else {
            self.searched = self.incoming.len();
            let full = self.searched - self.taken >= MOST_MESSAGE_BYTES;
            return if full { Err(Failure::TooLong) } else { Ok(None) };
        };
        let bytes = self.incoming[self.taken..end].to_vec();
        self.taken = end + 1;
        self.searched = self.taken;
        let its = self.incoming_descriptors.iter().take_while(|(last, _)| *last <= end).count();
        let descriptors = self.incoming_descriptors.drain(..its).map(|(_, fd)| fd).collect();
        Ok(Some(Message { bytes, descriptors }))
    }

    /// Puts a message at the end of the queue, for [`Channel::flush`].
    pub fn queue(
        &mut self,
        message: &impl Serialize,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let mut bytes = serde_json::to_vec(message).map_err(Failure::Malformed)?;
        bytes.push(0);
        if bytes.len() > MOST_MESSAGE_BYTES || descriptors.len() > MOST_DESCRIPTORS {
            return Err(Failure::TooLong);
        }
        if self.queued + bytes.len() > MOST_QUEUED_BYTES {
            return Err(Failure::Backlog);
        }
        self.queued += bytes.len();
        self.outgoing.push_back(Outgoing { bytes, sent: 0, descriptors });
        Ok(())
    }

    /// Sends what is queued, as much as the socket takes. Whether nothing is left.
    pub fn flush(&mut self) -> Result<bool, Failure> {
        while let Some(message) = self.outgoing.front_mut() {
            let count = match send(&self.stream, message) {
                Ok(count) => count,
                Err(Errno::WOULDBLOCK) => return Ok(false),
                Err(error) => return Err(Failure::Io(error.into())),
            };
            // They went with the first byte.
            message.descriptors.clear();
            message.sent += count;
            self.queued -= count;
            if message.sent == message.bytes.len() {
                self.outgoing.pop_front();
            }
        }
        Ok(true)
    }
}

/// One successful `sendmsg` of what is left of a message.
fn send(stream: &UnixStream, message: &Outgoing) -> Result<usize, Errno> {
    let borrowed: Vec<BorrowedFd<'_>> = message.descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&borrowed));
    }
    let bytes = [IoSlice::new(&message.bytes[message.sent..])];
    rustix::io::retry_on_intr(|| sendmsg(stream, &bytes, &mut control, SendFlags::NOSIGNAL))
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Message {
    /// The message as what it has to be.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.bytes).map_err(Failure::Malformed)
    }
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "a message is longer than {} KiB", MOST_MESSAGE_BYTES / 1024)
            }
            Self::Cut => f.write_str("the peer closed in the middle of a message"),
            Self::Backlog => f.write_str("the peer does not read what it is sent"),
            Self::NoDescriptor => f.write_str("a message came without its descriptor"),
            Self::Malformed(error) => write!(f, "a message does not keep to the protocol: {error}"),
            Self::Io(error) => write!(f, "the socket failed: {error}"),
        }
    }
}

impl core::error::Error for Failure {}
