//! What a shut gate stops, and what it lets through.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use snapsafed::gate::Config;

use crate::namespace::mac_bytes;
use crate::traffic::{Conversation, Flow, Gauge, times};
use crate::{gate, guest_and_outside, namespaces, open, ordinary, say, shut};

#[test]
fn nothing_passes_a_shut_gate_in_any_direction() {
    let Some([guest, west, east]) = namespaces("nothing passes in any direction") else { return };
    guest.link(&west, 1);
    guest.link(&east, 2);
    guest.run(|| {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    });
    for (side, number) in [(&west, 1), (&east, 2)] {
        side.ip(&format!("route add default via 10.{number}.0.1"));
        side.ip(&format!("-6 route add default via fd00:{number}::1"));
    }
    let flows = [
        Flow::new("out, IPv4", &guest, &west, "10.1.0.2:5000"),
        Flow::new("out, IPv6", &guest, &west, "[fd00:1::2]:5000"),
        Flow::new("in, IPv4", &west, &guest, "10.1.0.1:5000"),
        Flow::new("in, IPv6", &west, &guest, "[fd00:1::1]:5000"),
        Flow::new("forwarded, IPv4", &west, &east, "10.2.0.2:5001"),
        Flow::new("forwarded, IPv6", &west, &east, "[fd00:2::2]:5001"),
    ];
    for flow in &flows {
        assert_eq!(flow.arrives_and_before_it(), 0, "{}", flow.name);
    }
    shut(&guest, &Config::default());
    let mut gauges = [Gauge::new(&west, mac_bytes(1, 1)), Gauge::new(&east, mac_bytes(2, 1))];
    flows.iter().for_each(Flow::try_in_vain);
    let leaked = gauges.each_mut().map(Gauge::count);
    open(&guest);
    for flow in &flows {
        assert_eq!(flow.arrives_and_before_it(), 0, "{}", flow.name);
    }
    assert_eq!(leaked, [0, 0], "IP packets of the guest, to the west and to the east");
    // The gauges work: now there are some.
    assert!(gauges.each_mut().map(Gauge::count).iter().all(|count| *count > 0));
}

#[test]
fn a_packet_for_loopback_that_others_redirect_does_not_leave() {
    let Some([guest, outside]) = guest_and_outside("redirected packets") else { return };
    guest.nft("add table ip elsewhere");
    guest.nft("add chain ip elsewhere out { type nat hook output priority -100 ; }");
    guest.nft("add rule ip elsewhere out ip daddr 127.0.0.1 udp dport 7777 dnat to 10.1.0.2");
    guest.run(|| fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap());
    guest.ip("neigh replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev veth1");
    let send = || {
        guest.run(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            (0..10).filter(|_| socket.send_to(b"x", "127.0.0.1:7777").is_ok()).count()
        })
    };
    let mut gauge = Gauge::new(&outside, mac_bytes(1, 1));
    send();
    while gauge.count() == 0 {
        send();
    }
    shut(&guest, &Config::default());
    gauge.count();
    send();
    assert_eq!(gauge.count(), 0);
}

#[test]
fn loopback_works_while_the_gate_is_shut() {
    let Some([guest, _outside]) = guest_and_outside("loopback works") else { return };
    shut(&guest, &Config::default());
    for address in ["127.0.0.1:0", "[::1]:0", "10.1.0.1:0"] {
        let answer = guest.run(move || {
            let listener = TcpListener::bind(address).unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(b"hello").unwrap();
            let mut answer = [0; 5];
            server.read_exact(&mut answer).unwrap();
            answer
        });
        assert_eq!(&answer, b"hello", "{address}");
    }
}

#[test]
fn a_control_port_stays_reachable_and_others_do_not() {
    let Some([guest, outside]) = guest_and_outside("control ports") else { return };
    let config = Config {
        control_ports: vec!["tcp/9000".parse().unwrap(), "udp/9001".parse().unwrap()],
        ..Config::default()
    };
    shut(&guest, &config);
    let other = Flow::new("another port", &outside, &guest, "10.1.0.1:9002");
    let wrong = Flow::new("the other protocol", &outside, &guest, "10.1.0.1:9000");
    other.try_in_vain();
    wrong.try_in_vain();
    for (address, udp) in
        [("10.1.0.1:9000", "10.1.0.1:9001"), ("[fd00:1::1]:9000", "[fd00:1::1]:9001")]
    {
        let listener = guest.run(move || TcpListener::bind(address).unwrap());
        let mut client = outside.run(move || TcpStream::connect(address).unwrap());
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"QUIESCE").unwrap();
        let mut request = [0; 7];
        server.read_exact(&mut request).unwrap();
        server.write_all(b"OK").unwrap();
        let mut answer = [0; 2];
        client.read_exact(&mut answer).unwrap();
        assert_eq!((&request, &answer), (b"QUIESCE", b"OK"), "{address}");
        let flow = Flow::new("a control port of UDP", &outside, &guest, udp);
        assert_eq!(flow.arrives_and_before_it(), 0);
    }
    open(&guest);
    assert_eq!(other.arrives_and_before_it(), 0);
    assert_eq!(wrong.arrives_and_before_it(), 0);
}

#[test]
fn a_connection_survives_with_all_its_bytes() {
    let Some([guest, outside]) = guest_and_outside("a connection survives") else { return };
    let mut conversation = Conversation::begin(&guest, &outside, 6000);
    shut(&guest, &Config::default());
    let mut gauge = Gauge::new(&outside, mac_bytes(1, 1));
    conversation.go_on_while_shut();
    assert_eq!(gauge.count(), 0);
    open(&guest);
    conversation.end();
}

/// A shut gate that is shut again with other rules is never open in between.
#[test]
fn a_gate_whose_rules_are_replaced_lets_no_packet_of_a_flood_through() {
    let Some([guest, outside]) = guest_and_outside("a flood while rules change") else { return };
    guest.ip("neigh replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev veth1");
    shut(&guest, &ordinary());
    let mut gauge = Gauge::new(&outside, mac_bytes(1, 1));
    let is_over = Arc::new(AtomicBool::new(false));
    let flood = guest.run({
        let is_over = is_over.clone();
        // A thread of a namespace begins in it.
        move || {
            std::thread::spawn(move || {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                let mut sent = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let _ = socket.send_to(b"flood", "10.1.0.2:5000");
                    sent += 1;
                }
                sent
            })
        }
    });
    guest.run(|| {
        let other = Config { control_ports: vec!["tcp/1".parse().unwrap()], ..ordinary() };
        let mut gates = [gate(&ordinary()), gate(&other)];
        for round in 0..500 {
            gates[round % 2].shut().unwrap();
            assert!(!gates[(round + 1) % 2].holds().unwrap());
        }
    });
    // The other gate has a control port, and with it lets neighbour discovery of IPv6 through.
    let passed: Vec<_> = gauge.packets().into_iter().filter(|packet| packet[0] >> 4 == 4).collect();
    is_over.store(true, Ordering::Relaxed);
    let sent: u64 = flood.join().unwrap();
    assert!(passed.is_empty(), "{} of {sent}: {passed:x?}", passed.len());
    assert!(sent > 500);
}

#[test]
fn how_long_shutting_and_opening_take() {
    let Some([guest, _outside]) = guest_and_outside("times") else { return };
    let times = guest.run(|| times(gate(&Config::default()).as_mut()));
    say(&format!("gate: {times}"));
}
