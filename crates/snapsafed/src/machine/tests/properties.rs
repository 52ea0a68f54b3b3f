//! Every interleaving: whatever comes in whatever order, the promises hold after every step, and in
//! the end the machine runs.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::super::*;
use super::driver::{World, rules};

/// Something that happens.
#[derive(Clone, Debug)]
enum Act {
    Quiesce {
        timeout: Option<Millis>,
        force: bool,
        token: Option<u8>,
    },
    Unquiesce {
        expect: Expectation,
        token: Option<u8>,
    },
    Abort,
    Forget,
    Join {
        name: usize,
        mode: Mode,
        required: bool,
        order: i32,
    },
    Leave(usize),
    /// `late`: not what was asked last, but so many questions before. `names_phase`: says which.
    Ack {
        who: usize,
        late: usize,
        names_phase: bool,
        veto: bool,
    },
    AckAll,
    Lock {
        what: What,
        mode: Mode,
        required: bool,
    },
    Release(usize),
    Work(bool),
    Settle,
    Wait(Millis),
    WaitForWake,
    Restart {
        lost: Option<usize>,
    },
    DieAfter(usize),
    Copy,
    Witness,
    Tamper(bool),
}

const NAMES: [&str; 4] = ["database", "web", "cache", "agent"];

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Notify), Just(Mode::Delay), Just(Mode::Block)]
}

fn acts() -> impl Strategy<Value = Act> {
    let token = || prop::option::of(0..2_u8);
    let expect = prop_oneof![
        Just(Expectation::Any),
        Just(Expectation::Resumed),
        Just(Expectation::Restored)
    ];
    let timeout = prop::option::of(0..6_000_u64);
    let what =
        (any::<bool>(), any::<bool>()).prop_map(|(quiesce, unquiesce)| What { quiesce, unquiesce });
    prop_oneof![
        4 => (timeout, prop::bool::weighted(0.3), token())
            .prop_map(|(timeout, force, token)| Act::Quiesce { timeout, force, token }),
        5 => (expect, token()).prop_map(|(expect, token)| Act::Unquiesce { expect, token }),
        2 => Just(Act::Abort),
        1 => Just(Act::Forget),
        5 => (0..4_usize, modes(), any::<bool>(), 0..3_i32)
            .prop_map(|(name, mode, required, order)| Act::Join { name, mode, required, order }),
        2 => any::<usize>().prop_map(Act::Leave),
        6 => (any::<usize>(), prop_oneof![4 => Just(0_usize), 1 => 1..4_usize], any::<bool>(),
              prop::bool::weighted(0.1))
            .prop_map(|(who, late, names_phase, veto)| Act::Ack { who, late, names_phase, veto }),
        6 => Just(Act::AckAll),
        1 => (what, modes(), any::<bool>())
            .prop_map(|(what, mode, required)| Act::Lock { what, mode, required }),
        2 => any::<usize>().prop_map(Act::Release),
        5 => prop::bool::weighted(0.85).prop_map(Act::Work),
        6 => Just(Act::Settle),
        2 => (0..7_000_u64).prop_map(Act::Wait),
        3 => Just(Act::WaitForWake),
        2 => prop::option::of(any::<usize>()).prop_map(|lost| Act::Restart { lost }),
        2 => (1..7_usize).prop_map(Act::DieAfter),
        2 => Just(Act::Copy),
        1 => Just(Act::Witness),
        1 => any::<bool>().prop_map(Act::Tamper),
    ]
}

#[derive(Clone, Debug)]
struct Living {
    name: &'static str,
    required: bool,
    order: i32,
}

/// A question as it was put.
type Question = (Phase, u64, u64);

