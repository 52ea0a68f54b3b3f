//! The test's hands in the machine: runs the commands that come from a serial port, one a line, as
//! JSON strings, and answers each with its exit code, its output, and how long it took.
//!
//! It has nothing to do with snapsafed's own port.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const NAME: &str = "ctl";

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let mut port = OpenOptions::new().read(true).write(true).open(device()?)?;
    writeln!(port, "{}", json!("up"))?;
    loop {
        let command: String = serde_json::from_str(&line(&mut port)?)?;
        let answer = perform(&command)?;
        writeln!(port, "{answer}")?;
    }
}

/// The port's device, by its name.
fn device() -> Result<PathBuf, Box<dyn Error>> {
    for entry in fs::read_dir("/sys/class/virtio-ports")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("name"))?.trim() == NAME {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    Err(format!("there is no serial port called {NAME}").into())
}

/// The next line. Between a snapshot and its clone nobody is at the other end of the port, which
/// reads as its end.
fn line(port: &mut File) -> Result<String, Box<dyn Error>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match port.read(&mut byte)? {
            0 => sleep(Duration::from_millis(10)),
            _ if byte[0] == b'\n' => return Ok(String::from_utf8(line)?),
            _ => line.push(byte[0]),
        }
    }
}

fn perform(command: &str) -> Result<Value, Box<dyn Error>> {
    let began = Instant::now();
    let mut shell = Command::new("/bin/sh");
    let done = shell.args(["-c", command]).stdin(Stdio::null()).output()?;
    Ok(json!({
        "code": done.status.code(),
        "out": String::from_utf8_lossy(&done.stdout),
        "err": String::from_utf8_lossy(&done.stderr),
        "microseconds": u64::try_from(began.elapsed().as_micros())?,
    }))
}
