//! Network namespaces, each one a thread; and the links between them.

use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use rustix::io::Errno;
use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};

type Job = Box<dyn FnOnce() + Send>;

/// A namespace of the network, and the thread that lives in it.
pub(crate) struct Namespace {
    jobs: Sender<Job>,
    thread: i32,
}

impl Namespace {
    /// `Err` where this process may not make one.
    pub(crate) fn new() -> Result<Self, Errno> {
        let (jobs, inbox) = channel::<Job>();
        let (report, made) = channel();
        thread::spawn(move || {
            // SAFETY: a thread may have a network namespace of its own; descriptors stay shared.
            let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWNET) };
            let _ = report.send(unshared.map(|()| gettid().as_raw_nonzero().get()));
            inbox.into_iter().for_each(|job| job());
        });
        let thread = made.recv().expect("the thread answers")?;
        let namespace = Self { jobs, thread };
        namespace.ip("link set lo up");
        Ok(namespace)
    }

    /// Runs it there, and waits. A panic is the caller's.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (report, result) = channel();
        let job = move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            let _ = report.send(outcome);
        };
        self.jobs.send(Box::new(job)).expect("the thread lives");
        match result.recv().expect("the thread answers") {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// A program's output. It must succeed.
    pub(crate) fn program(&self, program: &str, arguments: &str) -> String {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace()).stdin(Stdio::null());
        let shown = format!("{program} {arguments}");
        let output = self.run(move || command.output());
        let output = output.unwrap_or_else(|error| panic!("{shown}: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{shown}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn ip(&self, arguments: &str) {
        self.program("ip", arguments);
    }

    pub(crate) fn nft(&self, arguments: &str) -> String {
        self.program("nft", arguments)
    }

    /// By which `ip` knows it.
    pub(crate) fn thread(&self) -> i32 {
        self.thread
    }

    /// A link to another namespace, up, without duplicate address detection: `number` gives the
    /// networks 10.N.0.0/24 and fd00:N::/64, in which this side is .1 and the other .2.
    pub(crate) fn link(&self, other: &Self, number: u8) {
        let (here, there) = (format!("veth{number}"), format!("peer{number}"));
        self.ip(&format!(
            "link add {here} address {} type veth peer {there} address {} netns {}",
            mac(number, 1),
            mac(number, 2),
            other.thread
        ));
        for (side, device, host) in [(self, here, 1), (other, there, 2)] {
            side.ip(&format!("addr add 10.{number}.0.{host}/24 dev {device}"));
            side.ip(&format!("addr add fd00:{number}::{host}/64 dev {device} nodad"));
            side.ip(&format!("link set {device} up"));
        }
    }
}

/// The hardware address of a side of a link.
fn mac(number: u8, host: u8) -> String {
    format!("02:00:00:00:{number:02x}:{host:02x}")
}

pub(crate) fn mac_bytes(number: u8, host: u8) -> [u8; 6] {
    [2, 0, 0, 0, number, host]
}
