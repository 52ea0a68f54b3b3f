//! One turn of the daemon: wait until something is ready, and see to it.
//!
//! What could matter to the gate comes first, clients last; and of each client one call a turn, so
//! that none keeps the others waiting.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Driver, Fatal, Origin, Result};
use crate::agent;
use crate::clock;
use crate::config::millis;
use crate::machine::{Event, Member, Millis};
use crate::server;

/// How often the gate is looked at, where the kernel does not tell of changes.
const LOOK_AT_GATE: Millis = 1_000;

/// What can be ready.
#[derive(Clone, Copy, Debug)]
enum Source {
    World,
    Member(Member),
    Gate,
    Hooks,
    Target,
    Agent(agent::Source),
    Listener,
    Client(server::Id),
}

impl Driver {
    /// Goes on until it has to stop.
    pub fn run(&mut self) -> Fatal {
        loop {
            if let Err(fatal) = self.turn() {
                return fatal;
            }
        }
    }

    fn turn(&mut self) -> Result {
        let ready = self.wait()?;
        // Before anything else is believed.
        for witness in self.world.look(clock::now()) {
            self.happened(Event::WorldChanged { witness: witness.to_owned() });
        }
        self.settle()?;
        for (source, found) in ready {
            self.attend(source, found)?;
            // Of clients many may say something at once.
            if !matches!(source, Source::Client(_)) {
                self.settle()?;
            }
        }
        for id in self.server.with_more(clock::now()) {
            self.serve_client(id, PollFlags::empty())?;
        }
        self.settle()?;
        for channel in self.agent.ready() {
            self.attend(Source::Agent(agent::Source::Channel(channel)), PollFlags::empty())?;
        }
        self.tick()
    }

    /// What is ready, in the order of its weight.
    fn wait(&self) -> Result<Vec<(Source, PollFlags)>> {
        let now = clock::now();
        let world = self.world.to_poll().map(|fd| (Source::World, fd));
        let members = self.members.to_poll().map(|(member, fd)| (Source::Member(member), fd));
        let gate = self.gate.watch();
        let gate = gate.map(|fd| (Source::Gate, PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let hooks = self.hooks.iter().flat_map(|hooks| hooks.to_poll());
        let target = self.target.to_poll().map(|fd| (Source::Target, fd));
        let agent = self.agent.to_poll().map(|(source, fd)| (Source::Agent(source), fd));
        let clients = self.server.connections_to_poll(now);
        let (sources, mut fds): (Vec<Source>, Vec<PollFd<'_>>) = world
            .chain(members)
            .chain(gate)
            .chain(hooks.map(|fd| (Source::Hooks, fd)))
            .chain(target)
            .chain(agent)
            .chain([(Source::Listener, self.server.to_poll())])
            .chain(clients.map(|(id, fd)| (Source::Client(id), fd)))
            .unzip();
        let timeout = self.timeout(now);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(Fatal(format!("poll: {error}"))),
        }
        let found = sources.into_iter().zip(fds.iter().map(PollFd::revents));
        Ok(found.filter(|(_, found)| !found.is_empty()).collect())
    }

    fn timeout(&self, now: Millis) -> Option<Timespec> {
        if !self.agent.ready().is_empty() || !self.server.with_more(now).is_empty() {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let drain = self
            .draining
            .map(|deadline| deadline.min(now.saturating_add(millis(self.gate.pause()).max(1))));
        let guards = self.gate.watch().is_none() && self.machine.wants_gate_shut();
        let deadlines = [
            self.wake,
            self.world.deadline(),
            drain,
            guards.then_some(self.look_at_gate),
            self.hooks.as_ref().and_then(|hooks| hooks.deadline()),
            self.target.deadline(),
            self.server.deadline(now),
            self.agent.deadline(),
        ];
        let span = deadlines.into_iter().flatten().min()?.saturating_sub(now);
        Some(Timespec {
            tv_sec: i64::try_from(span / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(span % 1000 * 1_000_000).unwrap_or(0),
        })
    }

    fn attend(&mut self, source: Source, found: PollFlags) -> Result {
        match source {
            // Looked at already.
            Source::World => {}
            Source::Member(member) => return self.end_member(member),
            Source::Gate => {
                if self.gate.changed() {
                    self.guard_gate();
                }
            }
            Source::Hooks => self.step_hooks(clock::now()),
            Source::Target => self.target.step(clock::now()),
            Source::Agent(source) => {
                if let Some((channel, line)) = self.agent.step(source, found) {
                    return self.line(channel, line);
                }
            }
            Source::Listener => self.server.accept(clock::now()),
            Source::Client(id) => return self.serve_client(id, found),
        }
        Ok(())
    }

    fn serve_client(&mut self, id: server::Id, found: PollFlags) -> Result {
        match self.server.step(id, found, clock::now()) {
            Some(call) => self.call(id, &call),
            None => Ok(()),
        }
    }

    /// A reference has ended: its member is gone, and so it is remembered.
    pub(super) fn end_member(&mut self, member: Member) -> Result {
        let Some(departure) = self.members.end(member) else { return Ok(()) };
        self.happened(departure);
        self.persist()
    }

    fn tick(&mut self) -> Result {
        let now = clock::now();
        self.step_hooks(now);
        self.step_gate(now);
        self.target.step(now);
        self.server.tick(now);
        self.agent.tick(now);
        if self.gate.watch().is_none() && now >= self.look_at_gate {
            self.look_at_gate = now.saturating_add(LOOK_AT_GATE);
            self.guard_gate();
        }
        if self.wake.is_some_and(|moment| now >= moment) {
            self.wake = None;
            self.events.push_back(Event::Tick);
        }
        self.let_go();
        self.settle()
    }

    /// Whoever went away waits for no answer.
    fn let_go(&mut self) {
        let connections = self.server.take_gone();
        for id in &connections {
            self.subscribers.remove(id);
        }
        let channels = self.agent.take_gone();
        if connections.is_empty() && channels.is_empty() {
            return;
        }
        self.forget(|origin| match origin {
            Origin::Call(id, _) => connections.contains(&id),
            Origin::Line(channel, _) => channels.contains(&channel),
        });
    }
}
