//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use snapsafe_client::wire::SOCKET;

/// Takes this machine safely through a snapshot.
#[derive(Debug, Parser)]
#[command(name = "snapsafectl", version, after_help = CODES)]
pub(crate) struct Arguments {
    /// Where snapsafed listens.
    #[arg(long, global = true, value_name = "PATH", default_value = SOCKET)]
    pub(crate) socket: PathBuf,

    /// Answer in JSON, errors included.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 not understood, 3 snapsafed is not running, 4 another transition is \
in progress.

Around a snapshot, as root:
  snapsafectl quiesce --timeout 5s      # exit code 0: take the snapshot now
  snapsafectl unquiesce                 # in the original and in every clone";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Where the machine is, what cuts the network, and who is waited for.
    Status,

    /// Let participants get ready and cut the network. Returns when a snapshot may be taken.
    Quiesce(Quiesce),

    /// Let participants adapt and open the network. In the original, and in every clone.
    Unquiesce(Unquiesce),

    /// Call the snapshot off. What the machine finds out may still make it a clone.
    Abort,

    /// Hold snapshots up while a command runs.
    Inhibit(Inhibit),

    /// Who holds snapshots up.
    ListInhibitors,

    /// Who takes part.
    ListParticipants,

    /// Print what happens, until it is interrupted.
    Monitor,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  snapsafectl quiesce
  snapsafectl quiesce --timeout 30s --token \"$(uuidgen)\"
  snapsafectl quiesce --force           # without those that do not answer in time")]
pub(crate) struct Quiesce {
    /// How long that may take: 500ms, 5s, 2min.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) timeout: Option<Duration>,

    /// When the time is over, go on without those that did not answer.
    #[arg(long)]
    pub(crate) force: bool,

    /// A word to compare with that of `unquiesce`: another one there means a clone.
    #[arg(long, value_name = "WORD")]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  snapsafectl unquiesce                                     # a clone, unless it can be told
  snapsafectl unquiesce --expect resumed                    # the same machine goes on
  head -c 32 /dev/urandom | snapsafectl unquiesce --entropy -")]
pub(crate) struct Unquiesce {
    /// How long that may take: 500ms, 5s, 2min.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) timeout: Option<Duration>,

    /// What the host knows of this machine. `resumed` is believed unless a witness contradicts.
    #[arg(long, value_enum, default_value_t = Expect::Any)]
    pub(crate) expect: Expect,

    /// Bytes of the host for the kernel's generator: a file, or - for standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) entropy: Option<PathBuf>,

    /// The word that `quiesce` was given, if this is the machine that it was given to.
    #[arg(long, value_name = "WORD")]
    pub(crate) token: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Expect {
    Any,
    Resumed,
    Restored,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  snapsafectl inhibit --why 'a tape is being written' -- tar c /srv
  snapsafectl inhibit --what quiesce:unquiesce --mode block --why 'upgrade' -- apt upgrade

Ends with the exit code of the command.")]
pub(crate) struct Inhibit {
    /// quiesce, unquiesce, or quiesce:unquiesce.
    #[arg(long, default_value = "quiesce", value_parser = what)]
    pub(crate) what: snapsafe_client::What,

    /// Who holds it up, for people. If not given: the command.
    #[arg(long)]
    pub(crate) who: Option<String>,

    /// Why, for people.
    #[arg(long, default_value = "no reason given")]
    pub(crate) why: String,

    /// delay: waited for, up to a limit. block (root): no snapshot is taken.
    #[arg(long, value_enum, default_value_t = Mode::Delay)]
    pub(crate) mode: Mode,

    /// What to run meanwhile.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    Delay,
    Block,
}

fn span(text: &str) -> Result<Duration, String> {
    snapsafed::config::parse_span(text)
}

fn what(text: &str) -> Result<snapsafe_client::What, String> {
    use snapsafe_client::What::{Both, Quiesce, Unquiesce};
    match text {
        "quiesce" => Ok(Quiesce),
        "unquiesce" => Ok(Unquiesce),
        "quiesce:unquiesce" | "unquiesce:quiesce" => Ok(Both),
        _ => Err("write quiesce, unquiesce, or quiesce:unquiesce".to_owned()),
    }
}
