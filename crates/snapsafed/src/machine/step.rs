//! One step: what the event means in this state, and then as far as it goes. And the first step after
//! a restart of the driver.

use snapsafe_client::wire::{Mode, Outcome, Phase};

use super::members::{Lock, Participant};
use super::memory::{Goal, Memory, Stage, Work};
use super::{Answer, Effect, Event, Facts, Machine, Rules, Severity};

impl Machine {
    /// One step.
    pub fn handle(&mut self, event: Event, facts: Facts) -> Vec<Effect> {
        self.step(|machine| machine.meet(event, facts), facts)
    }

    /// Goes on where `memory` ends. Members that did not survive are reported `Left` after this.
    /// What is to be done now: the transition in progress is the same one, its questions that have no
    /// answer are asked again, and there is as much time as at its beginning, for clients come back.
    pub fn resume(rules: Rules, memory: Memory, facts: Facts) -> (Self, Vec<Effect>) {
        let mut machine = Self::with(rules, memory);
        let effects = machine.step(|machine| machine.wake_up(facts), facts);
        (machine, effects)
    }

    fn step(&mut self, act: impl FnOnce(&mut Self), facts: Facts) -> Vec<Effect> {
        let before = self.memory.clone();
        let public = |memory: &Memory| {
            let goal = match &memory.stage {
                Stage::Moving(course) => Some((course.goal, course.before_quiesced)),
                _ => None,
            };
            let lasting = memory.stage == Stage::Running;
            (memory.transition, memory.generation, goal, lasting, memory.snapshot.changed)
        };
        act(self);
        self.advance(facts);
        let wake = self.next_deadline();
        if wake != self.wake {
            self.wake = wake;
            self.effects.push(Effect::WakeAt(wake));
        }
        let mut effects = std::mem::take(&mut self.effects);
        if public(&before) != public(&self.memory) {
            // The gate comes before every word.
            let shut = effects.iter().position(|one| matches!(one, Effect::ShutGate { .. }));
            effects.insert(shut.map_or(0, |at| at + 1), Effect::Announce);
        }
        if before != self.memory {
            effects.insert(0, Effect::Persist);
        }
        effects
    }

    fn advance(&mut self, facts: Facts) {
        // Each round leads from one stage to another, or ends here.
        loop {
            let before = self.memory.stage.clone();
            match before.clone() {
                Stage::Running => {}
                Stage::Quiesced { watchdog } => {
                    if watchdog.is_some_and(|watchdog| facts.now >= watchdog) {
                        self.bite(facts);
                    }
                }
                Stage::Moving(course) => match course.goal {
                    Goal::Quiesced => self.advance_quiescing(course, facts),
                    Goal::Ended(Outcome::Aborted) => self.advance_aborting(course, facts),
                    Goal::Ended(_) => self.advance_unquiescing(course, facts),
                },
            }
            if self.memory.stage == before {
                break;
            }
        }
    }

    fn wake_up(&mut self, facts: Facts) {
        let (quiesce, unquiesce) = (self.rules.quiesce, self.rules.unquiesce);
        let gate_is_shut =
            self.wants_gate_shut() && self.course().is_none_or(|course| course.gate == Work::Done);
        match &mut self.memory.stage {
            Stage::Running | Stage::Quiesced { .. } => {}
            Stage::Moving(course) => {
                let time = if course.goal == Goal::Quiesced { quiesce } else { unquiesce };
                course.begin_again(facts.now.saturating_add(time));
                let phase = course.goal.phase();
                if phase == Phase::Aborted {
                    self.tell_aborted_again();
                } else {
                    self.ask_again(phase, true);
                }
            }
        }
        if gate_is_shut {
            // It is in the kernel, unless somebody removed it meanwhile.
            self.effects.push(Effect::ShutGate { deadline: facts.now });
        }
        self.look(facts);
    }

    /// Whether the counter that must change did, and what follows from that.
    fn look(&mut self, facts: Facts) -> bool {
        let Some(now) = facts.counter else { return false };
        let moved = self.memory.seen.is_some_and(|seen| seen != now);
        self.memory.seen = Some(now);
        if moved {
            self.world_changed("the counter", facts);
        }
        moved
    }

    fn meet(&mut self, event: Event, facts: Facts) {
        let moved = self.look(facts);
        match event {
            Event::Quiesce { request, timeout, force, token } => {
                self.quiesce(request, timeout, force, token, facts);
            }
            Event::Unquiesce { request, timeout, expect, token, has_entropy: _ } => {
                self.unquiesce(request, timeout, expect, token.as_deref(), facts);
            }
            Event::Abort { request } => self.abort(request, facts),
            Event::Forgotten { request } => self.waiting.retain(|(one, _)| *one != request),
            Event::Joined { member, name, mode, required, order } => {
                let (quiesced, asked, again) = (false, None, false);
                let participant =
                    Participant { member, name, mode, required, order, quiesced, asked, again };
                self.joined(participant);
            }
            Event::Left { member } => {
                let failure = self.left(member);
                self.fail(failure, facts);
            }
            Event::Acked { request, member, transition, generation, phase, answer } => {
                let names = (transition, generation, phase);
                let failure = self.acked(request, member, names, answer);
                self.fail(failure, facts);
            }
            Event::Inhibited { member, what, who, mode, required } => {
                self.inhibited(Lock { member, what, who, mode, required }, facts);
            }
            Event::Released { member } => self.memory.locks.retain(|lock| lock.member != member),
            Event::HooksDone { phase, result } => self.hooks_done(phase, result, facts),
            Event::GateShut(result) => self.gate_shut(result, facts),
            Event::GateOpen(result) => self.gate_open(result, facts),
            Event::GateTampered(result) => self.gate_tampered(result),
            Event::Renewed { kernel_reseeded, generation } => {
                self.renewed(kernel_reseeded, generation, facts);
            }
            Event::WorldChanged { witness } => {
                if !moved {
                    self.witnessed(&witness, facts);
                }
            }
            Event::Tick => {}
        }
    }

