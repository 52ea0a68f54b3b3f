//! What any user of the machine can send to the daemon's socket, which is read as root: bytes in pieces of any
//! length, with descriptors and without, whole messages and none, and an end anywhere.
//!
//! Messages are what stands between NULs, up to the limit, however the bytes came; a call that is understood means
//! the same once written and read again, and so does every answer; no descriptor is left behind.
#![no_main]

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use libfuzzer_sys::fuzz_target;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::Value;
use snaprng_fuzz::Input;
use snapsafe_client::wire::manager::{Event, StatusReply};
use snapsafe_client::wire::{
    Call, Channel, Failure, Filled, MOST_DESCRIPTORS, MOST_MESSAGE_BYTES, Message, Reply, Request,
};

/// Calls that are nearly right, for pieces of inputs to stand between.
const PHRASES: &[&str] = &[
    "{\"method\":\"io.snapsafe.Manager.",
    "\",\"parameters\":{",
    "Quiesce\",\"parameters\":{\"timeout_ms\":5000,\"force\":true,\"token\":\"t\"}}\0",
    "Unquiesce\",\"parameters\":{\"expect\":\"restored\",\"entropy\":\"AAAA\"}}\0",
    "Register\",\"parameters\":{\"name\":\"db\",\"mode\":\"block\",\"order\":-1}}\0",
    "Ack\",\"parameters\":{\"participant\":\"1\",\"transition\":1,\"generation\":2,\"phase\":\"quiesce\"}}\0",
    "Subscribe\",\"more\":true}\0",
    "Status\",\"oneway\":true}\0",
    "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{\"interface\":\"\"}}\0",
    "{\"error\":\"io.snapsafe.Manager.Busy\",\"parameters\":{\"state\":\"quiesced\",\"transition\":7}}\0",
    "{\"parameters\":{\"state\":\"running\"},\"continues\":true}\0",
    "\"participant\":",
    "\\u0000",
    "\0",
];

/// The daemon's end, and the peer's.
struct Conversation {
    channel: Channel,
    peer: Option<UnixStream>,
    sent: Vec<u8>,
    received: Vec<Message>,
}

impl Conversation {
    fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        for end in [&ours, &theirs] {
            end.set_nonblocking(true).expect("an option of the socket");
        }
        let channel = Channel::with_descriptors(ours);
        Self { channel, peer: Some(theirs), sent: Vec::new(), received: Vec::new() }
    }

    /// Sends all of it, as quickly as it is read.
    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let Some(mut peer) = self.peer.as_ref() else { return Ok(()) };
            match peer.write(bytes) {
                Ok(count) => {
                    let (now, later) = bytes.split_at(count);
                    self.sent.extend_from_slice(now);
                    bytes = later;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => _ = self.drain()?,
                Err(error) => panic!("{error}"),
            }
        }
        Ok(())
    }

    /// Sends a piece with descriptors, if there is room.
    fn send_with(&mut self, bytes: &[u8], descriptor: &impl AsFd, copies: usize) {
        let Some(peer) = self.peer.as_ref() else { return };
        let borrowed = vec![descriptor.as_fd(); copies];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
        let count = sendmsg(peer, &[IoSlice::new(bytes)], &mut control, SendFlags::empty());
        self.sent.extend_from_slice(&bytes[..count.unwrap_or(0)]);
    }

    /// Takes all that is there. The end that is not an error is the last look's.
    fn drain(&mut self) -> Result<Filled, Failure> {
        loop {
            let filled = self.channel.fill()?;
            while let Some(message) = self.channel.take()? {
                assert!(message.descriptors.len() <= MOST_DESCRIPTORS);
                self.received.push(message);
            }
            if filled != Filled::Some {
                return Ok(filled);
            }
        }
    }

    /// What was received is what was sent, as far as the limit lets it pass.
    fn check(&self, end: &Result<Filled, Failure>) {
        let mut messages = Vec::new();
        let mut rest = self.sent.as_slice();
        while let Some(at) = rest.iter().take(MOST_MESSAGE_BYTES).position(|byte| *byte == 0) {
            messages.push(&rest[..at]);
            rest = &rest[at + 1..];
        }
        let received: Vec<&[u8]> = self.received.iter().map(|m| m.bytes.as_slice()).collect();
        assert_eq!(received, messages);
        match end {
            Err(Failure::TooLong) => assert!(rest.len() >= MOST_MESSAGE_BYTES),
            Err(Failure::Cut) => assert!(self.peer.is_none() && !rest.is_empty()),
            Ok(Filled::End) => assert!(self.peer.is_none() && rest.is_empty()),
            Ok(_) => assert!(self.peer.is_some() && rest.len() < MOST_MESSAGE_BYTES),
            Err(failure) => panic!("{failure}"),
        }
    }
}

