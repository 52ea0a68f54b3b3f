//! What must hold on any Linux, an emulator of another architecture included, whose kernel may only
//! pretend to know how to clear a page: children share nothing, and the report does not promise
//! what is not so.
//!
//! One test, because it installs a configuration: this file is a process of its own. It needs none
//! of what emulators lack (system call filters, namespaces, starting the test binary again).
#![cfg(target_os = "linux")]

mod common;

use common::blocks::{assert_nothing_repeats, numbered};
use common::copies::{Board, WAYS, child};
use common::worlds::{self, no_sources};
use snaprng::{Cause, Config, ForkSafety, Level, Policy, RestoreSafety, WitnessState};

const RECORD: usize = 4096;

#[test]
fn children_share_nothing_and_the_report_says_by_what_they_are_told() {
    Config { policy: Policy::AssumeNeverCloned, ..no_sources() }.install().expect("installed");
    let report = snaprng::protection();
    eprintln!("{report}");
    assert_eq!(report.level(), Level::ProcessOnly, "buffered: there is something to share");

    let witness = report.witnesses().iter().find(|w| w.name() == "process").expect("the witness");
    match report.fork_safety() {
        ForkSafety::ClearedPage => {
            assert_eq!(witness.state(), WitnessState::Active);
            let drops = report.restore_safety() == RestoreSafety::DroppedPage;
            assert_eq!(witness.cause(), (!drops).then_some(Cause::NoDroppablePage));
        }
        other => {
            assert_eq!(other, ForkSafety::ProcessId);
            assert_eq!(report.restore_safety(), RestoreSafety::None);
            assert_eq!(witness.state(), WitnessState::Unusable);
            assert!(witness.cause().is_some());
        }
    }

    let mut owned = worlds::owned();
    let mut draw = |record: &mut [u8]| {
        let (small, large) = record.split_at_mut(RECORD / 2);
        for (number, chunk) in small.chunks_mut(32).enumerate() {
            match number % 2 {
                0 => snaprng::fill(chunk).expect("bytes of the thread's generator"),
                _ => owned.fill(chunk).expect("bytes of the owned generator"),
            }
        }
        snaprng::fill(large).expect("a large request");
    };
    draw(&mut [0; RECORD]);
    for way in WAYS {
        let board = Board::new(4, RECORD);
        let generation = snaprng::generation();
        for slot in 1..3 {
            child(way, || {
                assert!(!generation.is_current(), "{way:?}");
                draw(board.slot(slot));
                if slot == 1 {
                    child(way, || draw(board.slot(3))).join();
                }
            })
            .join();
        }
        draw(board.slot(0));
        assert!(generation.is_current());
        assert_nothing_repeats(&numbered("process", &board.records()));
    }
}
