use super::*;
use crate::sync::explore;
use loom::sync::Arc;
use loom::thread;

fn machine(machine: u64) -> Epoch {
    Epoch { machine, counter: machine, ..Epoch::default() }
}

#[test]
fn a_reader_finds_the_value_of_its_epoch_or_nothing() {
    explore("a stamp", 3, || {
        let stamp = Arc::new(Stamp::new());
        let read = Arc::clone(&stamp);
        let reader = thread::spawn(move || {
            for number in [1, 2] {
                let found = read.get(&machine(number));
                assert!(found.is_none() || found == Some(10 * number), "{found:?} of {number}");
            }
        });
        stamp.set(&machine(1), 10);
        stamp.set(&machine(2), 20);
        reader.join().unwrap();
        assert_eq!(stamp.get(&machine(2)), Some(20));
    });
}

#[test]
fn two_writers_leave_the_record_of_one_whole() {
    explore("a stamp that two write", 2, || {
        let stamp = Arc::new(Stamp::new());
        let written = Arc::clone(&stamp);
        let writer = thread::spawn(move || written.set(&machine(1), 10));
        stamp.set(&machine(2), 20);
        let found = stamp.get(&machine(1));
        assert!(found.is_none() || found == Some(10), "{found:?}");
        writer.join().unwrap();
        let (one, two) = (stamp.get(&machine(1)), stamp.get(&machine(2)));
        assert!(matches!((one, two), (Some(10), None) | (None, Some(20))), "{one:?} {two:?}");
    });
}
