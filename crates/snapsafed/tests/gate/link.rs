//! The gate at the links: what the gate of IP lets through, and this one does not.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
use snapsafed::gate::{Config, Kind, open_gate};

use crate::namespace::{Namespace, mac_bytes};
use crate::traffic::{Conversation, Flow, Gauge};
use crate::{gate, guest_and_outside, namespaces, open, open_as, say, shut, try_nft};

/// Every way in which the kernel can do it; none where it cannot, which is said.
pub(crate) fn link_gates(proof: &str, at: &Namespace) -> Vec<Config> {
    let every = Config { kind: Kind::Link, ..Config::default() };
    let named = Config { future_links: false, ..every.clone() };
    let probe = named.clone();
    if let Err(why) = at.run(move || open_gate(&probe).map(drop)) {
        say(&format!("SKIPPED: {proof}: {why}"));
        return Vec::new();
    }
    if !takes_future_links(at) {
        say(&format!("SKIPPED: {proof}, links that will come: this kernel takes names only"));
        return vec![named];
    }
    vec![every, named]
}

fn takes_future_links(at: &Namespace) -> bool {
    let every = Config { kind: Kind::Link, ..Config::default() };
    at.run(move || {
        !gate(&every).weaknesses().iter().any(|words| words.contains("a link that appears"))
    })
}

/// `ETH_P_802_EX1`, for experiments.
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];

/// A frame for everybody.
fn frame(sender: [u8; 6], payload: &[u8]) -> Vec<u8> {
    [&[0xff; 6][..], &sender, &EXPERIMENT, payload].concat()
}

/// Sends it by packet sockets, through the queues and past them. Errors are one of the ways not to arrive.
pub(crate) fn send_frame(
    from: &Namespace,
    device: &'static str,
    sender: [u8; 6],
    payload: &'static [u8],
) {
    for bypasses_queues in [false, true] {
        send_raw(from, device, frame(sender, payload), bypasses_queues);
    }
}

fn send_raw(from: &Namespace, device: &'static str, frame: Vec<u8>, bypasses_queues: bool) {
    from.run(move || {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None).unwrap();
        let bypasses_queues = i32::from(bypasses_queues);
        // SAFETY: the pointer and the length are those of a live int.
        let is_set = unsafe {
            let (socket, option) = (socket.as_raw_fd(), libc::PACKET_QDISC_BYPASS);
            let value = (&raw const bypasses_queues).cast();
            libc::setsockopt(socket, libc::SOL_PACKET, option, value, 4) == 0
        };
        assert!(is_set);
        send_on(&socket, device, &frame);
    });
}

fn send_on(socket: &OwnedFd, device: &str, frame: &[u8]) {
    let index = netdevice::name_to_index(socket, device).unwrap();
    let to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let size = size_of_val(&to) as libc::socklen_t;
    let (bytes, to) = (frame.as_ptr().cast(), (&raw const to).cast());
    // SAFETY: pointers and lengths are those of a live frame and a live address of its kind.
    unsafe { libc::sendto(socket.as_raw_fd(), bytes, frame.len(), 0, to, size) };
}

