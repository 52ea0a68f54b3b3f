//! Other systems: the `getrandom` crate, and std's clocks.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use super::{Epoch, Error, FULL};

pub(in super::super) fn fill(out: &mut [u8; FULL]) -> Result<(), Error> {
    getrandom::fill(out)
        .map_err(|e| Error::EntropyUnavailable(e.raw_os_error().map_or(-1, |code| code as i32)))
}

pub(in super::super) fn reseed(_: &Epoch) -> bool {
    false
}

pub(in super::super) fn now() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

pub(in super::super) fn now_coarse() -> u64 {
    now()
}

pub(in super::super) fn wall_clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos()
        as u64
}

pub(in super::super) fn settling_time() -> u64 {
    310_000_000_000
}
