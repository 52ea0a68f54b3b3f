//! The codec and the message types: what crosses the socket, from good peers and from bad ones.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;
use serde_json::{Value, json};
use snapsafe_client::wire::manager::{Quiesce, Status, Unquiesce};
use snapsafe_client::wire::{
    Call, Channel, Error, Expectation, Failure, Filled, MOST_DESCRIPTORS, MOST_MESSAGE_BYTES,
    MOST_QUEUED_BYTES, Message, Reply, Request, State,
};

fn pair() -> (Channel, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Channel::with_descriptors(ours), theirs)
}

/// All whole messages that are there, and how it ended.
fn drain(channel: &mut Channel) -> (Vec<Message>, Result<Filled, Failure>) {
    let mut messages = Vec::new();
    loop {
        let filled = channel.fill();
        loop {
            match channel.take() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(failure) => return (messages, Err(failure)),
            }
        }
        match filled {
            Ok(Filled::Some) => {}
            end => return (messages, end),
        }
    }
}

/// A pipe's end to send, and the other one to see what becomes of it.
fn descriptor() -> (OwnedFd, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    (writer.into(), File::from(OwnedFd::from(reader)))
}

/// A message of exactly so many bytes, with its NUL.
fn of_length(bytes: usize) -> Value {
    let frame = serde_json::to_vec(&json!({ "a": "" })).unwrap().len() + 1;
    json!({ "a": "x".repeat(bytes - frame) })
}

#[test]
fn a_message_that_comes_byte_by_byte_is_one_message() {
    let (mut ours, mut theirs) = pair();
    let text = b"{\"method\":\"io.snapsafe.Manager.Status\"}\0";
    for (index, byte) in text.iter().enumerate() {
        theirs.write_all(&[*byte]).unwrap();
        let (messages, end) = drain(&mut ours);
        assert_eq!(end.unwrap(), Filled::Nothing);
        assert_eq!(messages.len(), usize::from(index == text.len() - 1));
    }
}

#[test]
fn the_longest_message_passes_both_ways_and_a_longer_one_is_refused() {
    let (mut ours, theirs) = pair();
    theirs.set_nonblocking(true).unwrap();
    let mut peer = Channel::new(theirs);
    peer.queue(&of_length(MOST_MESSAGE_BYTES), vec![]).unwrap();
    let mut messages = Vec::new();
    while messages.is_empty() {
        peer.flush().unwrap();
        messages = drain(&mut ours).0;
    }
    assert_eq!(messages[0].bytes.len(), MOST_MESSAGE_BYTES - 1);

    let refused = peer.queue(&of_length(MOST_MESSAGE_BYTES + 1), vec![]);
    assert!(matches!(refused, Err(Failure::TooLong)), "{refused:?}");
    assert!(peer.flush().unwrap(), "what was refused is not sent");
}

#[test]
fn a_peer_that_never_ends_its_message_is_cut_off_at_the_limit() {
    let (mut ours, mut theirs) = pair();
    theirs.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let failure = loop {
        // What does not fit in the socket fits after the next look.
        sent += theirs.write(&[b'x'; 8192]).unwrap_or(0);
        if let (_, Err(failure)) = drain(&mut ours) {
            break failure;
        }
    };
    assert!(matches!(failure, Failure::TooLong), "{failure}");
    assert!(sent >= MOST_MESSAGE_BYTES);
}

#[test]
fn a_peer_that_closes_between_messages_has_ended_and_in_the_middle_of_one_has_cut_it() {
    let (mut ours, mut theirs) = pair();
    theirs.write_all(b"{}\0").unwrap();
    drop(theirs);
    let (messages, end) = drain(&mut ours);
    assert_eq!(messages.len(), 1);
    assert_eq!(end.unwrap(), Filled::End);

    let (mut ours, mut theirs) = pair();
    theirs.write_all(b"{}\0{\"method").unwrap();
    drop(theirs);
    let (messages, end) = drain(&mut ours);
    assert_eq!(messages.len(), 1);
    assert!(matches!(end, Err(Failure::Cut)), "{end:?}");
}

