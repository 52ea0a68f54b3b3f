//! What stands between the world and the machine: it reports what happens, and does what the machine
//! says, in its order.
//!
//! One thread, one wait. Nothing here decides whether the gate may open: it opens for the effect
//! `OpenGate` and for nothing else. The daemon may be ended at any instruction, by whatever signal:
//! there is no handler, and nothing is tidied up, for a tidy end would have to open the gate or leave
//! it, and to leave it nothing has to be done. The next daemon goes on from `memory.json`.

mod calls;
mod effects;
mod lines;
mod start;
mod turn;
mod world;

use std::collections::{BTreeMap, HashMap, VecDeque};

use snaprng::host::AgentPage;
use snapsafe_client::wire::{State, manager};
use zeroize::Zeroizing;

use crate::agent::{self, Agent};
use crate::clock;
use crate::config::Config;
use crate::gate::Gate;
use crate::hooks::Hooks;
use crate::kernel::KernelGenerator;
use crate::machine::{Effect, Event, Facts, Machine, Member, Millis, Request};
use crate::members::Members;
use crate::notify::Notify;
use crate::runtime::Runtime;
use crate::server::{self, Server};
use crate::target::Target;
use world::World;

/// The daemon.
pub struct Driver {
    config: Config,
    runtime: Runtime,
    machine: Machine,
    members: Members,
    server: Server,
    agent: Agent,
    gate: Box<dyn Gate>,
    page: AgentPage,
    kernel: KernelGenerator,
    world: World,
    hooks: Option<Hooks>,
    /// The gate is shut, and queued packets have until then to leave.
    draining: Option<Millis>,
    target: Target,
    notify: Notify,
    /// When the machine wants a `Tick`.
    wake: Option<Millis>,
    /// When the gate is looked at, where the kernel does not say that it was changed.
    look_at_gate: Millis,
    /// What has happened and was not yet told to the machine.
    events: VecDeque<Event>,
    /// What the machine says is to be done, and was not done yet; where an effect tells of the machine,
    /// with what is to be told.
    todo: VecDeque<(Effect, manager::Event)>,
    requests: HashMap<Request, Origin>,
    next_request: Request,
    subscribers: BTreeMap<server::Id, Option<Member>>,
    /// The host's bytes, until the kernel has them.
    entropy: HashMap<Request, Zeroizing<Vec<u8>>>,
}

/// Whom to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Call(server::Id, Method),
    Line(agent::Channel, agent::Verb),
}

/// What was called, as far as the answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// `Quiesce` and `Unquiesce`: the answer says which.
    Transition,
    Abort,
    Ack,
    /// Nobody wants an answer.
    OneWay,
}

/// Why the daemon has to stop: it cannot keep what it promised. The gate stays as it is.
#[derive(Debug)]
pub struct Fatal(pub String);

type Result<T = ()> = std::result::Result<T, Fatal>;

impl Driver {
    fn facts(&self) -> Facts {
        Facts {
            now: clock::now(),
            generation: self.page.generation(),
            counter: self.world.counter(),
        }
    }

    /// The generation that holds: the machine has one of its own only in a transition.
    fn generation(&self) -> u64 {
        match self.machine.state() {
            State::Running => self.page.generation(),
            _ => self.machine.generation(),
        }
    }

    /// Tells the machine what happened. What it says is done by [`Driver::settle`].
    fn happened(&mut self, event: Event) {
        let facts = self.facts();
        for effect in self.machine.handle(event, facts) {
            let present = self.present();
            self.todo.push_back((effect, present));
        }
    }

    /// Does what the machine said, in its order, for all that has happened since the last time: it is
    /// written down once, as it is after all of it, before any of it is done. So a hundred answers that
    /// come at once cost one file. What is done may itself be something that happens.
    fn settle(&mut self) -> Result {
        loop {
            while let Some(event) = self.events.pop_front() {
                self.happened(event);
            }
            if self.todo.is_empty() {
                return Ok(());
            }
            if self.todo.iter().any(|(effect, _)| *effect == Effect::Persist) {
                self.persist()?;
            }
            for (effect, present) in std::mem::take(&mut self.todo) {
                self.perform(effect, &present)?;
            }
        }
    }

    /// A number for a request, and whom to answer.
    fn request(&mut self, origin: Origin) -> Request {
        self.next_request += 1;
        self.requests.insert(self.next_request, origin);
        self.next_request
    }

    /// Nobody waits for these answers any more.
    fn forget(&mut self, is_gone: impl Fn(Origin) -> bool) {
        let gone: Vec<Request> =
            self.requests.iter().filter(|(_, origin)| is_gone(**origin)).map(|(&r, _)| r).collect();
        for request in gone {
            self.requests.remove(&request);
            self.happened(Event::Forgotten { request });
        }
    }
}
