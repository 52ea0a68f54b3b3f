//! What a table of times per call does not show: rekeys, first uses, threads, memory, single calls.
//!
//! Measured in the world that the limits are for, after its table. The last of them moves the page's
//! counter, after which nothing in this process is settled any more.

pub(crate) mod first;
mod memory;
mod rekey;
mod tail;
mod threads;

use crate::contenders::Missing;
use crate::measure::Plan;
use crate::options::Options;
use crate::report::Other;
use crate::world::InForce;

/// Where the figures go.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) others: Vec<Other>,
    pub(crate) missing: Vec<Missing>,
}

impl Found {
    fn add(&mut self, other: Other) {
        self.others.push(other);
    }

    fn misses(&mut self, name: &str, why: impl Into<String>) {
        self.missing.push(Missing { name: name.into(), why: why.into() });
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    plan: Plan,
    quick: bool,
}

impl Effort {
    /// So many single events, or a few.
    fn events(self, many: usize) -> usize {
        if self.quick { many.div_ceil(8) } else { many }
    }
}

pub(crate) fn measure(
    in_force: InForce,
    options: &Options,
    cpus: &[usize],
    say: &dyn Fn(&str),
) -> Found {
    let effort = Effort { plan: options.plan(), quick: options.quick };
    let mut found = Found::default();
    say("tail");
    tail::measure(&mut found, effort);
    say("threads");
    threads::measure(&mut found, effort, cpus);
    say("memory");
    memory::measure(&mut found, effort);
    say("first use of a process");
    first::measure(&mut found, effort);
    say("rekeys");
    rekey::measure(&mut found, effort, in_force);
    found
}

/// Microseconds with their unit, or nanoseconds below one.
fn time_text(nanoseconds: f64) -> String {
    if nanoseconds.abs() < 1000.0 {
        format!("{nanoseconds:.0} ns")
    } else {
        format!("{:.2} µs", nanoseconds / 1000.0)
    }
}