/// What a bystander knows, without the machine's word for it.
struct Bystander {
    world: World,
    living: BTreeMap<Member, Living>,
    locks: Vec<Member>,
    /// Questions, and in which attempt they were put; and consent.
    asked: Vec<(Member, Question, u64, Option<Millis>)>,
    consent: HashSet<(Member, Question)>,
    answered: HashSet<(Member, Question)>,
    hooks: HashSet<Question>,
    attempt: u64,
    excused: HashSet<&'static str>,
    force: bool,
    /// Of the present transition.
    counter: Option<u64>,
    token: Option<u8>,
    said_resumed: bool,
    same_token: bool,
    changed: bool,
    was_quiesced: bool,
    has_died: bool,
    requests: Vec<Request>,
}

impl Bystander {
    fn new(counter: Option<u64>, auto_unquiesce: bool, required: Vec<String>) -> Self {
        let mut rules = rules();
        (rules.auto_unquiesce, rules.required) = (auto_unquiesce, required);
        let mut world = World::new(rules, counter);
        world.wait(0);
        world.effects.clear();
        Self {
            world,
            living: BTreeMap::new(),
            locks: Vec::new(),
            asked: Vec::new(),
            consent: HashSet::new(),
            answered: HashSet::new(),
            hooks: HashSet::new(),
            attempt: 0,
            excused: HashSet::new(),
            force: false,
            counter,
            token: None,
            said_resumed: false,
            same_token: false,
            changed: false,
            was_quiesced: false,
            has_died: false,
            requests: Vec::new(),
        }
    }

