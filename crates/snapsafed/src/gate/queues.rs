//! Whether packets that were on their way when the gate shut have left.
//!
//! The gate stops packets at its hooks. One that had passed them may still be
//!
//! - between the hook and a queue, on another CPU: ended by waiting until every CPU is past what it
//!   was doing (an RCU grace period: `membarrier`, 14–20 ms where it was measured);
//! - in a queueing discipline: read over rtnetlink until all are empty;
//! - waiting for a neighbour's hardware address: such entries are deleted, and their packets with
//!   them. Left alone they wait for seconds, and leave as soon as the neighbour answers, a clone too;
//! - in a driver's ring: seen only where the driver counts bytes in flight (BQL).
//!
//! **What cannot be known**: rings of drivers without BQL; what a device has taken and not put on the
//! wire (the host's side of a virtio device, a hardware queue); packets that a program holds (a VPN's
//! tun device, NFQUEUE), which pass the gate again or its last hook when they come back; on kernels
//! that preempt, a sender interrupted within the few instructions after the last hook.

use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::thread::{MembarrierCommand, membarrier};

use super::Result;
use super::netlink::{ACK, DUMP, Message, Messages, Socket};

/// `RTM_…`, `include/uapi/linux/rtnetlink.h`.
const GET_QDISC: u16 = 38;
const GET_NEIGHBOURS: u16 = 30;
const DELETE_NEIGHBOUR: u16 = 29;

/// `struct tcmsg`; `TCA_STATS2`, and in it `TCA_STATS_QUEUE` (`struct gnet_stats_queue`: packets,
/// bytes, …).
const TCMSG_BYTES: usize = 20;
const STATISTICS: u16 = 7;
const QUEUE: u16 = 3;

/// `struct ndmsg`: family, padding, interface, u16 state, …; `NDA_DST`; `NUD_INCOMPLETE`.
const NDMSG_BYTES: usize = 12;
const NEIGHBOUR_ADDRESS: u16 = 1;
const INCOMPLETE: u16 = 1;

const LINKS: &str = "/sys/class/net";

pub(super) struct Queues {
    kernel: Socket,
    /// Whether every CPU is past the rules that were before.
    is_settled: bool,
}

impl Queues {
    pub(super) fn open() -> Result<Self> {
        let kernel = Socket::open(None, 0)
            .map_err(|error| format!("cannot talk with rtnetlink: {error}"))?;
        Ok(Self { kernel, is_settled: false })
    }

    /// Packets may have passed the hooks until now.
    pub(super) fn gate_changed(&mut self) {
        self.is_settled = false;
    }

    pub(super) fn are_empty(&mut self) -> Result<bool> {
        if !self.is_settled {
            // Refused where CPUs run without a tick (nohz_full), and by old kernels: then that part is
            // left to the time that passes until the snapshot.
            let _ = membarrier(MembarrierCommand::Global);
            self.is_settled = true;
        }
        self.forget_unresolved().map_err(|errno| explain("list neighbours", errno))?;
        let queued = self.queued().map_err(|errno| explain("list queues", errno))?;
        Ok(!queued && bytes_in_flight(Path::new(LINKS)) == 0)
    }

    /// Whether a queueing discipline holds packets.
    fn queued(&mut self) -> std::result::Result<bool, Errno> {
        let listed = self.kernel.ask(GET_QDISC, DUMP, &[0; TCMSG_BYTES], |_| {})?;
        Ok(listed.iter().any(|qdisc| {
            let queue = qdisc.attributes(TCMSG_BYTES).nested(STATISTICS).get(QUEUE);
            queue.and_then(|queue| queue.first_chunk::<8>()).is_some_and(|counts| *counts != [0; 8])
        }))
    }

    /// Deletes neighbours whose address is being asked for, and what waits for the answer.
    fn forget_unresolved(&mut self) -> std::result::Result<(), Errno> {
        let listed = self.kernel.ask(GET_NEIGHBOURS, DUMP, &[0; NDMSG_BYTES], |_| {})?;
        for neighbour in listed.iter().filter(|neighbour| is_incomplete(neighbour)) {
            let header = neighbour.fixed::<NDMSG_BYTES>().unwrap_or_default();
            let Some(address) = neighbour.attributes(NDMSG_BYTES).get(NEIGHBOUR_ADDRESS) else {
                continue;
            };
            let mut deletion = Messages::default();
            deletion
                .push(DELETE_NEIGHBOUR, ACK, &header, |to| to.bytes(NEIGHBOUR_ADDRESS, address));
            match self.kernel.commit(deletion) {
                // It was resolved, or given up, meanwhile.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

fn is_incomplete(neighbour: &Message) -> bool {
    let header = neighbour.fixed::<NDMSG_BYTES>().unwrap_or_default();
    u16::from_ne_bytes([header[8], header[9]]) == INCOMPLETE
}

/// What drivers have been given and have not reported as sent, of those that count.
fn bytes_in_flight(links: &Path) -> u64 {
    let read = |queue: &Path| {
        let text = fs::read_to_string(queue.join("byte_queue_limits/inflight")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    children(links)
        .flat_map(|link| children(&link.join("queues")).collect::<Vec<_>>())
        .filter_map(|queue| read(&queue))
        .sum()
}

/// What is in a directory; nothing if it cannot be read.
pub(super) fn children(directory: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn explain(what: &str, errno: Errno) -> String {
    format!("cannot {what}: {}", io::Error::from(errno))
}
