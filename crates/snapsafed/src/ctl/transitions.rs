//! What changes the machine's state. Waits for as long as it takes: the daemon knows the limits.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;
use std::process::ExitCode;

use base64ct::{Base64, Encoding};
use snapsafe_client::Client;
use snapsafe_client::wire::{Expectation, Outcome, manager};
use zeroize::Zeroizing;

use crate::arguments::{Expect, Quiesce, Unquiesce};
use crate::failure::Failure;
use crate::show::View;

/// More adds nothing, and the daemon takes no more.
const MOST_ENTROPY_BYTES: u64 = 4096;

pub(crate) fn quiesce(socket: &Path, view: View, options: Quiesce) -> Result<ExitCode, Failure> {
    let Quiesce { timeout, force, token } = options;
    let timeout_ms = timeout.map(snapsafed::config::millis);
    let force = force.then_some(true);
    let call = manager::Quiesce { timeout_ms, force, token };
    let quiesced = Client::connect_to(socket)?.call(&call)?;
    view.show(&quiesced, |done| {
        format!(
            "quiesced: take the snapshot, then `snapsafectl unquiesce` (transition {}, generation \
             {})\n",
            done.transition, done.generation
        )
    })
}

pub(crate) fn unquiesce(
    socket: &Path,
    view: View,
    options: Unquiesce,
) -> Result<ExitCode, Failure> {
    let Unquiesce { timeout, expect, entropy, token } = options;
    let entropy = entropy.map(|path| read(&path)).transpose()?;
    let expect = match expect {
        Expect::Any => Expectation::Any,
        Expect::Resumed => Expectation::Resumed,
        Expect::Restored => Expectation::Restored,
    };
    let timeout_ms = timeout.map(snapsafed::config::millis);
    let call = manager::Unquiesce { timeout_ms, expect: Some(expect), entropy, token };
    let done = Client::connect_to(socket)?.call(&call)?;
    view.show(&done, |done| {
        let reseeded = match (done.outcome, done.kernel_reseeded) {
            (Outcome::Restored, true) => ", the kernel's generator reseeded",
            (Outcome::Restored, false) => ", the kernel's generator NOT reseeded",
            _ => "",
        };
        format!(
            "running: {}{reseeded} (transition {}, generation {})\n",
            done.outcome, done.transition, done.generation
        )
    })
}

pub(crate) fn abort(socket: &Path, view: View) -> Result<ExitCode, Failure> {
    let done = Client::connect_to(socket)?.call(&manager::Abort {})?;
    view.show(&done, |done| {
        format!(
            "running: {} (transition {}, generation {})\n",
            done.outcome, done.transition, done.generation
        )
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_ENTROPY_BYTES as usize));
    let result = if path == Path::new("-") {
        stdin().take(MOST_ENTROPY_BYTES).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MOST_ENTROPY_BYTES).read_to_end(&mut bytes))
    };
    match result {
        Ok(0) => Err(Failure::usage(format_args!("{}: no bytes in it", path.display()))),
        Ok(_) => Ok(Base64::encode_string(&bytes)),
        Err(error) => Err(Failure::usage(format_args!("{}: {error}", path.display()))),
    }
}
