//! The rules of the gate: as they are meant, as they are sent, and as the kernel lists them.
//!
//! Each chain accepts what it names, and ends with a rule that drops the rest. So does its policy, but
//! of a new chain that is `accept` until late in the transaction, after old chains have gone: between
//! two tables packets got through in a test. Rules change at once, before any chain goes.
//! `drop` and not `reject`: a rejected packet would end the connection that has to survive.
//!
//! Numbers: `include/uapi/linux/netfilter/nf_tables.h`, `nfnetlink.h`, `include/uapi/linux/
//! netfilter.h` (hooks). Numbers inside of attributes are in network order.

use super::super::netlink::{Attributes, Message, Parsed};
use super::super::{ControlPort, Transport};

pub(super) const TABLE: &str = "snapsafe";

/// The size of `struct nfgenmsg`, which begins with the family.
pub(super) const HEADER_BYTES: usize = 4;

/// Where the chains of a table are: each family has tables of its own, also by the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4 and IPv6, at the hooks of the protocols.
    Inet,
    /// Whatever a link sends and receives.
    Netdev,
}

impl Family {
    /// `struct nfgenmsg`, with `NFPROTO_INET` or `NFPROTO_NETDEV`.
    pub(super) fn header(self) -> [u8; HEADER_BYTES] {
        match self {
            Self::Inet => [1, 0, 0, 0],
            Self::Netdev => [5, 0, 0, 0],
        }
    }
}

/// The links whose frames a chain sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Devices {
    /// Of a chain that is not about links.
    None,
    /// All there are and all that come, by a prefix that every name has (Linux 6.17).
    Every,
    Named(Vec<String>),
}

/// Earlier than connection tracking (-200), raw (-300) and defragmentation (-400).
const PRIORITY: i32 = -450;

/// Attributes whose numbers are the same in tables, chains and rules.
pub(super) const OF_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEVICES: u16 = 4;
const DEVICE_NAME: u16 = 1;
const DEVICE_PREFIX: u16 = 2;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;

/// `NF_DROP` and `NF_ACCEPT`.
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// `NFT_REG_VERDICT` and `NFT_REG_1`.
const VERDICT_REGISTER: u32 = 0;
const REGISTER: u32 = 1;

/// `NFT_META_…`.
mod meta {
    pub(super) const FRAME_PROTOCOL: u32 = 1;
    pub(super) const INPUT_INDEX: u32 = 4;
    pub(super) const OUTPUT_INDEX: u32 = 5;
    pub(super) const NETWORK_PROTOCOL: u32 = 15;
    pub(super) const TRANSPORT_PROTOCOL: u32 = 16;
}

/// `lo` has this number in every network namespace.
const LOOPBACK: u32 = 1;

/// `ETH_P_ARP` and `ETH_P_IPV6`.
const FRAME_OF_ARP: u16 = 0x0806;
const FRAME_OF_IPV6: u16 = 0x86dd;

/// `NFPROTO_IPV6`, `IPPROTO_ICMPV6`, and the types of neighbour solicitation and advertisement.
const IPV6: u8 = 10;
const ICMPV6: u8 = 58;
const NEIGHBOUR_DISCOVERY: [u8; 2] = [135, 136];

/// A chain that drops what it does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Chain {
    pub(super) name: &'static str,
    hook: u32,
    devices: Devices,
    pub(super) rules: Vec<Rule>,
}

/// What a packet has to be, and then is accepted.
pub(super) type Rule = Vec<Step>;

/// An expression of nf_tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Loads a fact about the packet.
    Meta(u32),
    /// Loads bytes of the transport header.
    Header {
        offset: u32,
        length: u32,
    },
    /// Goes on if what was loaded is this.
    Is(Vec<u8>),
    Accept,
    Drop,
    /// Something that no rule of the gate has.
    Foreign,
}

/// The chains that stop packets.
///
/// Output twice: before anybody else sees the packet, for the sender to be told; and after routing,
/// since others may still redirect a packet that was to stay on the loopback device.
pub(super) fn of_packets(ports: &[ControlPort]) -> Vec<Chain> {
    let chain = |name, hook, rules| Chain { name, hook, devices: Devices::None, rules };
    let leaving = || rules(Family::Inet, meta::OUTPUT_INDEX, Direction::Output, ports);
    vec![
        chain("input", 1, rules(Family::Inet, meta::INPUT_INDEX, Direction::Input, ports)),
        chain("forward", 2, vec![vec![Step::Drop]]),
        chain("output", 3, leaving()),
        chain("postrouting", 4, leaving()),
    ]
}

