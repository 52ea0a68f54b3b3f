//! The host's side door: lines over vsock, a virtio-serial port, or a socket of root's.
//!
//! Whoever reaches it is the host, and may do what root may. Connections are short: one line, one
//! answer, closed. The port is one long connection, where one line is answered after another; what
//! was not answered when the host hung up is dropped.

pub mod line;
pub mod vsock;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

pub use line::{Line, Position, Verb, answer};

use crate::clock;
use crate::config::AgentConfig;
use crate::log;
use crate::machine::Millis;
use crate::retry::Retry;
use line::MOST_LINE_BYTES;

/// A connection's number, never used again.
pub type Channel = u64;

/// Connections at a time. Hosts need one.
const MOST_CHANNELS: usize = 16;
/// How long a connection may take to say its line, and to read the answer.
const PATIENCE: Millis = 10_000;

/// All ways in.
#[derive(Debug, Default)]
pub struct Agent {
    vsock: Option<OwnedFd>,
    unix: Option<UnixListener>,
    port_path: Option<PathBuf>,
    retry: Retry,
    channels: BTreeMap<Channel, Conversation>,
    next: Channel,
    /// Went away before they were answered.
    gone: Vec<Channel>,
}

#[derive(Debug)]
struct Conversation {
    fd: OwnedFd,
    /// Of a port: tells that something happened there, once each time. A port without a host is
    /// always ready, for nothing.
    edge: Option<OwnedFd>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// A line is being done.
    is_waiting: bool,
    /// Answered: closed when the answer is sent.
    is_over: bool,
    deadline: Millis,
}

/// What there is to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Vsock,
    Unix,
    Channel(Channel),
}

impl Agent {
    /// Opens what the configuration names. What cannot be opened is logged: the machine has other
    /// ways in, and must not be without the daemon.
    pub fn open(config: &AgentConfig) -> Self {
        let mut agent = Self { port_path: config.virtio_port.clone(), ..Self::default() };
        if let Some(port) = config.vsock_port {
            match vsock::listen_at(port) {
                Ok(socket) => agent.vsock = Some(socket),
                Err(error) => log::error(format!("agent: vsock port {port}: {error}")),
            }
        }
        if let Some(path) = &config.unix_socket {
            match listen(path) {
                Ok(listener) => agent.unix = Some(listener),
                Err(error) => log::error(format!("agent: {}: {error}", path.display())),
            }
        }
        agent.look_for_port(clock::now());
        agent
    }

    fn look_for_port(&mut self, now: Millis) {
        let is_open = self.channels.values().any(|channel| channel.edge.is_some());
        let Some(path) = self.port_path.as_ref().filter(|_| !is_open) else { return };
        if !self.retry.is_due(now) {
            return;
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match open(path, flags, Mode::empty()).and_then(|fd| Ok((edge_of(&fd)?, fd))) {
            Ok((edge, fd)) => {
                log::notice(format!("agent: listening at {}", path.display()));
                self.add(fd, Some(edge));
            }
            Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => {}
            Err(error) => {
                log::error(format!("agent: {}: {error}", path.display()));
                self.port_path = None;
            }
        }
    }

    fn add(&mut self, fd: OwnedFd, edge: Option<OwnedFd>) {
        self.next += 1;
        let deadline =
            if edge.is_some() { Millis::MAX } else { clock::now().saturating_add(PATIENCE) };
        let conversation = Conversation {
            fd,
            edge,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            is_waiting: false,
            is_over: false,
            deadline,
        };
        self.channels.insert(self.next, conversation);
    }

    /// For the daemon's wait.
    pub fn to_poll(&self) -> impl Iterator<Item = (Source, PollFd<'_>)> {
        let listening = |source, fd| (source, PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let vsock = self.vsock.as_ref().map(|fd| listening(Source::Vsock, fd.as_fd()));
        let unix = self.unix.as_ref().map(|fd| listening(Source::Unix, fd.as_fd()));
        let channels = self.channels.iter().map(|(&id, conversation)| {
            let (fd, flags) = conversation.to_poll();
            (Source::Channel(id), PollFd::from_borrowed_fd(fd, flags))
        });
        vsock.into_iter().chain(unix).chain(channels)
    }

    /// When [`Agent::tick`] has something to do, at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        let channels = self.channels.values();
        let nearest = channels.filter(|c| !c.is_waiting).map(|c| c.deadline).min();
        let has_port = self.channels.values().any(|channel| channel.edge.is_some());
        let look = (self.port_path.is_some() && !has_port).then_some(self.retry.at());
        nearest.into_iter().chain(look).filter(|&at| at != Millis::MAX).min()
    }

    /// Drops whoever takes too long, and looks for the port.
    pub fn tick(&mut self, now: Millis) {
        self.channels.retain(|_, channel| channel.is_waiting || now < channel.deadline);
        self.look_for_port(now);
    }

    /// Channels that went away before they were answered, since the last time.
    pub fn take_gone(&mut self) -> Vec<Channel> {
        std::mem::take(&mut self.gone)
    }

    /// Does what there is to do at `source`: a line with its channel, if one is complete.
    pub fn step(
        &mut self,
        source: Source,
        found: PollFlags,
    ) -> Option<(Channel, Result<Line, String>)> {
        match source {
            Source::Vsock => {
                let accepted = self.vsock.as_ref().map(vsock::accept);
                if let Some(Ok((fd, is_host))) = accepted {
                    self.admit(fd, is_host);
                }
                None
            }
            Source::Unix => {
                let accepted = self.unix.as_ref().map(UnixListener::accept);
                if let Some(Ok((stream, _))) = accepted {
                    let is_root = stream.set_nonblocking(true).is_ok() && is_roots(&stream);
                    self.admit(stream.into(), is_root);
                }
                None
            }
            Source::Channel(id) => {
                let conversation = self.channels.get_mut(&id)?;
                let hung_up = found.intersects(PollFlags::HUP | PollFlags::ERR);
                if hung_up && conversation.is_waiting && conversation.edge.is_none() {
                    self.gone.push(id);
                    self.channels.remove(&id);
                    return None;
                }
                let line = conversation.step();
                if line.is_err() {
                    self.channels.remove(&id);
                }
                Some((id, line.ok()??))
            }
        }
    }

    fn admit(&mut self, fd: OwnedFd, is_host: bool) {
        if !is_host {
            log::warning("agent: a connection that is not the host's is refused");
        } else if self.channels.len() >= MOST_CHANNELS {
            log::warning("agent: too many connections of the host");
        } else {
            self.add(fd, None);
        }
    }

    /// Answers the line of a channel, if it is still there. A complete line that waits behind it
    /// comes with the next [`Agent::step`].
    pub fn answer(&mut self, id: Channel, line: &str) {
        let Some(conversation) = self.channels.get_mut(&id) else { return };
        conversation.answer(line);
        if conversation.flush().is_err() || conversation.is_done() {
            self.channels.remove(&id);
        }
    }

    /// Channels with a line that came together with the one before.
    pub fn ready(&self) -> Vec<Channel> {
        let has_line =
            |c: &Conversation| !c.is_waiting && !c.is_over && c.incoming.contains(&b'\n');
        self.channels.iter().filter(|(_, c)| has_line(c)).map(|(&id, _)| id).collect()
    }
}

/// Why a conversation ends.
struct Over;

impl Conversation {
    fn to_poll(&self) -> (BorrowedFd<'_>, PollFlags) {
        let write = if self.outgoing.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        match &self.edge {
            Some(edge) => (edge.as_fd(), PollFlags::IN),
            // Whoever waits for the answer is not read: one request a connection.
            None if self.is_waiting || self.is_over => (self.fd.as_fd(), write),
            None => (self.fd.as_fd(), write | PollFlags::IN),
        }
    }

