//! The gate of nf_tables: a table whose chains drop everything but loopback and control ports; and what
//! the gate at the links needs of it, a second table that does so with frames.
//!
//! Spoken over netlink, for the cut and the opening are in the path of every snapshot and every
//! clone: starting `nft` takes longer than all of it.
//!
//! **Who can take it away.** Where the kernel lets a table be owned (Linux 5.12) *and* outlive its
//! owner (6.9), nobody else can change or flush it while this process lives; after its death the
//! table stays, without an owner, and the next process makes it its own. Elsewhere the table is an
//! ordinary one: changes are noticed (`watch`) and repaired. Owned without being persistent is
//! never used: the kernel would open the gate when the daemon dies.
//!
//! **How it changes.** In one transaction always: the old tables go and the new ones come, with
//! the new chains' hooks in place before the old ones leave. There is no moment without a drop rule.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use super::netlink::{ACK, APPEND, Attributes, CREATE, DUMP, EXCLUSIVE, Message, Messages, Socket};
use super::queues::Queues;
use super::{ControlPort, Gate, Result, weaknesses};

mod rules;

pub(super) use rules::{Chain, Devices, of_frames};
use rules::{Family, HEADER_BYTES, OF_TABLE, TABLE};

/// `NFNL_SUBSYS_NFTABLES`, in the high byte of a message's type.
const SUBSYSTEM: u16 = 10;
/// `NFNLGRP_NFTABLES`, as a mask.
const CHANGES: u32 = 1 << (7 - 1);

const NEW_TABLE: u16 = SUBSYSTEM << 8;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const GET_RULE: u16 = SUBSYSTEM << 8 | 7;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const TABLE_FLAGS: u16 = 2;
const TABLE_OWNER: u16 = 7;

/// `NFT_TABLE_F_…`.
const DORMANT: u32 = 1;
const OWNED: u32 = 2;
const PERSISTENT: u32 = 4;

/// How often a change is tried again when somebody else made or removed the table meanwhile.
const TRIES: usize = 8;

/// The gate.
pub(super) struct NfTables {
    tables: [Table; 2],
    kernel: Socket,
    watcher: Socket,
    queues: Queues,
    /// The flags of a new table: `OWNED | PERSISTENT`, or none.
    flags: u32,
}

/// A table as it is meant.
struct Table {
    family: Family,
    /// None: there is to be no such table. One may be left, by a daemon that was told otherwise.
    chains: Vec<Chain>,
}

/// A table as the kernel has it.
struct Found {
    flags: u32,
    owner: Option<u32>,
    /// Every chain and rule is there, and nothing else in those chains.
    is_complete: bool,
}

impl Found {
    fn is_in_force(&self) -> bool {
        self.is_complete && self.flags & DORMANT == 0
    }
}

type Both = [Option<Found>; 2];

impl NfTables {
    /// Changes nothing: a gate that was shut stays shut.
    pub(super) fn open(ports: &[ControlPort], owned: bool) -> Result<Self> {
        let socket = |groups| {
            Socket::open(Some(NETFILTER), groups)
                .map_err(|error| format!("cannot talk with nf_tables: {error}"))
        };
        let (mut kernel, watcher) = (socket(0)?, socket(CHANGES)?);
        let flags = if owned && accepts(&mut kernel, Family::Inet, OWNED | PERSISTENT, &[]).is_ok()
        {
            OWNED | PERSISTENT
        } else {
            accepts(&mut kernel, Family::Inet, 0, &[])
                .map_err(|errno| explain("use nf_tables", errno))?;
            0
        };
        let queues = Queues::open()?;
        let tables = [
            Table { family: Family::Inet, chains: rules::of_packets(ports) },
            Table { family: Family::Netdev, chains: Vec::new() },
        ];
        Ok(Self { tables, kernel, watcher, queues, flags })
    }

    /// Whether the kernel would stop frames by these chains.
    pub(super) fn could_have(&mut self, chains: &[Chain]) -> std::result::Result<(), Errno> {
        accepts(&mut self.kernel, Family::Netdev, self.flags, chains)
    }

    /// From the next shutting on the gate stops frames by these chains, too.
    pub(super) fn cover(&mut self, chains: Vec<Chain>) {
        self.tables[1].chains = chains;
    }

    fn find_both(&mut self) -> std::result::Result<Both, Errno> {
        Ok([self.find(0)?, self.find(1)?])
    }

    fn exists(&mut self, which: usize) -> std::result::Result<bool, Errno> {
        Ok(self.describe(which)?.is_some())
    }

