//! The answer on its way: over a connection of its own, because the other one is busy with events,
//! and again and again until the daemon has heard it or says that it is too late.

use std::os::fd::AsFd;
use std::path::Path;

use super::poller::Poller;
use super::send_at_once;
use crate::connection::{self, Patience};
use crate::error::Error;
use crate::wire::manager::{Ack, Nothing};
use crate::wire::{self, Call, Channel, Reply};

/// The answer that the daemon has not heard for certain. A newer one replaces it.
#[derive(Debug, Default)]
pub(super) struct Answering {
    ack: Option<Ack>,
    channel: Option<Channel>,
}

impl Answering {
    /// Sends an answer, unless the same one is on its way already.
    pub(super) fn begin(&mut self, ack: Ack, socket: &Path, poller: &mut Poller) {
        if self.ack.as_ref() == Some(&ack) && self.channel.is_some() {
            return;
        }
        self.ack = Some(ack);
        self.send(socket, poller);
    }

    /// Sees whether it was heard, and sends it again where that failed and a pause is over. Whether
    /// it has come to its end now.
    pub(super) fn go_on(&mut self, due: bool, socket: &Path, poller: &mut Poller) -> bool {
        if self.ack.is_none() {
            return false;
        }
        let Some(channel) = &mut self.channel else {
            if due {
                self.send(socket, poller);
            }
            return false;
        };
        match verdict(channel) {
            Ok(None) => return false,
            Err(error) if !is_final(&error) => {
                self.channel = None;
                poller.retry_later();
                return false;
            }
            // Heard, or refused: it was too late.
            Ok(Some(())) | Err(_) => {}
        }
        *self = Self::default();
        true
    }

    fn send(&mut self, socket: &Path, poller: &mut Poller) {
        self.channel = self.ack.as_ref().and_then(|ack| {
            let mut channel = connection::open(socket, Patience::None).ok()?;
            channel.queue(&Call::new(ack), Vec::new()).ok()?;
            send_at_once(&mut channel).ok()?;
            poller.watch(channel.as_fd()).ok()?;
            Some(channel)
        });
        if self.channel.is_none() {
            poller.retry_later();
        }
    }
}

/// What the daemon says to it, if it says something yet.
fn verdict(channel: &mut Channel) -> Result<Option<()>, Error> {
    let Some(message) = connection::next_message(channel)? else { return Ok(None) };
    let Nothing {} = connection::answer(message.read::<Reply>()?)?;
    Ok(Some(()))
}

/// Whether the same answer would be refused again.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Refused(refusal) if !matches!(refusal, wire::Error::TooMany { .. }))
}
