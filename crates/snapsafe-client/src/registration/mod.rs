//! A registration with snapsafed, for event loops: requests are taken from it and answered, now or
//! later. [`Participant`](crate::Participant) calls closures instead.
//!
//! The registration is a descriptor, the write end of a pipe that the daemon made. It is kept when
//! the daemon restarts, and the daemon's new process finds it again, so that the participant is the
//! same one and a transition in progress goes on. Only a daemon that has forgotten everything is
//! registered with anew.
//!
//! Nothing here blocks after [`Registration::new`], and nothing fails for good: what is lost is
//! tried again, after a pause that grows to a second.

mod answer;
mod poller;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::connection::{self, Client, Patience};
use crate::error::Error;
use crate::inhibitor::{ANSWER, pick};
use crate::wire::manager::{Ack, Event, Register, Registered, Subscribe};
use crate::wire::{self, Call, Channel, Message, Mode, Outcome, Phase, Reply, SOCKET, State};
use answer::Answering;
use poller::Poller;

/// How to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What the participant is called where it is waited for.
    pub name: String,
    /// How much it counts. [`Mode::Block`] is root's.
    pub mode: Mode,
    /// Which group it belongs to: groups are asked to quiesce from the highest down, and told what
    /// happened from the lowest up. Root's choice; 50 if not given.
    pub order: Option<i64>,
    /// Where the daemon listens.
    pub socket: PathBuf,
}

impl Options {
    /// A participant that is waited for until a deadline, with the system's snapsafed.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), mode: Mode::Delay, order: None, socket: SOCKET.into() }
    }

    fn request(&self) -> Register {
        Register { name: self.name.clone(), mode: Some(self.mode), order: self.order }
    }
}

/// What a participant is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// [`Phase::Quiesce`] before the snapshot, one of the others after it.
    pub phase: Phase,
    /// The transition that this belongs to.
    pub transition: u64,
    /// The generation of this copy of the world. A new one after [`Phase::Restored`].
    pub generation: u64,
    /// How the transition ends, after the snapshot.
    pub outcome: Option<Outcome>,
    /// For how many milliseconds the answer is waited for, if it is.
    pub deadline_ms: Option<u64>,
    /// The daemon has forgotten this participant, or the end of its transition: nobody can tell
    /// what happened, so the world counts as restored. Nobody waits for the answer.
    pub missed: bool,
}

/// A participant that takes requests and answers them.
#[derive(Debug)]
pub struct Registration {
    options: Options,
    id: String,
    /// The registration itself.
    lock: OwnedFd,
    poller: Poller,
    line: Line,
    answering: Answering,
    /// The last event's.
    seen: (State, u64, u64),
    /// The last request, and whether the application has not answered it.
    latest: Option<Asked>,
    is_open: bool,
    /// The last request that was fulfilled.
    done: Option<Asked>,
    /// Got ready, and was not told yet how it ended.
    is_ready: bool,
    problem: Option<Error>,
}

/// The connection over which requests come.
#[derive(Debug)]
enum Line {
    /// There is none.
    Down,
    /// Asked for events. `fresh`: none came yet.
    Subscribed { channel: Channel, fresh: bool },
    /// Asked to be registered anew.
    Registering(Channel),
}

impl Registration {
    /// Registers, and waits some seconds at most for the answer.
    ///
    /// # Errors
    /// [`Error::NotRunning`] where there is no snapsafed, [`Error::Refused`] if it refuses.
    pub fn new(options: Options) -> Result<Self, Error> {
        let mut client = Client::connect_to(&options.socket)?;
        client.set_timeout(Some(ANSWER));
        let (registered, descriptors) = client.call_for_descriptors(&options.request())?;
        let mut registration = Self {
            lock: pick(descriptors, registered.fd)?,
            seen: (registered.state, registered.transition, registered.generation),
            id: registered.id,
            poller: Poller::new().map_err(|error| Error::System(error.into()))?,
            line: Line::Down,
            answering: Answering::default(),
            latest: None,
            is_open: false,
            done: None,
            is_ready: false,
            problem: None,
            options,
        };
        registration.subscribe(client.into_channel(), true)?;
        Ok(registration)
    }

    /// The next request, if there is one. Does not wait. Call it until there is none: requests that
    /// have arrived already do not make the descriptor readable again.
    pub fn take(&mut self) -> Option<Asked> {
        let due = self.poller.is_due();
        if self.answering.go_on(due, &self.options.socket, &mut self.poller) {
            self.poller.calm();
        }
        if due && matches!(self.line, Line::Down) {
            self.reconnect();
        }
        loop {
            match self.read() {
                Ok(None) => return None,
                Ok(Some(message)) => match self.handle(message) {
                    Ok(None) => {}
                    Ok(asked) => return asked,
                    Err(error) => self.lose(error),
                },
                Err(error) => self.lose(error),
            }
        }
    }

    /// Answers a request. `Err` is a veto with its reason: nothing of the kind may go on, if this
    /// participant is required. An answer to a request that another one has replaced is dropped.
    pub fn answer(&mut self, asked: &Asked, result: Result<(), &str>) {
        if result.is_ok() {
            self.done = Some(*asked);
            self.is_ready &= asked.phase == Phase::Quiesce;
        }
        if asked.missed || !self.latest.is_some_and(|latest| latest.is_same(asked)) {
            return;
        }
        self.is_open = false;
        let ack = Ack {
            id: self.id.clone(),
            transition: asked.transition,
            generation: asked.generation,
            phase: Some(asked.phase),
            ok: Some(result.is_ok()),
            why: result.err().map(shortened),
        };
        self.answering.begin(ack, &self.options.socket, &mut self.poller);
    }