    /// What the kernel says of the table, if there is one.
    fn describe(&mut self, which: usize) -> std::result::Result<Option<Message>, Errno> {
        let header = self.tables[which].family.header();
        match self.kernel.ask(GET_TABLE, 0, &header, |to| to.string(OF_TABLE, TABLE)) {
            // The latter: there are no tables of this family at all.
            Err(Errno::NOENT | Errno::AFNOSUPPORT) => Ok(None),
            answer => answer?.into_iter().next().map(Some).ok_or(Errno::IO),
        }
    }

    fn find(&mut self, which: usize) -> std::result::Result<Option<Found>, Errno> {
        let Some(description) = self.describe(which)? else { return Ok(None) };
        let table = description.attributes(HEADER_BYTES);
        let header = self.tables[which].family.header();
        let (flags, owner) = (table.be32(TABLE_FLAGS).unwrap_or(0), table.be32(TABLE_OWNER));
        let is_complete = self.has_all_chains(which)? && {
            let name = |to: &mut Attributes<'_>| to.string(OF_TABLE, TABLE);
            let listed = self.kernel.ask(GET_RULE, DUMP, &header, name)?;
            self.tables[which].chains.iter().all(|chain| chain.has_its_rules(&listed))
        };
        Ok(Some(Found { flags, owner, is_complete }))
    }

