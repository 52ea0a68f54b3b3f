//! The provider's lines in OpenSSL's configuration: what they may say, and what is in force.
//!
//! The library has one configuration per process, and a process may load the provider many times:
//! into several library contexts, and again after it was unloaded. The first load decides. Later
//! ones may leave out any line, and must not contradict it.
//!
//! A line that is not understood makes the load fail, with an error on the stack. When OpenSSL loads
//! a provider because its section says `activate`, it drops that error and goes on as if nothing had
//! happened (up to 3.5 at the least); what a program sees then is a generator that cannot be found.
//! So there the provider is loaded, but refuses everything and says why each time.
//!
//! Which keys are understood, and which are seen at all, is for `keys` to say.

use core::ffi::CStr;
use core::fmt;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use snaprng::{Config, Error, Policy, Source, VmClock};

use crate::keys::{AGENT_PAGE, Asked, Names, POLICY, VMCLOCK};
use crate::refusal::Reason;
use crate::upcalls::Core;

/// What the configuration says. `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    policy: Option<Policy>,
    vmclock: Option<Place>,
    agent_page: Option<Place>,
}

/// Where a witness is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Path(PathBuf),
    Off,
}

/// What the provider's section of the configuration says.
#[derive(Debug)]
pub(crate) struct Section {
    /// Whether it has OpenSSL load the provider.
    pub(crate) activates: bool,
    pub(crate) settings: Result<Settings, Unloadable>,
}

/// Why the provider is not loaded, or refuses everything.
#[derive(Debug)]
pub(crate) enum Unloadable {
    /// The core does not answer.
    NoCore,
    UnknownKey {
        given: String,
        meant: &'static str,
    },
    NotOffered(&'static str),
    BadPolicy(String),
    BadPath {
        key: &'static str,
        value: String,
    },
    /// Another load decided otherwise.
    InForce {
        theirs: Settings,
        ours: Settings,
    },
    Library(Error),
}

impl Unloadable {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::InForce { .. } => Reason::ConfigurationInForce,
            Self::Library(_) | Self::NoCore => Reason::NotStarted,
            _ => Reason::BadConfiguration,
        }
    }
}

impl Section {
    pub(crate) fn read(core: &Core) -> Self {
        let names = Names::new();
        let mut values = vec![core::ptr::null(); names.pointers().len()];
        if !core.configuration(names.pointers(), &mut values) {
            return Self { activates: false, settings: Err(Unloadable::NoCore) };
        }
        let values = values.iter().map(|value| {
            // SAFETY: null, or a C string that the core keeps for as long as it has the provider.
            (!value.is_null()).then(|| unsafe { CStr::from_ptr(*value) }.to_bytes())
        });
        let answers: Vec<_> = names.meanings().iter().copied().zip(values).collect();
        let activates =
            answers.iter().any(|(asked, value)| *asked == Asked::Activate && value.is_some());
        let settings = Settings::parse(answers.into_iter(), |index| names.name(index));
        Self { activates, settings }
    }
}

impl Settings {
    /// From the answers to every question that was put.
    fn parse<'a>(
        answers: impl Iterator<Item = (Asked, Option<&'a [u8]>)>,
        name: impl Fn(usize) -> String,
    ) -> Result<Self, Unloadable> {
        let mut settings = Self::default();
        for (index, (asked, value)) in answers.enumerate() {
            let Some(value) = value else { continue };
            match asked {
                Asked::Key(POLICY) => settings.policy = Some(policy(value)?),
                Asked::Key(VMCLOCK) => settings.vmclock = Some(place(VMCLOCK, value)?),
                Asked::Activate => {}
                Asked::Key(_) => settings.agent_page = Some(place(AGENT_PAGE, value)?),
                Asked::NotOffered(key) => return Err(Unloadable::NotOffered(key)),
                Asked::Mistyped(meant) => {
                    return Err(Unloadable::UnknownKey { given: name(index), meant });
                }
            }
        }
        Ok(settings)
    }

