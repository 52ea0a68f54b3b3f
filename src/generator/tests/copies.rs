//! Copies at every step: the world is copied at each point between two steps of a request, and what
//! the copies release from then on is held against each other.
//!
//! A copy is a replay. Everything here is determined by a script, so whoever runs it again stands at
//! the same point with the same state, the caller's buffer included; there the script begins to
//! differ in what a copy of the real world has of its own: the words of its witnesses, what its CPU
//! gives, and its kernel as soon as that has reseeded. Of the three copies at a point, one is the
//! original: it notices nothing.
//!
//! What counts as released after the copy is what the library promises:
//!
//! * Where a witness tells: a request whose *last look* read the witnesses after the copy. What lies
//!   between that look and the return is outside of the promise (two copies then return the same),
//!   so nothing may lie there: no request makes or moves a byte after its last look.
//! * Where nothing tells, at `PerCall`: a request that began, or drew from the CPU, after the copy.
//! * Where only the kernel tells copies apart, which reseeds late: one that began after that.

use std::collections::HashMap;

use super::*;

mod cases;
mod run;

use cases::*;
use run::*;

/// What each copy gave, of those made at one point.
#[derive(Default)]
struct Copies {
    by: HashMap<(usize, u64), u64>,
    compared: usize,
}

impl Copies {
    fn add(
        &mut self,
        units: impl Iterator<Item = (usize, u64)>,
        who: u64,
        of: impl Fn() -> String,
    ) {
        for unit in units {
            let first = *self.by.entry(unit).or_insert(who);
            assert_eq!(first, who, "shared: {}", of());
            self.compared += 1;
        }
    }
}

/// What an attack covered.
#[derive(Default)]
struct Covered {
    points: usize,
    pairs: usize,
    runs: usize,
    units: usize,
    refused: usize,
    names: HashSet<&'static str>,
}

impl Covered {
    fn show(&self, what: &str) {
        let Self { points, pairs, runs, units, refused, .. } = self;
        println!("{what:<46} {points:>6} {pairs:>7} {runs:>8} {units:>10} {refused:>8}");
    }

    fn add(&mut self, other: Self) {
        self.points += other.points;
        self.pairs += other.pairs;
        self.runs += other.runs;
        self.units += other.units;
        self.refused += other.refused;
        self.names.extend(other.names);
    }
}

/// Attacks every case in a way, prints what that covered, and gives the sum.
fn attack(title: &str, cases: &[Case], attack: impl Fn(&Case) -> Covered) -> Covered {
    println!("{title:<46} points   pairs     runs      units  refused");
    let mut sum = Covered::default();
    for case in cases {
        let covered = attack(case);
        covered.show(case.name);
        sum.add(covered);
    }
    sum.show("sum");
    sum
}

/// Three copies at every point of the request under attack.
fn copied_once(case: &Case) -> Covered {
    copied_with(case, &[])
}

fn copied_with(case: &Case, plan: &Plan) -> Covered {
    let base = play(case, plan);
    let mut covered = Covered::default();
    let (begin, end) = base.attack;
    covered.points = end - begin;
    covered.names.extend(&base.names[begin..end]);
    for how in case.ways {
        for at in begin..=end {
            let mut copies = Copies::default();
            for who in 0..3 {
                let outcome = play(case, &[&[(at, Event::Copied(*how, who))], plan].concat());
                covered.runs += 1;
                covered.refused += outcome.refused;
                copies.add(outcome.after(at, *how, who), who, || {
                    format!("{}, {how:?} at {at} ({}), {plan:?}", case.name, outcome.names[at])
                });
            }
            covered.units += copies.compared;
        }
    }
    // Last: what is shared is told first.
    assert!(end - begin >= case.points, "{}: {} points", case.name, end - begin);
    covered
}

/// The same, with a handler that asks for bytes at every point of the request.
fn copied_around_a_handler(case: &Case) -> Covered {
    let (begin, end) = play(case, &[]).attack;
    let mut sum = Covered::default();
    for at in begin..end {
        sum.add(copied_with(case, &[(at, Event::Interrupted)]));
    }
    // Of an interruption and a copy.
    sum.pairs = sum.points;
    sum.points = end - begin;
    sum
}

/// Three copies at every point, and three of each at every later point of the same request.
fn copied_twice(case: &Case, ways: &[(Copying, Copying)]) -> Covered {
    let (begin, end) = play(case, &[]).attack;
    let mut covered = Covered { points: end - begin, ..Covered::default() };
    for (first, second) in ways {
        for at in begin..end {
            let mut copies = Copies::default();
            let siblings = if *first == Dropped { 1 } else { 3 };
            for sibling in 0..siblings {
                let once = (at, Event::Copied(*first, sibling));
                let alone = play(case, &[once]);
                for again in at + 1..=alone.attack.1 {
                    covered.pairs += 1;
                    let mut of_sibling = Copies::default();
                    for leaf in 0..3 {
                        let who = 100 + 10 * sibling + leaf;
                        let outcome = play(case, &[once, (again, Event::Copied(*second, who))]);
                        covered.runs += 1;
                        covered.refused += outcome.refused;
                        let of = || {
                            let name = outcome.names[at];
                            let case = case.name;
                            format!("{case}, {first:?} at {at} ({name}), {second:?} at {again}")
                        };
                        of_sibling.add(outcome.after(again, *second, who), who, of);
                        copies.add(outcome.after(at, *first, sibling), sibling, of);
                    }
                    covered.units += of_sibling.compared;
                }
            }
            covered.units += copies.compared;
        }
    }
    covered
}