    fn has_all_chains(&mut self, which: usize) -> std::result::Result<bool, Errno> {
        let Table { family, chains } = &self.tables[which];
        for chain in chains {
            match self.kernel.ask(GET_CHAIN, 0, &family.header(), |to| chain.write_name(to)) {
                Err(Errno::NOENT) => return Ok(false),
                answer => {
                    let described = answer?;
                    let first = described.first().map(|message| message.attributes(HEADER_BYTES));
                    if !first.is_some_and(|description| chain.is(description)) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Puts whole tables in place of those that are there.
    fn replace(&mut self, found: &Both) -> std::result::Result<(), Errno> {
        let mut batch = begin();
        for (table, found) in self.tables.iter().zip(found) {
            if found.is_some() {
                push_deletion(&mut batch, table.family);
            }
            if !table.chains.is_empty() {
                push_table(&mut batch, table.family, TABLE, self.flags);
                push_chains(&mut batch, table.family, &table.chains);
            }
        }
        self.kernel.commit(end(batch))
    }

    /// Whatever is there of the gate, at once.
    fn remove(&mut self) -> std::result::Result<(), Errno> {
        let mut batch = begin();
        let mut is_open = true;
        for which in 0..self.tables.len() {
            if self.exists(which)? {
                push_deletion(&mut batch, self.tables[which].family);
                is_open = false;
            }
        }
        if is_open { Ok(()) } else { self.kernel.commit(end(batch)) }
    }

    /// One try. `true`: the kernel lists what was meant.
    pub(super) fn try_to_shut(&mut self) -> std::result::Result<bool, Errno> {
        let found = self.find_both()?;
        if self.are_ours(&found) {
            return Ok(true);
        }
        self.replace(&found)?;
        // Read back, by the next round: only what the kernel lists is believed.
        self.queues.gate_changed();
        Ok(false)
    }

    /// Whether the tables are as this process would make them.
    fn are_ours(&self, found: &Both) -> bool {
        self.tables.iter().zip(found).all(|(table, found)| match found {
            None => table.chains.is_empty(),
            Some(found) => {
                !table.chains.is_empty()
                    && found.is_in_force()
                    && found.flags == self.flags
                    && (self.flags & OWNED == 0 || found.owner == Some(self.kernel.port()))
            }
        })
    }

    /// Whether a notification is about the gate's table, and not about what this process did.
    fn concerns(&self, message: &Message) -> bool {
        message.kind >> 8 == SUBSYSTEM
            && message.port != self.kernel.port()
            && message.fixed::<HEADER_BYTES>().is_some_and(|header| {
                self.tables.iter().any(|table| table.family.header()[0] == header[0])
            })
            && message.attributes(HEADER_BYTES).string(OF_TABLE) == Some(TABLE)
    }
}

impl Gate for NfTables {
    fn kind(&self) -> &'static str {
        "nftables"
    }

    fn shut(&mut self) -> Result<()> {
        insist(|| self.try_to_shut())
    }

    fn is_drained(&mut self) -> Result<bool> {
        self.queues.are_empty()
    }

    fn open(&mut self) -> Result<()> {
        for _ in 0..TRIES {
            match self.remove() {
                Ok(()) => return Ok(()),
                // Somebody else made or removed one of them meanwhile.
                Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(explain("open the gate", errno)),
            }
        }
        Err(explain("open the gate", Errno::AGAIN))
    }

    fn holds(&mut self) -> Result<bool> {
        let found = self.find_both().map_err(|errno| explain("read the rules", errno))?;
        Ok(self.tables.iter().zip(&found).all(|(table, found)| {
            table.chains.is_empty() || found.as_ref().is_some_and(Found::is_in_force)
        }))
    }

    fn is_there(&mut self) -> Result<bool> {
        let explain = |errno| explain("read the rules", errno);
        Ok(self.exists(0).map_err(explain)? || self.exists(1).map_err(explain)?)
    }

    fn watch(&self) -> Option<BorrowedFd<'_>> {
        Some(self.watcher.as_fd())
    }

    fn changed(&mut self) -> bool {
        let mut has_changed = false;
        loop {
            match self.watcher.receive() {
                Ok(Some(messages)) => {
                    has_changed |= messages.iter().any(|message| self.concerns(message));
                }
                Ok(None) => return has_changed,
                // Notifications were lost: anything may have happened.
                Err(Errno::NOBUFS) => has_changed = true,
                Err(_) => return true,
            }
        }
    }

    fn is_owned(&self) -> bool {
        self.flags & OWNED != 0
    }

    fn weaknesses(&mut self) -> Vec<String> {
        weaknesses::of_packets(self.is_owned())
    }
}

/// Tries until it has come true.
pub(super) fn insist(mut attempt: impl FnMut() -> std::result::Result<bool, Errno>) -> Result<()> {
    let mut outcome = Ok(false);
    for _ in 0..TRIES {
        outcome = attempt();
        match outcome {
            Ok(true) => return Ok(()),
            Ok(false) | Err(Errno::NOENT | Errno::EXIST | Errno::INTR | Errno::AGAIN) => {}
            Err(_) => break,
        }
    }
    match outcome {
        Err(errno) => Err(explain("shut the gate", errno)),
        Ok(_) => Err("somebody undoes the gate as often as it is shut".into()),
    }
}

/// Whether the kernel would make a table with these flags and chains. A transaction without an end is
/// checked and undone.
fn accepts(
    kernel: &mut Socket,
    family: Family,
    flags: u32,
    chains: &[Chain],
) -> std::result::Result<(), Errno> {
    const PROBE: &str = "snapsafe-probe";
    let mut batch = begin();
    push_table(&mut batch, family, PROBE, flags);
    // Without their rules and policy: it passes everything while it is being checked.
    for chain in chains {
        let flags = ACK | CREATE;
        batch.push(NEW_CHAIN, flags, &family.header(), |to| chain.write_probe(PROBE, to));
    }
    kernel.commit(batch)
}

fn push_table(batch: &mut Messages, family: Family, name: &str, flags: u32) {
    batch.push(NEW_TABLE, ACK | CREATE | EXCLUSIVE, &family.header(), |to| {
        to.string(OF_TABLE, name);
        to.be32(TABLE_FLAGS, flags);
    });
}

fn push_chains(batch: &mut Messages, family: Family, chains: &[Chain]) {
    let header = family.header();
    for chain in chains {
        batch.push(NEW_CHAIN, ACK | CREATE, &header, |to| chain.write(to));
    }
    for chain in chains {
        for rule in &chain.rules {
            let flags = ACK | CREATE | APPEND;
            batch.push(NEW_RULE, flags, &header, |to| chain.write_rule(rule, to));
        }
    }
}

fn push_deletion(batch: &mut Messages, family: Family) {
    batch.push(DELETE_TABLE, ACK, &family.header(), |to| to.string(OF_TABLE, TABLE));
}

fn begin() -> Messages {
    let mut batch = Messages::default();
    batch.push(BATCH_BEGIN, 0, &batch_header(), |_| {});
    batch
}

fn end(mut batch: Messages) -> Messages {
    batch.push(BATCH_END, 0, &batch_header(), |_| {});
    batch
}

/// `struct nfgenmsg`: `res_id` is the subsystem, in network order.
fn batch_header() -> [u8; 4] {
    [0, 0, 0, SUBSYSTEM as u8]
}

pub(super) fn explain(what: &str, errno: Errno) -> String {
    let hint = match errno {
        Errno::PERM => ": it takes CAP_NET_ADMIN, and no other process may own the table snapsafe",
        Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => {
            ": the kernel needs nf_tables with its inet family (CONFIG_NF_TABLES_INET)"
        }
        Errno::FBIG => ": before Linux 6.17 a gate of kind \"link\" can have 256 links at most",
        _ => "",
    };
    format!("cannot {what} ({}){hint}", io::Error::from(errno))
}