    fn missing(&self) -> Vec<&'static str> {
        let names =
            NAMES.iter().filter(|name| self.world.rules.required.iter().any(|it| it == *name));
        names
            .filter(|name| !self.living.values().any(|one| one.required && one.name == **name))
            .copied()
            .collect()
    }

    /// Somebody else is here under this name, without which nothing opens.
    fn is_replaced(&self, gone: &Living) -> bool {
        let is_listed = self.world.rules.required.iter().any(|name| name == gone.name);
        is_listed && self.living.values().any(|one| one.required && one.name == gone.name)
    }

    fn pick(&self, index: usize) -> Option<Member> {
        let count = self.living.len();
        (count > 0).then(|| *self.living.keys().nth(index % count).unwrap())
    }

    fn numbers(&self, phase: Phase) -> Question {
        (phase, self.world.machine.transition(), self.world.machine.generation())
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Quiesce { timeout, force, token } => self.quiesce(timeout, force, token),
            Act::Unquiesce { expect, token } => self.unquiesce(expect, token),
            Act::Abort => {
                if self.world.machine.state() == State::Quiesced {
                    (self.said_resumed, self.same_token) = (false, false);
                }
                let request = self.world.number();
                self.requests.push(request);
                self.event(Event::Abort { request });
            }
            Act::Forget => {
                if let Some(request) = self.requests.pop() {
                    self.event(Event::Forgotten { request });
                }
            }
            Act::Join { name, mode, required, order } => {
                self.join(NAMES[name], mode, required, order)
            }
            Act::Leave(index) => {
                if let Some(member) = self.pick(index) {
                    self.leave(member);
                }
            }
            Act::Ack { who, late, names_phase, veto } => {
                if let Some(member) = self.pick(who) {
                    self.ack(member, late, names_phase, veto);
                }
            }
            Act::AckAll => {
                for member in self.living.keys().copied().collect::<Vec<_>>() {
                    self.ack(member, 0, true, false);
                }
            }
            Act::Lock { what, mode, required } => {
                let member = self.world.number();
                self.locks.push(member);
                let who = "locker".into();
                self.event(Event::Inhibited { member, what, who, mode, required });
            }
            Act::Release(index) => {
                if !self.locks.is_empty() {
                    let member = self.locks.swap_remove(index % self.locks.len());
                    self.event(Event::Released { member });
                }
            }
            Act::Work(good) => {
                self.work(if good { Ok(()) } else { Err("broken".into()) });
            }
            Act::Settle => self.settle(),
            Act::Wait(millis) => {
                self.world.facts.now += millis;
                self.event(Event::Tick);
            }
            Act::WaitForWake => {
                if let Some(wake) = self.world.wake {
                    self.world.facts.now = self.world.facts.now.max(wake);
                    self.event(Event::Tick);
                }
            }
            Act::Restart { lost } => {
                self.restart();
                if let Some(member) = lost.and_then(|index| self.pick(index)) {
                    self.leave(member);
                }
            }
            Act::DieAfter(effects) => self.world.dies_after = Some(effects),
            Act::Copy => {
                if let Some(counter) = &mut self.world.facts.counter {
                    *counter += 1;
                    self.changed = true;
                }
            }
            Act::Witness => {
                self.changed |= self.world.machine.state() != State::Running;
                self.event(Event::WorldChanged { witness: "kernel".into() });
            }
            Act::Tamper(repaired) => {
                if self.world.machine.wants_gate_shut() {
                    self.world.gate_shut = repaired;
                }
                let result = if repaired { Ok(()) } else { Err("gone".into()) };
                self.event(Event::GateTampered(result));
            }
        }
    }

    fn quiesce(&mut self, timeout: Option<Millis>, force: bool, token: Option<u8>) {
        let request = self.world.number();
        self.requests.push(request);
        let runs = self.world.machine.state() == State::Running && !self.moves();
        let missing = self.missing();
        let before = self.world.machine.transition();
        if runs {
            (self.force, self.token, self.counter) = (force, token, self.world.facts.counter);
            (self.changed, self.was_quiesced) = (false, false);
            self.excused = if force { missing.iter().copied().collect() } else { HashSet::new() };
        }
        let text = token.map(|token| token.to_string());
        self.event(Event::Quiesce { request, timeout, force, token: text });
        let answer = self.world.answer(request);
        let begun = self.world.machine.transition() > before;
        let busy = matches!(answer, Some(Answer::Busy { .. }));
        assert!(busy != runs || self.crashed(request));
        assert!(!runs || force || missing.is_empty() || !begun, "begun without {missing:?}");
    }

    fn unquiesce(&mut self, expect: Expectation, token: Option<u8>) {
        let request = self.world.number();
        self.requests.push(request);
        let may = self.world.machine.state() == State::Quiesced && !self.moves();
        if may {
            self.said_resumed = expect == Expectation::Resumed;
            self.same_token = token.is_some() && token == self.token;
            let contradicted = self.token.is_some() && token.is_some() && token != self.token;
            self.said_resumed &= !contradicted;
        }
        let (timeout, has_entropy) = (None, false);
        let token = token.map(|token| token.to_string());
        let moves = self.moves();
        self.event(Event::Unquiesce { request, timeout, expect, token, has_entropy });
        let busy = matches!(self.world.answer(request), Some(Answer::Busy { .. }));
        assert!(self.crashed(request) || moves || busy != may);
    }

    /// The driver died over it: there is no answer to expect.
    fn crashed(&self, request: Request) -> bool {
        !self.requests.contains(&request)
    }

    /// The next step sees that the counter has changed.
    fn moves(&self) -> bool {
        let seen = self.world.machine.memory.seen;
        self.world.facts.counter.is_some() && seen != self.world.facts.counter
    }

    fn join(&mut self, name: &'static str, mode: Mode, required: bool, order: i32) {
        let member = self.world.number();
        self.living.insert(member, Living { name, required, order });
        self.event(Event::Joined { member, name: name.into(), mode, required, order });
    }

    fn leave(&mut self, member: Member) {
        let gone = self.living.remove(&member).unwrap();
        let phase = self.world.machine.outcome().map(phase_of);
        let asked = self.asked.iter().any(|(who, question, attempt, _)| {
            let present = phase.map(|phase| self.numbers(phase));
            *who == member && Some(*question) == present && *attempt == self.attempt
        });
        let owed =
            phase.is_some_and(|phase| !self.consent.contains(&(member, self.numbers(phase))));
        if self.world.machine.state() == State::Quiescing && self.force {
            self.excused.extend(self.missing());
        }
        let copied = self.moves();
        self.event(Event::Left { member });
        // One that must be there may be started again, or has been, before this end was seen: then
        // whoever has the name now is waited for.
        let may_return = self.missing().contains(&gone.name) || self.is_replaced(&gone);
        if gone.required && asked && owed && !may_return && !copied && phase != Some(Phase::Aborted)
        {
            assert_eq!(self.world.machine.state(), State::Quiesced, "a death is no answer");
        }
    }

    fn ack(&mut self, member: Member, late: usize, names_phase: bool, veto: bool) {
        let questions = self.asked.iter().rev().filter(|asked| asked.0 == member);
        let questions: Vec<Question> = questions.map(|asked| asked.1).collect();
        let Some(question) = questions.get(late).copied() else { return };
        let (phase, transition, generation) = question;
        let last = questions[0];
        let request = self.world.number();
        let answer = if veto { Err("no".into()) } else { Ok(()) };
        // What is accepted is decided before the step leads elsewhere.
        let present = self.numbers(last.0);
        let phase = names_phase.then_some(phase);
        let accepted = (transition, generation) == (last.1, last.2) && last == present;
        let accepted = accepted && phase.is_none_or(|phase| phase == last.0);
        let died = self.world.dies_after.is_some();
        if accepted && !self.moves() {
            self.answered.insert((member, last));
            if !veto {
                self.consent.insert((member, last));
            }
        }
        let moves = self.moves();
        self.event(Event::Acked { request, member, transition, generation, phase, answer });
        if moves {
            return self.note_consent(member);
        }
        if died {
            return;
        }
        let answer = self.world.answer(request).unwrap();
        assert_eq!(*answer == Answer::Accepted, accepted, "{answer:?} to {question:?}");
    }

    /// The counter has moved in this step, and whether the answer still counts is the machine's to say.
    fn note_consent(&mut self, member: Member) {
        let memory = &self.world.machine.memory;
        let Some(one) = memory.participants.iter().find(|one| one.member == member) else { return };
        if let Some(asked) = one.asked.as_ref().filter(|asked| asked.answer == Some(true)) {
            self.consent.insert((member, (asked.phase, asked.transition, asked.generation)));
        }
    }

    fn work(&mut self, result: Result<(), String>) -> bool {
        let good = result.is_ok();
        let hooks_are_next = !self.world.renewing && !self.world.shutting && !self.world.opening;
        let counts = |phase: &Phase| hooks_are_next && (good || *phase == Phase::Aborted);
        if let Some(phase) = self.world.hooks.filter(counts) {
            self.hooks.insert(self.numbers(phase));
        }
        let event = self.world.next_report(result);
        let there_is = event.is_some();
        if let Some(event) = event {
            self.event(event);
        }
        there_is
    }

    fn settle(&mut self) {
        while self.work(Ok(())) {}
    }

    fn restart(&mut self) {
        let before = (self.world.machine.state(), self.world.machine.transition());
        let moves = self.moves();
        self.requests.clear();
        self.attempt += 1;
        let effects = self.world.restart();
        self.subscribe();
        self.look_at(&effects);
        if !moves {
            let after = (self.world.machine.state(), self.world.machine.transition());
            // Time went by meanwhile, and a watchdog may bite at once.
            let bitten = before.0 == State::Quiesced && after.0 == State::Unquiescing;
            assert!(before == after || bitten && before.1 == after.1, "{before:?} {after:?}");
        }
    }

    /// Everybody comes back after a restart, and is told what was remembered for it. The driver may have
    /// died between the two.
    fn subscribe(&mut self) {
        for member in self.living.keys().copied() {
            let Some(asked) = self.world.machine.asked(member) else { continue };
            let question = (asked.phase, asked.transition, asked.generation);
            let mut known = self.asked.iter().rev();
            if known.find(|one| one.0 == member).is_none_or(|one| one.1 != question) {
                self.asked.push((member, question, self.attempt - 1, None));
            }
        }
    }

    fn event(&mut self, event: Event) {
        let before = self.world.machine.state();
        let dies = self.world.dies_after.is_some();
        let effects = self.world.handle(event);
        let after = self.world.machine.state();
        if before == State::Quiesced && after != before {
            self.attempt += 1;
        }
        self.was_quiesced |= after == State::Quiesced;
        self.look_at(&effects);
        if dies {
            self.has_died = true;
            self.restart();
        }
    }

    fn look_at(&mut self, effects: &[Effect]) {
        let mut last: Option<(Member, i32, Phase)> = None;
        for effect in effects {
            match effect {
                Effect::Ask { member, phase, transition, generation, deadline } => {
                    let question = (*phase, *transition, *generation);
                    self.check_question(*member, question, last);
                    last = Some((*member, self.living[member].order, *phase));
                    self.asked.push((*member, question, self.attempt, *deadline));
                }
                Effect::OpenGate => self.check_opening(),
                Effect::Reply { answer: Answer::Quiesced { .. }, .. } => self.check_quiesced(),
                Effect::Reply { answer: Answer::Running { transition, outcome, .. }, .. } => {
                    self.check_everybody_was_told(*transition, phase_of(*outcome));
                }
                _ => {}
            }
        }
        self.check_gate();
    }

    fn check_gate(&self) {
        let state = self.world.machine.state();
        let must = matches!(state, State::Quiesced | State::Unquiescing);
        let known = self.world.opening || self.world.machine.memory.gate_leaks;
        assert!(!must || self.world.gate_shut || known, "open while {state}");
        assert!(state != State::Running || !self.world.shutting, "shut while it runs");
    }

    /// Not twice, in the right order, and only when the group before is through.
    fn check_question(
        &self,
        member: Member,
        question: Question,
        last: Option<(Member, i32, Phase)>,
    ) {
        let twice = self.asked.iter().any(|(who, what, attempt, _)| {
            (*who, *what, *attempt) == (member, question, self.attempt)
        });
        assert!(!twice, "{member} is asked {question:?} twice");
        // Unless it was told of another end meanwhile.
        let mut known = self.asked.iter().rev();
        let last_question = known.find(|one| one.0 == member).map(|one| one.1);
        let has_consented = self.consent.contains(&(member, question));
        assert!(!has_consented || last_question != Some(question), "asked again after its consent");
        let order = self.living[&member].order;
        // If the driver died over the question, the word of its end comes alone.
        if question.0 == Phase::Aborted && !self.has_died {
            let mut asked = self.asked.iter();
            assert!(asked.any(|(who, what, ..)| {
                *who == member && (what.0, what.1) == (Phase::Quiesce, question.1)
            }));
        }
        if let Some((before, its_order, _)) = last.filter(|last| last.2 == question.0) {
            if question.0 == Phase::Quiesce {
                assert!(its_order > order || its_order == order && before > member);
            } else {
                assert!(its_order < order || its_order == order && before < member);
            }
        }
        if question.0 == Phase::Aborted {
            return;
        }
        for (who, what, attempt, deadline) in &self.asked {
            let Some(other) = self.living.get(who) else { continue };
            let first = if question.0 == Phase::Quiesce {
                other.order > order
            } else {
                other.order < order
            };
            let open = deadline.is_some_and(|deadline| self.world.facts.now < deadline);
            let waits = open && !self.answered.contains(&(*who, *what));
            let same = *what == question && *attempt == self.attempt;
            assert!(!(same && first && waits), "{member} is asked before {who} has answered");
        }
    }

    fn required_consent(&self, phase: Phase) {
        let question = self.numbers(phase);
        for (member, one) in self.living.iter().filter(|(_, one)| one.required) {
            assert!(
                self.consent.contains(&(*member, question)),
                "{} has not consented to {question:?}",
                one.name
            );
        }
        let missing: Vec<_> = self.missing();
        let missing = missing.iter().find(|name| !self.excused.contains(*name));
        assert_eq!(missing, None);
        assert!(self.hooks.contains(&question), "without hooks: {question:?}");
    }

    fn check_quiesced(&self) {
        if !self.force {
            self.required_consent(Phase::Quiesce);
        }
    }

    fn check_opening(&self) {
        let outcome = self.world.machine.outcome().unwrap();
        let before_quiesced = self.world.machine.state() == State::Quiescing;
        let proven =
            self.counter.is_some() && self.counter == self.world.facts.counter && !self.changed;
        match outcome {
            Outcome::Restored => self.required_consent(Phase::Restored),
            Outcome::Resumed => {
                self.required_consent(Phase::Resumed);
                let said = self.said_resumed || self.same_token;
                let nobody_knows = self.counter.is_none() && self.world.facts.counter.is_none();
                assert!(!self.changed && (proven || nobody_knows && said));
            }
            Outcome::Aborted => {
                assert!(before_quiesced || proven, "aborted, and nobody knows");
                assert!(!before_quiesced || !self.was_quiesced);
                assert!(self.hooks.contains(&self.numbers(Phase::Aborted)));
            }
        }
    }

    fn check_everybody_was_told(&self, transition: u64, phase: Phase) {
        for member in self.living.keys() {
            let asked = |phase: Phase| {
                let mut asked = self.asked.iter();
                asked.any(|(who, what, ..)| {
                    *who == *member && (what.0, what.1) == (phase, transition)
                })
            };
            assert!(!asked(Phase::Quiesce) || asked(phase), "{member} was never told {phase}");
        }
    }

    fn everybody_answers(&mut self) {
        self.settle();
        let asked = |it: &Self| {
            let mut living = it.living.keys();
            living.find(|member| it.world.machine.asked(**member).is_some()).copied()
        };
        while let Some(member) = asked(self) {
            self.ack(member, 0, true, false);
            self.settle();
        }
    }

    /// From here on everybody answers, nothing breaks, and the host tries again.
    fn comes_to_an_end(&mut self) {
        self.world.dies_after = None;
        for member in std::mem::take(&mut self.locks) {
            self.event(Event::Released { member });
        }
        for _ in 0..40 {
            for name in self.missing() {
                self.join(name, Mode::Block, true, 0);
            }
            self.everybody_answers();
            match self.world.machine.state() {
                State::Running if !self.moves() => break,
                State::Quiesced => self.unquiesce(Expectation::Any, None),
                _ => self.act(Act::WaitForWake),
            }
        }
        assert_eq!(self.world.machine.state(), State::Running, "{:#?}", self.world.machine);
        assert!(!self.world.gate_shut);
        assert!(self.world.wake.is_none());
        for request in &self.requests {
            assert!(self.world.answer(*request).is_some(), "{request} has no answer");
        }
        assert!(self.world.replies.values().all(|answers| answers.len() == 1));
    }
}

fn phase_of(outcome: Outcome) -> Phase {
    match outcome {
        Outcome::Restored => Phase::Restored,
        Outcome::Resumed => Phase::Resumed,
        Outcome::Aborted => Phase::Aborted,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold_and_in_the_end_the_machine_runs(
        counter in prop::option::of(Just(7_u64)),
        auto_unquiesce in prop::bool::weighted(0.3),
        required in prop::option::weighted(0.3, Just("database".to_owned())),
        acts in prop::collection::vec(acts(), 1..60),
    ) {
        let mut bystander = Bystander::new(counter, auto_unquiesce, required.into_iter().collect());
        for act in acts {
            bystander.act(act);
        }
        bystander.comes_to_an_end();
    }
}
