//! `snapsafectl inhibit`: a lock for as long as a command runs.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use snapsafe_client::{Inhibitor, wire};

use crate::arguments::{Inhibit, Mode};
use crate::failure::Failure;

/// What a shell gives for a command that a signal ended.
const SIGNALLED: i32 = 128;

pub(crate) fn run(socket: &Path, options: Inhibit) -> Result<ExitCode, Failure> {
    let Inhibit { what, who, why, mode, command } = options;
    let mode = match mode {
        Mode::Delay => wire::Mode::Delay,
        Mode::Block => wire::Mode::Block,
    };
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::usage("no command"));
    };
    let who = who.unwrap_or_else(|| Path::new(program).display().to_string());
    let lock = Inhibitor::take_at(socket, what, &who, &why, mode)?;
    let status = Command::new(program).args(arguments).status();
    drop(lock);
    let status = status.map_err(|error| {
        Failure::failed(format_args!("{}: {error}", Path::new(program).display()))
    })?;
    let code = status.code().or(status.signal().map(|signal| SIGNALLED + signal)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1).into())
}
