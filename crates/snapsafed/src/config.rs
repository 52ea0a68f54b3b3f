//! What `/etc/snapsafe/snapsafed.toml` says.
//!
//! A file that is missing says nothing, and everything has a default. A key that is not known, or a
//! value that makes no sense, is an error that names its line: a service that guards a machine must
//! not run on half of what it was told. Every key is explained in the sample, `snapsafed.toml`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::gate;
use crate::machine::Rules;
use crate::users;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    #[serde(deserialize_with = "span")]
    pub quiesce_timeout: Duration,
    #[serde(deserialize_with = "span")]
    pub unquiesce_timeout: Duration,
    #[serde(deserialize_with = "span")]
    pub longest_timeout: Duration,
    #[serde(deserialize_with = "span")]
    pub optional_delay: Duration,
    /// `None`: for ever.
    #[serde(deserialize_with = "span_or_never")]
    pub quiesced_max: Option<Duration>,
    pub auto_unquiesce: bool,
    /// Bits that the kernel counts for a byte of the host's, 0 to 8.
    pub entropy_credit: u8,
    pub required: Vec<Required>,
    pub quiesced_target: bool,
    pub gate: gate::Config,
    pub hooks: HooksConfig,
    pub agent: AgentConfig,
    pub witnesses: WitnessConfig,
    pub limits: Limits,
}

/// A participant without which nothing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Required {
    pub name: String,
    /// Who may register it, besides root.
    pub uid: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HooksConfig {
    pub directory: PathBuf,
    /// How long one hook may take.
    #[serde(deserialize_with = "span")]
    pub timeout: Duration,
}

/// Where the host's lines come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    pub vsock_port: Option<u32>,
    /// Opened if it is there.
    pub virtio_port: Option<PathBuf>,
    /// A socket that only root can reach; for relays, and for tests.
    pub unix_socket: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WitnessConfig {
    pub vmclock: Option<PathBuf>,
    pub kmsg: bool,
}

/// What one user may have of us. Root is not limited by these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub connections_per_user: u32,
    pub participants_per_user: u32,
    pub inhibitors_per_user: u32,
    pub requests_per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            quiesce_timeout: Duration::from_secs(5),
            unquiesce_timeout: Duration::from_secs(10),
            longest_timeout: Duration::from_secs(10 * 60),
            optional_delay: Duration::from_secs(1),
            quiesced_max: Some(Duration::from_secs(5 * 60)),
            auto_unquiesce: false,
            entropy_credit: 0,
            required: Vec::new(),
            quiesced_target: true,
            gate: gate::Config::default(),
            hooks: HooksConfig::default(),
            agent: AgentConfig::default(),
            witnesses: WitnessConfig::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for HooksConfig {
    fn default() -> Self {
        Self { directory: "/etc/snapsafe/hooks.d".into(), timeout: Duration::from_secs(5) }
    }
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            vsock_port: None,
            virtio_port: Some("/dev/virtio-ports/org.snapsafe.0".into()),
            unix_socket: None,
        }
    }
}

impl Default for WitnessConfig {
    fn default() -> Self {
        Self { vmclock: Some("/dev/vmclock0".into()), kmsg: true }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_user: 64,
            participants_per_user: 32,
            inhibitors_per_user: 8,
            requests_per_second: 200,
        }
    }
}

impl Config {
    /// The configuration in `path`; the defaults if there is no such file.
    pub fn read(path: &Path) -> Result<Self, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|why| format!("{}: {why}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let longest = self.longest_timeout;
        for (key, value) in [
            ("quiesce_timeout", self.quiesce_timeout),
            ("unquiesce_timeout", self.unquiesce_timeout),
            ("optional_delay", self.optional_delay),
            ("hooks.timeout", self.hooks.timeout),
        ] {
            if value > longest {
                return Err(format!("{key} is longer than longest_timeout, {longest:?}"));
            }
        }
        if self.entropy_credit > 8 {
            return Err("entropy_credit: a byte has 8 bits".to_owned());
        }
        let Limits {
            connections_per_user,
            participants_per_user,
            inhibitors_per_user,
            requests_per_second,
        } = self.limits;
        let limits =
            [connections_per_user, participants_per_user, inhibitors_per_user, requests_per_second];
        if limits.contains(&0) {
            return Err("limits: 0 would shut everybody but root out".to_owned());
        }
        Ok(())
    }

