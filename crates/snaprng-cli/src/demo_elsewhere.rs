//! The demonstration needs fork and memfd.

use std::process::ExitCode;

use crate::arguments::DemoOptions;
use crate::failure::Failure;

pub(crate) fn run(_: DemoOptions) -> Result<ExitCode, Failure> {
    Err(Failure::failed("the demonstration runs on Linux only: it forks and shares a memfd"))
}