/// The chains that stop frames: before anybody but packet sockets and filters of tc and XDP sees
/// those that come, and after everybody but filters of tc has seen those that leave.
pub(in super::super) fn of_frames(devices: &Devices, ports: &[ControlPort]) -> Vec<Chain> {
    let chain = |name, hook, rules| Chain { name, hook, devices: devices.clone(), rules };
    let rules = |index, direction| rules(Family::Netdev, index, direction, ports);
    vec![
        chain("ingress", 0, rules(meta::INPUT_INDEX, Direction::Input)),
        chain("egress", 1, rules(meta::OUTPUT_INDEX, Direction::Output)),
    ]
}

#[derive(Clone, Copy)]
enum Direction {
    Input,
    Output,
}

fn rules(family: Family, index: u32, direction: Direction, ports: &[ControlPort]) -> Vec<Rule> {
    let mut rules =
        vec![vec![Step::Meta(index), Step::Is(LOOPBACK.to_ne_bytes().to_vec()), Step::Accept]];
    rules.extend(ports.iter().map(|port| control(direction, *port)));
    // Without these nobody finds the control port. (ARP is not seen by chains of packets.)
    if !ports.is_empty() {
        rules.extend(NEIGHBOUR_DISCOVERY.map(|kind| neighbour_discovery(family, kind)));
        if family == Family::Netdev {
            let mut arp = frame_of(FRAME_OF_ARP).to_vec();
            arp.push(Step::Accept);
            rules.push(arp);
        }
    }
    rules.push(vec![Step::Drop]);
    rules
}

fn frame_of(protocol: u16) -> [Step; 2] {
    [Step::Meta(meta::FRAME_PROTOCOL), Step::Is(protocol.to_be_bytes().to_vec())]
}

fn control(direction: Direction, port: ControlPort) -> Rule {
    // Ours is the destination of what comes in, and the source of what goes out.
    let offset = match direction {
        Direction::Input => 2,
        Direction::Output => 0,
    };
    let protocol = match port.transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    };
    vec![
        Step::Meta(meta::TRANSPORT_PROTOCOL),
        Step::Is(vec![protocol]),
        Step::Header { offset, length: 2 },
        Step::Is(port.number.to_be_bytes().to_vec()),
        Step::Accept,
    ]
}

fn neighbour_discovery(family: Family, kind: u8) -> Rule {
    let is_ipv6 = match family {
        Family::Inet => [Step::Meta(meta::NETWORK_PROTOCOL), Step::Is(vec![IPV6])],
        // There the network protocol is that of the hook, whatever the frame carries.
        Family::Netdev => frame_of(FRAME_OF_IPV6),
    };
    let is_of_this_kind = [
        Step::Meta(meta::TRANSPORT_PROTOCOL),
        Step::Is(vec![ICMPV6]),
        Step::Header { offset: 0, length: 1 },
        Step::Is(vec![kind]),
        Step::Accept,
    ];
    is_ipv6.into_iter().chain(is_of_this_kind).collect()
}

impl Devices {
    fn write(&self, to: &mut Attributes<'_>) {
        match self {
            Self::None => {}
            Self::Every => to.nest(HOOK_DEVICES, |list| list.string(DEVICE_PREFIX, "")),
            Self::Named(names) => to.nest(HOOK_DEVICES, |list| {
                names.iter().for_each(|name| list.string(DEVICE_NAME, name));
            }),
        }
    }

    /// Whether none of them is missing from the kernel's description. Links that have gone may still
    /// be listed.
    fn are_in(&self, hook: Parsed<'_>) -> bool {
        let listed = hook.nested(HOOK_DEVICES);
        let has = |kind, name: &str| {
            listed.iter().any(|(k, value)| {
                k == kind && value.strip_suffix(&[0]).unwrap_or(value) == name.as_bytes()
            })
        };
        match self {
            Self::None => true,
            Self::Every => has(DEVICE_PREFIX, ""),
            Self::Named(names) => names.iter().all(|name| has(DEVICE_NAME, name)),
        }
    }
}

impl Chain {
    /// The attributes that make it.
    pub(super) fn write(&self, to: &mut Attributes<'_>) {
        self.write_probe(TABLE, to);
        to.be32(CHAIN_POLICY, DROP);
    }

    /// The same in another table, where it drops nothing.
    pub(super) fn write_probe(&self, table: &str, to: &mut Attributes<'_>) {
        to.string(OF_TABLE, table);
        to.string(CHAIN_NAME, self.name);
        to.nest(CHAIN_HOOK, |hook| {
            hook.be32(HOOK_NUMBER, self.hook);
            hook.be32(HOOK_PRIORITY, PRIORITY as u32);
            self.devices.write(hook);
        });
        to.string(CHAIN_TYPE, "filter");
    }