    fn step(&mut self) -> Result<Option<Result<Line, String>>, Over> {
        if let Some(edge) = &self.edge {
            let mut events = Vec::with_capacity(1);
            let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
            let _ = epoll::wait(edge, rustix::buffer::spare_capacity(&mut events), Some(&no_wait));
        }
        self.flush()?;
        if self.is_done() {
            return Err(Over);
        }
        self.fill()?;
        self.take()
    }

    /// Reads all there is, up to a line's length.
    fn fill(&mut self) -> Result<(), Over> {
        while self.incoming.len() < MOST_LINE_BYTES {
            let mut buffer = [0; 1024];
            match rustix::io::read(&self.fd, &mut buffer) {
                Ok(0) if self.edge.is_some() => {
                    // The host hung up, or the next one's line is here before the news that it is
                    // there. What was said by halves is not what the next one says.
                    let whole = self.incoming.iter().rposition(|&byte| byte == b'\n');
                    self.incoming.truncate(whole.map_or(0, |end| end + 1));
                    self.outgoing.clear();
                    return Ok(());
                }
                Ok(0) if self.is_waiting || self.incoming.contains(&b'\n') => return Ok(()),
                Ok(0) => return Err(Over),
                Ok(count) => self.incoming.extend_from_slice(&buffer[..count]),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(_) => return Err(Over),
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Result<Line, String>>, Over> {
        if self.is_waiting || self.is_over {
            return Ok(None);
        }
        let Some(end) = self.incoming.iter().position(|&byte| byte == b'\n') else {
            if self.incoming.len() < MOST_LINE_BYTES {
                return Ok(None);
            }
            // There is no telling where the next one begins.
            self.incoming.clear();
            self.is_waiting = true;
            return Ok(Some(Err("the line is too long".to_owned())));
        };
        let line: Vec<u8> = self.incoming.drain(..=end).collect();
        self.is_waiting = true;
        let text = String::from_utf8_lossy(&line[..end]);
        Ok(Some(Line::parse(&text)))
    }

    fn answer(&mut self, line: &str) {
        // Others' words are in it.
        let line: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.is_waiting = false;
        if self.edge.is_none() {
            self.is_over = true;
            self.deadline = clock::now().saturating_add(PATIENCE);
        }
        // A host that does not read its port loses answers, and we no memory.
        if self.outgoing.len() < 2 * MOST_LINE_BYTES {
            self.outgoing.extend_from_slice(line.as_bytes());
            self.outgoing.push(b'\n');
        }
    }

    fn flush(&mut self) -> Result<(), Over> {
        while !self.outgoing.is_empty() {
            match rustix::io::write(&self.fd, &self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) if self.edge.is_some() => self.outgoing.clear(),
                Err(_) => return Err(Over),
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_over && self.outgoing.is_empty()
    }
}

/// Wakes up when something happens at `fd`, and not while something is so.
fn edge_of(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    let edge = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
    epoll::add(&edge, fd, epoll::EventData::new_u64(0), flags)?;
    Ok(edge)
}

/// A socket that nobody but root can reach.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn is_roots(stream: impl AsFd) -> bool {
    let own = rustix::process::geteuid().as_raw();
    rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid.is_root() || peer.uid.as_raw() == own)
}
