//! PID 1: prepares the machine, starts the workers the harness asks for, and hands over what they recorded.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::mount::{MountFlags, mount};

use crate::truth::Truth;
use crate::{clock, truth};

const CONTROL_PORT: &str = "ctl";
const VMCLOCK: &str = "/dev/vmclock0";
const RECORDS: &str = "/run/records";

/// Run the machine. Returns only if something is wrong; the kernel then panics and QEMU ends, which the harness sees.
pub(crate) fn main() -> ExitCode {
    match serve() {
        Ok(()) => loop {
            // The harness ends the machine when it has read everything.
            sleep(Duration::from_secs(3600));
        },
        Err(error) => {
            eprintln!("init: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    prepare()?;
    let mut control = open_control_port()?;
    writeln!(control, "booted {}", vmclock_address()?)?;
    let workers = start_workers(BufReader::new(control.try_clone()?))?;
    hand_over(workers, &mut control)
}

fn prepare() -> io::Result<()> {
    let mode = c"mode=0755";
    for (kind, place, data) in [
        ("proc", "/proc", c""),
        ("sysfs", "/sys", c""),
        ("devtmpfs", "/dev", mode),
        ("tmpfs", "/run", mode),
    ] {
        fs::create_dir_all(place)?;
        mount(kind, place, kind, MountFlags::empty(), data)?;
    }
    fs::create_dir_all(RECORDS)?;
    for module in fs::read_to_string("/modules/order")?.lines() {
        let file = File::open(Path::new("/modules").join(module))?;
        rustix::system::finit_module(file, c"", 0)?;
    }
    // The device is root-only as the kernel makes it; this is what the udev rule of an installed system does.
    match fs::set_permissions(VMCLOCK, Permissions::from_mode(0o444)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()), // a machine without one
        done => done,
    }
}

fn open_control_port() -> io::Result<File> {
    for entry in fs::read_dir("/sys/class/virtio-ports")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("name"))?.trim() == CONTROL_PORT {
            let device = Path::new("/dev").join(entry.file_name());
            return OpenOptions::new().read(true).write(true).open(device);
        }
    }
    Err(io::Error::other("no control port"))
}

/// Where the vmclock page is in physical memory, for the harness to write what this hypervisor does not; 0 if there is
/// none.
fn vmclock_address() -> io::Result<String> {
    if !Path::new(VMCLOCK).exists() {
        return Ok("0".to_owned());
    }
    let map = fs::read_to_string("/proc/iomem")?;
    map.lines()
        .find(|line| line.contains("AMZNC10C") || line.to_lowercase().contains("vmclock"))
        .and_then(|line| line.trim().split('-').next())
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other("no vmclock page in /proc/iomem"))
}

/// Start a worker for each line `worker NAME [VARIABLE=VALUE …] PROGRAM …` until the line `go`.
fn start_workers(orders: impl BufRead) -> io::Result<Vec<(String, Child)>> {
    let (mut workers, mut gated) = (Vec::new(), Vec::new());
    for line in orders.lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        match words.next() {
            Some("go") => {
                Truth::map_device(truth::open()?).let_begin(&gated);
                return Ok(workers);
            }
            Some("worker") => {
                let words: Vec<&str> = words.collect();
                if words.iter().any(|word| matches!(*word, "beside-hogs" | "body=hog")) {
                    gated.push(workers.len());
                }
                workers.push(start_worker(&words, workers.len())?);
            }
            Some("wait") => wait_for_page()?,
            other => return Err(io::Error::other(format!("unknown order {other:?}"))),
        }
    }
    Err(io::Error::other("the orders ended without 'go'"))
}

fn start_worker(words: &[&str], number: usize) -> io::Result<(String, Child)> {
    let program_at = words.iter().position(|word| word.starts_with('/'));
    let (before, command) = words.split_at(program_at.unwrap_or(0));
    let ([name, variables @ ..], [program, orders @ ..]) = (before, command) else {
        return Err(io::Error::other("a worker without a name or a program"));
    };
    let records = File::create(Path::new(RECORDS).join(name))?;
    let child = Command::new(program)
        .envs(variables.iter().filter_map(|variable| variable.split_once('=')))
        .args(["worker", name])
        .args(orders)
        .arg(format!("number={number}"))
        .stdin(truth::open()?)
        .stdout(records)
        .spawn()?;
    Ok(((*name).to_owned(), child))
}

/// Workers that watch the agent's page must find it when they start.
fn wait_for_page() -> io::Result<()> {
    for _ in 0..500 {
        if Path::new(crate::agent::PAGE).exists() {
            return Ok(());
        }
        sleep(Duration::from_millis(10));
    }
    Err(io::Error::other("the agent made no page"))
}

fn hand_over(workers: Vec<(String, Child)>, control: &mut File) -> io::Result<()> {
    for (name, mut child) in workers {
        let status = child.wait()?;
        io::copy(&mut File::open(Path::new(RECORDS).join(&name))?, control)?;
        let status = format!("{status}");
        write!(control, "frame {name} exit text 0 {}\n{status}", status.len())?;
    }
    let log = kernel_log()?;
    write!(control, "frame init kmsg text 0 {}\n{log}", log.len())?;
    writeln!(control, "end")
}

/// The kernel's messages, after one of ours that tells how its clock and CLOCK_MONOTONIC lie to each other.
fn kernel_log() -> io::Result<String> {
    let mut log = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open("/dev/kmsg")?;
    // In one write, because each becomes a message.
    log.write_all(format!("guest: monotonic {}\n", clock::monotonic()).as_bytes())?;
    let (mut text, mut message) = (String::new(), [0; 8192]);
    loop {
        match log.read(&mut message) {
            Ok(length) => text.push_str(&String::from_utf8_lossy(&message[..length])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(text),
            // Messages that were overwritten while we read: go on with the next one.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) => return Err(error),
        }
    }
}
