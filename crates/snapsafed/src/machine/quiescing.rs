//! From running to quiesced: locks, then participants, then hooks, and the gate last, since
//! applications need the network to come to an end. Whatever fails here calls the snapshot off.

use super::memory::{Course, Goal, Snapshot, Stage, Work};
use super::{Answer, Effect, Facts, Machine, Millis, Phase, Request, Severity};

impl Machine {
    pub(super) fn quiesce(
        &mut self,
        request: Request,
        timeout: Option<Millis>,
        force: bool,
        token: Option<String>,
        facts: Facts,
    ) {
        if self.memory.stage != Stage::Running {
            return self.busy(request);
        }
        self.memory.snapshot =
            Snapshot { counter: facts.counter, token, force, ..Snapshot::default() };
        if let Some(answer) = self.refuses_to_quiesce(force) {
            return self.reply(request, answer);
        }
        if force {
            self.excuse(Severity::Warning);
        }
        self.new_transition(facts);
        self.waiting.push((request, None));
        let timeout = timeout.unwrap_or(self.rules.quiesce).min(self.rules.longest);
        let deadline = facts.now.saturating_add(timeout);
        self.memory.stage = Stage::Moving(Course::new(Goal::Quiesced, true, deadline));
    }

    fn refuses_to_quiesce(&self, force: bool) -> Option<Answer> {
        if let Some(lock) = self.blocked_by(Phase::Quiesce) {
            return Some(Answer::Vetoed { by: lock.who.clone(), why: "holds a lock".into() });
        }
        let missing = self.missing();
        (!missing.is_empty() && !force).then(|| Answer::Vetoed {
            by: missing.join(", "),
            why: "required, and not registered".into(),
        })
    }

    pub(super) fn new_transition(&mut self, facts: Facts) {
        self.memory.transition += 1;
        self.memory.generation = facts.generation;
        self.memory.degraded = None;
        self.memory.gate_leaks = false;
        for participant in &mut self.memory.participants {
            participant.asked = None;
            participant.quiesced = false;
        }
    }

    /// As far as it goes now.
    pub(super) fn advance_quiescing(&mut self, mut course: Course, facts: Facts) {
        let waits = self.waits_before_the_gate(&mut course, facts);
        let is_late = facts.now >= course.deadline;
        if is_late && (waits || course.gate == Work::Begun) {
            self.memory.stage = Stage::Moving(course);
            let holders = self.waiting_for();
            let answer = Answer::Expired { state: self.state(), holders };
            return self.call_off(answer, facts);
        }
        if !waits && course.gate == Work::Due {
            course.gate = Work::Begun;
            course.gate_touched = true;
            self.effects.push(Effect::ShutGate { deadline: course.deadline });
        }
        let is_done = !waits && course.gate == Work::Done;
        self.memory.stage = Stage::Moving(course);
        if is_done {
            self.become_quiesced(facts);
        }
    }

    fn waits_before_the_gate(&mut self, course: &mut Course, facts: Facts) -> bool {
        if self.waits_for_locks(course, facts) || self.waits_for_participants(course, facts) {
            return true;
        }
        if course.hooks == Work::Due {
            self.run_hooks(course, facts);
        }
        course.hooks != Work::Done
    }

    /// Where the deadline went by with somebody who does not matter, there is a little more time.
    pub(super) fn run_hooks(&mut self, course: &mut Course, facts: Facts) {
        if facts.now >= course.deadline {
            course.deadline = facts.now.saturating_add(self.rules.optional_delay);
        }
        course.hooks = Work::Begun;
        let (phase, deadline) = (course.goal.phase(), course.deadline);
        self.effects.push(Effect::RunHooks { phase, deadline });
    }

    fn become_quiesced(&mut self, facts: Facts) {
        self.stay_quiesced(None, facts);
        let (transition, generation) = (self.memory.transition, self.memory.generation);
        self.answer_all(&Answer::Quiesced { transition, generation });
        self.log(Severity::Notice, format!("quiesced: transition {transition}"));
    }

    /// The machine is quiesced, or still is after something failed.
    pub(super) fn stay_quiesced(&mut self, degraded: Option<String>, facts: Facts) {
        self.memory.degraded = degraded;
        self.memory.stage = Stage::Quiesced { watchdog: self.next_watchdog(facts) };
    }

    pub(super) fn next_watchdog(&self, facts: Facts) -> Option<Millis> {
        self.rules.quiesced_max.map(|max| facts.now.saturating_add(max.max(1)))
    }

    pub(super) fn busy(&mut self, request: Request) {
        let answer = Answer::Busy { state: self.state(), transition: self.memory.transition };
        self.reply(request, answer);
    }

    pub(super) fn reply(&mut self, request: Request, answer: Answer) {
        self.effects.push(Effect::Reply { request, answer });
    }

    /// Everybody who waits gets the answer that was decided before, or this one.
    pub(super) fn answer_all(&mut self, answer: &Answer) {
        for (request, decided) in std::mem::take(&mut self.waiting) {
            let answer = match decided.unwrap_or_else(|| answer.clone()) {
                Answer::Expired { holders, .. } => Answer::Expired { state: self.state(), holders },
                other => other,
            };
            self.reply(request, answer);
        }
    }

    /// The end of the transition does not change this answer any more.
    pub(super) fn decide_answers(&mut self, answer: &Answer) {
        for (_, decided) in &mut self.waiting {
            decided.get_or_insert_with(|| answer.clone());
        }
    }
}
