//! The applications in the machine that `tests/systemwide/run` clones, one program with a name for
//! each. None of them is polite: while the network is cut they go on trying, so that silence on the
//! wire is the gate's doing and not theirs.

mod beacon;
mod connection;
mod control;
mod journal;
mod machine;
mod measure;
mod patient;
mod taking_part;

use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let ended = match name.as_str() {
        "beacon" => beacon::run(),
        "connection" => connection::run(),
        "patient" => patient::run(),
        "control" => control::run(),
        "measure" => measure::run(),
        _ => Err(format!("there is no application called {name:?}").into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
