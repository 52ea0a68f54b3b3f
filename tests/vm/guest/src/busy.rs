//! The test's heart: one loop that asks every generator in turn, through the snapshot and on.
//!
//! It makes no system call of its own, so that the kernel gets no more chances to reseed than a computing program would
//! give it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::clock::{self, Zero};
use crate::generator::{self, Generator};
use crate::idle;
use crate::plan::{Plan, Until};
use crate::record::{Recorder, write_text};
use crate::subject::Subject;
use crate::truth::Truth;
use crate::worker::write_facts;

const LARGE: usize = 64 * 1024;
const LARGE_REQUESTS: usize = 1;
/// Large requests take long, so they come after the outputs that matter most: the first ones.
const LARGE_AFTER: usize = 512;
const SETTLED_REQUESTS: usize = 2000;
/// After the first outputs, one in this many is written down.
const SAMPLE: usize = 128;

pub(crate) struct Busy<'a> {
    plan: &'a Plan,
    truth: Truth,
    subjects: Vec<Subject>,
    /// Made before the snapshot and then left alone until the settling time is over.
    idle: Option<Subject>,
    kernel: Option<Background>,
    newcomer: Option<JoinHandle<Vec<Recorder>>>,
    apart: Vec<Recorder>,
    texts: Vec<(String, String)>,
}

impl<'a> Busy<'a> {
    pub(crate) fn start(plan: &'a Plan, truth: Truth) -> Self {
        generator::install(plan);
        let mut busy = Self {
            plan,
            truth,
            subjects: Vec::new(),
            idle: None,
            kernel: None,
            newcomer: None,
            apart: Vec::new(),
            texts: Vec::new(),
        };
        busy.add("plain", Generator::plain());
        busy.add("snaprng-thread", Generator::Thread);
        for kind in &plan.owned {
            let generator =
                Generator::owned(plan, kind).expect("an owned generator could not be made");
            busy.add(&format!("snaprng-owned-{kind}"), generator);
        }
        // A thread that asks the kernel beside the loop would keep it from being idle, or from its share of the CPU.
        if plan.until == Until::Asking {
            busy.kernel = Some(Background::start(plan, truth));
        } else {
            busy.add("kernel", Generator::Kernel);
        }
        if plan.settle.is_some() {
            busy.idle = Some(idle::warm(plan, truth, "snaprng-idle"));
        }
        busy
    }

    fn add(&mut self, stream: &str, generator: Generator) {
        self.subjects.push(Subject::new(stream, generator, self.plan.request, self.plan.keep));
    }

    /// Ask every generator once. Once a request has ended after the resume, the answer is when the first one did.
    fn pass(&mut self, sampled: bool) -> Option<Zero> {
        let mut resumed = None;
        for subject in &mut self.subjects {
            if subject.ask(self.truth, sampled) && resumed.is_none() {
                resumed = Some(Zero::now());
            }
        }
        resumed
    }

    fn describe(&mut self, moment: &str) {
        self.texts.extend(self.subjects.iter_mut().filter_map(|subject| subject.describe(moment)));
    }

    pub(crate) fn run(mut self, out: &mut dyn Write) -> io::Result<()> {
        for _ in 0..64 {
            self.pass(false);
        }
        self.describe("before");
        self.truth.set_ready(self.plan.number);
        let zero = self.until_resume();
        self.after_resume(zero);
        if let Some(settle) = self.plan.settle {
            clock::sleep_until(zero.monotonic + settle.as_nanos() as u64);
            self.settled();
        }
        self.describe("end");
        self.write(zero, out)
    }

    /// What this worker does while the snapshot is taken; when it knew of the resume.
    fn until_resume(&mut self) -> Zero {
        match self.plan.until {
            Until::Asking => loop {
                if let Some(zero) = self.pass(false) {
                    break zero;
                }
            },
            Until::InRequest => self.until_cut_in_half(),
            Until::Asleep => idle::sleep_through_resume(self.truth),
        }
    }

