//! A driver that does what the effects say, in a world of a few bits: it keeps the gate, the agent
//! page and what participants were told, and leaves it to the test what is reported when.

use std::collections::BTreeMap;

use super::super::*;

/// The machine, its driver, and the world around both.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) rules: Rules,
    pub(super) facts: Facts,
    pub(super) gate_shut: bool,
    pub(super) replies: BTreeMap<Request, Vec<Answer>>,
    /// What each participant was asked, in order.
    pub(super) told: Vec<(Member, Phase, u64, u64)>,
    pub(super) hooks: Option<Phase>,
    pub(super) shutting: bool,
    pub(super) opening: bool,
    pub(super) renewing: bool,
    pub(super) wake: Option<Millis>,
    pub(super) persisted: Memory,
    pub(super) effects: Vec<Effect>,
    /// The driver dies after so many of the next effects.
    pub(super) dies_after: Option<usize>,
    next: u64,
}

pub(super) fn rules() -> Rules {
    Rules {
        quiesce: 5_000,
        unquiesce: 10_000,
        longest: 600_000,
        optional_delay: 1_000,
        quiesced_max: Some(300_000),
        auto_unquiesce: false,
        required: Vec::new(),
    }
}

impl World {
    pub(super) fn new(rules: Rules, counter: Option<u64>) -> Self {
        let machine = Machine::new(rules.clone());
        let persisted = machine.remember();
        Self {
            machine,
            rules,
            facts: Facts { now: 0, generation: 1, counter },
            gate_shut: false,
            replies: BTreeMap::new(),
            told: Vec::new(),
            hooks: None,
            shutting: false,
            opening: false,
            renewing: false,
            wake: None,
            persisted,
            effects: Vec::new(),
            dies_after: None,
            next: 100,
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn handle(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = self.machine.handle(event, self.facts);
        effects.truncate(self.dies_after.unwrap_or(usize::MAX));
        self.perform(effects.clone());
        effects
    }

    /// The driver dies and starts again.
    pub(super) fn restart(&mut self) -> Vec<Effect> {
        self.dies_after = None;
        // Whether the network was opened, nobody knows.
        self.gate_shut &= !self.opening;
        (self.hooks, self.shutting, self.opening, self.renewing) = (None, false, false, false);
        let memory = serde_json::to_string(&self.persisted).unwrap();
        let memory = serde_json::from_str(&memory).unwrap();
        let (machine, effects) = Machine::resume(self.rules.clone(), memory, self.facts);
        self.machine = machine;
        self.wake = None;
        self.perform(effects.clone());
        effects
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut written = self.persisted == self.machine.remember();
        for effect in &effects {
            match effect {
                Effect::Persist => {
                    self.persisted = self.machine.remember();
                    written = true;
                }
                Effect::Ask { member, phase, transition, generation, .. } => {
                    assert!(written);
                    self.told.push((*member, *phase, *transition, *generation));
                }
                Effect::RunHooks { phase, .. } => self.hooks = Some(*phase),
                Effect::ShutGate { .. } => {
                    self.gate_shut = true;
                    (self.shutting, self.opening) = (true, false);
                }
                Effect::OpenGate => {
                    assert!(written);
                    (self.shutting, self.opening) = (false, true);
                }
                Effect::Renew => {
                    self.facts.generation += 1;
                    self.renewing = true;
                }
                Effect::Reply { request, answer } => {
                    self.replies.entry(*request).or_default().push(answer.clone());
                }
                Effect::WakeAt(when) => self.wake = *when,
                Effect::Announce | Effect::Log(..) => {}
            }
        }
        assert!(
            written || self.dies_after.is_some(),
            "memory has changed and is not written: {effects:?}"
        );
        self.effects.extend(effects);
    }

    /// One piece of work that the driver has begun comes to its end. False: there is none.
    pub(super) fn work(&mut self, result: Result<(), String>) -> bool {
        let Some(report) = self.next_report(result) else { return false };
        self.handle(report);
        true
    }

    pub(super) fn next_report(&mut self, result: Result<(), String>) -> Option<Event> {
        if std::mem::take(&mut self.renewing) {
            let generation = self.facts.generation;
            return Some(Event::Renewed { kernel_reseeded: result.is_ok(), generation });
        }
        if std::mem::take(&mut self.shutting) {
            // What is reported was read back.
            self.gate_shut |= result.is_ok();
            return Some(Event::GateShut(result));
        }
        if std::mem::take(&mut self.opening) {
            // Even if it failed, something may be open.
            self.gate_shut = false;
            return Some(Event::GateOpen(result));
        }
        let phase = self.hooks.take()?;
        Some(Event::HooksDone { phase, result })
    }

    /// All work that goes on by itself.
    pub(super) fn settle(&mut self) {
        while self.work(Ok(())) {}
    }

    pub(super) fn join(&mut self, name: &str, mode: Mode, required: bool, order: i32) -> Member {
        let member = self.number();
        self.handle(Event::Joined { member, name: name.into(), mode, required, order });
        member
    }

    pub(super) fn ack(&mut self, member: Member, answer: Result<(), String>) -> Answer {
        let (transition, generation) = (self.machine.transition(), self.machine.generation());
        let (request, phase) = (self.number(), None);
        self.handle(Event::Acked { request, member, transition, generation, phase, answer });
        self.replies[&request][0].clone()
    }

    pub(super) fn quiesce(&mut self, force: bool, token: Option<&str>) -> Request {
        let request = self.number();
        let token = token.map(String::from);
        self.handle(Event::Quiesce { request, timeout: None, force, token });
        request
    }

    pub(super) fn unquiesce(&mut self, expect: Expectation, token: Option<&str>) -> Request {
        let request = self.number();
        let (timeout, token, has_entropy) = (None, token.map(String::from), false);
        self.handle(Event::Unquiesce { request, timeout, expect, token, has_entropy });
        request
    }

    pub(super) fn abort(&mut self) -> Request {
        let request = self.number();
        self.handle(Event::Abort { request });
        request
    }

    pub(super) fn wait(&mut self, millis: Millis) {
        self.facts.now += millis;
        self.handle(Event::Tick);
    }

    /// The answer, if there is one; there is never a second one.
    pub(super) fn answer(&self, request: Request) -> Option<&Answer> {
        let answers = self.replies.get(&request)?;
        assert_eq!(answers.len(), 1);
        answers.first()
    }

    pub(super) fn asked(&self, member: Member) -> Vec<Phase> {
        self.told.iter().filter(|told| told.0 == member).map(|told| told.1).collect()
    }

    /// Quiesced, with everybody's consent.
    pub(super) fn quiesced(&mut self, members: &[Member]) {
        let request = self.quiesce(false, None);
        for member in members {
            assert_eq!(self.ack(*member, Ok(())), Answer::Accepted);
        }
        self.settle();
        assert!(matches!(self.answer(request), Some(Answer::Quiesced { .. })), "{self:#?}");
        assert!(self.gate_shut);
    }
}
