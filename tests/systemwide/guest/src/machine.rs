//! What the applications know of the machine they are in.

use std::error::Error;
use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// QEMU's end of the network.
pub(crate) const HOST: [u8; 4] = [10, 0, 2, 2];

/// A port of the host's, which stands in the kernel's command line as `systemwide.NAME=PORT`.
pub(crate) fn port(name: &str) -> Result<u16, Box<dyn Error>> {
    let line = fs::read_to_string("/proc/cmdline")?;
    let key = format!("systemwide.{name}=");
    let port = line.split_whitespace().find_map(|word| word.strip_prefix(&key));
    Ok(port.ok_or_else(|| format!("the kernel's command line has no {key}"))?.parse()?)
}

/// Microseconds on the clock that stands still between a snapshot and its clones.
pub(crate) fn microseconds() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}
