//! A process that holds one CPU with real-time priority, through the snapshot and for a while after: the kernel's own
//! work, and with it what it does when it is told that it was cloned, does not get to run there.

use crate::clock::{self, Zero};
use crate::plan::Plan;
use crate::truth::Truth;

pub(crate) fn run(plan: &Plan, truth: Truth) {
    // No sleep and no system call: the CPU is never given up.
    while truth.clone_id() == 0 {
        std::hint::spin_loop();
    }
    let end = Zero::now().monotonic + plan.run.as_nanos() as u64;
    while clock::monotonic() < end {
        std::hint::spin_loop();
    }
}
