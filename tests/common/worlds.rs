//! The worlds that a process may find itself in, and the configurations that bring them about.

use snaprng::host::VmClockPage;
use snaprng::{Config, ForkSafety, Level, Policy, Source, TrySnapRng, VmClock};

use super::{run, seccomp, test_name};

/// A stand-in for the hypervisor's page, buffered.
pub(crate) const SYNCHRONOUS: &str = "synchronous";
/// No clone is reckoned with, buffered.
pub(crate) const PROCESS_ONLY: &str = "process-only";
/// No witness at all.
pub(crate) const PER_CALL: &str = "per-call";
/// Buffered, on a kernel before 6.11.
pub(crate) const NOT_DROPPABLE: &str = "no droppable pages";
/// Buffered, on a kernel (or an emulator) that clears no page in a child.
pub(crate) const PROCESS_ID: &str = "process id only";

pub(crate) const ALL: [&str; 5] = [SYNCHRONOUS, PROCESS_ONLY, PER_CALL, NOT_DROPPABLE, PROCESS_ID];

/// Runs `scenario` in each of these worlds, each in a fresh process. It is given the page of a
/// hypervisor, which only those at level `Synchronous` look at.
pub(crate) fn in_worlds<F: FnOnce(&mut VmClockPage)>(worlds: &[&str], scenario: F) {
    let test = test_name::<F>();
    run(&test, worlds, &[], |world| scenario(&mut enter(world)));
}

/// Installs what brings this world about, and checks that it does.
pub(crate) fn enter(world: &str) -> VmClockPage {
    let page = VmClockPage::memfd().expect("a memfd");
    let forks = match world {
        NOT_DROPPABLE => {
            seccomp::refuse_droppable_pages();
            ForkSafety::ClearedPage
        }
        PROCESS_ID => {
            seccomp::refuse_droppable_pages();
            seccomp::refuse_wipe_on_fork();
            ForkSafety::ProcessId
        }
        _ => ForkSafety::ClearedPage,
    };
    let config = match world {
        SYNCHRONOUS => Config { vmclock: stand_in(&page), ..no_sources() },
        PER_CALL => no_sources(),
        _ => Config { policy: Policy::AssumeNeverCloned, ..no_sources() },
    };
    config.install().expect("the first installation");
    let report = snaprng::protection();
    match world {
        SYNCHRONOUS => assert_eq!(report.level(), Level::Synchronous),
        // On bare metal no clone is reckoned with, whatever the configuration.
        PER_CALL => assert!(matches!(report.level(), Level::PerCall | Level::ProcessOnly)),
        _ => assert_eq!(report.level(), Level::ProcessOnly),
    }
    assert_eq!(report.fork_safety(), forks, "{report}");
    page
}

/// A configuration that looks for no witness.
pub(crate) fn no_sources() -> Config {
    Config {
        vmclock: VmClock::Off,
        sysgenid: Source::Off,
        agent_page: Source::Off,
        ..Config::default()
    }
}

/// The page as a source.
pub(crate) fn stand_in(page: &VmClockPage) -> VmClock {
    VmClock::Fd(page.try_clone_fd().expect("a descriptor"))
}

/// An owned generator under the policy of the process, so that it buffers where threads' do.
pub(crate) fn owned() -> TrySnapRng {
    let policy = snaprng::protection().policy();
    let mut owned = Config { policy, ..Config::default() }.build_try().expect("a generator");
    assert_eq!(owned.protection().level(), snaprng::protection().level());
    owned
}
