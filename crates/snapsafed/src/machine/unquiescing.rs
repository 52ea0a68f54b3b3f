//! From quiesced to running. Is this the same machine, or another world? The kernel's generator and the
//! agent page first, then participants, hooks, and the gate last. Whatever fails here leaves the machine
//! quiesced and the gate shut, and the same transition is tried again.

use snapsafe_client::wire::{Expectation, Outcome};

use super::memory::{Course, Goal, Renewal, Stage, Work};
use super::{Answer, Effect, Facts, Machine, Millis, Phase, Request, Severity};

impl Machine {
    pub(super) fn unquiesce(
        &mut self,
        request: Request,
        timeout: Option<Millis>,
        expect: Expectation,
        token: Option<&str>,
        facts: Facts,
    ) {
        if !matches!(self.memory.stage, Stage::Quiesced { .. }) {
            return self.busy(request);
        }
        if let Some(lock) = self.blocked_by(Phase::Restored) {
            let answer = Answer::Vetoed { by: lock.who.clone(), why: "holds a lock".into() };
            return self.reply(request, answer);
        }
        self.waiting.push((request, None));
        let trusted = self.is_trusted_same(expect, token);
        let outcome = if self.is_same_machine(expect, token, facts) {
            Outcome::Resumed
        } else {
            Outcome::Restored
        };
        // Nobody can tell whether this is the machine that was renewed, or a copy of it.
        let renewed = self.memory.snapshot.renewal.as_ref();
        let still_new = renewed.is_some_and(|renewal| match (renewal.counter, facts.counter) {
            (Some(then), Some(now)) => then == now,
            (None, None) => trusted,
            _ => false,
        });
        if !still_new {
            self.memory.snapshot.renewal = None;
        }
        self.begin_unquiescing(outcome, timeout, facts);
    }

    /// A counter that must change has not: the only proof there is.
    pub(super) fn is_proven_unchanged(&self, facts: Facts) -> bool {
        let snapshot = &self.memory.snapshot;
        !snapshot.changed && facts.counter.is_some() && snapshot.counter == facts.counter
    }

    fn is_same_machine(&self, expect: Expectation, token: Option<&str>, facts: Facts) -> bool {
        let snapshot = &self.memory.snapshot;
        if expect == Expectation::Restored || self.tokens_differ(token) || snapshot.changed {
            return false;
        }
        let nobody_knows = snapshot.counter.is_none() && facts.counter.is_none();
        self.is_proven_unchanged(facts) || nobody_knows && self.is_trusted_same(expect, token)
    }

    /// Root says that it is the same machine.
    fn is_trusted_same(&self, expect: Expectation, token: Option<&str>) -> bool {
        let same_token = token.is_some() && self.memory.snapshot.token.as_deref() == token;
        let says_so = expect == Expectation::Resumed || expect == Expectation::Any && same_token;
        says_so && !self.tokens_differ(token)
    }

    fn tokens_differ(&self, token: Option<&str>) -> bool {
        let before = self.memory.snapshot.token.as_deref();
        before.zip(token).is_some_and(|(before, now)| before != now)
    }

    pub(super) fn begin_unquiescing(
        &mut self,
        outcome: Outcome,
        timeout: Option<Millis>,
        facts: Facts,
    ) {
        let timeout = timeout.unwrap_or(self.rules.unquiesce).min(self.rules.longest);
        let deadline = facts.now.saturating_add(timeout);
        let mut course = Course::new(Goal::Ended(outcome), false, deadline);
        if !self.memory.gate_leaks {
            course.gate = Work::Done;
        }
        if outcome == Outcome::Restored {
            self.memory.snapshot.changed = true;
            // What failed is tried again.
            self.memory.snapshot.renewal.take_if(|renewal| !renewal.kernel_reseeded);
        }
        if outcome != Outcome::Restored {
            course.renew = Work::Done;
        } else if let Some(renewal) = &self.memory.snapshot.renewal {
            course.renew = Work::Done;
            if renewal.hooks {
                course.hooks = Work::Done;
            }
        }
        self.ask_again(course.goal.phase(), false);
        self.memory.stage = Stage::Moving(course);
    }

