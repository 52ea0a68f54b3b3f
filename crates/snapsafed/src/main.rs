//! The daemon: takes the machine through a snapshot.
//!
//! Ends only by a signal, or where it cannot keep its promises; the gate then stays as it is.
#![deny(unsafe_code)]
#![cfg_attr(not(target_os = "linux"), allow(unused, reason = "there is nothing to run"))]

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("snapsafed: needs Linux");
    std::process::exit(1);
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::PathBuf;
    use std::process::ExitCode;

    use clap::Parser;
    use rustix::mm::{MlockAllFlags, mlockall};
    use snapsafed::config::Config;
    use snapsafed::driver::{Driver, Fatal};
    use snapsafed::log;
    use snapsafed::notify::Notify;
    use snapsafed::runtime::Runtime;

    /// Takes the whole machine safely through a snapshot.
    #[derive(Debug, Parser)]
    #[command(name = "snapsafed", version, after_help = AFTER_HELP)]
    struct Arguments {
        /// Where the configuration is. A missing file means the defaults.
        #[arg(long, value_name = "FILE", default_value = "/etc/snapsafe/snapsafed.toml")]
        config: PathBuf,

        /// Where the socket, the state and the memory are. On a tmpfs.
        #[arg(long, value_name = "DIRECTORY", default_value = "/run/snapsafe")]
        runtime_directory: PathBuf,

        /// Read the configuration, say what is wrong with it, and end.
        #[arg(long)]
        check: bool,
    }

    const AFTER_HELP: &str =
        "Started by systemd (snapsafed.service). Commands for it: snapsafectl.";

    pub(crate) fn main() -> ExitCode {
        let arguments = Arguments::parse();
        let config = match Config::read(&arguments.config) {
            Ok(config) => config,
            Err(why) => {
                log::error(why);
                return ExitCode::from(2);
            }
        };
        if arguments.check {
            return ExitCode::SUCCESS;
        }
        let Fatal(why) = run(config, &arguments.runtime_directory);
        log::error(format!("{why}: ending; the gate stays as it is"));
        ExitCode::FAILURE
    }

    fn run(config: Config, directory: &std::path::Path) -> Fatal {
        let runtime = match Runtime::claim(directory) {
            Ok(runtime) => runtime,
            Err(why) => return Fatal(why),
        };
        if let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
            log::warning(format!("memory is not locked: {error}; a page may have to be read back"));
        }
        match Driver::start(config, runtime, Notify::from_environment()) {
            Ok(mut driver) => driver.run(),
            Err(fatal) => fatal,
        }
    }
}
