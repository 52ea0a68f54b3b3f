//! The gate: what cuts the network before the snapshot, and is in force at the first instruction of
//! every clone.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod devices;
mod fake;
mod link;
mod netlink;
mod nftables;
mod none;
mod queues;
mod weaknesses;

/// Why a gate could not be shut or opened.
pub type Result<T> = std::result::Result<T, String>;

/// Which gate, and what it lets through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kind: Kind,
    /// Whether the rules are to be owned, where the kernel offers it. Otherwise whoever may change
    /// rules can remove them, which is noticed and repaired.
    pub owned: bool,
    /// Whether a gate at the links is to have those that will come, where the kernel offers it.
    /// Otherwise they are added as soon as they are noticed.
    pub future_links: bool,
    /// Ports of this machine that stay reachable while the gate is shut: of an agent that the host
    /// talks with over the network. Packets pass in both directions, from and to anybody.
    pub control_ports: Vec<ControlPort>,
    /// The file of a fake gate.
    pub fake_state: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        let kind = Kind::default();
        Self { kind, owned: true, future_links: true, control_ports: Vec::new(), fake_state: None }
    }
}

/// The kinds of gates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A table of nf_tables that drops everything but loopback and control ports.
    #[default]
    Nftables,
    /// The same, and tables that drop the frames of every link.
    Link,
    /// No gate: for a host that cuts the network itself.
    None,
    /// A file, for tests.
    Fake,
}

/// A port that stays reachable: `tcp/9000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ControlPort {
    pub transport: Transport,
    pub number: u16,
}

/// What a port is a port of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

impl FromStr for ControlPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self> {
        let (transport, number) = text.split_once('/').unwrap_or(("", text));
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(format!("{text:?} is no port: write tcp/9000 or udp/9000")),
        };
        match number.parse() {
            Ok(number @ 1..) => Ok(Self { transport, number }),
            _ => Err(format!("{text:?} is no port: the number is 1 to 65535")),
        }
    }
}

impl TryFrom<String> for ControlPort {
    type Error = String;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ControlPort> for String {
    fn from(port: ControlPort) -> Self {
        let transport = match port.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        format!("{transport}/{}", port.number)
    }
}

/// The gate that the configuration names. Neither shuts nor opens it: what a process before this one
/// left in the kernel stays. Whoever goes on with a shut gate calls `shut`, which makes it its own.
pub fn open_gate(config: &Config) -> Result<Box<dyn Gate>> {
    match config.kind {
        Kind::Nftables => {
            Ok(Box::new(nftables::NfTables::open(&config.control_ports, config.owned)?))
        }
        Kind::Link => {
            let Config { control_ports, owned, future_links, .. } = config;
            Ok(Box::new(link::Link::open(control_ports, *owned, *future_links)?))
        }
        Kind::None => Ok(Box::new(none::NoGate)),
        Kind::Fake => match &config.fake_state {
            Some(state) => Ok(Box::new(fake::Fake::open(state)?)),
            None => Err("a fake gate needs fake_state, a file".into()),
        },
    }
}

/// Something that cuts the network.
pub trait Gate {
    /// `nftables`, `link`, `none`, `fake`.
    fn kind(&self) -> &'static str;

    /// Cuts the network. Harmless if it is cut already: repairs what was removed. Does not wait.
    fn shut(&mut self) -> Result<()>;

    /// Whether packets that were queued before have left (qdiscs, rings). Called again and again
    /// until it is true, by a driver that waits `pause` in between.
    fn is_drained(&mut self) -> Result<bool>;

    /// Between two questions whether the queues are empty.
    fn pause(&self) -> Duration {
        Duration::from_millis(1)
    }

    /// Opens the network. Harmless if it is open.
    fn open(&mut self) -> Result<()>;

    /// Whether every rule is in place and in force, read back from the kernel and not from memory.
    /// Also where a process before this one made them.
    fn holds(&mut self) -> Result<bool>;

    /// Whether anything of it is there, whole or not. A process before this one may have left it, of
    /// another kind or before a link appeared: a network that is cut in part is not an open one.
    fn is_there(&mut self) -> Result<bool> {
        self.holds()
    }

    /// Becomes readable when somebody may have changed the rules. After that `changed` is called.
    fn watch(&self) -> Option<BorrowedFd<'_>>;

    /// Reads what `watch` has, and tells whether `holds` has to be asked.
    fn changed(&mut self) -> bool;

    /// Whether nobody but this process can remove the rules (table owner, persistent).
    fn is_owned(&self) -> bool;

    /// What is known to get past this gate on this machine, in words.
    fn weaknesses(&mut self) -> Vec<String>;
}
