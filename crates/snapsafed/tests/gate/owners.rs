//! Who can take the rules away, and what is left when their owner is killed.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use snapsafed::gate::{Config, Gate, Kind};

use crate::link::{link_gates, send_frame};
use crate::namespace::{Namespace, mac_bytes};
use crate::traffic::{Flow, Gauge};
use crate::{gate, guest_and_outside, namespaces, open_as, ordinary, say, try_nft};

/// An owned gate; `None` where the kernel has none, which is said.
fn owned(proof: &str) -> Option<Box<dyn Gate>> {
    let gate = gate(&Config::default());
    if !gate.is_owned() {
        say(&format!("SKIPPED: {proof}: this kernel has no owned and persistent tables"));
        return None;
    }
    Some(gate)
}

#[test]
fn an_administrator_cannot_flush_an_owned_gate() {
    let Some([guest]) = namespaces("flushing an owned gate") else { return };
    guest.run(|| {
        let Some(mut gate) = owned("flushing an owned gate") else { return };
        gate.shut().unwrap();
        // Succeeds, and leaves out what is owned.
        assert!(try_nft("flush ruleset"));
        assert!(gate.holds().unwrap());
        for change in [
            "delete table inet snapsafe",
            "flush table inet snapsafe",
            "insert rule inet snapsafe output accept",
            "add table inet snapsafe { flags dormant ; }",
        ] {
            assert!(!try_nft(change), "{change}");
            assert!(gate.holds().unwrap(), "{change}");
        }
        assert!(!gate.changed());
    });
}

#[test]
fn whatever_is_done_to_an_ordinary_gate_is_noticed_and_repaired() {
    let Some([guest]) = namespaces("repairing an ordinary gate") else { return };
    guest.run(|| {
        let mut gate = gate(&ordinary());
        assert!(!gate.is_owned());
        gate.shut().unwrap();
        assert!(!gate.changed(), "its own changes are none");
        for change in [
            "flush ruleset",
            "delete table inet snapsafe",
            "flush chain inet snapsafe output",
            "insert rule inet snapsafe output accept",
            "add rule inet snapsafe forward accept",
            "chain inet snapsafe input { policy accept ; }",
            "add table inet snapsafe { flags dormant ; }",
        ] {
            assert!(try_nft(change), "{change}");
            let watched = gate.watch().unwrap();
            poll(&mut [PollFd::from_borrowed_fd(watched.as_fd(), PollFlags::IN)], None).unwrap();
            assert!(gate.changed(), "{change}");
            assert!(!gate.holds().unwrap(), "{change}");
            gate.shut().unwrap();
            assert!(gate.holds().unwrap(), "{change}");
            assert!(!gate.changed(), "{change}");
        }
        assert!(try_nft("add table inet another"));
        assert!(!gate.changed(), "another table is not the gate");
    });
}

/// A process that has shut the gate of the present namespace, and waits to be killed.
fn owner(config: &Config) -> Pid {
    let (shut, word) = rustix::pipe::pipe().unwrap();
    // SAFETY: the child uses memory, which libc keeps usable over a fork, and system calls, and
    // never returns.
    let child = unsafe { libc::fork() };
    if child == 0 {
        keep_open_only(&word);
        let mut gate = gate(config);
        let is_shut = gate.shut().is_ok() && gate.holds() == Ok(true);
        let _ = rustix::io::write(&word, &[u8::from(is_shut)]);
        if !is_shut {
            // SAFETY: nothing of this copy is needed any more.
            unsafe { libc::_exit(1) };
        }
        loop {
            std::thread::park();
        }
    }
    drop(word);
    let mut answer = [0];
    assert_eq!(rustix::io::read(&shut, &mut answer), Ok(1), "the owner died");
    assert_eq!(answer, [1], "the owner could not shut the gate");
    Pid::from_raw(child).unwrap()
}