    /// Puts the settings in force, or finds that those in force are no others.
    pub(crate) fn put_in_force(self) -> Result<(), Unloadable> {
        let in_force = decide(self.clone());
        if self.contradict(in_force) {
            return Err(Unloadable::InForce { theirs: in_force.clone(), ours: self });
        }
        // Whoever comes second does the first one's work if that is not done yet.
        match in_force.config().install() {
            // What the policy demands is not there: each request is refused, and says so.
            Ok(()) | Err(Error::AlreadyInstalled | Error::NotProtected(_)) => Ok(()),
            Err(error) => Err(Unloadable::Library(error)),
        }
    }

    fn contradict(&self, in_force: &Self) -> bool {
        let policy = in_force.policy.unwrap_or_default();
        self.policy.is_some_and(|ours| ours != policy)
            || (self.vmclock.is_some() && self.vmclock != in_force.vmclock)
            || (self.agent_page.is_some() && self.agent_page != in_force.agent_page)
    }

    fn config(&self) -> Config {
        Config {
            policy: self.policy.unwrap_or_default(),
            vmclock: match self.vmclock.clone() {
                None => VmClock::Default,
                Some(Place::Path(path)) => VmClock::Path(path),
                Some(Place::Off) => VmClock::Off,
            },
            agent_page: match self.agent_page.clone() {
                None => Source::Default,
                Some(Place::Path(path)) => Source::Path(path),
                Some(Place::Off) => Source::Off,
            },
            ..Config::default()
        }
    }
}

/// The settings of the first load. Null until then; never freed, so that it can be read without a
/// lock, which a fork might leave locked.
static DECIDED: AtomicPtr<Settings> = AtomicPtr::new(null_mut());

/// The settings in force: those of the first load, which may be this one.
fn decide(settings: Settings) -> &'static Settings {
    let mut decided = DECIDED.load(Ordering::Acquire);
    if decided.is_null() {
        let ours = Box::into_raw(Box::new(settings));
        match DECIDED.compare_exchange(null_mut(), ours, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => decided = ours,
            Err(theirs) => {
                // SAFETY: made three lines above, and shown to nobody.
                drop(unsafe { Box::from_raw(ours) });
                decided = theirs;
            }
        }
    }
    // SAFETY: not null, published with Release, never changed or freed.
    unsafe { &*decided }
}

fn policy(value: &[u8]) -> Result<Policy, Unloadable> {
    match value {
        b"prefer" => Ok(Policy::Prefer),
        b"require" => Ok(Policy::Require),
        _ => Err(Unloadable::BadPolicy(text(value))),
    }
}

fn place(key: &'static str, value: &[u8]) -> Result<Place, Unloadable> {
    match value {
        b"off" => Ok(Place::Off),
        path if path.starts_with(b"/") => Ok(Place::Path(OsStr::from_bytes(path).into())),
        _ => Err(Unloadable::BadPath { key, value: text(value) }),
    }
}

