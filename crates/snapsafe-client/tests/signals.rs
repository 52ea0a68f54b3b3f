//! What a program sees that does not ignore SIGPIPE, as Rust programs do and C programs do not.
#![cfg(target_os = "linux")]

use std::os::unix::net::UnixStream;

use snapsafe_client::wire::{Channel, Failure};

#[test]
fn a_peer_that_has_gone_kills_no_program() {
    // SAFETY: the default action needs no handler; this process runs this test alone.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let mut channel = Channel::new(ours);
    channel.queue(&serde_json::json!({}), vec![]).unwrap();
    assert!(matches!(channel.flush(), Err(Failure::Io(_))));
}
