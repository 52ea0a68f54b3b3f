//! A connection that waits for its answers, for programs and for the first steps of participants.
//!
//! The socket itself never blocks: waiting is done by `poll` with a deadline, so that a daemon that
//! hangs costs the time that the caller allows and no more.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::Error;
use crate::wire::{Call, Channel, Filled, Message, Method, Reply, SOCKET};

/// A connection to snapsafed.
#[derive(Debug)]
pub struct Client {
    channel: Channel,
    timeout: Option<Duration>,
}

impl Client {
    /// Connects to the system's snapsafed.
    ///
    /// # Errors
    /// [`Error::NotRunning`] where there is none.
    pub fn connect() -> Result<Self, Error> {
        Self::connect_to(Path::new(SOCKET))
    }

    /// Connects to another one.
    ///
    /// # Errors
    /// [`Error::NotRunning`] where there is none.
    pub fn connect_to(socket: &Path) -> Result<Self, Error> {
        open(socket, Patience::Until(Duration::from_secs(10)))
            .map(|channel| Self { channel, timeout: None })
    }

    /// How long a call waits for its answer. For ever, if not said: a snapshot takes its time.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Calls a method and waits for what it answers.
    ///
    /// # Errors
    /// [`Error::Refused`] if it answers an error; the connection can be used again after that, and
    /// after no other error.
    pub fn call<M: Method>(&mut self, parameters: &M) -> Result<M::Reply, Error> {
        self.call_for_descriptors(parameters).map(|(reply, _)| reply)
    }

    /// The same, with the descriptors that come with the answer.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_for_descriptors<M: Method>(
        &mut self,
        parameters: &M,
    ) -> Result<(M::Reply, Vec<OwnedFd>), Error> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let result = self
            .send(&Call::new(parameters), deadline)
            .and_then(|()| receive(&mut self.channel, deadline))
            .and_then(|message| Ok((message.read::<Reply>()?, message.descriptors)))
            .and_then(|(reply, descriptors)| Ok((answer(reply)?, descriptors)));
        if !matches!(result, Ok(_) | Err(Error::Refused(_))) {
            self.close();
        }
        result
    }

    /// Calls a method that answers again and again, as [`Subscribe`] does, and uses the connection
    /// up for it.
    ///
    /// # Errors
    /// If the call cannot be sent. What it answers is [`Replies::next`]'s.
    ///
    /// [`Subscribe`]: crate::wire::manager::Subscribe
    pub fn subscribe<M: Method>(mut self, parameters: &M) -> Result<Replies<M>, Error> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        self.send(&Call::with_more(parameters), deadline)?;
        Ok(Replies { channel: self.channel, over: false, method: PhantomData })
    }

    fn send(&mut self, call: &Call, deadline: Option<Instant>) -> Result<(), Error> {
        self.channel.queue(call, Vec::new())?;
        while !self.channel.flush()? {
            wait(self.channel.as_fd(), PollFlags::OUT, deadline)?;
        }
        Ok(())
    }

    /// Answers that may still come belong to no later call.
    fn close(&self) {
        // It fails where the peer has closed already, which serves as well.
        let _ = self.channel.stream().shutdown(std::net::Shutdown::Both);
    }

    /// The connection, for whoever does not want to wait.
    pub(crate) fn into_channel(self) -> Channel {
        self.channel
    }
}

/// What a method answers again and again.
#[derive(Debug)]
pub struct Replies<M> {
    channel: Channel,
    over: bool,
    method: PhantomData<fn() -> M>,
}

impl<M: Method> Replies<M> {
    /// The next answer, or `None` after the last one, or if there is none after `timeout`
    /// ([`Replies::is_over`] tells which).
    ///
    /// # Errors
    /// As [`Client::call`]; [`Error::Closed`] if snapsafed goes away.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<M::Reply>, Error> {
        if self.over {
            return Ok(None);
        }
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let reply: Reply = match receive(&mut self.channel, deadline) {
            Ok(message) => message.read()?,
            Err(Error::TimedOut) => return Ok(None),
            Err(error) => {
                self.over = true;
                return Err(error);
            }
        };
        self.over = !reply.continues;
        answer(reply).map(Some)
    }

    /// Whether no more answers will come.
    pub fn is_over(&self) -> bool {
        self.over
    }
}

impl<M> AsFd for Replies<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// What the method answers.
pub(crate) fn answer<T: serde::de::DeserializeOwned>(reply: Reply) -> Result<T, Error> {
    reply
        .read()
        .map_err(|error| Error::Protocol(crate::wire::Failure::Malformed(error)))?
        .map_err(Error::Refused)
}

/// The next message, waited for.
fn receive(channel: &mut Channel, deadline: Option<Instant>) -> Result<Message, Error> {
    loop {
        if let Some(message) = next_message(channel)? {
            return Ok(message);
        }
        wait(channel.as_fd(), PollFlags::IN, deadline)?;
    }
}

/// The next message, if it is there.
pub(crate) fn next_message(channel: &mut Channel) -> Result<Option<Message>, Error> {
    loop {
        if let Some(message) = channel.take()? {
            return Ok(Some(message));
        }
        match channel.fill()? {
            Filled::Some => {}
            Filled::Nothing => return Ok(None),
            Filled::End => return Err(Error::Closed),
        }
    }
}

/// Waits until the descriptor can be used, or fails after the deadline.
pub(crate) fn wait(
    descriptor: BorrowedFd<'_>,
    flags: PollFlags,
    deadline: Option<Instant>,
) -> Result<(), Error> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map(Timespec::try_from).transpose().unwrap_or(None);
        match poll(&mut [PollFd::from_borrowed_fd(descriptor, flags)], left.as_ref()) {
            Ok(0) => return Err(Error::TimedOut),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Error::System(error.into())),
        }
    }
}

/// How long to wait where so many are connecting that there is a queue.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    /// Not at all.
    None,
    /// So long.
    Until(Duration),
}

/// A connection whose socket does not block.
pub(crate) fn open(socket: &Path, patience: Patience) -> Result<Channel, Error> {
    let connect = || -> Result<UnixStream, Errno> {
        let address = SocketAddrUnix::new(socket)?;
        let flags = match patience {
            Patience::None => SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Patience::Until(_) => SocketFlags::CLOEXEC,
        };
        let descriptor =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        if let Patience::Until(longest) = patience {
            set_socket_timeout(&descriptor, Timeout::Send, Some(longest))?;
        }
        rustix::io::retry_on_intr(|| rustix::net::connect(&descriptor, &address))?;
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        Ok(descriptor.into())
    };
    connect().map(Channel::with_descriptors).map_err(|error| match error {
        Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR => {
            Error::NotRunning { socket: socket.to_owned() }
        }
        Errno::AGAIN => Error::TimedOut,
        other => Error::Unreachable { socket: socket.to_owned(), cause: other.into() },
    })
}
