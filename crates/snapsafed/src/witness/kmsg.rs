//! The kernel's line about a fork of the virtual machine, in `/dev/kmsg`: the last resort.
//!
//! It is printed after the kernel has handled its VMGenID notification, milliseconds into the life of
//! a clone. Anybody who may write `/dev/kmsg` can write the same words; but not in the kernel's own
//! name: the kernel marks what user space writes with another facility (`devkmsg_write` in
//! `kernel/printk/printk.c`), and only lines of facility 0 count here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};
use rustix::io::{Errno, read};

const PATH: &str = "/dev/kmsg";
const LINE: &str = "random: crng reseeded due to virtual machine fork";

/// `PRINTKRB_RECORD_MAX`: a record never is longer (`include/linux/printk.h` and earlier `CONSOLE_EXT_LOG_MAX`).
const RECORD_BYTES: usize = 8192;

/// What the log had that is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// The kernel reported a fork of the virtual machine.
    pub forked: bool,
    /// Lines were overwritten before they could be read. One of them may have been that; it is no
    /// fork by itself, or a flood of lines would cut the network.
    pub lost: bool,
}

/// A reader of the kernel's log.
#[derive(Debug)]
pub struct KernelLog {
    log: OwnedFd,
}

impl KernelLog {
    /// Begins at the end: what was printed before is not about what comes.
    pub fn open() -> io::Result<Self> {
        Self::open_path(Path::new(PATH))
    }

    fn open_path(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let log = open(path, flags, Mode::empty())?;
        seek(&log, SeekFrom::End(0))?;
        Ok(Self { log })
    }

    /// Readable when there are new lines, of whatever kind.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.log.as_fd()
    }

    /// Reads what is new.
    pub fn news(&mut self) -> io::Result<News> {
        let mut forked = false;
        let lost = self.read_records(|record| forked |= tells_of_a_fork(record))?;
        Ok(News { forked, lost })
    }

    /// Whether records were overwritten before they could be read.
    fn read_records(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        let mut record = [0; RECORD_BYTES];
        let mut lost = false;
        loop {
            match read(&self.log, &mut record) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(lost),
                Ok(length) => each(&record[..length]),
                // The next read goes on with the oldest that is there.
                Err(Errno::PIPE) => lost = true,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// A record is `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,…];TEXT`, then lines that begin with a space.
/// The priority is facility × 8 + level.
fn tells_of_a_fork(record: &[u8]) -> bool {
    let Some(end) = record.iter().position(|byte| *byte == b';') else { return false };
    let (prefix, text) = (&record[..end], &record[end + 1..]);
    let text = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let priority = prefix.split(|byte| *byte == b',').next().unwrap_or_default();
    let priority = std::str::from_utf8(priority).ok().and_then(|text| text.parse::<u32>().ok());
    priority.is_some_and(|priority| priority >> 3 == 0) && text == LINE.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_counts_and_the_same_words_of_a_program_do_not() {
        let record = |prefix: &str, text: &str| format!("{prefix};{text}\n").into_bytes();
        assert!(tells_of_a_fork(&record("5,336,1261889,-", LINE)));
        assert!(tells_of_a_fork(&record("5,336,1261889,-,caller=T12", LINE)));
        // As devkmsg_write marks what a program wrote: facility 1 without a prefix, or the given one.
        assert!(!tells_of_a_fork(&record("12,528,40585911137,-", LINE)));
        assert!(!tells_of_a_fork(&record("8,528,40585911137,-", LINE)));
        assert!(!tells_of_a_fork(&record("5,336,1261889,-", "random: crng init done")));
        assert!(!tells_of_a_fork(&record("5,336,1261889,-", &format!("foo: {LINE}"))));
        assert!(!tells_of_a_fork(&record("-5,336,1261889,-", LINE)));
        assert!(!tells_of_a_fork(LINE.as_bytes()));
        assert!(!tells_of_a_fork(b""));
    }

    #[test]
    fn what_a_program_writes_into_the_log_is_read_and_is_no_fork() {
        use std::io::Write;
        let (log, writer) = (KernelLog::open(), std::fs::File::options().write(true).open(PATH));
        let (Ok(mut log), Ok(mut writer)) = (log, writer) else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: forged lines in the log: no {PATH} here");
            return;
        };
        // With the kernel's facility asked for, in vain.
        for forged in [LINE.to_owned(), format!("<5>{LINE}"), format!("<0>{LINE}")] {
            writer.write_all(forged.as_bytes()).unwrap();
        }
        let mut seen = Vec::new();
        log.read_records(|record| seen.push(record.to_vec())).unwrap();
        let forged =
            |record: &&Vec<u8>| record.windows(LINE.len()).any(|text| text == LINE.as_bytes());
        // All three, unless the kernel limits the rate of such lines.
        assert!(seen.iter().filter(forged).count() > 0, "{seen:?}");
        assert!(!seen.iter().any(|record| tells_of_a_fork(record)), "{seen:?}");
    }
}