    /// Large requests, one after the other, until one has ended after the resume.
    fn until_cut_in_half(&mut self) -> Zero {
        let truth = self.truth;
        let snaprngs =
            self.subjects.iter_mut().filter(|subject| subject.stream.starts_with("snaprng"));
        let mut cuts: Vec<_> = snaprngs
            .map(|subject| {
                let log = Recorder::new(format!("cut-{}", subject.stream), LARGE, 1);
                (subject, log)
            })
            .collect();
        let zero = 'resumed: loop {
            for (subject, log) in &mut cuts {
                if subject.ask_into(log, truth) {
                    break 'resumed Zero::now();
                }
            }
        };
        self.apart.extend(cuts.into_iter().map(|(_, log)| log));
        zero
    }

    /// From the first output after the resume until the time is over and every log is full.
    fn after_resume(&mut self, zero: Zero) {
        self.describe("resumed");
        self.welcome_newcomers();
        let mut passes = 1;
        while !self.is_over(zero, passes) {
            self.pass(passes.is_multiple_of(SAMPLE));
            passes += 1;
            if passes == LARGE_AFTER {
                self.ask_for_much();
            }
        }
    }

    fn is_over(&self, zero: Zero, passes: usize) -> bool {
        passes.is_multiple_of(SAMPLE)
            && clock::monotonic() - zero.monotonic >= self.plan.run.as_nanos() as u64
            && self.subjects.iter().all(|subject| subject.log.is_full())
    }

    /// Generators that were first made after the resume: they saw no change, and the kernel may not have either.
    fn welcome_newcomers(&mut self) {
        for kind in &self.plan.owned {
            match Generator::owned(self.plan, kind) {
                Ok(generator) => self.add(&format!("snaprng-new-owned-{kind}"), generator),
                Err(error) => self
                    .texts
                    .push(("error".to_owned(), format!("new owned generator ({kind}): {error:?}"))),
            }
        }
        let (truth, width, keep) = (self.truth, self.plan.request, self.plan.keep);
        self.newcomer = Some(std::thread::spawn(move || {
            let mut thread = Subject::new("snaprng-new-thread", Generator::Thread, width, keep);
            for _ in 0..keep {
                thread.ask(truth, false);
            }
            vec![thread.log]
        }));
        // On a single CPU the newcomer would otherwise wait until this thread's turn is over.
        std::thread::yield_now();
    }

    fn ask_for_much(&mut self) {
        let truth = self.truth;
        let snaprngs =
            self.subjects.iter_mut().filter(|subject| subject.stream.starts_with("snaprng"));
        self.apart.extend(
            snaprngs.map(|subject| subject.ask_apart(truth, "large", LARGE, LARGE_REQUESTS)),
        );
    }

    fn settled(&mut self) {
        let (truth, width) = (self.truth, self.plan.request);
        let mut kernel = Subject::new("kernel", Generator::Kernel, width, 0);
        self.apart.push(kernel.ask_apart(truth, "settled", width, SETTLED_REQUESTS));
        let snaprngs = self.idle.iter_mut().chain(&mut self.subjects);
        let snaprngs = snaprngs.filter(|subject| subject.stream.starts_with("snaprng"));
        self.apart.extend(
            snaprngs.map(|subject| subject.ask_apart(truth, "settled", width, SETTLED_REQUESTS)),
        );
    }

    fn write(self, zero: Zero, out: &mut dyn Write) -> io::Result<()> {
        let worker = &self.plan.name;
        write_facts(worker, zero, out)?;
        for (stream, text) in &self.texts {
            write_text(worker, stream, text, out)?;
        }
        let newcomer = self.newcomer.map(|thread| thread.join().expect("the newcomer thread died"));
        let kernel = self.kernel.map(Background::stop);
        let subjects = self.subjects.into_iter().chain(self.idle).map(|subject| subject.log);
        for log in subjects.chain(self.apart).chain(newcomer.into_iter().flatten()).chain(kernel) {
            log.write(worker, out)?;
        }
        Ok(())
    }
}

/// Raw getrandom in a thread of its own, so that the busy loop stays free of system calls.
struct Background {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Recorder>,
}

impl Background {
    fn start(plan: &Plan, truth: Truth) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, width, keep) = (stop.clone(), plan.request, plan.keep);
        let thread = std::thread::spawn(move || {
            let mut kernel = Subject::new("kernel", Generator::Kernel, width, keep);
            while !told.load(Ordering::Relaxed) && !kernel.log.is_full() {
                kernel.ask(truth, false);
            }
            kernel.log
        });
        Self { stop, thread }
    }

    fn stop(self) -> Recorder {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the thread that asks the kernel died")
    }
}
