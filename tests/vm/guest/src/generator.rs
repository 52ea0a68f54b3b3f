//! The generators under test and the ones they are compared with, all asked the same way.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng, TryRng};
use rustix::rand::{GetRandomFlags, getrandom};
use snaprng::{Config, Policy, Protection, Source, TrySnapRng, VmClock};

use crate::agent::PAGE;
use crate::plan::Plan;

/// A generator that can be asked for bytes.
pub(crate) enum Generator {
    /// A plain ChaCha20 generator, seeded once from the kernel as user-space generators are: the control that repeats.
    Plain(Box<ChaCha20Rng>),
    /// The kernel's own output, to see when the kernel itself stops repeating.
    Kernel,
    /// snaprng's generator of the thread that asks.
    Thread,
    /// A generator of snaprng with an owner.
    Owned(Box<TrySnapRng>),
}

impl Generator {
    pub(crate) fn plain() -> Self {
        let mut seed = [0; 32];
        kernel_bytes(&mut seed).expect("the kernel has no random bytes");
        Self::Plain(Box::new(ChaCha20Rng::from_seed(seed)))
    }

    /// An owned generator that accepts what `kind` says.
    pub(crate) fn owned(plan: &Plan, kind: &str) -> Result<Self, snaprng::Error> {
        Ok(Self::Owned(Box::new(configuration(plan, kind).build_try()?)))
    }

    /// Fill `output`; an error is kept as its text.
    pub(crate) fn fill(&mut self, output: &mut [u8]) -> Result<(), String> {
        match self {
            Self::Plain(generator) => {
                generator.fill_bytes(output);
                Ok(())
            }
            Self::Kernel => kernel_bytes(output),
            Self::Thread => snaprng::fill(output).map_err(|error| format!("{error:?}")),
            Self::Owned(generator) => {
                generator.try_fill_bytes(output).map_err(|error| format!("{error:?}"))
            }
        }
    }

    /// What snaprng says about the generator, if it is one of its own.
    pub(crate) fn protection(&mut self) -> Option<Protection> {
        match self {
            Self::Plain(_) | Self::Kernel => None,
            Self::Thread => Some(snaprng::protection()),
            Self::Owned(generator) => Some(generator.protection()),
        }
    }
}

fn kernel_bytes(output: &mut [u8]) -> Result<(), String> {
    match getrandom(&mut *output, GetRandomFlags::empty()) {
        Ok(length) if length == output.len() => Ok(()),
        other => Err(format!("getrandom: {other:?}")),
    }
}

/// Install the process's configuration, as the plan says.
pub(crate) fn install(plan: &Plan) {
    configuration(plan, "plain").install().expect("snaprng could not be installed");
}

fn configuration(plan: &Plan, kind: &str) -> Config {
    let mut configuration = Config {
        policy: if plan.require { Policy::Require } else { Policy::Prefer },
        vmclock: if plan.vmclock_off { VmClock::Off } else { VmClock::Default },
        agent_page: if plan.agent_page { Source::Path(PAGE.into()) } else { Source::Default },
        ..Config::default()
    };
    match kind {
        "plain" => {}
        "marker" => configuration.accept_marker = true,
        "late" => configuration.accept_late = true,
        _ => panic!("there is no owned generator called '{kind}'"),
    }
    configuration
}
