//! The world of a Linux process: discovery, installation, and the look at real pages.
//!
//! Sources are opened once, by one winner ([`Claim`]), before anything looks at the pages. Whether
//! it worked out, and why not, is published per witness in one word each.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::ffi::CString;
use std::os::fd::OwnedFd;

use once_cell::race::OnceBox;

use super::claim::{Attempt, Claim};
#[cfg(not(all(test, loom)))]
use super::page::WATCHED;
use super::{
    Cause, Epoch, WitnessState, Words, World, agent_page, platform, process, sysgenid, vmclock,
};
use crate::cancellation::Uncancelled;
use crate::policy::Facts;

/// The real world. Without state of its own: witnesses belong to the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemWorld;

impl World for SystemWorld {
    #[inline]
    fn look(&self) -> Epoch {
        // The process word first: its Acquire orders what another thread wrote before moving it.
        let process = process::word();
        Epoch {
            process,
            counter: vmclock::counter(),
            marker: vmclock::marker(),
            sysgenid: sysgenid::generation(),
            agent: agent_page::generation(),
            copy: process::copy(),
            machine: process::machine(),
        }
    }

    #[inline(always)]
    #[cfg(not(all(test, loom)))]
    fn unmoved(&self, words: &Words) -> bool {
        WATCHED.hold::<{ process::WORD_AT }, { vmclock::COUNTER_AT }, { vmclock::MARKER_AT }>([
            words.process,
            words.counter,
            words.marker,
        ])
    }

    #[cfg(all(test, loom))]
    fn unmoved(&self, words: &Words) -> bool {
        process::is_still(words.process)
    }

    fn confirm_process(&self) {
        process::confirm();
    }

    fn facts(&self) -> Facts {
        let vmclock = is_mapped(VMCLOCK).then(vmclock::validate).and_then(Result::ok);
        Facts {
            vmclock: vmclock.is_some(),
            counter: vmclock == Some(true),
            late: is_mapped(SYSGENID) || is_mapped(AGENT_PAGE),
            bare_metal: BARE_METAL.load(Ordering::Relaxed),
            pid_only: process::is_process_id_only(),
        }
    }
}

/// Where one witness is to be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    #[default]
    Default,
    Path(CString),
    /// An open descriptor was handed in, and is closed by now.
    HandedIn,
    Off,
}

/// Where all of them are to be had.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) vmclock: Place,
    /// Goes before `vmclock`.
    pub(crate) vmclock_descriptor: Option<OwnedFd>,
    pub(crate) sysgenid: Place,
    pub(crate) agent_page: Place,
}

/// The places that an embedder named; not set where all are at their defaults.
struct Named {
    vmclock: Place,
    sysgenid: Place,
    agent_page: Place,
}

static NAMED: OnceBox<Named> = OnceBox::new();
static BARE_METAL: AtomicBool = AtomicBool::new(false);
crate::sync::statics! {
    static INSTALLED: Claim = Claim::new();
    static REDISCOVERY: Claim = Claim::new();
}

/// How an attempt to install ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Installation {
    /// This call did it.
    Made,
    /// It had been done.
    Found,
    /// Another thread, or the code that this signal handler interrupted, is at it.
    Busy,
}

/// Whether the witnesses are installed. One load.
#[inline]
pub(crate) fn is_installed() -> bool {
    INSTALLED.is_done()
}

/// Installs once. `prepare` runs on the winner before anything else, whatever it stores is visible
/// to everybody who finds the installation made.
pub(crate) fn install(sources: Sources, prepare: impl FnOnce()) -> Installation {
    let _whole = Uncancelled::begin();
    // Dropped before that: there may be a descriptor in it, which is closed.
    let sources = sources;
    match INSTALLED.attempt() {
        Attempt::Done => Installation::Found,
        Attempt::Busy => Installation::Busy,
        Attempt::Won => {
            prepare();
            BARE_METAL.store(platform::is_bare_metal(), Ordering::Relaxed);
            let (state, cause) = process::install();
            publish(PROCESS, state, cause);
            discover(sources);
            INSTALLED.finish();
            Installation::Made
        }
    }
}

fn discover(sources: Sources) {
    let Sources { vmclock, vmclock_descriptor, sysgenid, agent_page } = sources;
    let from = match vmclock_descriptor {
        Some(descriptor) => Some(vmclock::From::Descriptor(descriptor)),
        None => vmclock_at(&vmclock),
    };
    publish_outcome(VMCLOCK, from.map(vmclock::install));
    publish_outcome(SYSGENID, try_sysgenid(&sysgenid));
    publish_outcome(AGENT_PAGE, try_agent_page(&agent_page));
    if [&vmclock, &sysgenid, &agent_page].iter().any(|place| **place != Place::Default) {
        let _ = NAMED.set(Box::new(Named { vmclock, sysgenid, agent_page }));
    }
}

fn vmclock_at(place: &Place) -> Option<vmclock::From<'_>> {
    match place {
        Place::Default => Some(vmclock::From::Default),
        Place::Path(path) => Some(vmclock::From::Path(path)),
        Place::HandedIn | Place::Off => None,
    }
}

fn try_sysgenid(place: &Place) -> Option<Result<WitnessState, Cause>> {
    match place {
        Place::Default => Some(sysgenid::install(sysgenid::DEFAULT_PATH, false)),
        Place::Path(path) => Some(sysgenid::install(path, true)),
        Place::HandedIn | Place::Off => None,
    }
}

