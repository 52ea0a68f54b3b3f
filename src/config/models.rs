use super::*;
use crate::sync::explore;
use loom::thread;

#[test]
fn terms_are_read_whole_or_are_the_strictest() {
    explore("the terms of the process", 3, || {
        let terms = Terms {
            policy: Policy::AssumeNeverCloned,
            accept_marker: true,
            accept_late: true,
            rounds: Rounds::Eight,
            personalization: [7; 32],
        };
        let writer = thread::spawn(move || store_terms(&terms));
        let read = ProcessTerms.terms();
        if read.policy == Policy::AssumeNeverCloned {
            assert!(read.accept_marker && read.accept_late);
            assert_eq!(read.rounds as u8, Rounds::Eight as u8);
            assert_eq!(read.personalization, [7; 32]);
        } else {
            assert_eq!(read.policy, Policy::Require);
        }
        writer.join().unwrap();
    });
}