/// Whether numbers with a fraction are in it: those are not promised to be the same when read again.
fn is_inexact(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(is_inexact),
        Value::Object(values) => values.values().any(is_inexact),
        _ => false,
    }
}

fn check_message(message: &Message) {
    if message.read::<Value>().is_ok_and(|value| is_inexact(&value)) {
        return;
    }
    if let Ok(call) = message.read::<Call>() {
        let text = serde_json::to_vec(&call).expect("it can be written");
        assert_eq!(serde_json::from_slice::<Call>(&text).expect("what was written"), call);
        check_call(&call);
    }
    if let Ok(reply) = message.read::<Reply>() {
        let name = reply.error.clone();
        let _ = reply.clone().read::<StatusReply>();
        let _ = reply.clone().read::<Event>();
        if let Ok(Err(error)) = reply.read::<Value>() {
            assert_eq!(Some(error.clone().into_parts().0), name);
            let again = Reply::from(error.clone()).read::<Value>().expect("an error");
            assert_eq!(again, Err(error));
        }
    }
}

fn check_call(call: &Call) {
    match Request::read(call) {
        Ok(request) => {
            // What it does not say is what it says with nothing.
            let mut spelled_out = call.clone();
            spelled_out.parameters.get_or_insert_default().retain(|_, value| !value.is_null());
            assert_eq!(Request::read(&spelled_out), Ok(request));
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let answer =
                serde_json::to_vec(&Reply::from(error.clone())).expect("it can be written");
            let answer: Reply = serde_json::from_slice(&answer).expect("what was written");
            assert_eq!(answer.read::<Value>().expect("an error"), Err(error));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let mut conversation = Conversation::new();
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut end = Ok(Filled::Nothing);
    while end.is_ok() && !input.is_over() && conversation.peer.is_some() {
        match input.byte() % 8 {
            0 | 1 => {
                end = conversation.send(input.choice(PHRASES).as_bytes()).map(|()| Filled::Some)
            }
            2 | 3 => {
                let length = input.byte().into();
                end = conversation.send(input.bytes(length)).map(|()| Filled::Some);
            }
            4 => {
                let length = input.choice(&[1000, 65_534, 65_535, 65_536, 70_000]);
                end = conversation.send(&vec![input.byte(); length]).map(|()| Filled::Some);
            }
            5 => {
                let copies = 1 + usize::from(input.byte() % 16);
                conversation.send_with(input.choice(PHRASES).as_bytes(), &writer, copies);
            }
            6 => end = conversation.drain(),
            _ => conversation.peer = None,
        }
    }
    if end.is_ok() {
        end = conversation.drain();
    }
    conversation.check(&end);
    conversation.received.iter().for_each(check_message);
    // Every copy of the pipe's end has been closed with them.
    drop(conversation);
    drop(writer);
    rustix::io::ioctl_fionbio(&reader, true).expect("an option of the pipe");
    assert_eq!(reader.read(&mut [0]).expect("nobody holds its other end"), 0);
});