/// For a message.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{POLICY} = {}", self.policy.unwrap_or_default())?;
        for (key, place) in [(VMCLOCK, &self.vmclock), (AGENT_PAGE, &self.agent_page)] {
            match place {
                None => {}
                Some(Place::Off) => write!(f, ", {key} = off")?,
                Some(Place::Path(path)) => write!(f, ", {key} = {}", path.display())?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Unloadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCore => f.write_str("OpenSSL does not tell the configuration"),
            Self::UnknownKey { given, meant } => write!(
                f,
                "unknown key {given}: did you mean {meant}? The keys are policy, vmclock, agent_page"
            ),
            Self::NotOffered(key) => {
                write!(f, "{key} cannot be set here: the keys are policy, vmclock, agent_page")
            }
            Self::BadPolicy(value) => write!(f, "policy = {value}: it must be prefer or require"),
            Self::BadPath { key, value } => {
                write!(f, "{key} = {value}: it must be a path from the root (/...), or off")
            }
            Self::InForce { theirs, ours } => write!(
                f,
                "this process already uses the provider with \"{theirs}\", and this load asks for \
                 \"{ours}\": sources and policy belong to the whole process, so say the same \
                 everywhere, or say it once and leave it out elsewhere"
            ),
            Self::Library(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings that a section with these lines gives.
    fn section(lines: &[(&str, &'static str)]) -> Result<Settings, Unloadable> {
        let names = Names::new();
        let answers = names.meanings().iter().enumerate().map(|(index, asked)| {
            let name = names.name(index);
            let value = lines.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            (*asked, value.map(str::as_bytes))
        });
        Settings::parse(answers, |index| names.name(index))
    }

    fn refused(lines: &[(&str, &'static str)]) -> String {
        section(lines).expect_err("it is refused").to_string()
    }

    #[test]
    fn known_lines_say_what_they_say() {
        assert_eq!(section(&[]).unwrap(), Settings::default());
        // Lines of OpenSSL's own, and of nobody.
        let others = [("module", "/x.so"), ("activate", "1"), ("identity", "x")];
        assert_eq!(section(&others).unwrap(), Settings::default());
        let all = [("policy", "require"), ("vmclock", "/dev/vmclock0"), ("agent_page", "off")];
        let settings = section(&all).unwrap();
        assert_eq!(settings.policy, Some(Policy::Require));
        assert_eq!(settings.vmclock, Some(Place::Path("/dev/vmclock0".into())));
        assert_eq!(settings.agent_page, Some(Place::Off));
        assert_eq!(
            settings.to_string(),
            "policy = require, vmclock = /dev/vmclock0, agent_page = off"
        );
    }

    #[test]
    fn a_path_is_any_bytes() {
        let path = place(VMCLOCK, b"/dev/\xff").unwrap();
        assert_eq!(path, Place::Path(OsStr::from_bytes(b"/dev/\xff").into()));
        assert!(place(VMCLOCK, b"dev/\xff").unwrap_err().to_string().contains("from the root"));
    }

    #[test]
    fn bad_values_are_refused_with_what_would_be_good() {
        for value in ["", "Require", "assume-never-cloned", "1"] {
            assert!(refused(&[("policy", value)]).contains("prefer or require"), "{value}");
        }
        for value in ["", "vmclock0", "./page", "Off"] {
            assert!(refused(&[("vmclock", value)]).contains("a path from the root"), "{value}");
            assert!(refused(&[("agent_page", value)]).contains("agent_page ="), "{value}");
        }
    }

    #[test]
    fn a_mistyped_key_is_refused_and_the_right_one_named() {
        for (given, meant) in [("polcy", "policy"), ("vm_clock", "vmclock"), ("page", "agent_page")]
        {
            let message = refused(&[(given, "require")]);
            assert!(message.contains(&format!("unknown key {given}: did you mean {meant}?")));
        }
        // Nobody can see a key that is farther away: OpenSSL answers only for names it is asked for.
        assert!(section(&[("strictness", "require")]).is_ok());
    }

    #[test]
    fn other_settings_of_the_library_are_refused_by_name() {
        for key in ["accept_marker", "accept_late", "sysgenid", "personalization"] {
            assert!(refused(&[(key, "1")]).contains(key));
        }
    }

    #[test]
    fn a_later_load_may_leave_lines_out_and_must_not_contradict() {
        let in_force = section(&[("vmclock", "/a"), ("policy", "require")]).unwrap();
        let later = |lines| section(lines).unwrap().contradict(&in_force);
        assert!(!later(&[]));
        assert!(!later(&[("vmclock", "/a")]));
        assert!(!later(&[("policy", "require")]));
        assert!(later(&[("vmclock", "/b")]));
        assert!(later(&[("vmclock", "off")]));
        assert!(later(&[("policy", "prefer")]));
        assert!(later(&[("agent_page", "/a")]));
        let nothing = Settings::default();
        assert!(!section(&[("policy", "prefer")]).unwrap().contradict(&nothing));
        assert!(section(&[("policy", "require")]).unwrap().contradict(&nothing));
    }
}
