//! `cargo bench --bench peers`: builds the package in `benches/peers` and starts it.
//!
//! Why a launcher: the peers include libraries in C that take minutes to build, and cargo has no
//! dependencies of a single bench. As dependencies of a package of their own they are built by whoever
//! asks for them and by nobody else. A peer that cannot be built is left out and named as missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// A feature of `benches/peers` and the peers that it brings.
const OPTIONAL: [(&str, &[&str]); 2] = [
    ("aws-lc", &["aws-lc RAND_bytes", "aws-lc-rs SystemRandom"]),
    ("ring", &["ring SystemRandom"]),
];

const HELP: &str = include_str!("peers/help.txt");

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some(arguments) = without_bench(arguments) else {
        println!("this measures nothing as a test: run `cargo bench --bench peers`");
        return ExitCode::SUCCESS;
    };
    if arguments.iter().any(|argument| argument == "-h" || argument == "--help") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    if !cfg!(target_os = "linux") {
        eprintln!("error: the peers are measured on Linux only");
        return ExitCode::FAILURE;
    }
    run(&arguments).unwrap_or_else(|why| {
        eprintln!("error: {why}");
        ExitCode::FAILURE
    })
}

/// The arguments, if this was started by `cargo bench`, which adds one.
fn without_bench(mut arguments: Vec<String>) -> Option<Vec<String>> {
    let place = arguments.iter().position(|argument| argument == "--bench")?;
    arguments.remove(place);
    Some(arguments)
}

fn run(arguments: &[String]) -> Result<ExitCode, String> {
    let builder = Builder::here()?;
    let missing = builder.peers()?;
    let mut command = Command::new(builder.target.join("release/snaprng-peers"));
    command.env("SNAPRNG_BENCH_RUSTC", rustc_version()).env("SNAPRNG_BENCH_MISSING", missing);
    let names_library =
        arguments.iter().any(|argument| argument == "--library" || argument == "--from");
    if !names_library {
        match builder.c_library() {
            Ok(path) => drop(command.arg("--library").arg(path)),
            Err(why) => eprintln!("no shared library to measure: {why}"),
        }
    }
    let status = command.args(arguments).status().map_err(|e| format!("cannot start: {e}"))?;
    // A process that was ended by a signal has no code.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Calls cargo, with a folder for what it makes.
struct Builder {
    root: PathBuf,
    target: PathBuf,
}

impl Builder {
    fn here() -> Result<Self, String> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        // target/PROFILE/deps/this
        let itself = env::current_exe().map_err(|e| e.to_string())?;
        let target = itself.ancestors().nth(3).ok_or("this program is not in a target folder")?;
        Ok(Self { root, target: target.join("peers") })
    }

    /// Builds the peers, without those that cannot be built, and says which and why: a line each, of
    /// name and reason with a tab between them.
    fn peers(&self) -> Result<String, String> {
        let names: Vec<&str> = OPTIONAL.iter().map(|(feature, _)| *feature).collect();
        if self.build(&names, Stdio::inherit()).is_ok() {
            return Ok(String::new());
        }
        eprintln!("not all peers can be built: trying them one by one");
        let mut present = Vec::new();
        let mut missing = String::new();
        for (feature, peers) in OPTIONAL {
            match self.build(&[feature], Stdio::piped()) {
                Ok(()) => present.push(feature),
                Err(why) => {
                    for peer in peers {
                        missing += &format!("{peer}\tcannot be built: {why}\n");
                    }
                }
            }
        }
        self.build(&present, Stdio::inherit())?;
        Ok(missing)
    }

    fn build(&self, features: &[&str], errors: Stdio) -> Result<(), String> {
        let mut command = self.cargo(&["build", "--release", "--no-default-features"]);
        command.arg("--manifest-path").arg(self.root.join("benches/peers/Cargo.toml"));
        command.args(["--features", &features.join(",")]);
        finish(command.stderr(errors))
    }

    /// Builds the shared library as dist/install-c does, and says where it is.
    fn c_library(&self) -> Result<PathBuf, String> {
        let mut command = self.cargo(&["rustc", "--lib", "--profile", "capi"]);
        command.args(["--features", "capi", "--crate-type", "cdylib"]);
        command.arg("--manifest-path").arg(self.root.join("Cargo.toml"));
        command.args(["--", "-C", "link-arg=-Wl,-z,nodelete"]);
        finish(command.stderr(Stdio::inherit()))?;
        let path = self.target.join("capi/libsnaprng.so");
        if path.is_file() { Ok(path) } else { Err(format!("no {}", path.display())) }
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(arguments).arg("--target-dir").arg::<&Path>(&self.target);
        command
    }
}

/// Runs a build, and gives the first error that it printed if its errors were kept.
fn finish(command: &mut Command) -> Result<(), String> {
    let output =
        command.stdout(Stdio::inherit()).spawn().and_then(std::process::Child::wait_with_output);
    let output = output.map_err(|e| format!("cannot start cargo: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let error = text.lines().map(str::trim).find(|line| line.starts_with("error"));
    Err(error.unwrap_or("cargo failed: see above").to_owned())
}

fn rustc_version() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    output.map_or_else(|e| e.to_string(), |out| String::from_utf8_lossy(&out.stdout).trim().into())
}
