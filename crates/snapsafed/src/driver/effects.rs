//! What the machine says is to be done.

use std::os::fd::OwnedFd;

use snapsafe_client::wire::manager::{self, AbortReply, Nothing, Quiesced, Unquiesced};
use snapsafe_client::wire::{Error, Mode, Phase, Reply, State};
use zeroize::Zeroizing;

use super::{Driver, Fatal, Method, Origin, Result};
use crate::agent;
use crate::clock;
use crate::hooks::Hooks;
use crate::log;
use crate::machine::{Answer, Effect, Event, Member, Millis, Request};
use crate::memory::Memory;
use crate::server;

impl Driver {
    /// `present`: where the machine was when it said so.
    pub(super) fn perform(&mut self, effect: Effect, present: &manager::Event) -> Result {
        match effect {
            // Done, before all the others.
            Effect::Persist => {}
            Effect::Ask { member, phase, transition, generation, deadline } => {
                self.ask(member, phase, transition, generation, deadline);
            }
            Effect::Announce => return self.announce(present),
            Effect::RunHooks { phase, deadline } => self.run_hooks(phase, deadline),
            Effect::ShutGate { deadline } => self.shut_gate(deadline),
            Effect::OpenGate => self.open_gate(),
            Effect::Renew => self.renew(),
            Effect::Reply { request, answer } => self.answer(request, &answer),
            Effect::WakeAt(moment) => self.wake = moment,
            Effect::Log(severity, text) => log::write(severity, &text),
        }
        Ok(())
    }

    pub(super) fn persist(&mut self) -> Result {
        let memory = Memory::new(self.machine.remember(), self.members.remember());
        let path = self.runtime.memory();
        memory.write(&path).map_err(|error| Fatal(format!("{}: {error}", path.display())))
    }

    fn ask(
        &mut self,
        member: Member,
        phase: Phase,
        transition: u64,
        generation: u64,
        deadline: Option<Millis>,
    ) {
        let now = clock::now();
        let event = manager::Event {
            transition,
            generation,
            phase: Some(phase),
            deadline_ms: deadline.map(|deadline| deadline.saturating_sub(now)),
            ..self.present()
        };
        let reply = Reply::continued(&event);
        for id in self.subscribers_of(|subscriber| subscriber == Some(member)) {
            self.server.send_event(id, &reply, now);
        }
    }

    /// Where the machine is, for subscribers.
    pub(super) fn present(&self) -> manager::Event {
        manager::Event {
            state: self.machine.state(),
            transition: self.machine.transition(),
            generation: self.generation(),
            outcome: self.machine.outcome().or(self.machine.last_outcome()),
            phase: None,
            deadline_ms: None,
        }
    }

    fn subscribers_of(&self, wanted: impl Fn(Option<Member>) -> bool) -> Vec<server::Id> {
        self.subscribers.iter().filter(|(_, member)| wanted(**member)).map(|(&id, _)| id).collect()
    }

    pub(super) fn announce(&mut self, present: &manager::Event) -> Result {
        let now = clock::now();
        let manager::Event { state, transition, generation, .. } = *present;
        let line = format!("{state} {transition} {generation}");
        self.runtime.write_state(&line).map_err(|error| Fatal(format!("state: {error}")))?;
        let degraded = self.machine.degraded().map(|why| format!(": {why}")).unwrap_or_default();
        self.notify.status(&format!("{state}, generation {generation}{degraded}"));
        self.target.set(state == State::Quiesced, now);
        if state == State::Quiescing {
            self.world.quiesced();
        }
        let reply = Reply::continued(present);
        for id in self.subscribers_of(|_| true) {
            self.server.send_event(id, &reply, now);
        }
        Ok(())
    }

    fn run_hooks(&mut self, phase: Phase, deadline: Millis) {
        let (transition, generation) = (self.machine.transition(), self.generation());
        // Those that still run are ended with the old value.
        let hooks = Hooks::new(&self.config.hooks, phase, transition, generation, deadline);
        self.hooks = Some(hooks);
        self.step_hooks(clock::now());
    }

    pub(super) fn step_hooks(&mut self, now: Millis) {
        let Some(hooks) = &mut self.hooks else { return };
        if let Some(result) = hooks.step(now) {
            let phase = hooks.phase();
            self.hooks = None;
            self.events.push_back(Event::HooksDone { phase, result });
        }
    }