    fn fail(&mut self, failure: Option<Answer>, facts: Facts) {
        match (failure, self.course().map(|course| course.goal)) {
            (Some(answer), Some(Goal::Quiesced)) => self.call_off(answer, facts),
            (Some(answer), Some(Goal::Ended(_))) => self.fail_unquiescing(answer, facts),
            _ => {}
        }
    }

    fn inhibited(&mut self, lock: Lock, facts: Facts) {
        let quiescing = self.course().is_some_and(|course| course.goal == Goal::Quiesced);
        let vetoes = quiescing && lock.mode == Mode::Block && lock.what.quiesce;
        let by = lock.who.clone();
        self.memory.locks.push(lock);
        if vetoes {
            self.call_off(Answer::Vetoed { by, why: "took a lock".into() }, facts);
        }
    }

    fn hooks_done(&mut self, phase: Phase, result: Result<(), String>, facts: Facts) {
        let Stage::Moving(course) = &mut self.memory.stage else { return };
        if course.hooks != Work::Begun || course.goal.phase() != phase {
            return;
        }
        let why = match result {
            Ok(()) => {
                course.hooks = Work::Done;
                if let (Phase::Restored, Some(renewal)) = (phase, &mut self.memory.snapshot.renewal)
                {
                    renewal.hooks = true;
                }
                return;
            }
            Err(why) => why,
        };
        if phase == Phase::Aborted {
            // The machine is as it was: a network that stays shut would help nobody.
            course.hooks = Work::Done;
            return self.log(Severity::Error, format!("hooks: {why}"));
        }
        self.fail(Some(Answer::Vetoed { by: "hooks".into(), why }), facts);
    }

    fn gate_shut(&mut self, result: Result<(), String>, facts: Facts) {
        let expected = self.course().is_some_and(|course| course.gate == Work::Begun);
        let Some(why) = result.err() else {
            if let (true, Stage::Moving(course)) = (expected, &mut self.memory.stage) {
                course.gate = Work::Done;
                self.memory.gate_leaks = false;
            }
            return;
        };
        if expected && self.course().is_some_and(|course| course.goal == Goal::Quiesced) {
            return self.call_off(Answer::GateFailed { why }, facts);
        }
        if expected || self.wants_gate_shut() {
            self.leaks(&why);
        }
        // An open gate is the more reason to adapt at once.
        if let (true, Stage::Moving(course)) = (expected, &mut self.memory.stage) {
            course.gate = Work::Done;
        }
    }

    fn leaks(&mut self, why: &str) {
        let line = format!("the gate does not hold: {why}");
        self.log(Severity::Error, line.clone());
        self.memory.degraded = Some(line);
        self.memory.gate_leaks = true;
    }

    fn gate_open(&mut self, result: Result<(), String>, facts: Facts) {
        let Stage::Moving(course) = &mut self.memory.stage else { return };
        if course.open != Work::Begun {
            return;
        }
        match result {
            Ok(()) => course.open = Work::Done,
            Err(why) => {
                // Nobody knows how much of it is open, nor would a driver that dies before it is shut.
                self.memory.gate_leaks = true;
                self.effects.push(Effect::ShutGate { deadline: facts.now });
                self.fail_unquiescing(Answer::GateFailed { why }, facts);
            }
        }
    }

    fn gate_tampered(&mut self, result: Result<(), String>) {
        if !self.wants_gate_shut() {
            return;
        }
        match result {
            Ok(()) => {
                let line =
                    "somebody changed the gate, or a link appeared; it is shut again".to_owned();
                self.log(Severity::Error, line.clone());
                self.memory.degraded.get_or_insert(line);
            }
            Err(why) => self.leaks(&why),
        }
    }

    /// A witness that is not the counter: it may be late, and then tells what is known.
    fn witnessed(&mut self, witness: &str, facts: Facts) {
        let adapting = match &self.memory.stage {
            Stage::Running => true,
            Stage::Quiesced { .. } => false,
            Stage::Moving(course) => {
                course.goal == Goal::Ended(Outcome::Restored) && course.renew == Work::Done
            }
        };
        // The counter must have changed before the first instruction of a copy.
        if adapting && facts.counter.is_some() {
            let line = format!("{witness} tells of a copy; the counter has not changed since");
            return self.log(Severity::Notice, line);
        }
        self.world_changed(witness, facts);
    }

    fn world_changed(&mut self, witness: &str, facts: Facts) {
        self.log(Severity::Notice, format!("another world, says {witness}"));
        match &self.memory.stage {
            Stage::Running => {
                self.memory.snapshot = super::memory::Snapshot::default();
                self.new_transition(facts);
                self.begin_emergency(facts);
            }
            Stage::Quiesced { .. } => {
                self.memory.snapshot.changed = true;
                self.memory.snapshot.renewal = None;
                if self.rules.auto_unquiesce {
                    self.begin_unquiescing(Outcome::Restored, None, facts);
                }
            }
            Stage::Moving(course) => {
                if course.goal == Goal::Quiesced {
                    let why = format!("another world while quiescing, says {witness}");
                    self.decide_answers(&Answer::Aborted { why });
                }
                self.begin_emergency(facts);
            }
        }
    }
}