    pub(super) fn write_name(&self, to: &mut Attributes<'_>) {
        to.string(OF_TABLE, TABLE);
        to.string(CHAIN_NAME, self.name);
    }

    /// Whether the kernel's description is one of this chain.
    pub(super) fn is(&self, description: Parsed<'_>) -> bool {
        let hook = description.nested(CHAIN_HOOK);
        description.string(CHAIN_NAME) == Some(self.name)
            && hook.be32(HOOK_NUMBER) == Some(self.hook)
            && hook.be32(HOOK_PRIORITY) == Some(PRIORITY as u32)
            && self.devices.are_in(hook)
            && description.be32(CHAIN_POLICY) == Some(DROP)
            && description.string(CHAIN_TYPE) == Some("filter")
    }

    pub(super) fn write_rule(&self, rule: &Rule, to: &mut Attributes<'_>) {
        to.string(OF_TABLE, TABLE);
        to.string(RULE_CHAIN, self.name);
        to.nest(RULE_EXPRESSIONS, |list| {
            rule.iter().for_each(|step| list.nest(LIST_ELEMENT, |element| step.write(element)));
        });
    }

    /// Whether this chain's rules among all those of the table are these, and no others.
    pub(super) fn has_its_rules(&self, listed: &[Message]) -> bool {
        let found = listed
            .iter()
            .map(|message| message.attributes(HEADER_BYTES))
            .filter(|rule| rule.string(RULE_CHAIN) == Some(self.name))
            .map(read_rule);
        found.eq(self.rules.iter().cloned())
    }
}

fn read_rule(description: Parsed<'_>) -> Rule {
    let steps = description.nested(RULE_EXPRESSIONS);
    steps.iter().map(|(_, element)| Step::read(Parsed::from(element))).collect()
}

impl Step {
    fn write(&self, to: &mut Attributes<'_>) {
        match self {
            Self::Meta(key) => expression(to, "meta", |data| {
                data.be32(1, REGISTER);
                data.be32(2, *key);
            }),
            Self::Header { offset, length } => expression(to, "payload", |data| {
                data.be32(1, REGISTER);
                data.be32(2, TRANSPORT_HEADER);
                data.be32(3, *offset);
                data.be32(4, *length);
            }),
            Self::Is(value) => expression(to, "cmp", |data| {
                data.be32(1, REGISTER);
                data.be32(2, EQUAL);
                data.nest(3, |inner| inner.bytes(DATA_VALUE, value));
            }),
            Self::Accept => verdict(to, ACCEPT),
            Self::Drop => verdict(to, DROP),
            Self::Foreign => {}
        }
    }

    fn read(element: Parsed<'_>) -> Self {
        let data = element.nested(EXPRESSION_DATA);
        let is = |kind, value| data.be32(kind) == Some(value);
        let read = match element.string(EXPRESSION_NAME) {
            Some("meta") if is(1, REGISTER) => data.be32(2).map(Self::Meta),
            Some("payload") if is(1, REGISTER) && is(2, TRANSPORT_HEADER) => data
                .be32(3)
                .zip(data.be32(4))
                .map(|(offset, length)| Self::Header { offset, length }),
            Some("cmp") if is(1, REGISTER) && is(2, EQUAL) => {
                data.nested(3).get(DATA_VALUE).map(|value| Self::Is(value.to_vec()))
            }
            Some("immediate") if is(1, VERDICT_REGISTER) => {
                match data.nested(2).nested(DATA_VERDICT).be32(VERDICT_CODE) {
                    Some(ACCEPT) => Some(Self::Accept),
                    Some(DROP) => Some(Self::Drop),
                    _ => None,
                }
            }
            _ => None,
        };
        read.unwrap_or(Self::Foreign)
    }
}

/// `NFT_PAYLOAD_TRANSPORT_HEADER`, `NFT_CMP_EQ`, `NFTA_DATA_…`, `NFTA_VERDICT_CODE`.
const TRANSPORT_HEADER: u32 = 2;
const EQUAL: u32 = 0;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;

fn expression(to: &mut Attributes<'_>, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
    to.string(EXPRESSION_NAME, name);
    to.nest(EXPRESSION_DATA, data);
}

fn verdict(to: &mut Attributes<'_>, code: u32) {
    expression(to, "immediate", |data| {
        data.be32(1, VERDICT_REGISTER);
        data.nest(2, |inner| inner.nest(DATA_VERDICT, |verdict| verdict.be32(VERDICT_CODE, code)));
    });
}