#[test]
fn a_peer_that_does_not_read_is_given_up_at_the_limit() {
    let (mut ours, theirs) = pair();
    let failure = loop {
        if let Err(failure) = ours.queue(&of_length(1000), vec![]) {
            break failure;
        }
        ours.flush().unwrap();
    };
    assert!(matches!(failure, Failure::Backlog), "{failure}");
    assert!(ours.queued() <= MOST_QUEUED_BYTES);

    // What was queued until then arrives whole.
    theirs.set_nonblocking(true).unwrap();
    let mut peer = Channel::new(theirs);
    let mut messages = Vec::new();
    while ours.queued() > 0 {
        ours.flush().unwrap();
        messages.extend(drain(&mut peer).0);
    }
    messages.extend(drain(&mut peer).0);
    assert!(messages.iter().all(|message| message.bytes.len() == 999));
    assert!(messages.len() * 1000 >= MOST_QUEUED_BYTES - 1000);
}

#[test]
fn writing_to_a_peer_that_has_gone_is_an_error() {
    let (mut ours, theirs) = pair();
    drop(theirs);
    ours.queue(&json!({}), vec![]).unwrap();
    let failure = ours.flush().unwrap_err();
    assert!(
        matches!(&failure, Failure::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe),
        "{failure}"
    );
}

#[test]
fn descriptors_come_with_their_own_message_and_are_closed_on_exec() {
    let (mut ours, theirs) = pair();
    let mut peer = Channel::new(theirs);
    let (first, mut first_reader) = descriptor();
    let (second, mut second_reader) = descriptor();
    peer.queue(&json!({ "n": 0 }), vec![]).unwrap();
    peer.queue(&json!({ "n": 1 }), vec![first]).unwrap();
    peer.queue(&json!({ "n": 2 }), vec![]).unwrap();
    peer.queue(&json!({ "n": 3 }), vec![second]).unwrap();
    peer.queue(&json!({ "n": 4 }), vec![]).unwrap();
    assert!(peer.flush().unwrap());

    let (mut messages, _) = drain(&mut ours);
    let counts: Vec<usize> = messages.iter().map(|message| message.descriptors.len()).collect();
    assert_eq!(counts, [0, 1, 0, 1, 0]);
    for (index, reader) in [(1, &mut first_reader), (3, &mut second_reader)] {
        let received = messages[index].descriptors.pop().unwrap();
        let flags = rustix::io::fcntl_getfd(&received).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        File::from(received).write_all(b"it is the same pipe").unwrap();
        let mut text = String::new();
        // To the end: the sender has closed its own.
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "it is the same pipe");
    }
}

/// Sends bytes with copies of a descriptor, as nobody who is well-behaved does.
fn send_with(theirs: &UnixStream, bytes: &[u8], descriptor: &OwnedFd, copies: usize) {
    let borrowed = vec![descriptor.as_fd(); copies];
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&borrowed)));
    let bytes = [std::io::IoSlice::new(bytes)];
    rustix::net::sendmsg(theirs, &bytes, &mut control, rustix::net::SendFlags::empty()).unwrap();
}

/// Whether every copy of the other end has been closed.
fn is_closed_everywhere(reader: &File) -> bool {
    rustix::io::ioctl_fionbio(reader, true).unwrap();
    matches!(rustix::io::read(reader, &mut [0; 1]), Ok(0))
}

#[test]
fn surplus_descriptors_are_closed_and_those_with_a_message_in_pieces_come_with_it() {
    let (mut ours, mut theirs) = pair();
    let (writer, reader) = descriptor();
    for piece in [&b"{\"n\""[..], b":", b"1"] {
        send_with(&theirs, piece, &writer, 20);
        assert_eq!(ours.fill().unwrap(), Filled::Some);
        assert!(ours.take().unwrap().is_none());
    }
    theirs.write_all(b"}\0").unwrap();
    let (messages, _) = drain(&mut ours);
    assert_eq!(messages[0].descriptors.len(), MOST_DESCRIPTORS);
    drop(writer);
    assert!(!is_closed_everywhere(&reader));
    drop(messages);
    assert!(is_closed_everywhere(&reader));
}

