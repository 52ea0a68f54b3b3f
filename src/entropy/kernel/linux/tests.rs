//! The calls on the kernel that the tests run on.

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;
use crate::entropy::{Entropy, SystemEntropy};

/// What the kernel says of itself, by another way.
fn os_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned()
}

#[test]
fn the_reseed_interval_follows_the_kernels_release() {
    assert!(reseeds_every_minute(b"6.18.44-fc"));
    assert!(reseeds_every_minute(b"5.18"));
    assert!(!reseeds_every_minute(b"5.10.252-285.992.amzn2"));
    assert!(!reseeds_every_minute(b"5.4.0"));
    assert!(!reseeds_every_minute(b"unknown"));
}

#[test]
fn the_device_gives_bytes_when_the_system_call_is_forbidden() {
    let (mut a, mut b) = ([0; FULL], [0; FULL]);
    fill_from_device(&mut a).unwrap();
    fill_from_device(&mut b).unwrap();
    // Equal by chance: 2^-256.
    assert_ne!(a, b);
}

#[test]
fn another_device_does_not_pass_for_randomness() {
    assert_eq!(open_device(c"/dev/zero").unwrap_err(), Errno::NODEV);
}

#[test]
fn the_system_call_gives_bytes() {
    let (mut a, mut b) = ([0; FULL], [0; FULL]);
    fill(&mut a).unwrap();
    fill(&mut b).unwrap();
    // Equal by chance: 2^-256.
    assert_ne!(a, b);
}

#[test]
fn a_device_is_not_left_to_programs_that_are_started() {
    let device = open_device(c"/dev/urandom").unwrap();
    let flags = rustix::io::fcntl_getfd(&device).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn the_settling_time_is_that_of_this_kernel() {
    let release = os_release();
    assert_eq!(super::release()[..release.len()], *release.as_bytes());
    let seconds = if reseeds_every_minute(release.as_bytes()) { 64 } else { 310 };
    // The first time it is found, and the second time remembered.
    assert_eq!(settling_time(), seconds * 1_000_000_000);
    assert_eq!(settling_time(), seconds * 1_000_000_000);
}

#[test]
fn clocks_are_those_of_the_machine() {
    let (coarse, fine) = (now_coarse(), now());
    assert!(1 < coarse && coarse <= fine && fine <= now(), "{coarse} {fine}");
    let of_std = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let (before, wall, after) = (of_std(), wall_clock(), of_std());
    // Unless somebody set the clock in between: within a day in any case.
    let day = 86_400 * NANOSECONDS;
    assert!(before - day < wall && wall < after + day, "{wall}");
}

/// An epoch that nothing else in this process is in.
fn epoch(machine: u64) -> Epoch {
    Epoch { counter: machine, marker: 0, process: 1, sysgenid: 0, agent: 0, copy: 0, machine }
}

/// Whether this thread may make the kernel reseed.
fn may_reseed() -> bool {
    let device = open_device(c"/dev/urandom").unwrap();
    // SAFETY: this ioctl takes no argument and writes no memory of ours.
    let answer = unsafe { libc::ioctl(device.into_raw_fd(), RNDRESEEDCRNG as _) };
    answer == 0
}

/// Does something while descriptor 0 is the device, and kept as such.
fn without_standard_input<R>(act: impl FnOnce() -> R) -> R {
    let device = open_device(c"/dev/urandom").unwrap();
    let input = rustix::io::dup(std::io::stdin()).unwrap();
    rustix::stdio::dup2_stdin(&device).unwrap();
    let descriptor = RESEED_ON.swap(0, Ordering::Relaxed);
    let done = act();
    RESEED_ON.store(descriptor, Ordering::Relaxed);
    rustix::stdio::dup2_stdin(&input).unwrap();
    done
}

/// All that `reseed` does, in one test: what it keeps belongs to the process.
#[test]
fn the_kernel_is_made_to_reseed_once_in_an_epoch_by_whoever_may() {
    prepare();
    let is_wanted = !super::super::super::cpu::fill(&mut [0; FULL]);
    assert_eq!(RESEED_ON.load(Ordering::Relaxed) >= 0, is_wanted);

    RESEED_ON.store(-1, Ordering::Relaxed);
    assert!(!SystemEntropy.reseed_kernel(&epoch(71)), "no descriptor");
    let other = std::fs::File::open("/dev/zero").unwrap().into_raw_fd();
    RESEED_ON.store(other, Ordering::Relaxed);
    assert!(!reseed(&epoch(71)), "somebody else's descriptor");

    RESEED_ON.store(open_device(c"/dev/urandom").unwrap().into_raw_fd(), Ordering::Relaxed);
    if may_reseed() {
        assert!(reseed(&epoch(72)));
        assert_eq!(RESEEDED_IN.get(&epoch(72)), Some(1));
        // Of this thread alone.
        let all = capabilities(None).unwrap();
        let mut fewer = all;
        fewer.effective.remove(CapabilitySet::SYS_ADMIN);
        set_capabilities(None, fewer).unwrap();
        assert!(SystemEntropy.reseed_kernel(&epoch(72)), "it was done in this epoch");
        assert!(!reseed(&epoch(73)), "it is forbidden now");
        set_capabilities(None, all).unwrap();
        assert!(!reseed(&epoch(74)), "and that is remembered");
        RESEED_REFUSED.store(false, Ordering::Relaxed);
        assert!(without_standard_input(|| reseed(&epoch(75))), "the device may be descriptor 0");
    } else {
        println!("SKIPPED: this process may not make the kernel reseed (CAP_SYS_ADMIN)");
        assert!(!reseed(&epoch(73)));
        assert!(RESEED_REFUSED.load(Ordering::Relaxed), "and it is not asked for again");
    }
    RESEED_REFUSED.store(false, Ordering::Relaxed);
    RESEED_ON.store(-1, Ordering::Relaxed);
}
