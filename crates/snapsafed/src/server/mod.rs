//! The socket that everybody may connect to: connections, their limits, and one call at a time from
//! each.
//!
//! Nothing here knows what calls mean. A connection is read only when its last call is answered and
//! the answer sent, so the most that is kept for it is one message each way and some events; whoever
//! does not read those is dropped. Descriptors that are sent in are closed by the kernel.

pub mod limits;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::{set_socket_send_buffer_size, socket_peercred};
use snapsafe_client::wire::{Call, Channel, Error, Filled, Reply};

use crate::config::Limits;
use crate::log;
use crate::machine::Millis;
use limits::{MOST_CONNECTIONS, MOST_CONNECTIONS_OF_USERS, Rates};

/// A connection's number, never used again.
pub type Id = u64;

/// Accepted before others have their turn.
const MOST_ACCEPTED_AT_ONCE: usize = 16;
/// How long a message may take to come, and a reply to go.
const PATIENCE: Millis = 10_000;
/// Events that are kept for a subscriber that does not read.
const MOST_BACKLOG_BYTES: usize = 16 * 1024;
/// What the kernel keeps for a client that does not read (it doubles it).
const SEND_BUFFER_BYTES: usize = 32 * 1024;

/// Whoever is at the other end, when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    pub pid: i32,
}

/// The socket and its connections.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    connections: BTreeMap<Id, Connection>,
    next: Id,
    limits: Limits,
    rates: Rates,
    own: u32,
    gone: Vec<Id>,
    complaints: Complaints,
}

#[derive(Debug)]
struct Connection {
    channel: Channel,
    peer: Peer,
    /// A call is being done.
    is_busy: bool,
    /// Its replies follow one another as things happen.
    is_subscribed: bool,
    /// There may be whole messages that were read and not taken.
    has_more: bool,
    /// The peer will say nothing more.
    is_half_closed: bool,
    /// Since when a message has been coming, or a reply going, without an end.
    stuck_since: Option<Millis>,
}

