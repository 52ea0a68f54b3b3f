//! A child process of the daemon: in a process group of its own, with nothing of ours but one pipe
//! for what it says, and ended by force when its time is over.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::machine::Millis;

/// The most of what it says that is kept.
const MOST_OUTPUT: usize = 4096;

/// A child that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pid: Pid,
    /// Readable when it has ended.
    pidfd: OwnedFd,
    output: Option<std::fs::File>,
    said: Vec<u8>,
    pub deadline: Millis,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub result: Result<(), String>,
    /// What it said, one line after another.
    pub lines: Vec<String>,
}

impl Running {
    /// Starts `command`, whose environment is what the caller has set and a path.
    pub fn start(mut command: Command, deadline: Millis) -> io::Result<Self> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        // Ours only: a program may not know what to do with a pipe that does not block.
        fcntl_setfl(&ours, OFlags::NONBLOCK)?;
        command
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(theirs.try_clone()?)
            .stderr(theirs)
            .process_group(0);
        let mut child = command.spawn()?;
        // It is not reaped before we do so: the number is still its own.
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => {
                let output = Some(std::fs::File::from(ours));
                Ok(Self { child, pid, pidfd, output, said: Vec::new(), deadline })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// For the daemon's wait.
    pub fn to_poll(&self) -> impl Iterator<Item = PollFd<'_>> {
        let end = PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN);
        let output = self.output.as_ref();
        let output = output.map(|file| PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN));
        std::iter::once(end).chain(output)
    }

    /// Takes what it says, and whether it has ended; ends it when its time is over.
    pub fn step(&mut self, now: Millis) -> Option<Ended> {
        self.listen();
        match self.child.try_wait() {
            Ok(Some(status)) => {
                let result = match (status.code(), status.signal()) {
                    (Some(0), _) => Ok(()),
                    (Some(code), _) => Err(format!("ended with exit status {code}")),
                    (None, Some(signal)) => Err(format!("was ended by signal {signal}")),
                    (None, None) => Err("ended in an unknown way".to_owned()),
                };
                // What it wrote last.
                self.listen();
                Some(Ended { result, lines: self.lines() })
            }
            Ok(None) if now < self.deadline => None,
            Ok(None) => {
                self.kill();
                Some(Ended {
                    result: Err("did not end in time, and was killed".to_owned()),
                    lines: self.lines(),
                })
            }
            Err(error) => Some(Ended { result: Err(error.to_string()), lines: self.lines() }),
        }
    }

    /// Ends it and all that it started in its group.
    pub fn kill(&mut self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
    }

    fn listen(&mut self) {
        let Some(file) = &mut self.output else { return };
        let mut buffer = [0; 1024];
        // Bounded: whoever writes without end is read without end otherwise.
        for _ in 0..64 {
            match file.read(&mut buffer) {
                Ok(0) => {
                    self.output = None;
                    return;
                }
                Ok(count) => {
                    let room = MOST_OUTPUT - self.said.len();
                    self.said.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(_) => return,
            }
        }
    }

    fn lines(&mut self) -> Vec<String> {
        let said = std::mem::take(&mut self.said);
        String::from_utf8_lossy(&said).lines().map(str::to_owned).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}