#[test]
fn a_copy_at_any_step_of_any_entry_shares_nothing_released_after_it() {
    let covered = attack("three copies at every point", &short_ones(), copied_once);
    assert!(covered.points > 800 && covered.units > 500_000, "less than there was");
}

#[test]
fn a_copy_at_any_step_around_a_failure_shares_nothing_either() {
    let covered = attack("copies around a failure", &failures(), copied_once);
    assert!(covered.points > 300 && covered.refused > 1000, "less than there was");
}

#[test]
fn a_handler_that_interrupts_any_step_and_a_copy_inside_either_share_nothing() {
    let covered =
        attack("interrupted at every point", &interrupted()[..2], copied_around_a_handler);
    assert!(covered.pairs > 300, "less than there was");
}

#[test]
fn copies_of_copies_made_within_one_request_share_nothing() {
    const FEW: &[&str] =
        &["u64", "small, across a refill", "PerCall: small", "no CPU: unsettled, u64"];
    let cases: Vec<_> = entries().into_iter().filter(|case| FEW.contains(&case.name)).collect();
    let first_way = |case: &Case| copied_twice(case, &pairs_of(case)[..1]);
    let covered = attack("two copies in one request", &cases, first_way);
    assert!(covered.pairs > 1500, "less than there was");
}

#[test]
#[ignore = "every two ways of copying, every history: for the optimized tests"]
fn copies_of_copies_share_nothing_whatever_made_them() {
    let all_ways = |case: &Case| copied_twice(case, &pairs_of(case));
    let cases = [short_ones(), failures()].concat();
    let covered = attack("two copies in one request, all ways", &cases, all_ways);
    assert!(covered.pairs > 100_000, "less than there was");
}

#[test]
#[ignore = "every history: for the optimized tests"]
fn a_copy_at_any_step_of_a_long_history_shares_nothing_released_after_it() {
    let covered = attack("copies in a long history", &histories(), copied_once);
    assert!(covered.points > 400, "less than there was");
}

#[test]
#[ignore = "every entry interrupted: for the optimized tests"]
fn every_entry_may_be_interrupted_and_copied_at_any_step() {
    let cases = interrupted();
    let covered = attack("interrupted at every point", &cases, copied_around_a_handler);
    assert!(covered.pairs > 3000, "less than there was");
}

#[test]
fn every_step_that_has_a_name_was_one_to_copy_at() {
    let sources = [
        include_str!("../../generator.rs"),
        include_str!("../buffer.rs"),
        include_str!("../../cipher/mod.rs"),
        include_str!("../../point.rs"),
    ];
    let named = |source: &'static str| {
        let calls = source.split("point(\"").chain(source.split("reach(\"")).map(str::trim_start);
        calls.filter_map(|rest| rest.split_once("\")")).map(|(name, _)| name).collect::<Vec<_>>()
    };
    let named: HashSet<&str> =
        sources.into_iter().flat_map(named).filter(|n| n.len() < 40).collect();
    let mut attacked = HashSet::new();
    for case in entries() {
        let outcome = play(&case, &[]);
        attacked.extend(outcome.names[outcome.attack.0..outcome.attack.1].iter().copied());
    }
    let missed: Vec<_> = named.difference(&attacked).collect();
    assert!(missed.is_empty() && named.len() > 10, "{missed:?} of {named:?}");
}

#[test]
fn copies_made_after_the_last_look_return_the_same_and_that_is_all_they_share() {
    // The window that is outside of the promise, and the proof that sharing would be seen.
    for case in entries().iter().filter(|case| case.ways.contains(&Vm) && case.attacked.len() == 1)
    {
        let before = play(case, &[]);
        let index = before.released.iter().position(|r| r.began >= before.attack.0).unwrap_or(0);
        let last_look = before.released[index].last_look;
        for (at, shared) in [(last_look, false), (last_look + 1, true)] {
            let copies: Vec<_> =
                (0..3).map(|who| play(case, &[(at, Event::Copied(Vm, who))])).collect();
            for other in &copies[1..] {
                let is_same = other.released[index].bytes == copies[0].released[index].bytes;
                if !matches!(case.attacked, [Reseed | NotifyRestored]) {
                    assert_eq!(is_same, shared, "{} at {at}", case.name);
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "shared: the control, Vm")]
fn buffered_output_is_shared_by_copies_that_nothing_shows() {
    // The same comparison must be able to fail.
    let control = case("the control", bare_metal, USED, &[U64], &[Unseen], 5);
    let (at, _) = play(&control, &[]).attack;
    let mut copies = Copies::default();
    for who in 0..2 {
        let outcome = play(&control, &[(at, Event::Copied(Unseen, who))]);
        copies.add(outcome.after(at, Vm, who), who, || "the control, Vm".into());
    }
}