    /// This is another world, and something may have got out of it already: the gate first.
    pub(super) fn begin_emergency(&mut self, facts: Facts) {
        self.memory.gate_leaks = true;
        self.memory.snapshot.renewal = None;
        self.begin_unquiescing(Outcome::Restored, None, facts);
    }

    /// As far as it goes now.
    pub(super) fn advance_unquiescing(&mut self, mut course: Course, facts: Facts) {
        if course.gate == Work::Due {
            course.gate = Work::Begun;
            let deadline = facts.now.saturating_add(self.rules.optional_delay).min(course.deadline);
            self.effects.push(Effect::ShutGate { deadline });
        }
        let waits = course.gate != Work::Done || self.waits_to_open(&mut course, facts);
        if waits && facts.now >= course.deadline {
            self.memory.stage = Stage::Moving(course);
            let holders = self.waiting_for();
            return self.fail_unquiescing(Answer::Expired { state: self.state(), holders }, facts);
        }
        if !waits && course.open == Work::Due {
            course.open = Work::Begun;
            self.effects.push(Effect::OpenGate);
        }
        let ended = (course.open == Work::Done).then_some(course.goal);
        self.memory.stage = Stage::Moving(course);
        if let Some(Goal::Ended(outcome)) = ended {
            self.become_running(outcome);
        }
    }

    fn waits_to_open(&mut self, course: &mut Course, facts: Facts) -> bool {
        if course.open != Work::Due {
            return false;
        }
        if course.renew == Work::Due {
            course.renew = Work::Begun;
            self.effects.push(Effect::Renew);
        }
        if course.renew == Work::Begun
            || self.waits_for_locks(course, facts)
            || self.waits_for_participants(course, facts)
            || !self.missing().is_empty()
        {
            return true;
        }
        if course.hooks == Work::Due {
            self.run_hooks(course, facts);
        }
        course.hooks != Work::Done
    }

    pub(super) fn renewed(&mut self, kernel_reseeded: bool, generation: u64, facts: Facts) {
        let Stage::Moving(course) = &mut self.memory.stage else { return };
        if course.renew != Work::Begun {
            return;
        }
        course.renew = Work::Done;
        self.memory.generation = generation;
        let renewal = Renewal { counter: facts.counter, kernel_reseeded, hooks: false };
        self.memory.snapshot.renewal = Some(renewal);
        if !kernel_reseeded {
            self.log(Severity::Error, "the kernel's generator could not be reseeded");
        }
    }

    /// The gate stays shut, and a later request goes on here.
    pub(super) fn fail_unquiescing(&mut self, answer: Answer, facts: Facts) {
        self.memory.gate_leaks |= self.course().is_some_and(|course| course.gate != Work::Done);
        let line = format!("the machine stays quiesced: {}", describe(&answer));
        self.log(Severity::Error, line.clone());
        self.stay_quiesced(Some(line), facts);
        self.answer_all(&answer);
    }

    pub(super) fn become_running(&mut self, outcome: Outcome) {
        let (transition, generation) = (self.memory.transition, self.memory.generation);
        let renewal = self.memory.snapshot.renewal.as_ref();
        let kernel_reseeded =
            outcome == Outcome::Restored && renewal.is_some_and(|renewal| renewal.kernel_reseeded);
        self.memory.stage = Stage::Running;
        self.memory.last_outcome = Some(outcome);
        self.memory.degraded = None;
        self.memory.gate_leaks = false;
        self.answer_all(&Answer::Running { transition, generation, outcome, kernel_reseeded });
        self.log(Severity::Notice, format!("running: transition {transition} is {outcome}"));
    }
}

/// For people.
fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Expired { holders, .. } => format!("no answer in time from {}", holders.join(", ")),
        Answer::Vetoed { by, why } => format!("{by}: {why}"),
        Answer::Aborted { why } | Answer::GateFailed { why } => why.clone(),
        other => format!("{other:?}"),
    }
}
