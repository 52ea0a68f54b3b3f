//! Who takes part: participants, which are asked and answer, and locks, which are held and released.
//! Whom to ask next, who is waited for, and until when.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use snapsafe_client::wire::{Mode, Phase};

use super::memory::{Course, Goal, Stage, Work};
use super::{Answer, Effect, Facts, Machine, Member, Millis, Request, Severity, What};

/// A participant, and what it was asked last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Participant {
    pub(super) member: Member,
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) required: bool,
    pub(super) order: i32,
    /// It was asked to quiesce in the present transition.
    pub(super) quiesced: bool,
    pub(super) asked: Option<Asked>,
    /// It is to be asked the same again.
    pub(super) again: bool,
}

/// A question to a participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What it was asked.
    pub phase: Phase,
    /// In which transition.
    pub transition: u64,
    /// In which generation.
    pub generation: u64,
    /// Until when it is waited for, if it is.
    pub deadline: Option<Millis>,
    /// Whether it consented.
    pub answer: Option<bool>,
}

/// A lock that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lock {
    pub(super) member: Member,
    pub(super) what: What,
    pub(super) who: String,
    pub(super) mode: Mode,
    pub(super) required: bool,
}

impl Participant {
    fn counts(&self) -> bool {
        self.required || self.mode != Mode::Notify
    }

    fn is_waited_for(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.deadline.is_some() && asked.answer.is_none())
    }

    /// It consented to this very question.
    fn consented(&self, phase: Phase, transition: u64, generation: u64) -> bool {
        self.was_asked(phase, transition, generation)
            && self.asked.as_ref().is_some_and(|asked| asked.answer == Some(true))
    }

    fn needs_no_question(&self, phase: Phase, transition: u64, generation: u64) -> bool {
        // To be asked again may have been meant of another end, which came to nothing.
        let again = self.again && !self.consented(phase, transition, generation);
        self.was_asked(phase, transition, generation) && !again
    }

    fn was_asked(&self, phase: Phase, transition: u64, generation: u64) -> bool {
        self.asked.as_ref().is_some_and(|asked| {
            (asked.phase, asked.transition, asked.generation) == (phase, transition, generation)
        })
    }
}

impl Lock {
    fn holds(&self, phase: Phase) -> bool {
        if phase == Phase::Quiesce { self.what.quiesce } else { self.what.unquiesce }
    }
}

impl Machine {
    /// What this participant was asked last and has not answered: for whoever connects anew.
    pub fn asked(&self, member: Member) -> Option<&Asked> {
        let participant = self.memory.participants.iter().find(|one| one.member == member)?;
        let present = (self.memory.transition, self.memory.generation);
        let asked = participant.asked.as_ref();
        // An older question is none any more: its answer would be stale.
        asked.filter(|asked| {
            (asked.transition, asked.generation) == present && asked.answer.is_none()
        })
    }

    /// Who is waited for, by name.
    pub fn waiting_for(&self) -> Vec<String> {
        let Some(course) = self.course() else { return Vec::new() };
        let mut names = Vec::new();
        if course.locks == Work::Begun {
            names.extend(self.locks_of(course.goal.phase()).map(|lock| lock.who.clone()));
        }
        let waited = self.memory.participants.iter().filter(|one| one.is_waited_for());
        names.extend(waited.map(|one| one.name.clone()));
        if course.goal.outcome().is_some() && !course.before_quiesced {
            names.extend(self.missing());
        }
        if course.hooks == Work::Begun {
            names.push("hooks".into());
        }
        if course.goal == Goal::Quiesced && course.gate == Work::Begun {
            names.push("gate".into());
        }
        names
    }

    /// Required names that nobody registered.
    pub(super) fn missing(&self) -> Vec<String> {
        // NAME or NAME:USER; that the user is the right one, the driver has seen to.
        let names = self.rules.required.iter().map(|rule| rule.split(':').next().unwrap_or(rule));
        names
            .filter(|name| !self.memory.snapshot.excused.iter().any(|excused| excused == name))
            .filter(|name| {
                let mut participants = self.memory.participants.iter();
                !participants.any(|one| one.required && one.name == **name)
            })
            .map(String::from)
            .collect()
    }

    fn is_in_rules(&self, name: &str) -> bool {
        self.rules.required.iter().any(|rule| rule.split(':').next() == Some(name))
    }

    /// Somebody who holds a lock that admits no transition of this kind.
    pub(super) fn blocked_by(&self, phase: Phase) -> Option<&Lock> {
        self.memory.locks.iter().find(|lock| lock.mode == Mode::Block && lock.holds(phase))
    }

    fn locks_of(&self, phase: Phase) -> impl Iterator<Item = &Lock> {
        let locks = self.memory.locks.iter();
        locks.filter(move |lock| lock.mode != Mode::Notify && lock.holds(phase))
    }

