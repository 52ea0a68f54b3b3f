//! One table, in a process of its own: put the world in force, settle, measure when told to, and see
//! that the world was what it should be until the end.

use std::io::{Write, stdin, stdout};
use std::path::Path;

use crate::beyond;
use crate::contenders::{Contender, Field, Kind, SIZES, c_abi, name};
use crate::cpu;
use crate::measure::{Batch, Spread, interleaved};
use crate::options::Options;
use crate::report::{Cell, Message, Ratio, Table};
use crate::targets;
use crate::world::{InForce, World};

/// Makes the table and says how it goes, on standard output.
pub(crate) fn run(world: World, options: &Options) {
    let outcome = table(world, options);
    say(&match outcome {
        Ok(table) => Message::Done(Box::new(table)),
        Err(why) => Message::Failed(why),
    });
}

fn say(message: &Message) {
    let line = serde_json::to_string(message).expect("a message can be written");
    let mut out = stdout().lock();
    // A parent that has gone away needs nothing.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn table(world: World, options: &Options) -> Result<Table, String> {
    let allowed = cpu::allowed();
    let chosen = options.cpu.or(allowed.last().copied()).ok_or("there is no CPU to run on")?;
    cpu::pin(&[chosen])?;
    let in_force = InForce::install(world, c_library(options.library.as_deref()))?;
    if world.must_settle() && !options.skip_settling {
        say(&Message::Settles(in_force.settles_in()));
        in_force.settle()?;
    }
    say(&Message::Ready);
    let mut go = String::new();
    stdin().read_line(&mut go).map_err(|e| e.to_string())?;

    let (standing, before) = in_force.check();
    let mut table = Table {
        world,
        standing,
        unjudged: before,
        cells: Vec::new(),
        ratios: Vec::new(),
        others: Vec::new(),
        missing: Vec::new(),
    };
    let field = Field::all(world.rounds(), in_force.c_library.clone());
    table.missing = field.missing;
    for size in SIZES {
        say(&Message::Progress(crate::table::size_text(size)));
        measure(&field.present, size, options, &mut table);
    }
    // Before what comes next, for some of it disturbs the world.
    let (_, after) = in_force.check();
    table.unjudged = table.unjudged.or(after);
    if world == World::Settled {
        let progress = |what: &str| say(&Message::Progress(what.into()));
        let found = beyond::measure(in_force, options, &allowed, &progress);
        table.others = found.others;
        table.missing.extend(found.missing);
    }
    Ok(table)
}

fn c_library(path: Option<&Path>) -> Result<c_abi::Library, String> {
    c_abi::Library::open(path.ok_or("no shared library was named (--library)")?)
}

/// Everybody at one size.
fn measure(contenders: &[Contender], size: usize, options: &Options, table: &mut Table) {
    let (present, mut batches): (Vec<&Contender>, Vec<Batch>) =
        contenders.iter().filter_map(|c| Some((c, (c.batch)(size)?))).unzip();
    let samples = interleaved(&mut batches, &options.plan());
    for (contender, samples) in present.iter().zip(&samples) {
        table.cells.push(Cell {
            contender: contender.name.into(),
            kind: contender.kind,
            size,
            nanoseconds: Spread::of(samples),
        });
    }
    let place = |name: &str| present.iter().position(|contender| contender.name == name);
    for (theirs, ours) in pairs(&present, table.world) {
        if let (Some(a), Some(b)) = (place(ours), place(theirs)) {
            let ratio = Spread::of_ratios(&samples[a], &samples[b]);
            table.ratios.push(Ratio { ours: ours.into(), theirs: theirs.into(), size, ratio });
        }
    }
}

/// What is compared: what there are limits for, and a held handle with everybody.
fn pairs<'a>(present: &[&'a Contender], world: World) -> Vec<(&'a str, &'a str)> {
    let mut pairs: Vec<(&str, &str)> = targets::pairs(world);
    for contender in present.iter().filter(|contender| contender.kind != Kind::Ours) {
        if !pairs.contains(&(contender.name, name::HELD)) {
            pairs.push((contender.name, name::HELD));
        }
    }
    pairs
}