    /// Where the machine is, as far as is known.
    pub fn state(&self) -> State {
        self.seen.0
    }

    /// The transition in progress, or the last one.
    pub fn transition(&self) -> u64 {
        self.seen.1
    }

    /// The generation of this copy of the world.
    pub fn generation(&self) -> u64 {
        self.seen.2
    }

    /// What keeps this participant from the daemon now, if anything.
    pub fn problem(&self) -> Option<&Error> {
        self.problem.as_ref()
    }

    /// Waits until there may be a request, or for that long.
    ///
    /// # Errors
    /// [`Error::TimedOut`], or what the system says.
    pub fn wait(&self, timeout: Option<std::time::Duration>) -> Result<(), Error> {
        let deadline = timeout.map(|timeout| std::time::Instant::now() + timeout);
        connection::wait(self.as_fd(), rustix::event::PollFlags::IN, deadline)
    }

    fn subscribe(&mut self, mut channel: Channel, is_new: bool) -> Result<(), Error> {
        channel.queue(&Call::with_more(&Subscribe { id: Some(self.id.clone()) }), Vec::new())?;
        send_at_once(&mut channel)?;
        if is_new {
            self.poller.watch(channel.as_fd()).map_err(|error| Error::System(error.into()))?;
        }
        self.line = Line::Subscribed { channel, fresh: true };
        Ok(())
    }

    fn reconnect(&mut self) {
        let connected = connection::open(&self.options.socket, Patience::None)
            .and_then(|channel| self.subscribe(channel, true));
        if let Err(error) = connected {
            self.lose(error);
        }
    }

    fn lose(&mut self, error: Error) {
        self.line = Line::Down;
        self.problem = Some(error);
        self.poller.retry_later();
    }

    /// The next message of the line, if there is one.
    fn read(&mut self) -> Result<Option<Message>, Error> {
        match &mut self.line {
            Line::Down => Ok(None),
            Line::Subscribed { channel, .. } | Line::Registering(channel) => {
                connection::next_message(channel)
            }
        }
    }

    fn handle(&mut self, message: Message) -> Result<Option<Asked>, Error> {
        let reply: Reply = message.read()?;
        match std::mem::replace(&mut self.line, Line::Down) {
            Line::Down => Ok(None),
            Line::Registering(channel) => {
                let registered: Registered = connection::answer(reply)?;
                self.lock = pick(message.descriptors, registered.fd)?;
                self.id = registered.id;
                (self.latest, self.done) = (None, None);
                self.answering = Answering::default();
                self.subscribe(channel, false).map(|()| None)
            }
            Line::Subscribed { mut channel, fresh } => {
                let continues = reply.continues;
                match connection::answer(reply) {
                    Ok(event) if continues => {
                        self.line = Line::Subscribed { channel, fresh: false };
                        Ok(self.note(&event, fresh))
                    }
                    Ok(_) => Err(Error::Closed),
                    Err(Error::Refused(wire::Error::UnknownParticipant {})) => {
                        channel.queue(&Call::new(&self.options.request()), Vec::new())?;
                        send_at_once(&mut channel)?;
                        self.line = Line::Registering(channel);
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// What an event asks of the application. `fresh`: it is the first one over this line.
    fn note(&mut self, event: &Event, fresh: bool) -> Option<Asked> {
        self.seen = (event.state, event.transition, event.generation);
        self.problem = None;
        self.poller.calm();
        let missed = fresh && self.is_ready && event.state == State::Running;
        let asked = Asked {
            phase: event.phase.or(missed.then_some(Phase::Restored))?,
            transition: event.transition,
            generation: event.generation,
            outcome: event.outcome,
            deadline_ms: event.deadline_ms,
            missed: event.phase.is_none(),
        };
        let replaced = self.latest.replace(asked);
        if self.is_open && replaced.is_some_and(|open| open.is_same(&asked)) {
            // A new daemon asks what the application is still at.
            return None;
        }
        self.is_open = !missed;
        if !missed && self.done.is_some_and(|done| done.is_same(&asked)) {
            // The answer was lost, or the daemon that had it. What was done need not be done again.
            self.answer(&asked, Ok(()));
            return None;
        }
        self.is_ready |= asked.phase == Phase::Quiesce;
        Some(asked)
    }
}

impl AsFd for Registration {
    /// Readable when [`Registration::take`] is to be called. Only for that: it is an epoll.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

impl Asked {
    /// Whether one answer is good for both.
    fn is_same(&self, other: &Self) -> bool {
        (self.phase, self.transition, self.generation)
            == (other.phase, other.transition, other.generation)
    }
}

/// Sends what is so little that a new socket takes it whole.
fn send_at_once(channel: &mut Channel) -> Result<(), Error> {
    if channel.flush()? { Ok(()) } else { Err(wire::Failure::Backlog.into()) }
}

/// A reason fits in a message whatever the application says.
fn shortened(why: &str) -> String {
    why.chars().take(1000).collect()
}
