//! The gate of nf_tables: a table whose chains drop everything but loopback and control ports.
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
//! **How it changes.** In one transaction always: the old table goes and the new one comes, with
//! the new chains' hooks in place before the old ones leave. There is no moment without a drop rule.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use super::netlink::{ACK, APPEND, CREATE, DUMP, EXCLUSIVE, Message, Messages, Socket};
use super::queues::Queues;
use super::{ControlPort, Gate, Result, weaknesses};

mod rules;

use rules::{Chain, INET, OF_TABLE, TABLE};

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
    chains: Vec<Chain>,
    kernel: Socket,
    watcher: Socket,
    queues: Queues,
    /// The flags of a new table: `OWNED | PERSISTENT`, or none.
    flags: u32,
}

/// The table, as the kernel has it.
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

impl NfTables {
    /// Changes nothing: a gate that was shut stays shut.
    pub(super) fn open(ports: &[ControlPort], owned: bool) -> Result<Self> {
        let socket = |groups| {
            Socket::open(Some(NETFILTER), groups)
                .map_err(|error| format!("cannot talk with nf_tables: {error}"))
        };
        let (mut kernel, watcher) = (socket(0)?, socket(CHANGES)?);
        let flags = if owned && accepts(&mut kernel, OWNED | PERSISTENT).is_ok() {
            OWNED | PERSISTENT
        } else {
            accepts(&mut kernel, 0).map_err(|errno| explain("use nf_tables", errno))?;
            0
        };
        let queues = Queues::open()?;
        Ok(Self { chains: rules::chains(ports), kernel, watcher, queues, flags })
    }

    /// The table, if there is one.
    fn find(&mut self) -> std::result::Result<Option<Found>, Errno> {
        let name = |to: &mut super::netlink::Attributes<'_>| to.string(OF_TABLE, TABLE);
        let answer = match self.kernel.ask(GET_TABLE, 0, &INET, name) {
            Err(Errno::NOENT) => return Ok(None),
            answer => answer?,
        };
        let Some(table) = answer.first().map(|message| message.attributes(INET.len())) else {
            return Err(Errno::IO);
        };
        let (flags, owner) = (table.be32(TABLE_FLAGS).unwrap_or(0), table.be32(TABLE_OWNER));
        let is_complete = self.has_all_chains()? && {
            let listed = self.kernel.ask(GET_RULE, DUMP, &INET, name)?;
            self.chains.iter().all(|chain| chain.has_its_rules(&listed))
        };
        Ok(Some(Found { flags, owner, is_complete }))
    }

    fn has_all_chains(&mut self) -> std::result::Result<bool, Errno> {
        for chain in &self.chains {
            match self.kernel.ask(GET_CHAIN, 0, &INET, |to| chain.write_name(to)) {
                Err(Errno::NOENT) => return Ok(false),
                answer => {
                    let described = answer?;
                    let first = described.first().map(|message| message.attributes(INET.len()));
                    if !first.is_some_and(|description| chain.is(description)) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Puts the whole table in place of the one that is there.
    fn replace(&mut self, is_there: bool) -> std::result::Result<(), Errno> {
        let mut batch = begin();
        if is_there {
            batch.push(DELETE_TABLE, ACK, &INET, |to| to.string(OF_TABLE, TABLE));
        }
        push_table(&mut batch, TABLE, self.flags);
        for chain in &self.chains {
            batch.push(NEW_CHAIN, ACK | CREATE, &INET, |to| chain.write(to));
        }
        for chain in &self.chains {
            for rule in &chain.rules {
                let flags = ACK | CREATE | APPEND;
                batch.push(NEW_RULE, flags, &INET, |to| chain.write_rule(rule, to));
            }
        }
        self.kernel.commit(end(batch))
    }

    fn remove(&mut self) -> std::result::Result<(), Errno> {
        let mut batch = begin();
        batch.push(DELETE_TABLE, ACK, &INET, |to| to.string(OF_TABLE, TABLE));
        self.kernel.commit(end(batch))
    }

    /// Whether a table is as this process would make it.
    fn is_ours(&self, found: &Found) -> bool {
        found.is_in_force()
            && found.flags == self.flags
            && (self.flags & OWNED == 0 || found.owner == Some(self.kernel.port()))
    }

    /// Whether a notification is about the gate's table, and not about what this process did.
    fn concerns(&self, message: &Message) -> bool {
        message.kind >> 8 == SUBSYSTEM
            && message.port != self.kernel.port()
            && message.fixed::<4>().is_some_and(|header| header[0] == INET[0])
            && message.attributes(INET.len()).string(OF_TABLE) == Some(TABLE)
    }
}

impl Gate for NfTables {
    fn kind(&self) -> &'static str {
        "nftables"
    }

    fn shut(&mut self) -> Result<()> {
        let mut outcome = Err(Errno::BUSY);
        for _ in 0..TRIES {
            let found = self.find().map_err(|errno| explain("read the rules", errno))?;
            if found.as_ref().is_some_and(|found| self.is_ours(found)) {
                return Ok(());
            }
            outcome = self.replace(found.is_some());
            match outcome {
                // Read back, by the next round: only what the kernel lists is believed.
                Ok(()) => self.queues.gate_changed(),
                Err(Errno::NOENT | Errno::EXIST | Errno::INTR | Errno::AGAIN) => {}
                Err(_) => break,
            }
        }
        match outcome {
            Err(errno) => Err(explain("shut the gate", errno)),
            Ok(()) => Err("somebody undoes the gate as often as it is shut".into()),
        }
    }

    fn is_drained(&mut self) -> Result<bool> {
        self.queues.are_empty()
    }

    fn open(&mut self) -> Result<()> {
        for _ in 0..TRIES {
            match self.remove() {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(explain("open the gate", errno)),
            }
        }
        Err(explain("open the gate", Errno::AGAIN))
    }

    fn holds(&mut self) -> Result<bool> {
        let found = self.find().map_err(|errno| explain("read the rules", errno))?;
        Ok(found.is_some_and(|found| found.is_in_force()))
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
        let mut found = weaknesses::of_this_machine();
        if !self.is_owned() {
            found.push(
                "the rules are not owned by the daemon (Linux 6.9 offers it): whoever may change \
                 rules can remove them, which is noticed and repaired, but not prevented"
                    .into(),
            );
        }
        found
    }
}

/// Whether the kernel would make a table with these flags. A transaction without an end is checked
/// and undone.
fn accepts(kernel: &mut Socket, flags: u32) -> std::result::Result<(), Errno> {
    let mut batch = begin();
    push_table(&mut batch, "snapsafe-probe", flags);
    kernel.commit(batch)
}

fn push_table(batch: &mut Messages, name: &str, flags: u32) {
    batch.push(NEW_TABLE, ACK | CREATE | EXCLUSIVE, &INET, |to| {
        to.string(OF_TABLE, name);
        to.be32(TABLE_FLAGS, flags);
    });
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

fn explain(what: &str, errno: Errno) -> String {
    let hint = match errno {
        Errno::PERM => {
            ": it takes CAP_NET_ADMIN, and no other process may own the table inet snapsafe"
        }
        Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => {
            ": the kernel needs nf_tables with its inet family (CONFIG_NF_TABLES_INET)"
        }
        _ => "",
    };
    format!("cannot {what} ({}){hint}", io::Error::from(errno))
}