#[test]
fn a_descriptor_of_a_message_that_does_not_fit_at_once_is_sent_once() {
    let (mut ours, theirs) = pair();
    theirs.set_nonblocking(true).unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(&theirs, 4096).unwrap();
    let mut peer = Channel::new(theirs);
    peer.queue(&of_length(MOST_MESSAGE_BYTES), vec![descriptor().0]).unwrap();
    assert!(!peer.flush().unwrap(), "it fits, and nothing is tested");
    let mut messages = Vec::new();
    while messages.is_empty() {
        messages = drain(&mut ours).0;
        peer.flush().unwrap();
    }
    assert_eq!(messages[0].descriptors.len(), 1);
}

#[test]
fn a_descriptor_behind_messages_that_were_taken_stays_with_its_own() {
    let (mut ours, mut theirs) = pair();
    let (writer, _reader) = descriptor();
    theirs.write_all(b"{\"n\":0}\0{\"n\":1}\0").unwrap();
    send_with(&theirs, b"{\"n\"", &writer, 1);
    assert_eq!(drain(&mut ours).0.len(), 2);
    theirs.write_all(b":2}\0").unwrap();
    assert_eq!(drain(&mut ours).0[0].descriptors.len(), 1);
}

#[test]
fn a_channel_that_wants_no_descriptors_gets_none_and_leaks_none() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut ours = Channel::new(ours);
    let (writer, reader) = descriptor();
    send_with(&theirs, b"{}\0", &writer, 20);
    drop(writer);
    assert_eq!(ours.fill().unwrap(), Filled::Some);
    assert!(ours.take().unwrap().unwrap().descriptors.is_empty());
    assert!(is_closed_everywhere(&reader));
}

#[test]
fn a_call_is_written_without_what_was_not_given() {
    let call = Call::new(&Quiesce { timeout_ms: Some(5), ..Quiesce::default() });
    assert_eq!(
        serde_json::to_value(&call).unwrap(),
        json!({ "method": "io.snapsafe.Manager.Quiesce", "parameters": { "timeout_ms": 5 } })
    );
    let read: Call =
        serde_json::from_value(json!({ "method": "io.snapsafe.Manager.Status" })).unwrap();
    assert_eq!(Request::read(&read).unwrap(), Request::Status(Status {}));
}

fn refusal(method: &str, parameters: Value) -> Error {
    let call = json!({ "method": method, "parameters": parameters });
    Request::read(&serde_json::from_value(call).unwrap()).unwrap_err()
}

#[test]
fn a_wrong_parameter_is_refused_by_its_name() {
    let invalid = |parameters| match refusal("io.snapsafe.Manager.Unquiesce", parameters) {
        Error::InvalidParameter { parameter } => parameter,
        other => panic!("{other:?}"),
    };
    assert_eq!(invalid(json!({ "expect": "hope" })), "expect");
    assert_eq!(invalid(json!({ "timeout_ms": -1, "expect": "any" })), "timeout_ms");
    assert_eq!(invalid(json!({ "timeout_ms": "5", "token": "t" })), "timeout_ms");
    assert_eq!(invalid(json!({ "exspect": "any" })), "exspect");
    let missing = refusal("io.snapsafe.Manager.Register", json!({ "mode": "delay" }));
    assert_eq!(missing, Error::InvalidParameter { parameter: "name".to_owned() });
}

#[test]
fn an_unknown_method_and_an_unknown_interface_are_told_apart() {
    let method = "io.snapsafe.Manager.Launch".to_owned();
    assert_eq!(refusal(&method, json!({})), Error::MethodNotFound { method });
    let interface = "com.example".to_owned();
    assert_eq!(refusal("com.example.Launch", json!({})), Error::InterfaceNotFound { interface });
    assert_eq!(refusal("Launch", json!({})), Error::InterfaceNotFound { interface: String::new() });
}

