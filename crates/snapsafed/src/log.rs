//! The log: one line after another, and never a wait.
//!
//! While the machine is quiesced its file systems may be frozen, and with them whoever reads what
//! is logged. So lines go to the journal as datagrams, and where there is no journal to standard
//! error; a line that would have to wait is dropped and counted, and the next one says so.

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::machine::Severity;

const JOURNAL: &str = "/run/systemd/journal/socket";

static SINK: OnceLock<Option<UnixDatagram>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The journal's socket, if standard error is the journal.
fn journal() -> Option<&'static UnixDatagram> {
    let sink = SINK.get_or_init(|| {
        std::env::var_os("JOURNAL_STREAM")?;
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect(JOURNAL).ok()?;
        Some(socket)
    });
    sink.as_ref()
}

pub fn error(text: impl AsRef<str>) {
    write(Severity::Error, text.as_ref());
}

pub fn warning(text: impl AsRef<str>) {
    write(Severity::Warning, text.as_ref());
}

pub fn notice(text: impl AsRef<str>) {
    write(Severity::Notice, text.as_ref());
}

/// Writes a line.
pub fn write(severity: Severity, text: &str) {
    let line = printable(text);
    let dropped = DROPPED.swap(0, Ordering::Relaxed);
    let line =
        if dropped > 0 { format!("{line} ({dropped} lines before this are lost)") } else { line };
    let written = match journal() {
        Some(journal) => to_journal(journal, severity, &line),
        None => to_standard_error(severity, &line),
    };
    if !written {
        DROPPED.fetch_add(dropped + 1, Ordering::Relaxed);
    }
}

/// Others' words are in it: no line breaks, no terminal's commands.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn to_journal(journal: &UnixDatagram, severity: Severity, line: &str) -> bool {
    let priority = match severity {
        Severity::Error => 3,
        Severity::Warning => 4,
        Severity::Notice => 5,
    };
    let entry = format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER=snapsafed\nMESSAGE={line}\n");
    let send = || journal.send(entry.as_bytes());
    // The journal may have been restarted since.
    send().or_else(|_| journal.connect(JOURNAL).and_then(|()| send())).is_ok()
}

fn to_standard_error(severity: Severity, line: &str) -> bool {
    let stderr = std::io::stderr();
    let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
    let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
    if !poll(&mut ready, Some(&no_wait)).is_ok_and(|count| count == 1) {
        return false;
    }
    let word = match severity {
        Severity::Error => "error: ",
        Severity::Warning => "warning: ",
        Severity::Notice => "",
    };
    writeln!(stderr.lock(), "snapsafed: {word}{line}").is_ok()
}
