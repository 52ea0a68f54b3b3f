//! The command line. What stands here as documentation is what `--help` prints.

use std::fmt;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use snaprng::{Level, Policy};

use crate::size;

const EXAMPLES: &str = "\
Examples:
  snaprng status                        is this machine protected, and why not?
  snaprng status --require synchronous  the same as a readiness probe
  snaprng bytes 32                      a key, in hexadecimal
  snaprng bytes 1G --raw > noise        a gibibyte of bytes
  snaprng demo                          what a clone does to a generator
  snaprng openssl-conf                  how OpenSSL's programs use the provider

Exit codes:
  0  done, and what was required is the case
  1  it is not the case, there were no bytes, or they could not be written
  2  the command line or SNAPRNG_POLICY was not understood

Environment:
  SNAPRNG_POLICY=require  refuse to work below level synchronous, except on bare
                          metal; for every program that uses the library
  NO_COLOR                if set, no colours";

const STATUS_EXAMPLES: &str = "\
The report speaks for this user in this container: run it as the service runs.

Examples:
  snaprng status
  snaprng status --json | jq -r .level
  snaprng status --require synchronous   readiness: a synchronous witness
  snaprng status --policy require        readiness: the same, or bare metal

Exit codes: 0 if requests work and the required level is reached, 1 if not,
2 if the command line or SNAPRNG_POLICY was not understood.

Fields of --json (stable; more may be added):
  level, policy       text, as in the report
  stand_in            whether the witness that gives the level is a stand-in
  error               why requests fail, or null
  fork_safety         cleared-page | process-id | per-request
  restore_safety      dropped-page | per-request | none
  witnesses           [{name, state, path, cause}]; state: active | stand-in |
                      absent | unusable | off; path and cause may be null
  diversity           {cpu_bits, injected_bits, kernel_reseeded, none}
  settled             whether the kernel must have reseeded by the last absorb
  settling_for_seconds
                      until an absorb settles it; 0 if the next one does
  counts              {rekeys, absorbs, epoch_changes} of this process
  container           what tells that this is a container, or null
  next_steps          what to do, in words
  required            the level given with --require, or null
  satisfied           what the exit code says";

const BYTES_EXAMPLES: &str = "\
Hexadecimal and base64 come as one line without breaks. Nothing is kept in
memory but one chunk, and that is wiped.

Examples:
  snaprng bytes 32
  snaprng bytes 48 --base64
  snaprng bytes 4K --raw > key.bin
  snaprng bytes 10G --raw | split --bytes=1G

Exit codes: 0 if all bytes were written; 1 if there were none to be had or they
could not be written, as when the reader goes away or the disk is full;
2 if the command line or SNAPRNG_POLICY was not understood.";

const DEMO_EXAMPLES: &str = "\
Needs neither privileges nor a hypervisor. The vmclock page is a stand-in that
this command moves itself: only `tests/run` of the sources proves it on virtual
machines that are really cloned.

Exit codes: 0 if the plain generator repeated in every clone and snaprng never
did; 1 if not, or if the demonstration could not be given.";

const OPENSSL_CONF_EXAMPLES: &str = "\
The lines complete a configuration of OpenSSL as Debian and most others ship it,
with `openssl_conf = openssl_init`, and are one by themselves, for OPENSSL_CONF
in the environment of a service.

Examples:
  snaprng openssl-conf >> /etc/ssl/openssl.cnf
  snaprng openssl-conf --policy require > /etc/ssl/snaprng.cnf
  OPENSSL_CONF=/etc/ssl/snaprng.cnf openssl rand -hex 16
  openssl list -random-generators       SNAPRNG must be in the list

If the module cannot be loaded, or does not accept its lines, programs get no
random bytes at all: try `openssl rand -hex 16` before services are restarted.

Exit codes: 0 if the lines were printed; 1 if there is no module: install it
with dist/install-openssl of the sources; 2 if the command line was not
understood.";

/// A random number generator that cannot repeat itself when its virtual machine is cloned
#[derive(Debug, Parser)]
#[command(name = "snaprng", version, after_help = EXAMPLES, max_term_width = 80)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show how well this machine is protected, and what to do for more
    Status(StatusOptions),
    /// Make random bytes
    Bytes(BytesOptions),
    /// Show what clones do to a plain generator, and that snaprng does not repeat
    Demo(DemoOptions),
    /// Print the configuration with which OpenSSL's programs use the provider
    OpensslConf(OpensslConfOptions),
}

/// Show how well this machine is protected, and what to do for more
#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub(crate) struct StatusOptions {
    /// Print JSON, with stable field names
    #[arg(long)]
    pub(crate) json: bool,

    /// Fail unless this level is reached
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub(crate) require: Option<Required>,

    /// The policy to report for, as a program would choose it
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    pub(crate) policy: PolicyChoice,

    /// A vmclock device, or a file on a tmpfs as a stand-in [default: /dev/vmclock0]
    #[arg(long, value_name = "PATH")]
    pub(crate) vmclock: Option<PathBuf>,

    /// Report for a program that accepts vmclock's disruption marker
    #[arg(long)]
    pub(crate) accept_marker: bool,

    /// Report for a program that accepts late witnesses
    #[arg(long)]
    pub(crate) accept_late: bool,
}