    /// The part of it that the state machine follows.
    pub fn rules(&self) -> Rules {
        let mut required: Vec<String> = self.required.iter().map(|r| r.name.clone()).collect();
        required.sort();
        required.dedup();
        Rules {
            quiesce: millis(self.quiesce_timeout),
            unquiesce: millis(self.unquiesce_timeout),
            longest: millis(self.longest_timeout),
            optional_delay: millis(self.optional_delay),
            quiesced_max: self.quiesced_max.map(millis),
            auto_unquiesce: self.auto_unquiesce,
            required,
        }
    }
}

/// Never more than fits: spans are bounded when they are read.
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// `500ms`, `5s`, `10min`, `1h`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{text}` is no span of time: write 500ms, 5s, 10min or 1h")),
    };
    let number: u32 = number.parse().map_err(|_| format!("`{text}` is no span of time"))?;
    if number == 0 {
        return Err(format!("`{text}`: nothing can be done in no time"));
    }
    Ok(Duration::from_millis(u64::from(number) * unit))
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_span(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn span_or_never<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "never" => Ok(None),
        text => parse_span(text).map(Some).map_err(de::Error::custom),
    }
}

impl<'de> Deserialize<'de> for Required {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (name, user) = match text.split_once(':') {
            Some((name, user)) => (name, Some(user)),
            None => (text.as_str(), None),
        };
        if !is_name(name) {
            return Err(de::Error::custom(format!("`{name}` cannot be a participant's name")));
        }
        let uid = user.map(users::uid_of).transpose().map_err(de::Error::custom)?;
        Ok(Self { name: name.to_owned(), uid })
    }
}

/// What participants may be called: it is shown, logged, and listed with commas.
pub fn is_name(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.@/+".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_means_the_defaults() {
        let config = Config::parse("").unwrap();
        let rules = config.rules();
        assert_eq!((rules.quiesce, rules.unquiesce, rules.longest), (5_000, 10_000, 600_000));
        assert_eq!((rules.optional_delay, rules.quiesced_max), (1_000, Some(300_000)));
        assert!(!rules.auto_unquiesce);
        assert_eq!(config.gate.kind, gate::Kind::Nftables);
    }

    #[test]
    fn what_is_said_is_done() {
        let config = Config::parse(
            "quiesce_timeout = \"250ms\"\nquiesced_max = \"never\"\nauto_unquiesce = true\n\
             required = [\"database\", \"queue:0\"]\n\
             [gate]\nkind = \"none\"\ncontrol_ports = [\"tcp/9000\"]\n\
             [agent]\nvsock_port = 7000\n[limits]\nconnections_per_user = 3\n",
        )
        .unwrap();
        assert_eq!(config.rules().quiesce, 250);
        assert_eq!(config.rules().quiesced_max, None);
        assert_eq!(config.rules().required, ["database", "queue"]);
        assert_eq!(config.required[1].uid, Some(0));
        assert_eq!(config.gate.control_ports[0].number, 9000);
        assert_eq!(config.agent.vsock_port, Some(7000));
        assert_eq!(config.limits.connections_per_user, 3);
        assert_eq!(config.limits.inhibitors_per_user, Limits::default().inhibitors_per_user);
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_named() {
        for (text, complaint) in [
            ("quiesce_timeout = \"5\"", "span of time"),
            ("quiesce_timeout = \"0s\"", "no time"),
            ("quiesce_timeout = \"20min\"", "longest_timeout"),
            ("unknown = 1", "unknown"),
            ("required = [\"a b\"]", "name"),
            ("required = [\"a:no-such-user-here\"]", "no-such-user-here"),
            ("[gate]\nkind = \"iptables\"", "iptables"),
            ("[gate]\ncontrol_ports = [\"sctp/1\"]", "sctp/1"),
            ("[limits]\nconnections_per_user = 0", "limits"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }

    #[test]
    fn the_sample_says_what_the_defaults_are() {
        let sample = include_str!("../../../dist/systemd/snapsafed.toml");
        let is_key = |line: &&str| {
            line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase())
        };
        let keys = sample.lines().filter(is_key).count();
        assert_eq!(keys, 22, "a key without its line in the sample?");
        // With every key uncommented, but for those that have no default or name users.
        let open: String = sample
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest)
                    if is_key(&line)
                        && !rest.starts_with("required")
                        && !rest.starts_with("vsock_port")
                        && !rest.starts_with("unix_socket") =>
                {
                    rest
                }
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(Config::parse(&open).unwrap(), Config::default());
        assert_eq!(Config::parse(sample).unwrap(), Config::default());
    }

    #[test]
    fn a_missing_file_says_nothing_and_an_unreadable_one_is_an_error() {
        assert!(Config::read(Path::new("/nonexistent/snapsafed.toml")).is_ok());
        assert!(Config::read(Path::new("/proc/self/mem")).is_err());
    }
}
