//! The process page is active, not just requested: the kernel drops it when told to, which the
//! library tells from a copy.
#![cfg(target_os = "linux")]

mod common;

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

use common::blocks::{assert_nothing_repeats, numbered};
use common::copies::{Board, WAYS, Way, child};
use common::interruption::Trap;
use common::maps::{DROPPABLE, Mapping, NOT_DUMPED, WIPED_ON_FORK, mappings};
use common::worlds::{
    self, NOT_DROPPABLE, PROCESS_ID, PROCESS_ONLY, SYNCHRONOUS, in_worlds, no_sources,
};
use common::{in_a_fresh_process, skip};
use snaprng::{Cause, ForkSafety, Policy, RestoreSafety, Witness, WitnessState};

fn page_bytes() -> usize {
    // SAFETY: takes no pointers.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a size")
}

/// The process page among the droppable mappings of this process (the states of the vDSO's
/// `getrandom` are more than one page); none where the kernel has no such thing.
fn droppable_pages() -> Vec<Mapping> {
    let is_ours = |m: &Mapping| m.has(DROPPABLE) && m.length == page_bytes();
    mappings().into_iter().filter(is_ours).collect()
}

/// Whether the kernel has `MAP_DROPPABLE`; says so if it has not.
fn kernel_drops_pages(test: &str) -> bool {
    const MAP_DROPPABLE: i32 = 0x08;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = MAP_DROPPABLE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice, which is kept.
    let answer = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    let drops = answer != libc::MAP_FAILED;
    if drops {
        // SAFETY: just mapped, and known to nobody else.
        unsafe { libc::munmap(answer, 4096) };
    } else {
        skip(test, "this kernel has no MAP_DROPPABLE (Linux 6.11)");
    }
    drops
}

/// The word at the beginning of a mapping.
fn first_word(page: &Mapping) -> u64 {
    let word = std::ptr::with_exposed_provenance_mut::<u64>(page.start);
    // SAFETY: a readable mapping that is never unmapped; whoever writes it does so atomically.
    unsafe { AtomicU64::from_ptr(word) }.load(Ordering::SeqCst)
}

/// Makes the kernel drop these pages, as it may under memory pressure.
///
/// A page that was written a moment ago waits in a list of its CPU, where `MADV_PAGEOUT` does not
/// find it; the kernel empties that of the CPU that asks.
fn drop_pages(pages: &[Mapping]) {
    for page in pages {
        assert_ne!(first_word(page), 0, "there is something to drop");
        let address = std::ptr::with_exposed_provenance_mut(page.start);
        let dropped = (0..1000).any(|_| {
            // SAFETY: paging out is allowed at any time, and may lose this mapping's content.
            let answer = unsafe { libc::madvise(address, page.length, libc::MADV_PAGEOUT) };
            assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
            std::thread::yield_now();
            first_word(page) == 0
        });
        assert!(dropped, "the kernel keeps the page");
    }
}

fn process_witness(report: &snaprng::Protection) -> &Witness {
    report.witnesses().iter().find(|w| w.name() == "process").expect("the process witness")
}

#[test]
fn the_process_page_is_one_that_the_kernel_drops() {
    if !kernel_drops_pages("the_process_page_is_one_that_the_kernel_drops") {
        return;
    }
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        let pages = droppable_pages();
        assert_eq!(pages.len(), 1, "the process page alone");
        assert!(pages[0].has(WIPED_ON_FORK));
        drop_pages(&pages);
        let report = snaprng::protection();
        assert_eq!(report.restore_safety(), RestoreSafety::DroppedPage);
        assert_eq!(process_witness(&report).state(), WitnessState::Active);
        assert_ne!(first_word(&pages[0]), 0, "armed again");
    });
}

#[test]
fn a_dropped_page_costs_one_rekey_and_ends_no_generation() {
    if !kernel_drops_pages("a_dropped_page_costs_one_rekey_and_ends_no_generation") {
        return;
    }
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        let mut owned = worlds::owned();
        let pages = droppable_pages();
        let generation = snaprng::generation();
        let mut outputs = vec![0; 64 * 20];
        for output in outputs.chunks_mut(64) {
            let before = snaprng::protection();
            drop_pages(&pages);
            assert!(generation.is_current(), "nothing was copied");
            let (one, other) = output.split_at_mut(32);
            owned.fill(one).expect("bytes");
            let after = snaprng::protection();
            assert_eq!(after.rekeys() - before.rekeys(), 2, "both generators");
            assert_eq!(after.epoch_changes() - before.epoch_changes(), 2);
            assert_eq!(after.is_settled(), before.is_settled(), "the machine is the same");
            snaprng::fill(other).expect("bytes");
            assert!(generation.is_current());
            assert_eq!(generation, snaprng::generation());
        }
        assert_nothing_repeats(&numbered("output", &outputs.chunks(32).collect::<Vec<_>>()));
    });
}

