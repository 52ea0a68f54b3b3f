//! Sources of witnesses that are good, and what must be reported of those that are not.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use snaprng::host::VmClockPage;
use snaprng::{
    Cause, Config, Error, Level, Policy, Protection, Source, VmClock, Witness, WitnessState,
};

use super::copies::{Way, child};
use super::scratch::Scratch;
use super::worlds::no_sources;

pub(crate) fn witness<'a>(report: &'a Protection, name: &str) -> &'a Witness {
    report.witnesses().iter().find(|w| w.name() == name).expect("a witness of this name")
}

/// What is expected of a source that cannot be used.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    /// It is there, and this is wrong with it.
    For(Cause),
    /// It is not there.
    Absent,
}
use Refusal::{Absent, For};

/// The witnesses that can be had from a path.
pub(crate) const NAMES: [&str; 3] = ["vmclock", "sysgenid", "agent page"];

/// A configuration with this witness at this path and no other, accepted where it is a late one.
pub(crate) fn source(name: &str, path: impl Into<PathBuf>) -> Config {
    let (config, path) = (Config { accept_late: true, ..no_sources() }, path.into());
    match name {
        "vmclock" => Config { vmclock: VmClock::Path(path), ..config },
        "sysgenid" => Config { sysgenid: Source::Path(path), ..config },
        "agent page" => Config { agent_page: Source::Path(path), ..config },
        _ => panic!("no witness is called {name}"),
    }
}

/// Fails unless `vmclock`, installed in a child, counts as no protection for this reason.
pub(crate) fn assert_refused(
    what: &str,
    vmclock: VmClock,
    refusal: Refusal,
    prepare: impl FnOnce(),
) {
    let config = Config { vmclock, ..no_sources() };
    assert_config_refused(what, "vmclock", config, refusal, prepare);
}

/// Fails unless the witness called `name`, installed in a child, counts as no protection for this
/// reason.
pub(crate) fn assert_config_refused(
    what: &str,
    name: &str,
    config: Config,
    refusal: Refusal,
    prepare: impl FnOnce(),
) {
    child(Way::Fork, || {
        prepare();
        config.install().expect("a bad source is no error");
        assert_counts_for_nothing(&format!("{what}, as {name}"), name, refusal);
        let required = Config { policy: Policy::Require, ..Config::default() }.build_try();
        let level = snaprng::protection().level();
        if level != Level::ProcessOnly {
            assert_eq!(required.err(), Some(Error::NotProtected(level)), "{what}");
        }
    })
    .join();
}

/// Fails unless the witness called `name`, installed from `path` in a child, is in use and gives the
/// level that it is good for.
pub(crate) fn assert_taken(
    what: &str,
    name: &str,
    path: impl Into<PathBuf>,
    prepare: impl FnOnce(),
) {
    child(Way::Fork, || {
        prepare();
        source(name, path).install().expect("the first installation");
        assert_in_use(what, name);
    })
    .join();
}

pub(crate) fn assert_in_use(what: &str, name: &str) {
    let report = snaprng::protection();
    let witness = witness(&report, name);
    let state = if name == "agent page" { WitnessState::Active } else { WitnessState::StandIn };
    assert_eq!((witness.state(), witness.cause()), (state, None), "{what}, as {name}");
    let level = if name == "vmclock" { Level::Synchronous } else { Level::Accepted };
    // On bare metal a late witness is not needed.
    assert!([level, Level::ProcessOnly].contains(&report.level()), "{what}, as {name}: {report}");
    snaprng::fill(&mut [0; 32]).expect("bytes");
}

pub(crate) fn assert_counts_for_nothing(what: &str, name: &str, refusal: Refusal) {
    let report = snaprng::protection();
    let witness = witness(&report, name);
    match refusal {
        For(cause) => {
            assert_eq!(
                (witness.state(), witness.cause()),
                (WitnessState::Unusable, Some(cause)),
                "{what}"
            );
            assert!(report.to_string().contains(&cause.to_string()), "{what}: {report}");
        }
        Absent => {
            assert_eq!(witness.state(), WitnessState::Absent, "{what}");
            assert_eq!(witness.cause(), Some(Cause::Open(libc::ENOENT)), "{what}");
        }
    }
    assert!(matches!(report.level(), Level::PerCall | Level::ProcessOnly), "{what}: {report}");
    assert!(!report.is_stand_in(), "{what}");
    snaprng::fill(&mut [0; 32]).expect("bytes, drawn anew for each request");
}

/// The bytes of a page that would be accepted, with these changes.
pub(crate) fn page_bytes(changes: &[(usize, &[u8])]) -> Vec<u8> {
    let page = VmClockPage::memfd().expect("a memfd");
    let mut bytes = vec![0; 4096];
    File::from(page.try_clone_fd().expect("a descriptor"))
        .read_exact_at(&mut bytes, 0)
        .expect("a page");
    for (offset, change) in changes {
        bytes[*offset..offset + change.len()].copy_from_slice(change);
    }
    bytes
}

pub(crate) fn write(directory: &Scratch, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, bytes).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("our own file");
    path
}
