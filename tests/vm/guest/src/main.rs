//! The program in the virtual machine: as PID 1 it prepares the machine and starts workers; as a worker it asks
//! generators for bytes before, during and after the snapshot, and writes down what it got.
//!
//! Nothing here decides whether a test passed. The guest records; the harness, which can see all clones, compares.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "the guest is an x86-64 Linux program: build it with --target x86_64-unknown-linux-gnu"
);

mod agent;
mod busy;
mod clock;
mod generator;
mod hog;
mod idle;
mod init;
mod plan;
mod record;
mod require;
mod subject;
mod sys;
mod truth;
mod worker;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("worker") => worker::main(&plan::Plan::parse(arguments)),
        _ if std::process::id() == 1 => init::main(),
        _ => {
            eprintln!(
                "this program is the init of a test's virtual machine and does nothing elsewhere"
            );
            ExitCode::from(2)
        }
    }
}
