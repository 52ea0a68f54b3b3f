//! Packets that were on their way when the gate shut; and what gets past it, in words.

use std::net::UdpSocket;

use snapsafed::gate::Config;

use crate::namespace::mac_bytes;
use crate::traffic::Gauge;
use crate::{gate, guest_and_outside, say, try_nft};

#[test]
fn queued_packets_have_left_before_the_gate_is_called_drained() {
    let Some([guest, outside]) = guest_and_outside("queued packets") else { return };
    guest.ip("neigh replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev veth1");
    guest.program("tc", "qdisc add dev veth1 root tbf rate 64kbit burst 1600 limit 1000000");
    let mut gauge = Gauge::new(&outside, mac_bytes(1, 1));
    let was_queued = guest.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        (0..20).for_each(|_| assert!(socket.send_to(&[0; 500], "10.1.0.2:5000").is_ok()));
        let mut gate = gate(&Config::default());
        gate.shut().unwrap();
        let mut was_queued = false;
        while !gate.is_drained().unwrap() {
            was_queued = true;
            std::thread::sleep(gate.pause());
        }
        was_queued
    });
    assert!(was_queued, "ten kilobytes leave at eight a second");
    let mut arrived = 0;
    while arrived < 20 {
        // The kernel's own multicasts of IPv6 are queued, too.
        arrived += gauge.packets().iter().filter(|packet| packet[0] >> 4 == 4).count();
    }
    assert_eq!(arrived, 20);
}

#[test]
fn a_packet_that_waits_for_a_hardware_address_does_not_leave_later() {
    let Some([guest, outside]) = guest_and_outside("unresolved neighbours") else { return };
    guest.ip("-6 addr flush dev veth1");
    let send = || {
        guest.run(|| {
            // Nobody has these addresses.
            for host in 70..80 {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.send_to(b"waits", (format!("10.1.0.{host}"), 5000).to_socket()).unwrap();
            }
        });
    };
    let resolve = || {
        for host in 70..80 {
            guest.ip(&format!("neigh replace 10.1.0.{host} lladdr 02:00:00:00:01:02 dev veth1"));
        }
    };
    let mut gauge = Gauge::new(&outside, mac_bytes(1, 1));
    // Without a gate they leave as soon as the address is known.
    send();
    resolve();
    while gauge.count() == 0 {}
    guest.ip("neigh flush all nud permanent");
    send();
    guest.run(|| {
        let mut gate = gate(&Config::default());
        gate.shut().unwrap();
        while !gate.is_drained().unwrap() {}
    });
    gauge.count();
    resolve();
    assert_eq!(gauge.count(), 0);
}

/// `format!("{host}:{port}").parse()` for a pair.
trait ToSocket {
    fn to_socket(&self) -> std::net::SocketAddr;
}

impl ToSocket for (String, u16) {
    fn to_socket(&self) -> std::net::SocketAddr {
        std::net::SocketAddr::new(self.0.parse().unwrap(), self.1)
    }
}

#[test]
fn what_gets_past_the_gate_is_named() {
    let Some([guest, _outside]) = guest_and_outside("weaknesses") else { return };
    let words = |owned| {
        let config = Config { owned, ..Config::default() };
        guest.run(move || gate(&config).weaknesses().join("\n"))
    };
    let before = words(true);
    assert!(before.contains("ARP"), "{before}");
    assert!(before.contains("network namespace(s)"), "{before}");
    for absent in ["macvlan:", "bridge", "packet socket", "flow table", "not owned"] {
        assert!(!before.contains(absent), "{absent}: {before}");
    }
    guest.ip("link add snapmac link veth1 type macvlan");
    guest.ip("link add snapbridge type bridge");
    let _frames = Gauge::new(&guest, mac_bytes(1, 2));
    let after = words(false);
    for present in
        ["snapmac is a macvlan", "snapbridge is a bridge", "1 packet socket", "not owned"]
    {
        assert!(after.contains(present), "{present}: {after}");
    }
    let table = "add table inet flows ; add flowtable inet flows snapflow \
                 { hook ingress priority 0 ; devices = { veth1 } ; }";
    if !guest.run(move || try_nft(table)) {
        return say("SKIPPED: flow tables: this kernel has none");
    }
    let after = words(false);
    assert!(after.contains("snapflow"), "{after}");
}
