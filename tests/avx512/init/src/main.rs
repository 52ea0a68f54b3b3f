//! PID 1 of the emulated machine: runs the test programs one after another and says how each ended.
//!
//! Nothing here decides whether a test passed. What is run is in `/runs`, a line for each: settings of the environment,
//! a program, arguments. What is said goes to the serial port, which the harness reads.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!(
            "this program is the init of a test's virtual machine and does nothing elsewhere"
        );
        return ExitCode::from(2);
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::serve() {
        eprintln!("init: {error}");
    }
    // The kernel panics when its init ends, and the harness sees that.
    ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io::{self, Write};
    use std::process::Command;

    use rustix::mount::{MountFlags, mount};
    use rustix::system::{RebootCommand, reboot};
    use rustix::termios::tcdrain;

    /// How the lines begin that are meant for the harness (`emulation/outcome.py`).
    const MARK: &str = "init:";

    pub(super) fn serve() -> io::Result<()> {
        for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
            mount(kind, place, kind, MountFlags::empty(), c"")?;
        }
        // From here on the kernel must not write into the middle of the tests' lines. A panic it prints all the same.
        fs::write("/proc/sys/kernel/printk", "1")?;
        for (number, run) in fs::read_to_string("/runs")?.lines().enumerate() {
            println!("{MARK} run {number} begins\n$ {run}");
            let code = perform(run)?;
            println!("{MARK} run {number} ended with {code}");
        }
        println!("{MARK} done");
        io::stdout().flush()?;
        tcdrain(io::stdout())?;
        reboot(RebootCommand::PowerOff)?;
        Ok(())
    }

    /// The exit code, or the signal that ended the program.
    fn perform(run: &str) -> io::Result<String> {
        let mut words = run.split_whitespace().peekable();
        let mut settings = Vec::new();
        while let Some(setting) = words.peek().and_then(|word| word.split_once('=')) {
            settings.push(setting);
            words.next();
        }
        let program = words.next().ok_or_else(|| io::Error::other("a run without a program"))?;
        let status = Command::new(program).args(words).env_clear().envs(settings).status()?;
        Ok(status.to_string())
    }
}