impl Server {
    /// Listens at `path`, in the place of whoever did before.
    pub fn listen(path: &Path, limits: Limits) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            connections: BTreeMap::new(),
            next: 0,
            rates: Rates::new(limits.requests_per_second),
            limits,
            own: rustix::process::geteuid().as_raw(),
            gone: Vec::new(),
            complaints: Complaints::default(),
        })
    }

    /// Whether transitions are this user's. Whoever runs the daemon is root here.
    pub fn is_root(&self, uid: u32) -> bool {
        uid == 0 || uid == self.own
    }

    pub fn peer(&self, id: Id) -> Option<Peer> {
        self.connections.get(&id).map(|connection| connection.peer)
    }

    /// The listening socket, for the daemon's wait.
    pub fn to_poll(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN)
    }

    /// The connections, for the daemon's wait.
    pub fn connections_to_poll(&self, now: Millis) -> impl Iterator<Item = (Id, PollFd<'_>)> {
        self.connections.iter().map(move |(&id, connection)| {
            let mut flags = PollFlags::empty();
            if connection.channel.queued() > 0 {
                flags |= PollFlags::OUT;
            }
            if connection.may_be_read() && self.rates.may_ask(connection.peer.uid, now) {
                flags |= PollFlags::IN;
            }
            (id, PollFd::from_borrowed_fd(connection.channel.as_fd(), flags))
        })
    }

    /// When there is something to do although no descriptor is ready.
    pub fn deadline(&self, now: Millis) -> Option<Millis> {
        let connections = self.connections.values();
        connections.filter_map(|connection| connection.deadline(&self.rates, now)).min()
    }

    /// Admits whoever waits.
    pub fn accept(&mut self, now: Millis) {
        for _ in 0..MOST_ACCEPTED_AT_ONCE {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.complaints.say(now, &format!("cannot accept a connection: {error}"));
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: UnixStream, now: Millis) {
        let Ok(credentials) = socket_peercred(&stream) else { return };
        let peer =
            Peer { uid: credentials.uid.as_raw(), pid: credentials.pid.as_raw_nonzero().get() };
        let prepared = stream
            .set_nonblocking(true)
            .and_then(|()| Ok(set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES)?));
        if prepared.is_err() {
            return;
        }
        let mut channel = Channel::new(stream);
        if let Err(error) = self.has_room_for(peer.uid, now) {
            self.complaints.say(now, &format!("user {}: {error}", peer.uid));
            // It reads as the answer to its first call, whatever that is.
            if channel.queue(&Reply::from(error), Vec::new()).is_ok() {
                let _ = channel.flush();
            }
            return;
        }
        self.next += 1;
        let connection = Connection {
            channel,
            peer,
            is_busy: false,
            is_subscribed: false,
            has_more: false,
            is_half_closed: false,
            stuck_since: None,
        };
        self.connections.insert(self.next, connection);
    }

    fn has_room_for(&mut self, uid: u32, now: Millis) -> Result<(), Error> {
        let too_many = |what: &str, limit: usize| {
            Err(Error::TooMany { what: what.to_owned(), limit: limit as u64 })
        };
        let count = self.connections.len();
        if self.is_root(uid) {
            return if count < MOST_CONNECTIONS {
                Ok(())
            } else {
                too_many("connections", MOST_CONNECTIONS)
            };
        }
        let peers = || self.connections.values().map(|connection| connection.peer.uid);
        let of_users = peers().filter(|&other| !self.is_root(other)).count();
        let own = peers().filter(|&other| other == uid).count();
        let most = self.limits.connections_per_user as usize;
        if own >= most {
            return too_many("connections of one user", most);
        }
        if of_users >= MOST_CONNECTIONS_OF_USERS {
            return too_many("connections", MOST_CONNECTIONS_OF_USERS);
        }
        if self.rates.wait(uid, now) > 0 {
            return too_many("requests a second", self.limits.requests_per_second as usize);
        }
        self.rates.charge(uid, now);
        Ok(())
    }

    /// Connections that may have something to say without being ready: it was read before.
    pub fn with_more(&self, now: Millis) -> Vec<Id> {
        let has_more =
            |c: &Connection| c.has_more && c.may_be_read() && self.rates.may_ask(c.peer.uid, now);
        self.connections.iter().filter(|(_, c)| has_more(c)).map(|(&id, _)| id).collect()
    }

    /// Sends and reads what can be: one call, if one is complete.
    pub fn step(&mut self, id: Id, found: PollFlags, now: Millis) -> Option<Call> {
        let own = self.own;
        let connection = self.connections.get_mut(&id)?;
        let uid = connection.peer.uid;
        let is_root = uid == 0 || uid == own;
        let may_ask = is_root || self.rates.wait(uid, now) == 0;
        match connection.step(found, may_ask, now) {
            Ok(Some(call)) => {
                if !is_root {
                    self.rates.charge(uid, now);
                }
                Some(call)
            }
            Ok(None) => None,
            Err(why) => {
                self.drop(id, &why, now);
                None
            }
        }
    }

    /// Answers the call of a connection, if it is still there.
    pub fn reply(&mut self, id: Id, reply: &Reply, descriptors: Vec<OwnedFd>, now: Millis) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.is_busy = false;
        connection.is_subscribed |= reply.continues;
        if let Err(why) = connection.send(reply, descriptors, now) {
            self.drop(id, &why, now);
        }
    }

    /// The call wants no answer.
    pub fn no_reply(&mut self, id: Id) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_busy = false;
        }
    }

    /// Sends an event to a subscriber.
    pub fn send_event(&mut self, id: Id, reply: &Reply, now: Millis) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let sent = if connection.channel.queued() > MOST_BACKLOG_BYTES {
            Err("does not read what it subscribed to".to_owned())
        } else {
            connection.send(reply, Vec::new(), now)
        };
        if let Err(why) = sent {
            self.drop(id, &why, now);
        }
    }

    /// Drops whoever has been stuck for too long.
    pub fn tick(&mut self, now: Millis) {
        let is_stuck = |c: &Connection| {
            c.stuck_since.is_some_and(|since| now >= since.saturating_add(PATIENCE))
        };
        let stuck: Vec<Id> =
            self.connections.iter().filter(|(_, c)| is_stuck(c)).map(|(&id, _)| id).collect();
        for id in stuck {
            self.drop(id, "is stuck in the middle of a message", now);
        }
    }

    fn drop(&mut self, id: Id, why: &str, now: Millis) {
        if let Some(connection) = self.connections.remove(&id) {
            self.gone.push(id);
            if !why.is_empty() {
                let Peer { uid, pid } = connection.peer;
                self.complaints.say(now, &format!("process {pid} of user {uid} {why}: dropped"));
            }
        }
    }

    /// Closes a connection, for what it said.
    pub fn close(&mut self, id: Id, why: &str, now: Millis) {
        self.drop(id, why, now);
    }

    /// Connections that are no more, since the last time.
    pub fn take_gone(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.gone)
    }
}