fn try_agent_page(place: &Place) -> Option<Result<WitnessState, Cause>> {
    match place {
        Place::Default => Some(agent_page::install(agent_page::DEFAULT_PATH)),
        Place::Path(path) => Some(agent_page::install(path)),
        Place::HandedIn | Place::Off => None,
    }
}

/// Tries again whatever is not in use: a device or file may have appeared since. What is in use
/// stays. False if another thread is at it.
pub(crate) fn rediscover() -> bool {
    let _whole = Uncancelled::begin();
    let Attempt::Won = REDISCOVERY.attempt() else { return false };
    let named = NAMED.get();
    let is_missing =
        |index| matches!(status(index).0, WitnessState::Absent | WitnessState::Unusable);
    let vmclock = named.map_or(&Place::Default, |n| &n.vmclock);
    if is_missing(VMCLOCK) && *vmclock != Place::HandedIn {
        publish_outcome(VMCLOCK, vmclock_at(vmclock).map(vmclock::install));
    }
    if is_missing(SYSGENID) {
        publish_outcome(SYSGENID, try_sysgenid(named.map_or(&Place::Default, |n| &n.sysgenid)));
    }
    if is_missing(AGENT_PAGE) {
        publish_outcome(
            AGENT_PAGE,
            try_agent_page(named.map_or(&Place::Default, |n| &n.agent_page)),
        );
    }
    REDISCOVERY.reopen();
    true
}

pub(crate) use process::{begin_new_copy, host_says_restored, sees_restores};

/// Whether `sources` name nothing but what the process uses.
pub(crate) fn are_in_use(sources: &Sources) -> bool {
    let default = Place::Default;
    let same = |ours: &Place, pick: fn(&Named) -> &Place| {
        *ours == default || ours == NAMED.get().map_or(&default, |n| pick(n))
    };
    sources.vmclock_descriptor.is_none()
        && same(&sources.vmclock, |n| &n.vmclock)
        && same(&sources.sysgenid, |n| &n.sysgenid)
        && same(&sources.agent_page, |n| &n.agent_page)
}

const VMCLOCK: usize = 0;
const SYSGENID: usize = 1;
const AGENT_PAGE: usize = 2;
const PROCESS: usize = 3;

/// State and cause of each witness, packed: state in the low byte, the cause's code above it, its
/// detail in the upper half.
static STATUS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

fn publish_outcome(index: usize, outcome: Option<Result<WitnessState, Cause>>) {
    match outcome {
        None => publish(index, WitnessState::Off, None),
        Some(Ok(state)) => publish(index, state, None),
        Some(Err(cause @ Cause::Open(libc::ENOENT | libc::ENODEV))) => {
            publish(index, WitnessState::Absent, Some(cause));
        }
        Some(Err(cause)) => publish(index, WitnessState::Unusable, Some(cause)),
    }
}

fn publish(index: usize, state: WitnessState, cause: Option<Cause>) {
    let (code, detail) = cause.map_or((0, 0), Cause::pack);
    let packed = state as u64 | u64::from(code) << 8 | u64::from(detail) << 32;
    STATUS[index].store(packed, Ordering::Release);
}

fn status(index: usize) -> (WitnessState, Option<Cause>) {
    let packed = STATUS[index].load(Ordering::Acquire);
    let state = match packed as u8 {
        1 => WitnessState::Active,
        2 => WitnessState::StandIn,
        3 => WitnessState::Unusable,
        4 => WitnessState::Off,
        _ => WitnessState::Absent,
    };
    (state, Cause::unpack((packed >> 8) as u8, (packed >> 32) as u32))
}

fn is_mapped(index: usize) -> bool {
    matches!(status(index).0, WitnessState::Active | WitnessState::StandIn)
}

/// One witness as the report shows it.
pub(crate) struct Inspected {
    pub(crate) name: &'static str,
    pub(crate) state: WitnessState,
    pub(crate) cause: Option<Cause>,
    pub(crate) path: Option<CString>,
}

/// All witnesses, strongest first, with mapped headers validated now.
pub(crate) fn inspect() -> [Inspected; 4] {
    let (mut state, mut cause) = status(VMCLOCK);
    if is_mapped(VMCLOCK) {
        match vmclock::validate() {
            Ok(true) => {}
            Ok(false) => cause = Some(Cause::NoCounter),
            Err(now) => (state, cause) = (WitnessState::Unusable, Some(now)),
        }
    }
    let named = NAMED.get();
    let of = |index, name, path| {
        let (state, cause) = status(index);
        Inspected { name, state, cause, path }
    };
    [
        Inspected {
            name: "vmclock",
            state,
            cause,
            path: path_of(named.map(|n| &n.vmclock), vmclock::DEFAULT_PATH),
        },
        of(SYSGENID, "sysgenid", path_of(named.map(|n| &n.sysgenid), sysgenid::DEFAULT_PATH)),
        of(
            AGENT_PAGE,
            "agent page",
            path_of(named.map(|n| &n.agent_page), agent_page::DEFAULT_PATH),
        ),
        of(PROCESS, "process", None),
    ]
}

fn path_of(place: Option<&Place>, default: &CStr) -> Option<CString> {
    match place {
        None | Some(Place::Default) => Some(default.to_owned()),
        Some(Place::Path(path)) => Some(path.clone()),
        Some(Place::HandedIn | Place::Off) => None,
    }
}