    /// Whether locks still hold the course up. Those that are not required do for a while only.
    pub(super) fn waits_for_locks(&mut self, course: &mut Course, facts: Facts) -> bool {
        if course.locks == Work::Done {
            return false;
        }
        let phase = course.goal.phase();
        let optional = self.rules.optional_delay;
        let until = *course.locks_until.get_or_insert(facts.now.saturating_add(optional));
        let in_time = facts.now < until.min(course.deadline);
        let may_wait = !self.is_forced_past(course, facts);
        let held = self.locks_of(phase).any(|lock| may_wait && lock.required || in_time);
        if held {
            course.locks = Work::Begun;
            return true;
        }
        let passed_over: Vec<String> = self.locks_of(phase).map(|lock| lock.who.clone()).collect();
        for who in passed_over {
            self.log(Severity::Warning, format!("{who} still holds its lock: not waited for"));
        }
        course.locks = Work::Done;
        false
    }

    /// Asks the next group, if the one before is through. True while somebody is waited for.
    pub(super) fn waits_for_participants(&mut self, course: &mut Course, facts: Facts) -> bool {
        self.pass_over_the_late(course, facts);
        let phase = course.goal.phase();
        let mut groups: Vec<i32> = self.memory.participants.iter().map(|one| one.order).collect();
        groups.sort_unstable();
        groups.dedup();
        if phase == Phase::Quiesce {
            groups.reverse();
        }
        for order in groups {
            self.ask_group(order, phase, course, facts);
            let mut participants = self.memory.participants.iter();
            if participants.any(|one| one.order == order && one.is_waited_for()) {
                return true;
            }
        }
        false
    }

    fn ask_group(&mut self, order: i32, phase: Phase, course: &mut Course, facts: Facts) {
        let (transition, generation) = (self.memory.transition, self.memory.generation);
        let group = self.memory.participants.iter().enumerate();
        let mut group: Vec<usize> = group
            .filter(|(_, one)| {
                one.order == order && !one.needs_no_question(phase, transition, generation)
            })
            .map(|(index, _)| index)
            .collect();
        if phase == Phase::Quiesce {
            group.sort_unstable_by_key(|index| Reverse(*index));
        }
        for index in group {
            let deadline = self.deadline_of(index, course, facts);
            self.ask(index, phase, deadline);
        }
    }

    fn deadline_of(&self, index: usize, course: &mut Course, facts: Facts) -> Option<Millis> {
        let participant = &self.memory.participants[index];
        if participant.required {
            return Some(course.deadline);
        }
        if !participant.counts() {
            return None;
        }
        let optional = self.rules.optional_delay;
        let until = *course.optional_until.get_or_insert(facts.now.saturating_add(optional));
        Some(until.min(course.deadline)).filter(|until| facts.now < *until)
    }

    fn ask(&mut self, index: usize, phase: Phase, deadline: Option<Millis>) {
        let (transition, generation) = (self.memory.transition, self.memory.generation);
        let participant = &mut self.memory.participants[index];
        participant.quiesced |= phase == Phase::Quiesce;
        participant.again = false;
        participant.asked = Some(Asked { phase, transition, generation, deadline, answer: None });
        let member = participant.member;
        self.effects.push(Effect::Ask { member, phase, transition, generation, deadline });
    }

    /// Tells everybody who was asked to quiesce that it was for nothing. Nobody is waited for.
    pub(super) fn tell_aborted(&mut self) {
        let (transition, generation) = (self.memory.transition, self.memory.generation);
        let participants = self.memory.participants.iter().enumerate();
        let mut told: Vec<(i32, usize)> = participants
            .filter(|(_, one)| one.quiesced)
            .filter(|(_, one)| !one.needs_no_question(Phase::Aborted, transition, generation))
            .map(|(index, one)| (one.order, index))
            .collect();
        told.sort_unstable();
        for (_, index) in told {
            self.ask(index, Phase::Aborted, None);
        }
    }

    /// Time is over, and the host wants the snapshot without those who are late.
    pub(super) fn is_forced_past(&self, course: &Course, facts: Facts) -> bool {
        let forced = course.goal == Goal::Quiesced && self.memory.snapshot.force;
        forced && facts.now >= course.deadline
    }

    /// Whoever was told of the abort and has not answered is told again.
    pub(super) fn tell_aborted_again(&mut self) {
        for participant in &mut self.memory.participants {
            participant.again =
                participant.asked.as_ref().is_some_and(|asked| asked.answer.is_none());
        }
        self.tell_aborted();
    }

    /// Those who have not answered in time are not waited for, unless they are required.
    fn pass_over_the_late(&mut self, course: &Course, facts: Facts) {
        let forced = self.is_forced_past(course, facts);
        let mut late = Vec::new();
        for participant in &mut self.memory.participants {
            let may_be_passed_over = !participant.required || forced;
            let Some(asked) = &mut participant.asked else { continue };
            let is_late = asked.deadline.is_some_and(|deadline| facts.now >= deadline);
            if may_be_passed_over && is_late && asked.answer.is_none() {
                asked.deadline = None;
                late.push(participant.name.clone());
            }
        }
        for name in late {
            self.log(Severity::Warning, format!("{name} did not answer: not waited for"));
        }
    }

