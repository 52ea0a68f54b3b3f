//! What gets past a gate of nf_tables' inet family on this machine, in words for an administrator.
//!
//! Looked for anew each time; what could not be looked at is said, too.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::net::netlink::NETFILTER;

use super::netlink::{DUMP, Socket};
use super::queues::children;

/// `RTM_GETLINK`, `struct ifinfomsg`, `IFLA_IFNAME`, `IFLA_LINKINFO` / `IFLA_INFO_KIND`,
/// `IFLA_XDP` / `IFLA_XDP_ATTACHED` (`include/uapi/linux/if_link.h`).
const GET_LINK: u16 = 18;
const IFINFOMSG_BYTES: usize = 16;
const LINK_NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const LINK_XDP: u16 = 43;
const XDP_ATTACHED: u16 = 2;

/// nf_tables' `NFT_MSG_GETFLOWTABLE`; `NFTA_FLOWTABLE_NAME`.
const GET_FLOWTABLE: u16 = 10 << 8 | 23;
const NFGENMSG: [u8; 4] = [0; 4];
const FLOWTABLE_NAME: u16 = 2;

pub(super) fn of_this_machine() -> Vec<String> {
    let mut found = vec![
        "ARP passes: it is answered and asked while the gate is shut (no IP packet does)"
            .to_owned(),
    ];
    found.extend(other_namespaces());
    found.extend(links());
    found.extend(flowtables());
    found.extend(packet_sockets());
    found
}

/// Network namespaces besides this process's: of processes, and named ones without any.
fn other_namespaces() -> Vec<String> {
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
        words.push(format!(
            "{} other network namespace(s): what leaves them through this one is cut; what leaves \
             through a device of their own (a physical one, macvlan) is not",
            others.len()
        ));
    }
    if unknown > 0 {
        words.push(format!(
            "the network namespaces of {unknown} process(es) could not be looked at \
             (CAP_SYS_PTRACE)"
        ));
    }
    words
}

fn links() -> Vec<String> {
    let listed = Socket::open(None, 0)
        .ok()
        .and_then(|mut kernel| kernel.ask(GET_LINK, DUMP, &[0; IFINFOMSG_BYTES], |_| {}).ok());
    let Some(listed) = listed else {
        return vec!["the links of this machine could not be listed".into()];
    };
    let mut words = Vec::new();
    for link in &listed {
        let attributes = link.attributes(IFINFOMSG_BYTES);
        let name = attributes.string(LINK_NAME).unwrap_or("?");
        match attributes.nested(LINK_INFO).string(INFO_KIND) {
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

/// Established connections that are forwarded by a flow table skip all chains.
fn flowtables() -> Option<String> {
    let mut kernel = Socket::open(Some(NETFILTER), 0).ok()?;
    let listed = kernel.ask(GET_FLOWTABLE, DUMP, &NFGENMSG, |_| {}).ok()?;
    let names: Vec<_> = listed
        .iter()
        .filter_map(|table| table.attributes(NFGENMSG.len()).string(FLOWTABLE_NAME))
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
