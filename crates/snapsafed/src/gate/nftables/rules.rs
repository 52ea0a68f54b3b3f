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

/// `struct nfgenmsg` of `NFPROTO_INET`.
pub(super) const INET: [u8; 4] = [1, 0, 0, 0];

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
    pub(super) const INPUT_INDEX: u32 = 4;
    pub(super) const OUTPUT_INDEX: u32 = 5;
    pub(super) const NETWORK_PROTOCOL: u32 = 15;
    pub(super) const TRANSPORT_PROTOCOL: u32 = 16;
}

/// `lo` has this number in every network namespace.
const LOOPBACK: u32 = 1;

/// `NFPROTO_IPV6`, `IPPROTO_ICMPV6`, and the types of neighbour solicitation and advertisement.
const IPV6: u8 = 10;
const ICMPV6: u8 = 58;
const NEIGHBOUR_DISCOVERY: [u8; 2] = [135, 136];

/// A chain that drops what it does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    hook: u32,
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

/// All chains of the gate.
///
/// Output twice: before anybody else sees the packet, for the sender to be told; and after routing,
/// since others may still redirect a packet that was to stay on the loopback device.
pub(super) fn chains(ports: &[ControlPort]) -> Vec<Chain> {
    let chain = |name, hook, rules| Chain { name, hook, rules };
    let leaving = || rules(meta::OUTPUT_INDEX, Direction::Output, ports);
    vec![
        chain("input", 1, rules(meta::INPUT_INDEX, Direction::Input, ports)),
        chain("forward", 2, vec![vec![Step::Drop]]),
        chain("output", 3, leaving()),
        chain("postrouting", 4, leaving()),
    ]
}

#[derive(Clone, Copy)]
enum Direction {
    Input,
    Output,
}

fn rules(index: u32, direction: Direction, ports: &[ControlPort]) -> Vec<Rule> {
    let mut rules =
        vec![vec![Step::Meta(index), Step::Is(LOOPBACK.to_ne_bytes().to_vec()), Step::Accept]];
    rules.extend(ports.iter().map(|port| control(direction, *port)));
    // Without it nobody finds the control port over IPv6. (ARP is not seen by these chains.)
    if !ports.is_empty() {
        rules.extend(NEIGHBOUR_DISCOVERY.map(neighbour_discovery));
    }
    rules.push(vec![Step::Drop]);
    rules
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

fn neighbour_discovery(kind: u8) -> Rule {
    vec![
        Step::Meta(meta::NETWORK_PROTOCOL),
        Step::Is(vec![IPV6]),
        Step::Meta(meta::TRANSPORT_PROTOCOL),
        Step::Is(vec![ICMPV6]),
        Step::Header { offset: 0, length: 1 },
        Step::Is(vec![kind]),
        Step::Accept,
    ]
}

impl Chain {
    /// The attributes that make it.
    pub(super) fn write(&self, to: &mut Attributes<'_>) {
        to.string(OF_TABLE, TABLE);
        to.string(CHAIN_NAME, self.name);
        to.nest(CHAIN_HOOK, |hook| {
            hook.be32(HOOK_NUMBER, self.hook);
            hook.be32(HOOK_PRIORITY, PRIORITY as u32);
        });
        to.be32(CHAIN_POLICY, DROP);
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
            .map(|message| message.attributes(INET.len()))
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
