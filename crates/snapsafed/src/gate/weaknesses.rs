//! What gets past a gate of nf_tables on this machine, in words for an administrator.
//!
//! Looked for anew each time; what could not be looked at is said, too.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::net::netlink::NETFILTER;

use super::devices::{self, Device};
use super::netlink::{DUMP, Socket};
use super::queues::children;

/// `IFLA_LINKINFO` / `IFLA_INFO_KIND`, `IFLA_XDP` / `IFLA_XDP_ATTACHED`
/// (`include/uapi/linux/if_link.h`).
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const LINK_XDP: u16 = 43;
const XDP_ATTACHED: u16 = 2;

/// `RTM_GETQDISC`, `struct tcmsg`, `TCA_KIND`.
const GET_QDISC: u16 = 38;
const TCMSG_BYTES: usize = 20;
const QDISC_KIND: u16 = 1;

/// nf_tables' `NFT_MSG_GETFLOWTABLE`; `NFTA_FLOWTABLE_NAME` and `…_FLAGS`; `NFT_FLOWTABLE_HW_OFFLOAD`.
const GET_FLOWTABLE: u16 = 10 << 8 | 23;
const NFGENMSG: [u8; 4] = [0; 4];
const FLOWTABLE_NAME: u16 = 2;
const FLOWTABLE_FLAGS: u16 = 7;
const FLOWTABLE_OF_HARDWARE: u32 = 1;

/// What gets past chains that stop packets.
pub(super) fn of_packets(is_owned: bool) -> Vec<String> {
    let mut found = vec![
        "ARP passes: it is answered and asked while the gate is shut (no IP packet does)"
            .to_owned(),
    ];
    found.extend(other_namespaces(
        "what leaves them through this one is cut; what leaves through a device of their own (a \
         physical one, macvlan) is not",
    ));
    found.extend(links(Reach::Packets));
    found.extend(flowtables(Reach::Packets));
    found.extend(packet_sockets());
    found.extend(changeable(is_owned));
    found
}

/// What gets past chains that stop frames.
pub(super) fn of_frames(is_owned: bool) -> Vec<String> {
    let mut found = vec![
        "what does not pass the links' hooks is not stopped: AF_XDP sockets, netconsole, frames that \
         programs of tc redirect from the entry of a link, and what hardware sends by itself"
            .to_owned(),
    ];
    found.extend(other_namespaces(
        "what leaves them through a link of this one is cut, macvlan included; what leaves through a \
         device of their own (a physical one) is not",
    ));
    found.extend(links(Reach::Frames));
    found.extend(entries());
    found.extend(flowtables(Reach::Frames));
    found.extend(changeable(is_owned));
    found
}

/// What is stopped, of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Packets,
    Frames,
}

fn changeable(is_owned: bool) -> Option<String> {
    (!is_owned).then(|| {
        "the rules are not owned by the daemon (Linux 6.9 offers it): whoever may change rules can \
         remove them, which is noticed and repaired, but not prevented"
            .into()
    })
}

/// Network namespaces besides this process's: of processes, and named ones without any.
fn other_namespaces(meaning: &str) -> Vec<String> {
    let own = fs::metadata("/proc/thread-self/ns/net").map(|meta| (meta.dev(), meta.ino())).ok();
    let (mut others, mut unknown) = (BTreeSet::new(), 0);
    let processes = children(Path::new("/proc")).filter(|path| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    });
    let of_processes = processes.map(|process| process.join("ns/net"));
    for path in of_processes.chain(children(Path::new("/run/netns"))) {
        match fs::metadata(&path) {
            Ok(meta) => _ = others.insert((meta.dev(), meta.ino())),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => unknown += 1,
            // It ended meanwhile.
            Err(_) => {}
        }
    }
    others.retain(|namespace| Some(*namespace) != own);
    let mut words = Vec::new();
    if !others.is_empty() {
        words.push(format!("{} other network namespace(s): {meaning}", others.len()));
    }
    if unknown > 0 {
        words.push(format!(
            "the network namespaces of {unknown} process(es) could not be looked at \
             (CAP_SYS_PTRACE)"
        ));
    }
    words
}