/// A large request, interrupted after half of it: what had been written then, and what it filled.
fn interrupted(meanwhile: &mut dyn FnMut()) -> (Vec<u8>, Vec<u8>) {
    const HALF: usize = 128 << 10;
    let mut trap = Trap::new(HALF, HALF);
    let base = trap.base();
    let mut written = vec![0; HALF];
    let filled = trap.spring(
        HALF,
        HALF,
        |out| snaprng::fill(out).expect("a large request"),
        || {
            // SAFETY: the request has written these bytes, and waits for this handler.
            written.copy_from_slice(unsafe { std::slice::from_raw_parts(base.start(HALF), HALF) });
            meanwhile();
        },
    );
    (written, filled.to_vec())
}

#[test]
fn a_large_request_goes_on_after_a_mere_drop_and_begins_anew_after_a_copy() {
    if !kernel_drops_pages("a_large_request_goes_on_after_a_mere_drop") {
        return;
    }
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        let pages = droppable_pages();
        let (written, filled) = interrupted(&mut || drop_pages(&pages));
        assert_eq!(written, filled[..written.len()], "it was not restarted");
        // The same with a report of a restore, to show that a restart would have been seen.
        let (written, filled) = interrupted(&mut || snaprng::notify_restored(b"unique"));
        assert_nothing_repeats(&numbered("before and after", &[&written, &filled]));
    });
}

#[test]
fn a_drop_that_cannot_be_told_from_a_copy_counts_as_one() {
    if !kernel_drops_pages("a_drop_that_cannot_be_told_from_a_copy_counts_as_one") {
        return;
    }
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        for way in WAYS {
            child(way, || {
                // A child cannot read its own start time through its parent's descriptor.
                snaprng::fill(&mut [0; 32]).expect("bytes");
                let generation = snaprng::generation();
                drop_pages(&droppable_pages());
                assert!(!generation.is_current());
                assert!(!snaprng::protection().is_settled() || is_process_only());
            })
            .join();
        }
    });
}

fn is_process_only() -> bool {
    snaprng::protection().level() == snaprng::Level::ProcessOnly
}

#[test]
fn a_process_that_lost_its_descriptors_takes_a_drop_for_a_copy() {
    if !kernel_drops_pages("a_process_that_lost_its_descriptors_takes_a_drop_for_a_copy") {
        return;
    }
    in_worlds(&[PROCESS_ONLY], |_| {
        let generation = snaprng::generation();
        let pages = droppable_pages();
        // As a daemon does that closes all descriptors, and opens files that take their places.
        let replacement = std::fs::File::open("/dev/zero").expect("a device");
        let identities = descriptors_of(&["/stat", "/boot_id"]);
        assert_eq!(identities.len(), 2, "start time and boot id");
        for descriptor in identities {
            // SAFETY: nobody but the library uses it, and it reckons with this.
            let answer = unsafe { libc::dup2(replacement.as_raw_fd(), descriptor) };
            assert_eq!(answer, descriptor);
        }
        drop_pages(&pages);
        assert!(!generation.is_current());
        snaprng::fill(&mut [0; 32]).expect("bytes");
    });
}

/// This process's open descriptors of files in procfs whose names end like this.
fn descriptors_of(endings: &[&str]) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("procfs");
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let target =
                std::fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok()?;
            let is_one =
                target.starts_with("/proc/") && endings.iter().any(|e| target.ends_with(e));
            is_one.then(|| entry.file_name().to_str()?.parse().ok()).flatten()
        })
        .collect()
}

#[test]
fn a_child_made_while_the_page_is_dropped_shares_nothing() {
    if !kernel_drops_pages("a_child_made_while_the_page_is_dropped_shares_nothing") {
        return;
    }
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY], |_| {
        let mut owned = worlds::owned();
        let pages = droppable_pages();
        for way in WAYS {
            let board = Board::new(3, 1024);
            let generation = snaprng::generation();
            drop_pages(&pages);
            // Nobody has looked since: child and parent both find a cleared word.
            let mut draw = |slot: usize| {
                let (thread, own) = board.slot(slot).split_at_mut(512 - 32);
                snaprng::fill(thread).expect("bytes");
                owned.fill(own).expect("bytes");
            };
            for slot in [1, 2] {
                child(way, || {
                    assert!(!generation.is_current());
                    draw(slot);
                })
                .join();
            }
            draw(0);
            assert!(generation.is_current());
            assert_nothing_repeats(&numbered("process", &board.records()));
        }
    });
}

