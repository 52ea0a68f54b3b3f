//! The world outside of Linux: no witness is known here, so nothing is ever served from a buffer
//! and every request draws fresh entropy (level `PerCall`), which needs no witness.

use super::{Cause, Epoch, WitnessState, Words, World};
use crate::policy::Facts;

/// A world in which nothing can be seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemWorld;

impl World for SystemWorld {
    fn look(&self) -> Epoch {
        Epoch::default()
    }

    fn unmoved(&self, _: &Words) -> bool {
        true
    }

    fn confirm_process(&self) {}

    fn facts(&self) -> Facts {
        Facts::default()
    }
}

/// How an attempt to install ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Installation {
    /// This call did it.
    Made,
    /// It had been done.
    Found,
}

static INSTALLED: std::sync::Once = std::sync::Once::new();

/// Whether a configuration is in force.
pub(crate) fn is_installed() -> bool {
    INSTALLED.is_completed()
}

/// Installs nothing but the configuration, once.
pub(crate) fn install(prepare: impl FnOnce()) -> Installation {
    let mut made = Installation::Found;
    INSTALLED.call_once(|| {
        prepare();
        made = Installation::Made;
    });
    made
}

/// One witness as the report shows it. There is none here.
pub(crate) struct Inspected {
    pub(crate) name: &'static str,
    pub(crate) state: WitnessState,
    pub(crate) cause: Option<Cause>,
    pub(crate) path: Option<std::ffi::CString>,
}

pub(crate) fn inspect() -> [Inspected; 0] {
    []
}