/// All links of this namespace.
fn list_links() -> Option<Vec<Device>> {
    devices::list(&mut Socket::open(None, 0).ok()?).ok()
}

fn links(reach: Reach) -> Vec<String> {
    let Some(listed) = list_links() else {
        return vec!["the links of this machine could not be listed".into()];
    };
    let mut words = Vec::new();
    for link in &listed {
        let (attributes, name) = (link.attributes(), link.name().unwrap_or("?"));
        match attributes.nested(LINK_INFO).string(INFO_KIND) {
            _ if reach == Reach::Frames => {}
            Some(kind @ ("macvlan" | "macvtap" | "ipvlan" | "ipvtap")) => words.push(format!(
                "{name} is a {kind}: others of its kind on the same device, in namespaces or \
                 virtual machines, send past the rules"
            )),
            Some(kind @ ("bridge" | "openvswitch")) => words.push(format!(
                "{name} is a bridge ({kind}): it forwards frames between its ports below the rules"
            )),
            _ => {}
        }
        let xdp = attributes.nested(LINK_XDP).get(XDP_ATTACHED);
        if xdp.is_some_and(|mode| mode.first().is_some_and(|mode| *mode != 0)) {
            words.push(format!("{name} has an XDP program: it may send and redirect by itself"));
        }
    }
    words
}

/// Links at whose entry filters of tc may be: what these redirect to another link skips its hook.
/// (Programs that are attached without a queueing discipline, "tcx", are not listed by the kernel.)
fn entries() -> Vec<String> {
    let listed = Socket::open(None, 0)
        .ok()
        .and_then(|mut kernel| kernel.ask(GET_QDISC, DUMP, &[0; TCMSG_BYTES], |_| {}).ok());
    let (Some(listed), Some(links)) = (listed, list_links()) else {
        return vec!["filters at the entry of links (tc) could not be listed".into()];
    };
    let has_entry = |link: &&Device| {
        listed.iter().any(|qdisc| {
            let kind = qdisc.attributes(TCMSG_BYTES).string(QDISC_KIND);
            devices::index_in(qdisc) == link.index() && matches!(kind, Some("ingress" | "clsact"))
        })
    };
    let names = links.iter().filter(has_entry).map(|link| {
        let name = link.name().unwrap_or("?");
        format!("{name} has a place for filters at its entry (tc): frames that they redirect pass")
    });
    names.collect()
}

/// Established connections that are forwarded by a flow table skip all chains of packets; those of
/// frames only where hardware forwards them.
fn flowtables(reach: Reach) -> Option<String> {
    let mut kernel = Socket::open(Some(NETFILTER), 0).ok()?;
    let listed = kernel.ask(GET_FLOWTABLE, DUMP, &NFGENMSG, |_| {}).ok()?;
    let names: Vec<_> = listed
        .iter()
        .map(|table| table.attributes(NFGENMSG.len()))
        .filter(|table| {
            let flags = table.be32(FLOWTABLE_FLAGS).unwrap_or(0);
            reach == Reach::Packets || flags & FLOWTABLE_OF_HARDWARE != 0
        })
        .filter_map(|table| table.string(FLOWTABLE_NAME))
        .collect();
    (!names.is_empty()).then(|| {
        format!("flow table(s) {}: connections that they forward skip the rules", names.join(", "))
    })
}

/// The sockets of this namespace that send frames by themselves. One of them may be the DHCP client's.
fn packet_sockets() -> Option<String> {
    let Ok(table) = fs::read_to_string("/proc/thread-self/net/packet") else {
        return Some("packet sockets (AF_PACKET) could not be listed".into());
    };
    let count = table.lines().skip(1).filter(|line| !line.trim().is_empty()).count();
    (count > 0).then(|| {
        format!(
            "{count} packet socket(s) (AF_PACKET: DHCP clients, tcpdump): what they send passes \
             below the rules"
        )
    })
}