#[test]
fn where_the_kernel_only_pretends_to_clear_pages_the_fork_handler_does_it() {
    in_worlds(&[NOT_DROPPABLE], |_| {
        let mut owned = worlds::owned();
        owned.fill(&mut [0; 32]).expect("bytes");
        snaprng::fill(&mut [0; 32]).expect("bytes");
        for page in mappings().iter().filter(|page| page.has(WIPED_ON_FORK)) {
            let address = std::ptr::with_exposed_provenance_mut(page.start);
            // SAFETY: takes back an advice; nothing changes in this process.
            let answer = unsafe { libc::madvise(address, page.length, libc::MADV_KEEPONFORK) };
            assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
        }
        assert!(!mappings().iter().any(|page| page.has(WIPED_ON_FORK)));
        let generation = snaprng::generation();
        let board = Board::new(4, 512);
        let mut draw = |slot: usize| {
            let (thread, own) = board.slot(slot).split_at_mut(512 - 32);
            snaprng::fill(thread).expect("bytes");
            owned.fill(own).expect("bytes");
        };
        for (of_child, own) in [(0, 1), (2, 3)] {
            child(Way::Fork, || {
                assert!(!generation.is_current());
                draw(of_child);
            })
            .join();
            draw(own);
        }
        // No handler runs for a raw `clone`: what remains is the process id, which rekeys look at.
        child(Way::RawClone, || {
            snaprng::reseed(&[]).expect("a rekey");
            assert!(!generation.is_current());
        })
        .join();
        assert!(generation.is_current());
        assert_nothing_repeats(&numbered("process", &board.records()));
    });
}

#[test]
fn a_kernel_without_droppable_pages_is_reported() {
    in_worlds(&[NOT_DROPPABLE, PROCESS_ID], |_| {
        let report = snaprng::protection();
        let witness = process_witness(&report);
        assert!(droppable_pages().is_empty());
        assert_eq!(report.restore_safety(), RestoreSafety::None);
        match report.fork_safety() {
            ForkSafety::ClearedPage => {
                assert_eq!(witness.state(), WitnessState::Active);
                assert_eq!(witness.cause(), Some(Cause::NoDroppablePage));
            }
            _ => {
                assert_eq!(witness.state(), WitnessState::Unusable);
                assert_eq!(witness.cause(), Some(Cause::ProcessIdOnly));
            }
        }
    });
}

#[test]
fn a_child_has_no_keys_of_its_parents_other_threads() {
    in_a_fresh_process(|| {
        snaprng::Config { policy: Policy::AssumeNeverCloned, ..no_sources() }
            .install()
            .expect("installed");
        // Ends when the sender is dropped, by a failure too.
        let (until, forked) = channel::<()>();
        let (drawn, has_drawn) = channel();
        std::thread::spawn(move || {
            snaprng::fill(&mut [0; 32]).expect("bytes");
            drawn.send(()).expect("somebody waits");
            let _ = forked.recv();
        });
        has_drawn.recv().expect("bytes of the other thread");
        // The generators of all threads: in memory that is cleared in a child and left out of core
        // dumps.
        let slab: Vec<Mapping> = mappings()
            .into_iter()
            .filter(|m| m.has(WIPED_ON_FORK) && m.has(NOT_DUMPED) && !m.has(DROPPABLE))
            .collect();
        assert!(!slab.is_empty(), "no such memory");
        let nonzero = || slab.iter().map(nonzero_bytes).sum::<usize>();
        assert!(nonzero() > 512, "a key and a buffer are there");
        for way in WAYS {
            child(way, || assert_eq!(nonzero(), 0)).join();
        }
        drop(until);
    });
}

fn nonzero_bytes(mapping: &Mapping) -> usize {
    let start = std::ptr::with_exposed_provenance::<u8>(mapping.start);
    // SAFETY: a readable mapping that is never unmapped; its owner waits meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts(start, mapping.length) };
    bytes.iter().filter(|&&b| b != 0).count()
}
