//! The gate at the links: the gate of nf_tables, and chains that drop the frames of every link, too.
//!
//! IP's hooks do not see ARP, packet sockets, what a bridge forwards, and what a macvlan of another
//! namespace sends through a device of this one. All of that goes through the devices, and these have
//! hooks of their own (nf_tables' `netdev` family: ingress, and egress since Linux 5.16, packet sockets
//! that bypass the queues included). The chains of IP stay: senders are told `EPERM` by them, and a
//! link that nobody has seen yet sends no IP packet. Both tables change in one transaction, are owned
//! alike, outlive the daemon alike, and are in the snapshot alike.
//!
//! **Why links are not taken down.** It would stop still more (see below), but what goes with a link
//! does not come back with it: routes, addresses of IPv6, leases that network managers give up, ports of
//! a bridge. `resumed` promises that connections go on. Nobody can own a link that is down: network
//! managers set it up again. And a control port could not be reached.
//!
//! **Links that come later.** From Linux 6.17 on one chain has every link, those to come from the moment
//! they exist. Before, links are listed by name; one that appears is noticed, and added as soon as the
//! daemon runs. Its frames of other kinds than IP may leave before, which `weaknesses` says.
//!
//! **What it cannot stop**: frames that do not pass the hook. Those of AF_XDP sockets, of XDP programs,
//! of netconsole; those that a filter of tc redirects from the entry of a link, which the kernel lets
//! skip the hook; those that hardware forwards or makes by itself; and whatever has a device of its own
//! in another namespace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;

use super::devices;
use super::netlink::Socket;
use super::nftables::{Devices, NfTables, explain, insist, of_frames};
use super::{ControlPort, Gate, Result, weaknesses};

/// `RTMGRP_LINK`, a mask.
const LINKS: u32 = 1;

/// `lo` has this number in every network namespace.
const LOOPBACK: i32 = 1;

/// What a kernel needs that cannot do it.
const NEEDS: &str = "a gate of kind \"link\" takes Linux 5.16 with CONFIG_NETFILTER_EGRESS and \
                     CONFIG_NF_TABLES_NETDEV. Kind \"nftables\" does without, and stops IP only";

/// The gate.
pub(super) struct Link {
    tables: NfTables,
    /// `None`: the kernel itself takes every link.
    named: Option<Named>,
    has_control_ports: bool,
}

impl Link {
    /// Changes nothing: a gate that was shut stays shut.
    pub(super) fn open(ports: &[ControlPort], owned: bool, future_links: bool) -> Result<Self> {
        let mut tables = NfTables::open(ports, owned)?;
        let every = of_frames(&Devices::Every, ports);
        let named = if future_links && tables.could_have(&every).is_ok() {
            tables.cover(every);
            None
        } else {
            let some = of_frames(&Devices::Named(vec!["lo".into()]), ports);
            tables.could_have(&some).map_err(refusal)?;
            Some(Named::open(ports, &tables)?)
        };
        Ok(Self { tables, named, has_control_ports: !ports.is_empty() })
    }
}

/// What to do, in words.
fn refusal(errno: Errno) -> String {
    match errno {
        Errno::PERM => explain("use nf_tables", errno),
        _ => format!("cannot stop frames of links ({}): {NEEDS}", io::Error::from(errno)),
    }
}

/// Links that are listed one by one.
struct Named {
    ports: Vec<ControlPort>,
    kernel: Socket,
    watcher: Socket,
    /// Readable when rules or links may have changed.
    changes: OwnedFd,
}

impl Named {
    fn open(ports: &[ControlPort], tables: &NfTables) -> Result<Self> {
        let describe = |error: io::Error| format!("cannot watch the links: {error}");
        let kernel = Socket::open(None, 0).map_err(describe)?;
        let watcher = Socket::open(None, LINKS).map_err(describe)?;
        let changes = both(tables.watch(), watcher.as_fd()).map_err(|e| describe(e.into()))?;
        Ok(Self { ports: ports.to_vec(), kernel, watcher, changes })
    }

    /// The tables are to have the links that are there now.
    fn update(&mut self, tables: &mut NfTables) -> std::result::Result<(), Errno> {
        let listed = devices::list(&mut self.kernel)?;
        let names: Vec<String> = listed
            .iter()
            .filter(|link| link.index() != Some(LOOPBACK))
            .filter_map(|link| link.name())
            .map(str::to_owned)
            .collect();
        // Before Linux 6.4 there is no chain without a link.
        let chains = match names[..] {
            [] => Vec::new(),
            _ => of_frames(&Devices::Named(names), &self.ports),
        };
        tables.cover(chains);
        Ok(())
    }

    /// Whether links may have come or gone.
    fn changed(&mut self) -> bool {
        let mut has_changed = false;
        loop {
            match self.watcher.receive() {
                Ok(Some(_)) | Err(Errno::NOBUFS) => has_changed = true,
                Ok(None) => return has_changed,
                Err(_) => return true,
            }
        }
    }
}

/// A descriptor that is readable when one of these is.
fn both(rules: Option<BorrowedFd<'_>>, links: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let changes = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for fd in rules.into_iter().chain([links]) {
        epoll::add(&changes, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    }
    Ok(changes)
}

impl Gate for Link {
    fn kind(&self) -> &'static str {
        "link"
    }

    fn shut(&mut self) -> Result<()> {
        let Self { tables, named, .. } = self;
        insist(|| {
            // Each time anew: a link may go before the transaction comes.
            if let Some(named) = named {
                named.update(tables)?;
            }
            tables.try_to_shut()
        })
    }

    fn is_drained(&mut self) -> Result<bool> {
        self.tables.is_drained()
    }

    fn pause(&self) -> Duration {
        self.tables.pause()
    }

    fn open(&mut self) -> Result<()> {
        self.tables.open()
    }

    fn holds(&mut self) -> Result<bool> {
        if let Some(named) = &mut self.named {
            named.update(&mut self.tables).map_err(|errno| explain("list the links", errno))?;
        }
        self.tables.holds()
    }

    fn is_there(&mut self) -> Result<bool> {
        self.tables.is_there()
    }

    fn watch(&self) -> Option<BorrowedFd<'_>> {
        match &self.named {
            Some(named) => Some(named.changes.as_fd()),
            None => self.tables.watch(),
        }
    }

    fn changed(&mut self) -> bool {
        let have_links = self.named.as_mut().is_some_and(Named::changed);
        self.tables.changed() || have_links
    }

    fn is_owned(&self) -> bool {
        self.tables.is_owned()
    }

    fn weaknesses(&mut self) -> Vec<String> {
        let mut found = weaknesses::of_frames(self.is_owned());
        if self.has_control_ports {
            found.push(
                "ARP and neighbour discovery of IPv6 pass, for the control ports to be found"
                    .into(),
            );
        }
        if self.named.is_some() {
            found.push(
                "a link that appears while the gate is shut may send frames, though no IP packet, \
                 until the daemon has added it (Linux 6.17 has every link at once)"
                    .into(),
            );
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_cannot_do_it_is_refused_with_what_it_needs_and_what_does_without() {
        let why = refusal(Errno::OPNOTSUPP);
        for word in ["Linux 5.16", "CONFIG_NETFILTER_EGRESS", "Kind \"nftables\" does without"] {
            assert!(why.contains(word), "{word}: {why}");
        }
        assert!(refusal(Errno::PERM).contains("CAP_NET_ADMIN"));
    }
}
