//! A snapshot that is called off: because somebody was not ready, because the host says so, or because
//! it never came. Those who were asked to quiesce are told, the hooks run, and the gate opens. Only
//! where nothing can have been copied: before the gate was shut, or with a counter that did not move.

use snapsafe_client::wire::Outcome;

use super::memory::{Course, Goal, Stage, Work};
use super::{Answer, Effect, Facts, Machine, Phase, Request, Severity};

impl Machine {
    pub(super) fn abort(&mut self, request: Request, facts: Facts) {
        match &self.memory.stage {
            Stage::Moving(course) if course.goal == Goal::Quiesced => {
                self.call_off(Answer::Aborted { why: "called off".into() }, facts);
                self.waiting.push((request, None));
            }
            Stage::Quiesced { .. } => {
                if let Some(lock) = self.blocked_by(Phase::Aborted) {
                    let answer =
                        Answer::Vetoed { by: lock.who.clone(), why: "holds a lock".into() };
                    return self.reply(request, answer);
                }
                self.waiting.push((request, None));
                self.end_without_the_host(facts);
            }
            _ => self.busy(request),
        }
    }

    /// Quiescing failed.
    pub(super) fn call_off(&mut self, answer: Answer, facts: Facts) {
        let Some(course) = self.course() else { return };
        let gate_untouched = !course.gate_touched;
        self.log(Severity::Error, format!("the snapshot is called off: {answer:?}"));
        self.decide_answers(&answer);
        self.begin_abort(true, gate_untouched, facts);
    }

    /// The machine was quiesced long enough, or is to be no longer: aborted if it can be proven that
    /// it is the same machine.
    pub(super) fn end_without_the_host(&mut self, facts: Facts) {
        if self.is_proven_unchanged(facts) {
            self.begin_abort(false, false, facts);
        } else {
            self.begin_unquiescing(Outcome::Restored, None, facts);
        }
    }

    fn begin_abort(&mut self, before_quiesced: bool, gate_untouched: bool, facts: Facts) {
        let deadline = facts.now.saturating_add(self.rules.quiesce);
        let mut course = Course::new(Goal::Ended(Outcome::Aborted), before_quiesced, deadline);
        if gate_untouched {
            course.open = Work::Done;
        }
        self.memory.stage = Stage::Moving(course);
        self.tell_aborted();
    }

    pub(super) fn advance_aborting(&mut self, mut course: Course, facts: Facts) {
        if course.hooks == Work::Due {
            self.run_hooks(&mut course, facts);
        }
        if course.hooks == Work::Done && course.open == Work::Due {
            course.open = Work::Begun;
            self.effects.push(Effect::OpenGate);
        }
        let is_done = course.hooks == Work::Done && course.open == Work::Done;
        self.memory.stage = Stage::Moving(course);
        if is_done {
            self.become_running(Outcome::Aborted);
        }
    }

    /// The watchdog: nobody has told what became of the snapshot.
    pub(super) fn bite(&mut self, facts: Facts) {
        if let Some(lock) = self.blocked_by(Phase::Aborted) {
            let line = format!("quiesced for too long, and {} holds a lock", lock.who);
            self.log(Severity::Error, line.clone());
            return self.stay_quiesced(Some(line), facts);
        }
        self.log(Severity::Error, "quiesced for too long: the host has not said what became of it");
        self.end_without_the_host(facts);
    }
}