/// What `--require` asks for: not levels in an order, but these sets of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Required {
    /// The VM generation counter of a vmclock device; no stand-in
    Synchronous,
    /// Bare metal (or --policy assume-never-cloned), or synchronous; no stand-in
    ProcessOnly,
    /// A weaker witness that was accepted by name, or one of the above
    Accepted,
    /// Any level, as long as requests work
    PerCall,
}

impl Required {
    /// The level of that name.
    pub(crate) fn level(self) -> Level {
        match self {
            Self::Synchronous => Level::Synchronous,
            Self::ProcessOnly => Level::ProcessOnly,
            Self::Accepted => Level::Accepted,
            Self::PerCall => Level::PerCall,
        }
    }
}

/// The library's policies, as values of `--policy`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum PolicyChoice {
    /// The best level that can be had
    #[default]
    Prefer,
    /// Fail below level synchronous, except on bare metal
    Require,
    /// No virtual machine under the program is ever cloned or restored
    AssumeNeverCloned,
}

impl From<PolicyChoice> for Policy {
    fn from(choice: PolicyChoice) -> Self {
        match choice {
            PolicyChoice::Prefer => Self::Prefer,
            PolicyChoice::Require => Self::Require,
            PolicyChoice::AssumeNeverCloned => Self::AssumeNeverCloned,
        }
    }
}

impl fmt::Display for PolicyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Policy::from(*self).fmt(f)
    }
}

/// Make random bytes
#[derive(Debug, Args)]
#[command(after_help = BYTES_EXAMPLES, group = ArgGroup::new("format"))]
pub(crate) struct BytesOptions {
    /// How many bytes: 32, 64K, 10MiB, 3G (powers of 1024, at most 1024T)
    #[arg(value_name = "N", value_parser = size::parse)]
    pub(crate) count: u64,

    /// Write hexadecimal digits (the default)
    #[arg(long, group = "format")]
    pub(crate) hex: bool,

    /// Write base64, with padding
    #[arg(long, group = "format")]
    pub(crate) base64: bool,

    /// Write the bytes as they are; to a terminal only with --force
    #[arg(long, group = "format")]
    pub(crate) raw: bool,

    /// Write raw bytes even to a terminal
    #[arg(long, requires = "raw")]
    pub(crate) force: bool,
}

/// Show what clones do to a plain generator, and that snaprng does not repeat
#[derive(Debug, Args)]
#[command(after_help = DEMO_EXAMPLES)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "the demonstration is Linux only"))]
pub(crate) struct DemoOptions {
    /// How many clones to make
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=64))]
    pub(crate) children: u8,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the configuration with which OpenSSL's programs use the provider
#[derive(Debug, Args)]
#[command(after_help = OPENSSL_CONF_EXAMPLES)]
pub(crate) struct OpensslConfOptions {
    /// The module [default: snaprng.so in OpenSSL's modules folder]
    #[arg(long, value_name = "PATH")]
    pub(crate) module: Option<PathBuf>,

    /// What programs do where there is no synchronous witness
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) policy: Option<ProviderPolicy>,

    /// A vmclock device, or a file on a tmpfs as a stand-in, or `off`
    #[arg(long, value_name = "PATH")]
    pub(crate) vmclock: Option<PathBuf>,

    /// The page of an agent in this machine, or `off`
    #[arg(long, value_name = "PATH")]
    pub(crate) agent_page: Option<PathBuf>,

    /// Keep OpenSSL's own generators and only seed them: they do not notice clones
    #[arg(long)]
    pub(crate) seed_only: bool,
}

/// The provider's policies: nothing that weakens.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProviderPolicy {
    /// Make bytes at the best level that can be had
    Prefer,
    /// Make none below level synchronous, except on bare metal
    Require,
}

impl From<ProviderPolicy> for Policy {
    fn from(choice: ProviderPolicy) -> Self {
        match choice {
            ProviderPolicy::Prefer => Self::Prefer,
            ProviderPolicy::Require => Self::Require,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_level_can_be_required_by_its_own_name() {
        for required in Required::value_variants() {
            let name = required.to_possible_value().expect("no hidden value");
            assert_eq!(name.get_name().parse(), Ok(required.level()));
            assert_eq!(name.get_name(), required.level().to_string());
        }
    }

    #[test]
    fn policies_have_the_names_that_reports_use() {
        for choice in PolicyChoice::value_variants() {
            let name = choice.to_possible_value().expect("no hidden value");
            assert_eq!(name.get_name(), Policy::from(*choice).to_string());
        }
    }
}