    /// Those who have not consented are asked again, with a new deadline. After a restart, those who
    /// never answer, too: nobody knows whether they heard.
    pub(super) fn ask_again(&mut self, phase: Phase, after_restart: bool) {
        let (transition, generation) = (self.memory.transition, self.memory.generation);
        for participant in &mut self.memory.participants {
            let consented = participant.consented(phase, transition, generation);
            participant.again = (participant.counts() || after_restart) && !consented;
            // Not waited for before it is asked; but a late answer still counts.
            if let Some(asked) = participant.asked.as_mut().filter(|_| !consented) {
                asked.deadline = None;
            }
        }
    }

    pub(super) fn joined(&mut self, participant: Participant) {
        self.memory.participants.push(participant);
    }

    /// A registration ended. While somebody required is waited for, its end is no answer.
    pub(super) fn left(&mut self, member: Member) -> Option<Answer> {
        let participants = &mut self.memory.participants;
        let index = participants.iter().position(|one| one.member == member)?;
        let gone = participants.remove(index);
        let course = self.course()?;
        let phase = course.goal.phase();
        let (transition, generation) = (self.memory.transition, self.memory.generation);
        if !gone.required || phase == Phase::Aborted {
            return None;
        }
        let waited_for = gone.was_asked(phase, transition, generation)
            && !gone.consented(phase, transition, generation);
        let name = gone.name;
        let why = format!("{name} is required, and went away");
        if phase == Phase::Quiesce {
            if self.memory.snapshot.force {
                self.excuse(Severity::Warning);
                return None;
            }
            return (waited_for || self.is_in_rules(&name)).then_some(Answer::Aborted { why });
        }
        // A name that must be there is waited for: whoever supervises it may start it again, and may
        // have done so already, for the end of the old one can be seen late.
        let mut others = self.memory.participants.iter();
        let is_replaced =
            self.is_in_rules(&name) && others.any(|one| one.required && one.name == name);
        (waited_for && !is_replaced && !self.missing().contains(&name))
            .then_some(Answer::Aborted { why })
    }

    /// Whoever is missing now may be missing until the end of the transition.
    pub(super) fn excuse(&mut self, severity: Severity) {
        for name in self.missing() {
            self.log(severity, format!("{name} is required and missing: forced to go on without"));
            self.memory.snapshot.excused.push(name);
        }
    }

    /// An answer of a participant; a veto where it matters is the transition's failure.
    pub(super) fn acked(
        &mut self,
        request: Request,
        member: Member,
        names: (u64, u64, Option<Phase>),
        answer: Result<(), String>,
    ) -> Option<Answer> {
        let reply = self.check_ack(member, names);
        let accepted = reply == Answer::Accepted;
        self.effects.push(Effect::Reply { request, answer: reply });
        let present = self.course().map(|course| course.goal.phase());
        let participant = self.memory.participants.iter_mut().find(|one| one.member == member)?;
        let asked = participant.asked.as_mut().filter(|_| accepted)?;
        // The first answer counts, but a refusal may be taken back.
        if asked.answer == Some(true) {
            return None;
        }
        asked.answer = Some(answer.is_ok());
        participant.again &= answer.is_err();
        let matters = participant.required && present == Some(asked.phase);
        let (by, why) = (participant.name.clone(), answer.err()?);
        if matters && present != Some(Phase::Aborted) {
            return Some(Answer::Vetoed { by, why });
        }
        self.log(Severity::Warning, format!("{by} refused, which does not matter: {why}"));
        None
    }

    fn check_ack(&self, member: Member, names: (u64, u64, Option<Phase>)) -> Answer {
        let mut participants = self.memory.participants.iter();
        let participant = participants.find(|one| one.member == member);
        let Some(asked) = participant.and_then(|one| one.asked.as_ref()) else {
            return Answer::UnknownParticipant;
        };
        let (transition, generation, phase) = names;
        let present = (self.memory.transition, self.memory.generation);
        let is_asked = (transition, generation) == (asked.transition, asked.generation);
        if !is_asked
            || (transition, generation) != present
            || phase.is_some_and(|it| it != asked.phase)
        {
            return Answer::Stale { transition: present.0, generation: present.1 };
        }
        Answer::Accepted
    }

    /// When the next of those who are waited for is late.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let course = match &self.memory.stage {
            Stage::Running => return None,
            Stage::Quiesced { watchdog } => return *watchdog,
            Stage::Moving(course) => course,
        };
        // Hooks of an abort, and the gate's opening, report by themselves.
        if course.goal.phase() == Phase::Aborted || course.open == Work::Begun {
            return None;
        }
        let waited = self.memory.participants.iter().filter(|one| one.is_waited_for());
        let deadlines = waited.filter_map(|one| one.asked.as_ref()?.deadline);
        let locks = course.locks_until.filter(|_| course.locks == Work::Begun);
        deadlines.chain(locks).chain([course.deadline]).min()
    }
}