    fn shut_gate(&mut self, deadline: Millis) {
        self.draining = None;
        match self.gate.shut() {
            Ok(()) => {
                self.draining = Some(deadline);
                self.step_gate(clock::now());
            }
            Err(why) => self.events.push_back(Event::GateShut(Err(why))),
        }
    }

    /// Whether queued packets have left.
    pub(super) fn step_gate(&mut self, now: Millis) {
        let Some(deadline) = self.draining else { return };
        let result = match self.gate.is_drained() {
            Ok(true) => Ok(()),
            Ok(false) if now < deadline => return,
            Ok(false) => Err("packets that were queued before did not leave in time".to_owned()),
            Err(why) => Err(why),
        };
        self.draining = None;
        self.events.push_back(Event::GateShut(result));
    }

    fn open_gate(&mut self) {
        self.draining = None;
        let result = self.gate.open();
        self.events.push_back(Event::GateOpen(result));
    }

    /// Somebody may have changed the rules: what was to be shut is shut again.
    pub(super) fn guard_gate(&mut self) {
        if !self.machine.wants_gate_shut() && self.draining.is_none() {
            return;
        }
        if self.gate.holds() == Ok(true) {
            return;
        }
        let result = self.gate.shut();
        self.events.push_back(Event::GateTampered(result));
    }

    fn renew(&mut self) {
        let mut bytes = Zeroizing::new(Vec::new());
        for (_, portion) in self.entropy.drain() {
            bytes.extend_from_slice(&portion);
        }
        let renewal = self.kernel.renew(&mut bytes);
        if let Some(Err(error)) = renewal.mixed {
            log::error(format!("the kernel did not take the host's bytes: {error}"));
        }
        if let Err(error) = renewal.reseeded {
            log::error(format!("the kernel did not reseed its generator: {error}"));
        }
        self.world.renewed(clock::now());
        let generation = self.page.advance();
        let kernel_reseeded = renewal.is_complete();
        self.events.push_back(Event::Renewed { kernel_reseeded, generation });
    }

    fn answer(&mut self, request: Request, answer: &Answer) {
        self.entropy.remove(&request);
        let Some(origin) = self.requests.remove(&request) else { return };
        match origin {
            Origin::Call(id, method) => self.reply(id, method, answer, Vec::new()),
            Origin::Line(channel, verb) => {
                let line = agent::answer(verb, answer, &self.position());
                self.agent.answer(channel, &line);
            }
        }
    }

    fn reply(&mut self, id: server::Id, method: Method, answer: &Answer, fds: Vec<OwnedFd>) {
        if method == Method::OneWay {
            self.server.no_reply(id);
        } else {
            self.server.reply(id, &reply_of(method, answer), fds, clock::now());
        }
    }

    /// Whether this is waited for, so that a veto or a silence of it matters.
    pub(super) fn counts(mode: Mode, required: bool) -> bool {
        required || mode != Mode::Notify
    }
}

fn reply_of(method: Method, answer: &Answer) -> Reply {
    match answer.clone() {
        Answer::Quiesced { transition, generation } => {
            Reply::of(&Quiesced { transition, generation })
        }
        Answer::Running { transition, generation, outcome, .. } if method == Method::Abort => {
            Reply::of(&AbortReply { transition, generation, outcome })
        }
        Answer::Running { transition, generation, outcome, kernel_reseeded } => {
            Reply::of(&Unquiesced { transition, generation, outcome, kernel_reseeded })
        }
        Answer::Accepted => Reply::of(&Nothing {}),
        Answer::Busy { state, transition } => Error::Busy { state, transition }.into(),
        Answer::Expired { state, holders } => Error::Expired { state, holders }.into(),
        Answer::Vetoed { by, why } => Error::Vetoed { by, why }.into(),
        Answer::Aborted { why } => Error::Aborted { why }.into(),
        Answer::Stale { transition, generation } => Error::Stale { transition, generation }.into(),
        Answer::UnknownParticipant => Error::UnknownParticipant {}.into(),
        Answer::GateFailed { why } => Error::GateFailed { why }.into(),
    }
}
