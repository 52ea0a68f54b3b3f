//! A worker process: drops what it must not have, does its body's work, and writes what it recorded.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::busy::Busy;
use crate::clock::Zero;
use crate::plan::{Body, Plan};
use crate::record::write_text;
use crate::truth::Truth;
use crate::{agent, hog, idle, require, sys};

pub(crate) fn main(plan: &Plan) -> ExitCode {
    let truth = Truth::map();
    if plan.body == Body::Hog {
        sys::hold_cpu(plan.cpu).expect("the CPU cannot be held");
    } else if plan.beside_hogs {
        sys::outrank_hogs().expect("no real-time priority to be had");
    }
    if plan.nobody {
        sys::become_nobody().expect("root could not be dropped");
    }
    if plan.body == Body::Hog {
        // Said now: a hog runs only while no worker that outranks it does, which may be never.
        truth.set_ready(plan.number);
    }
    if plan.is_gated() {
        truth.wait_for_all(plan.number);
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = match plan.body {
        Body::Busy => Busy::start(plan, truth).run(&mut out),
        Body::Require => require::run(plan, truth, &mut out),
        Body::Idle => idle::run(plan, truth, &mut out),
        Body::Agent => agent::run(plan, truth),
        Body::Hog => {
            hog::run(plan, truth);
            Ok(())
        }
    };
    match done.and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", plan.name);
            ExitCode::FAILURE
        }
    }
}

/// When this worker knew of the resume, and how to read its time stamps.
pub(crate) fn write_facts(worker: &str, zero: Zero, out: &mut dyn Write) -> io::Result<()> {
    let facts = format!(
        "resumed_ns={}\nresumed_ticks={}\nticks_per_ms={:.3}\n",
        zero.monotonic,
        zero.ticks,
        zero.ticks_per_millisecond()
    );
    write_text(worker, "facts", &facts, out)
}