#[test]
fn errors_are_the_same_on_the_other_side_and_foreign_ones_are_kept() {
    let errors = [
        Error::Busy { state: State::Quiescing, transition: 7 },
        Error::Expired { state: State::Quiesced, holders: vec!["a".to_owned(), "b".to_owned()] },
        Error::UnknownParticipant {},
        Error::ExpectedMore {},
        Error::named("com.example.Odd".to_owned(), serde_json::Map::new()),
    ];
    for error in errors {
        let text = serde_json::to_string(&Reply::from(error.clone())).unwrap();
        let reply: Reply = serde_json::from_str(&text).unwrap();
        assert_eq!(reply.read::<Value>().unwrap(), Err(error));
    }
    // Parameters may be missing where there are none, and more may come with a newer service.
    for text in [
        r#"{"error":"io.snapsafe.Manager.UnknownParticipant"}"#,
        r#"{"error":"io.snapsafe.Manager.UnknownParticipant","parameters":{"hint":"none"}}"#,
    ] {
        let reply: Reply = serde_json::from_str(text).unwrap();
        assert_eq!(reply.read::<Value>().unwrap(), Err(Error::UnknownParticipant {}));
    }
}

#[test]
fn the_published_description_names_every_method_parameter_and_error() {
    let text = snapsafe_client::wire::DESCRIPTION;
    let call = Call::new(&Unquiesce {
        timeout_ms: Some(1),
        expect: Some(Expectation::Any),
        entropy: Some(String::new()),
        token: Some(String::new()),
    });
    assert!(text.contains("method Unquiesce("));
    for name in call.parameters.unwrap().keys() {
        assert!(text.contains(&format!("{name}: ?")), "{name}");
    }
}

/// One of the ways to cut a text in pieces.
fn pieces(text: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = text;
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces.push(rest.to_vec());
    pieces
}

proptest! {
    #[test]
    fn messages_are_the_same_however_the_stream_is_cut(
        messages in prop::collection::vec(prop::collection::vec(1_u8.., 0..3000), 1..12),
        cuts in prop::collection::vec(0_usize..4000, 0..20),
    ) {
        let (mut ours, mut theirs) = pair();
        let text: Vec<u8> =
            messages.iter().flat_map(|message| message.iter().copied().chain([0])).collect();
        let mut got = Vec::new();
        for piece in pieces(&text, &cuts) {
            theirs.write_all(&piece).unwrap();
            got.extend(drain(&mut ours).0.into_iter().map(|message| message.bytes));
        }
        prop_assert_eq!(got, messages);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_and_never_panic(
        bytes in prop::collection::vec(prop_oneof![
            4 => any::<u8>(),
            1 => Just(0),
            8 => prop::sample::select(&b"{}[]\":,methodparamtrsionulfae0123456789\\.-"[..]),
        ], 0..4000),
    ) {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(&bytes).unwrap();
        drop(theirs);
        let (messages, end) = drain(&mut ours);
        let whole = bytes.iter().filter(|byte| **byte == 0).count();
        prop_assert_eq!(messages.len(), whole);
        prop_assert_eq!(matches!(end, Err(Failure::Cut)), bytes.last().is_some_and(|b| *b != 0));
        for message in messages {
            if let Ok(call) = message.read::<Call>() {
                let _ = Request::read(&call);
            }
            if let Ok(reply) = message.read::<Reply>() {
                let _ = reply.read::<snapsafe_client::wire::manager::Event>();
            }
        }
    }

    #[test]
    fn parameters_of_any_json_are_refused_or_read_and_never_panic(
        method in prop::sample::select(&["Quiesce", "Unquiesce", "Register", "Ack", "Inhibit"][..]),
        parameters in prop::collection::btree_map(
            prop::sample::select(&["timeout_ms", "force", "token", "name", "mode", "id", "ok"][..]),
            prop_oneof![
                Just(Value::Null),
                any::<bool>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from),
                any::<f64>().prop_map(Value::from),
                ".*".prop_map(Value::from),
                Just(json!([[]])),
            ],
            0..5,
        ),
    ) {
        let parameters: Value = serde_json::to_value(parameters).unwrap();
        let method = format!("io.snapsafe.Manager.{method}");
        let call = json!({ "method": method, "parameters": parameters });
        let call: Call = serde_json::from_value(call).unwrap();
        match Request::read(&call) {
            Ok(_) => {}
            Err(Error::InvalidParameter { parameter }) => prop_assert!(!parameter.is_empty()),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }
}
