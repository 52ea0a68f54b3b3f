//! One child per table: those that must settle are started first and wait, using no CPU, while the
//! others measure; nobody measures while somebody else does.

use std::io::{BufRead, BufReader, IsTerminal, Lines, Write, stderr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::contenders::Missing;
use crate::cpu::Machine;
use crate::options::Options;
use crate::report::{Message, Report, Table};
use crate::world::World;

/// Measures all tables that are asked for.
pub(crate) fn run(options: &Options) -> Report {
    let mut report = Report {
        machine: Machine::here(),
        snaprng: env!("SNAPRNG_VERSION").into(),
        plan: options.plan(),
        quick: options.quick,
        tables: Vec::new(),
        failures: Vec::new(),
    };
    let settles = |world: &World| world.must_settle() && !options.skip_settling;
    let waiting: Vec<(World, Result<Running, String>)> = options
        .worlds
        .iter()
        .filter(|world| settles(world))
        .map(|world| (*world, Running::start(*world, options)))
        .collect();
    for world in options.worlds.iter().filter(|world| !settles(world)) {
        report.add(*world, Running::start(*world, options).and_then(Running::finish));
    }
    for (world, running) in waiting {
        report.add(world, running.and_then(Running::finish));
    }
    // In the order in which they were asked for.
    let place = |table: &Table| options.worlds.iter().position(|world| *world == table.world);
    report.tables.sort_by_key(place);
    progress("");
    report
}

impl Report {
    fn add(&mut self, world: World, outcome: Result<Table, String>) {
        match outcome {
            Ok(mut table) => {
                explain_missing(&mut table);
                self.tables.push(table);
            }
            Err(why) => self.failures.push(Missing { name: world.id().into(), why }),
        }
    }
}

/// The launcher knows why something could not be built.
fn explain_missing(table: &mut Table) {
    let reasons = std::env::var("SNAPRNG_BENCH_MISSING").unwrap_or_default();
    for (name, why) in reasons.lines().filter_map(|line| line.split_once('\t')) {
        for missing in table.missing.iter_mut().filter(|missing| missing.name == name) {
            missing.why = why.into();
        }
    }
}

/// A child at work.
struct Running {
    world: World,
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
    started: Instant,
}

impl Running {
    fn start(world: World, options: &Options) -> Result<Self, String> {
        let itself = std::env::current_exe().map_err(|e| e.to_string())?;
        let options = serde_json::to_string(options).map_err(|e| e.to_string())?;
        let mut command = Command::new(itself);
        command.args(["--child", world.id(), &options]);
        command.env_remove("SNAPRNG_POLICY").env_remove("SNAPRNG_KERNEL");
        if let Some(kernel) = world.kernel() {
            command.env("SNAPRNG_KERNEL", kernel);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("cannot start a child: {e}"))?;
        let to = child.stdin.take().ok_or("no pipe")?;
        let from = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
        Ok(Self { world, child, to, from, started: Instant::now() })
    }

    /// Waits until it is ready, lets it measure, and takes its table.
    fn finish(mut self) -> Result<Table, String> {
        loop {
            match self.next()? {
                Message::Settles(time) => self.count_down(time),
                Message::Ready => writeln!(self.to, "go").map_err(|e| e.to_string())?,
                Message::Progress(what) => progress(&format!("{}: {what}", self.world.id())),
                Message::Done(table) => {
                    let _ = self.child.wait();
                    return Ok(*table);
                }
                Message::Failed(why) => return Err(why),
            }
        }
    }

    fn next(&mut self) -> Result<Message, String> {
        match self.from.next() {
            Some(Ok(line)) => serde_json::from_str(&line).map_err(|e| format!("{e}: {line}")),
            Some(Err(error)) => Err(error.to_string()),
            None => {
                let status = self.child.wait().map_err(|e| e.to_string())?;
                Err(format!("its process ended early: {status}"))
            }
        }
    }

    /// Shows how long it takes to settle.
    fn count_down(&self, time: Duration) {
        while let Some(left) = time.checked_sub(self.started.elapsed()) {
            let seconds = left.as_secs() + 1;
            progress(&format!("{}: settling, {seconds} s more", self.world.id()));
            std::thread::sleep(left.min(Duration::from_secs(1)));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only a child that failed, or whose parent did, is still there.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One line that is overwritten by the next, for whoever watches.
fn progress(text: &str) {
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\x1b[K{text}");
        let _ = stderr().flush();
    }
}