impl Connection {
    /// Not while it has a call that is not answered, or an answer that it has not read.
    fn may_be_read(&self) -> bool {
        !self.is_busy && !self.is_half_closed && self.channel.queued() == 0
    }

    fn deadline(&self, rates: &Rates, now: Millis) -> Option<Millis> {
        let stuck = self.stuck_since.map(|since| since.saturating_add(PATIENCE));
        let wait = rates.look(self.peer.uid, now);
        let slowed = (self.may_be_read() && wait > 0).then(|| now + wait);
        stuck.into_iter().chain(slowed).min()
    }

    /// `Err` says why it is to be dropped; nothing, if it just closed.
    fn step(
        &mut self,
        found: PollFlags,
        may_ask: bool,
        now: Millis,
    ) -> Result<Option<Call>, String> {
        if found.contains(PollFlags::ERR) {
            return Err(String::new());
        }
        if found.contains(PollFlags::OUT) {
            let before = self.channel.queued();
            self.flush(now)?;
            // It reads, if slowly.
            if self.channel.queued() < before && self.stuck_since.is_some() {
                self.stuck_since = Some(now);
            }
        }
        if !self.may_be_read() || !may_ask {
            // A peer that has gone for good is not waited for.
            return if found.contains(PollFlags::HUP) { Err(String::new()) } else { Ok(None) };
        }
        if let Some(call) = self.take(now)? {
            return Ok(Some(call));
        }
        if !found.intersects(PollFlags::IN | PollFlags::HUP) {
            return Ok(None);
        }
        match self.channel.fill().map_err(|failure| failure.to_string())? {
            Filled::End if self.is_subscribed && !found.contains(PollFlags::HUP) => {
                self.is_half_closed = true;
                Ok(None)
            }
            Filled::End => Err(String::new()),
            Filled::Nothing => Ok(None),
            Filled::Some => {
                self.has_more = true;
                self.take(now)
            }
        }
    }

    fn take(&mut self, now: Millis) -> Result<Option<Call>, String> {
        if !self.has_more {
            return Ok(None);
        }
        let message = self.channel.take().map_err(|failure| failure.to_string())?;
        let Some(message) = message else {
            self.has_more = false;
            let is_part = self.channel.holds_some();
            self.stuck_since = is_part.then(|| self.stuck_since.unwrap_or(now));
            return Ok(None);
        };
        self.stuck_since = None;
        self.is_busy = true;
        message.read().map(Some).map_err(|failure| failure.to_string())
    }

    fn send(&mut self, reply: &Reply, fds: Vec<OwnedFd>, now: Millis) -> Result<(), String> {
        self.channel.queue(reply, fds).map_err(|failure| failure.to_string())?;
        self.flush(now)
    }

    fn flush(&mut self, now: Millis) -> Result<(), String> {
        match self.channel.flush() {
            Ok(true) => self.stuck_since = None,
            Ok(false) => self.stuck_since = self.stuck_since.or(Some(now)),
            // It went away.
            Err(_) => return Err(String::new()),
        }
        Ok(())
    }
}

/// What is logged about clients: a flood of them must not become one of the log.
#[derive(Debug, Default)]
struct Complaints {
    since: Millis,
    said: u32,
}

impl Complaints {
    const MOST: u32 = 10;
    const SPAN: Millis = 10_000;

    fn say(&mut self, now: Millis, text: &str) {
        if now.saturating_sub(self.since) >= Self::SPAN {
            *self = Self { since: now, said: 0 };
        }
        self.said += 1;
        match self.said {
            ..Self::MOST => log::warning(text),
            Self::MOST => log::warning(format!("{text}; more of that is not logged for a while")),
            _ => {}
        }
    }
}