/// How many frames with this payload were seen, of two kinds of sending: each is sent until it comes.
fn arrives_and_before_it(gauge: &mut Gauge, send: impl Fn(&'static [u8])) -> usize {
    let (mut early, mut late) = (0, 0);
    while late < 2 {
        send(OPEN);
        for frame in gauge.frames() {
            early += usize::from(frame.ends_with(SHUT));
            late += usize::from(frame.ends_with(OPEN));
        }
    }
    early
}

const SHUT: &[u8] = b"sent while it was shut";
const OPEN: &[u8] = b"sent while it was open";

/// Frames that `send` sends come out at the gauge, also of a gate of IP, and not of one at the links.
fn only_a_gate_at_the_links_stops(
    proof: &str,
    guest: &Namespace,
    gauge: &mut Gauge,
    send: impl Fn(&'static [u8]),
) {
    shut(guest, &Config::default());
    assert_eq!(arrives_and_before_it(gauge, &send), 0, "the control: they pass a gate of IP");
    for config in link_gates(proof, guest) {
        shut(guest, &config);
        gauge.frames();
        (0..20).for_each(|_| send(SHUT));
        assert_eq!(gauge.frames().len(), 0, "{config:?}");
        open_as(guest, &config);
        assert_eq!(arrives_and_before_it(gauge, &send), 0, "{config:?}");
    }
}

#[test]
fn frames_of_packet_sockets_pass_a_gate_of_ip_and_none_at_the_links() {
    let proof = "packet sockets";
    let Some([guest, outside]) = guest_and_outside(proof) else { return };
    let mut gauge = Gauge::new(&outside, mac_bytes(1, 1));
    only_a_gate_at_the_links_stops(proof, &guest, &mut gauge, |payload| {
        send_frame(&guest, "veth1", mac_bytes(1, 1), payload);
    });
}

#[test]
fn a_macvlan_of_another_namespace_passes_a_gate_of_ip_and_none_at_the_links() {
    let proof = "macvlan";
    let Some([guest, outside, container]) = namespaces(proof) else { return };
    guest.link(&outside, 1);
    let sender = mac_bytes(3, 1);
    guest.ip("link add snapmac link veth1 address 02:00:00:00:03:01 type macvlan mode bridge");
    guest.ip(&format!("link set snapmac netns {}", container.thread()));
    container.ip("link set snapmac up");
    let mut gauge = Gauge::new(&outside, sender);
    only_a_gate_at_the_links_stops(proof, &guest, &mut gauge, |payload| {
        send_frame(&container, "snapmac", sender, payload);
    });
}

#[test]
fn what_a_bridge_forwards_passes_a_gate_of_ip_and_none_at_the_links() {
    let proof = "bridges";
    let Some([guest, west, east]) = namespaces(proof) else { return };
    guest.link(&west, 1);
    guest.link(&east, 2);
    guest.ip("link add snapbridge type bridge");
    guest.ip("link set snapbridge up");
    guest.ip("link set veth1 master snapbridge");
    guest.ip("link set veth2 master snapbridge");
    let mut gauge = Gauge::new(&east, mac_bytes(1, 2));
    only_a_gate_at_the_links_stops(proof, &guest, &mut gauge, |payload| {
        send_frame(&west, "peer1", mac_bytes(1, 2), payload);
    });
}

const ARP: [u8; 2] = [0x08, 0x06];

/// How many answers, and questions of its own, come from the guest when its address is asked for.
fn arp_of_the_guest(guest: &Namespace, outside: &Namespace, gauge: &mut Gauge) -> [usize; 2] {
    gauge.frames();
    // Who has 10.1.0.1? Tell 10.1.0.2.
    let question = [
        &[0xff; 6][..],
        &mac_bytes(1, 2),
        &ARP,
        &[0, 1, 8, 0, 6, 4, 0, 1],
        &mac_bytes(1, 2),
        &[10, 1, 0, 2, 0, 0, 0, 0, 0, 0, 10, 1, 0, 1],
    ]
    .concat();
    for _ in 0..20 {
        send_raw(outside, "peer1", question.clone(), false);
        // Asked by the kernel itself, as it does for an entry that it is not sure of.
        guest.ip("neigh replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev veth1 nud probe");
    }
    let frames = gauge.frames();
    // After the types of addresses and their lengths: 1 asks, 2 answers.
    [2, 1].map(|operation| {
        frames.iter().filter(|frame| frame[..2] == ARP && frame[9] == operation).count()
    })
}

#[test]
fn arp_passes_a_gate_of_ip_and_none_at_the_links() {
    let proof = "ARP";
    let Some([guest, outside]) = guest_and_outside(proof) else { return };
    let mut gauge = Gauge::new(&outside, mac_bytes(1, 1));
    shut(&guest, &Config::default());
    let [answers, questions] = arp_of_the_guest(&guest, &outside, &mut gauge);
    assert!(answers > 0 && questions > 0, "the control: {answers} answers, {questions} questions");
    for config in link_gates(proof, &guest) {
        shut(&guest, &config);
        assert_eq!(arp_of_the_guest(&guest, &outside, &mut gauge), [0, 0], "{config:?}");
        assert_eq!(gauge.frames().len(), 0, "nothing else, either");
        open_as(&guest, &config);
        while arp_of_the_guest(&guest, &outside, &mut gauge)[0] == 0 {}
    }
}

#[test]
fn a_connection_survives_a_gate_at_the_links() {
    let proof = "a connection survives a gate at the links";
    let Some([guest, outside]) = guest_and_outside(proof) else { return };
    for (config, port) in link_gates(proof, &guest).into_iter().zip(6000..) {
        let mut conversation = Conversation::begin(&guest, &outside, port);
        shut(&guest, &config);
        let mut gauge = Gauge::new(&outside, mac_bytes(1, 1));
        conversation.go_on_while_shut();
        assert_eq!(gauge.frames().len(), 0);
        open_as(&guest, &config);
        conversation.end();
    }
}

#[test]
fn routes_addresses_and_neighbours_are_the_same_before_while_and_after() {
    let proof = "routes and addresses";
    let Some([guest, _outside]) = guest_and_outside(proof) else { return };
    guest.ip("route add default via 10.1.0.2 metric 50");
    guest.ip("route add 192.0.2.0/24 via 10.1.0.2 table 77");
    guest.ip("-6 route add default via fd00:1::2 metric 50");
    guest.ip("-6 route add 2001:db8::/32 via fd00:1::2 table 77");
    guest.ip("neigh replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev veth1 nud permanent");
    let read = || {
        [
            "-4 addr show",
            "-6 addr show scope global",
            "-4 route show table all",
            "-6 route show table all",
            "neigh show nud permanent",
            "link show up",
        ]
        .map(|what| guest.program("ip", what))
    };
    let before = read();
    assert!(before[3].contains("2001:db8::/32"), "{before:?}");
    for config in link_gates(proof, &guest) {
        shut(&guest, &config);
        assert_eq!(read(), before, "{config:?}");
        open_as(&guest, &config);
        assert_eq!(read(), before, "{config:?}");
    }
}

#[test]
fn loopback_works_behind_a_gate_at_the_links() {
    let proof = "loopback behind a gate at the links";
    let Some([guest, _outside]) = guest_and_outside(proof) else { return };
    for config in link_gates(proof, &guest) {
        shut(&guest, &config);
        for address in ["127.0.0.1:0", "[::1]:0", "10.1.0.1:0"] {
            guest.run(move || {
                let listener = TcpListener::bind(address).unwrap();
                TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                listener.accept().unwrap();
            });
        }
        open_as(&guest, &config);
    }
}

#[test]
fn a_control_port_is_found_and_reached_through_a_gate_at_the_links() {
    let proof = "control ports at the links";
    let Some([probe]) = namespaces(proof) else { return };
    for config in link_gates(proof, &probe) {
        let Some([guest, outside]) = guest_and_outside(proof) else { return };
        let config = Config { control_ports: vec!["udp/9001".parse().unwrap()], ..config };
        shut(&guest, &config);
        // Nobody knows the other's hardware address.
        outside.ip("neigh flush all");
        guest.ip("neigh flush all");
        for address in ["10.1.0.1:9001", "[fd00:1::1]:9001"] {
            let flow = Flow::new("a control port", &outside, &guest, address);
            assert_eq!(flow.arrives_and_before_it(), 0, "{config:?}");
        }
        let other = Flow::new("another port", &outside, &guest, "10.1.0.1:9002");
        other.try_in_vain();
        let mut gauge = Gauge::new(&outside, mac_bytes(1, 1));
        send_frame(&guest, "veth1", mac_bytes(1, 1), SHUT);
        assert!(!gauge.frames().iter().any(|frame| frame.ends_with(SHUT)));
        let asked = config.clone();
        let words = guest.run(move || gate(&asked).weaknesses().join("\n"));
        assert!(words.contains("ARP and neighbour discovery of IPv6 pass"), "{words}");
        open_as(&guest, &config);
        assert_eq!(other.arrives_and_before_it(), 0);
    }
}

/// A second link between the same two, up, that was not there when the gate shut.
fn another_link(guest: &Namespace, outside: &Namespace) -> Gauge {
    outside.ip("link add peer2 type veth peer veth2");
    outside.ip("link set peer2 up");
    let gauge = Gauge::new(outside, mac_bytes(2, 1));
    outside.ip(&format!("link set veth2 netns {}", guest.thread()));
    guest.ip("link set veth2 address 02:00:00:00:02:01 up");
    gauge
}

#[test]
fn a_link_that_appears_later_sends_nothing_from_its_first_moment_on() {
    let proof = "links that will come";
    let Some([guest, outside]) = guest_and_outside(proof) else { return };
    let gates = link_gates(proof, &guest);
    let Some(config) = gates.into_iter().find(|config| config.future_links) else { return };
    shut(&guest, &config);
    let mut gauge = another_link(&guest, &outside);
    (0..20).for_each(|_| send_frame(&guest, "veth2", mac_bytes(2, 1), SHUT));
    assert_eq!(gauge.frames().len(), 0);
    let asked = config.clone();
    guest.run(move || assert!(gate(&asked).holds().unwrap()));
    open_as(&guest, &config);
    assert_eq!(
        arrives_and_before_it(&mut gauge, |p| send_frame(&guest, "veth2", mac_bytes(2, 1), p)),
        0
    );
}

#[test]
fn a_link_that_appears_later_is_noticed_and_added_where_links_are_named() {
    let proof = "links that appear, by name";
    let Some([guest, outside]) = guest_and_outside(proof) else { return };
    let Some(config) = link_gates(proof, &guest).pop() else { return };
    let words = config.clone();
    let words = guest.run(move || gate(&words).weaknesses().join("\n"));
    assert!(words.contains("a link that appears"), "{words}");
    // The gate stays where it is, and with it its watch.
    let (go, went) = std::sync::mpsc::channel();
    let (report, reports) = std::sync::mpsc::channel();
    let keeper = guest.run(move || {
        std::thread::spawn(move || {
            let mut gate = gate(&config);
            gate.shut().unwrap();
            gate.changed();
            report.send(()).unwrap();
            went.recv().unwrap();
            let watched = gate.watch().unwrap();
            let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
            let mut fds = [PollFd::from_borrowed_fd(watched.as_fd(), PollFlags::IN)];
            assert_eq!(poll(&mut fds, Some(&patience)), Ok(1), "nobody said that there is a link");
            assert!(gate.changed());
            assert!(!gate.holds().unwrap(), "a link is missing");
            gate.shut().unwrap();
            assert!(gate.holds().unwrap());
            report.send(()).unwrap();
            went.recv().unwrap();
        })
    });
    reports.recv().unwrap();
    let mut gauge = another_link(&guest, &outside);
    send_frame(&guest, "veth2", mac_bytes(2, 1), SHUT);
    assert!(!gauge.frames().is_empty(), "the control: it is not stopped before");
    go.send(()).unwrap();
    reports.recv().unwrap();
    gauge.frames();
    (0..20).for_each(|_| send_frame(&guest, "veth2", mac_bytes(2, 1), SHUT));
    assert_eq!(gauge.frames().len(), 0);
    go.send(()).unwrap();
    keeper.join().unwrap();
    // A link that goes takes nothing with it.
    guest.ip("link del veth2");
    guest.run(|| {
        let named = Config { kind: Kind::Link, future_links: false, ..Config::default() };
        assert!(gate(&named).holds().unwrap());
    });
}

#[test]
fn a_machine_without_links_can_be_shut_at_the_links() {
    let proof = "no links";
    let Some([guest]) = namespaces(proof) else { return };
    for config in link_gates(proof, &guest) {
        shut(&guest, &config);
        open_as(&guest, &config);
    }
}

#[test]
fn whatever_is_done_to_an_ordinary_gate_at_the_links_is_noticed_and_repaired() {
    let proof = "repairing a gate at the links";
    let Some([guest, _outside]) = guest_and_outside(proof) else { return };
    for config in link_gates(proof, &guest) {
        let config = Config { owned: false, ..config };
        guest.run(move || {
            let mut gate = gate(&config);
            gate.shut().unwrap();
            assert!(!gate.changed(), "its own changes are none");
            for change in [
                "flush ruleset",
                "delete table netdev snapsafe",
                "delete table inet snapsafe",
                "flush chain netdev snapsafe egress",
                "insert rule netdev snapsafe egress accept",
                "add rule netdev snapsafe ingress accept",
                "add table netdev snapsafe { flags dormant ; }",
            ] {
                assert!(try_nft(change), "{change}");
                assert!(gate.changed(), "{change}");
                assert!(!gate.holds().unwrap(), "{change}");
                gate.shut().unwrap();
                assert!(gate.holds().unwrap(), "{change}");
                assert!(!gate.changed(), "{change}");
            }
            gate.open().unwrap();
        });
    }
}

#[test]
fn a_gate_of_another_kind_leaves_nothing_of_the_one_before() {
    let proof = "from one kind to another";
    let Some([guest, outside]) = guest_and_outside(proof) else { return };
    let mut gauge = Gauge::new(&outside, mac_bytes(1, 1));
    let send = |payload| send_frame(&guest, "veth1", mac_bytes(1, 1), payload);
    for config in link_gates(proof, &guest) {
        for reshuts in [false, true] {
            shut(&guest, &config);
            gauge.frames();
            send(SHUT);
            if reshuts {
                // Which lets frames pass again, as it is meant to.
                shut(&guest, &Config::default());
            } else {
                open(&guest);
            }
            assert_eq!(arrives_and_before_it(&mut gauge, send), 0, "{config:?}");
            open(&guest);
        }
    }
}

#[test]
fn what_another_kind_of_gate_left_is_found_though_it_does_not_hold() {
    let proof = "what is left of another gate";
    let Some([guest, _outside]) = guest_and_outside(proof) else { return };
    for config in link_gates(proof, &guest) {
        let found = |config: &Config| {
            let config = config.clone();
            guest.run(move || {
                let mut gate = gate(&config);
                (gate.is_there().unwrap(), gate.holds().unwrap())
            })
        };
        assert_eq!(found(&config), (false, false));
        shut(&guest, &Config::default());
        assert_eq!(found(&config), (true, false), "frames pass");
        shut(&guest, &config);
        assert_eq!(found(&config), (true, true));
        assert_eq!(found(&Config::default()), (true, true));
        open_as(&guest, &config);
    }
}

#[test]
fn a_gate_that_names_links_does_not_pass_for_one_that_has_every_link() {
    let proof = "names and every link";
    let Some([guest, _outside]) = guest_and_outside(proof) else { return };
    let Ok([every, named]) = <[Config; 2]>::try_from(link_gates(proof, &guest)) else { return };
    for (before, after) in [(&named, &every), (&every, &named)] {
        shut(&guest, before);
        let now = after.clone();
        guest.run(move || assert!(!gate(&now).holds().unwrap(), "{now:?}"));
        shut(&guest, after);
    }
}

#[test]
fn more_links_than_a_chain_can_name_are_refused_with_the_number() {
    let proof = "hundreds of links";
    let Some([guest]) = namespaces(proof) else { return };
    let gates = link_gates(proof, &guest);
    for number in 0..(if gates.is_empty() { 0 } else { 129 }) {
        guest.ip(&format!("link add left{number} type veth peer right{number}"));
    }
    for config in gates {
        guest.run(move || {
            let mut gate = gate(&config);
            match gate.shut() {
                Ok(()) => assert!(config.future_links && gate.holds().unwrap()),
                Err(why) => {
                    assert!(!config.future_links && why.contains("256 links"), "{why}");
                    assert!(!gate.holds().unwrap());
                }
            }
        });
    }
}

/// Links come and go, and the table is made anew each time: never is there a gap.
#[test]
fn a_gate_at_the_links_that_is_made_anew_lets_no_frame_of_a_flood_through() {
    let proof = "a flood of frames while rules change";
    let Some([guest, outside]) = guest_and_outside(proof) else { return };
    let Some(named) = link_gates(proof, &guest).pop() else { return };
    let named = Config { owned: false, ..named };
    shut(&guest, &named);
    let mut gauge = Gauge::new(&outside, mac_bytes(1, 1));
    let is_over = Arc::new(AtomicBool::new(false));
    let flood = guest.run({
        let is_over = is_over.clone();
        move || std::thread::spawn(move || flood(&is_over))
    });
    guest.run(move || {
        let other = Config { control_ports: vec!["tcp/1".parse().unwrap()], ..named.clone() };
        let mut gates = [gate(&named), gate(&other)];
        for round in 0..500 {
            gates[round % 2].shut().unwrap();
            assert!(!gates[(round + 1) % 2].holds().unwrap());
        }
    });
    let passed = gauge.frames().iter().filter(|frame| frame.ends_with(SHUT)).count();
    is_over.store(true, Ordering::Relaxed);
    let sent = flood.join().unwrap();
    assert_eq!(passed, 0, "of {sent}");
    assert!(sent > 500);
}

fn flood(is_over: &AtomicBool) -> u64 {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None).unwrap();
    let frame = frame(mac_bytes(1, 1), SHUT);
    let mut sent = 0;
    while !is_over.load(Ordering::Relaxed) {
        send_on(&socket, "veth1", &frame);
        sent += 1;
    }
    sent
}

#[test]
fn what_gets_past_a_gate_at_the_links_is_named() {
    let proof = "weaknesses of a gate at the links";
    let Some([guest, _outside]) = guest_and_outside(proof) else { return };
    guest.ip("link add snapmac link veth1 type macvlan");
    guest.ip("link add snapbridge type bridge");
    let _frames = Gauge::new(&guest, mac_bytes(1, 2));
    for config in link_gates(proof, &guest) {
        let words = |config: &Config| {
            let config = config.clone();
            guest.run(move || gate(&config).weaknesses().join("\n"))
        };
        let before = words(&config);
        for present in ["AF_XDP", "network namespace(s)"] {
            assert!(before.contains(present), "{present}: {before}");
        }
        for absent in
            ["ARP", "snapmac", "snapbridge", "AF_PACKET", "entry (tc)", "flow table", "not owned"]
        {
            assert!(!before.contains(absent), "{absent}: {before}");
        }
        guest.program("tc", "qdisc add dev veth1 clsact");
        let after = words(&Config { owned: false, ..config });
        for present in ["veth1 has a place for filters at its entry (tc)", "not owned"] {
            assert!(after.contains(present), "{present}: {after}");
        }
        guest.program("tc", "qdisc del dev veth1 clsact");
    }
}

#[test]
fn how_long_shutting_and_opening_at_the_links_take() {
    let proof = "times at the links";
    let Some([guest, _outside]) = guest_and_outside(proof) else { return };
    for config in link_gates(proof, &guest) {
        let by = if config.future_links { "every link" } else { "by name" };
        let times = guest.run(move || crate::traffic::times(gate(&config).as_mut()));
        say(&format!("gate at the links, {by}: {times}"));
    }
}