/// Closes what belongs to tests on other threads: a table stays owned as long as its owner's socket is
/// open anywhere.
fn keep_open_only(kept: &OwnedFd) {
    let kept = kept.as_raw_fd() as u32;
    for (first, last) in [(3, kept - 1), (kept + 1, u32::MAX)] {
        // SAFETY: of a process that is a copy, and in which nobody else uses a descriptor.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

fn kill(process: Pid) {
    kill_process(process, Signal::KILL).unwrap();
    waitpid(Some(process), WaitOptions::empty()).unwrap();
}

fn stays_shut_and_is_adopted(guest: &Namespace, outside: &Namespace, config: &Config) {
    let flow = Flow::new("out", guest, outside, "10.1.0.2:5000");
    assert_eq!(flow.arrives_and_before_it(), 0);
    let kept = config.clone();
    guest.run(move || kill(owner(&kept)));
    let mut gauge = Gauge::new(outside, mac_bytes(1, 1));
    flow.try_in_vain();
    assert_eq!(gauge.count(), 0);
    let adopted = config.clone();
    let is_at_the_links = config.kind == Kind::Link;
    if is_at_the_links {
        send_frame(guest, "veth1", mac_bytes(1, 1), b"shut");
        assert_eq!(gauge.frames().len(), 0);
    }
    guest.run(move || {
        let mut gate = gate(&adopted);
        assert!(gate.holds().unwrap(), "the killed process's rules are in force");
        gate.shut().unwrap();
        assert!(gate.holds().unwrap());
        assert_eq!(gate.is_owned(), adopted.owned && !try_nft("delete table inet snapsafe"));
        gate.shut().unwrap();
        assert!(gate.holds().unwrap());
    });
    flow.try_in_vain();
    if is_at_the_links {
        send_frame(guest, "veth1", mac_bytes(1, 1), b"shut");
        assert_eq!(gauge.frames().len(), 0);
    }
    assert_eq!(gauge.count(), 0);
    open_as(guest, config);
    assert_eq!(flow.arrives_and_before_it(), 0);
}

#[test]
fn a_killed_owner_leaves_the_gate_shut_and_the_next_one_adopts_it() {
    let proof = "a killed owner";
    let Some([guest, outside]) = guest_and_outside(proof) else { return };
    if guest.run(move || owned(proof).is_some()) {
        stays_shut_and_is_adopted(&guest, &outside, &Config::default());
    }
}

#[test]
fn a_gate_at_the_links_stays_shut_when_its_daemon_is_killed_and_the_next_one_adopts_it() {
    let proof = "a killed daemon, at the links";
    let Some([probe]) = namespaces(proof) else { return };
    let may_own = probe.run(move || owned(proof).is_some());
    for config in link_gates(proof, &probe) {
        for owned in [may_own, false] {
            // New ones each time: programs that are being started on other threads still have sockets
            // that were closed, and with them their ports.
            let Some([guest, outside]) = guest_and_outside(proof) else { return };
            stays_shut_and_is_adopted(&guest, &outside, &Config { owned, ..config.clone() });
        }
    }
}

#[test]
fn an_ordinary_gate_stays_shut_when_its_daemon_is_killed() {
    let Some([guest, outside]) = guest_and_outside("a killed daemon") else { return };
    stays_shut_and_is_adopted(&guest, &outside, &ordinary());
}

#[test]
fn another_process_can_neither_open_an_owned_gate_nor_take_it() {
    let Some([guest]) = namespaces("two owners") else { return };
    guest.run(|| {
        let Some(mut first) = owned("two owners") else { return };
        first.shut().unwrap();
        let mut second = gate(&Config::default());
        assert!(second.open().unwrap_err().contains("own"));
        assert!(second.shut().unwrap_err().contains("own"));
        assert!(first.holds().unwrap());
        drop(first);
        // Programs that are being started on other threads have its socket until they run.
        while second.shut().is_err() {}
        second.open().unwrap();
    });
}
