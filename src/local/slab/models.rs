use super::*;
use crate::sync::explore;
use loom::thread;

/// A copy of the process.
const COPY: u64 = 7;

/// No thread has this id: it is above what `pid_max` may be (4194304).
const DEAD: u32 = 0x7fff_fff0;

/// A thread's use of the slab from its first request to its end.
fn live() {
    let Some(seat) = take_seat(COPY) else { return };
    seat.used.is_mine();
    seat.give_back();
}

#[test]
fn a_generator_belongs_to_one_thread_at_a_time() {
    explore("threads that come and go", 2, || {
        let others = [(); 2].map(|()| thread::spawn(live));
        live();
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

#[test]
fn the_seat_of_a_dead_thread_is_taken_by_one() {
    explore("a seat that nobody gave back", 3, || {
        let seat = take_seat(COPY).unwrap();
        seat.owner.store(DEAD, Ordering::Relaxed);
        UNARMED.fetch_add(1, Ordering::Relaxed);
        let other = thread::spawn(|| reclaim().map(|seat| &raw const *seat));
        let mine = reclaim().map(|seat| &raw const *seat);
        let theirs = other.join().unwrap();
        assert!(mine.is_none() || mine != theirs, "two have one seat");
        assert!(mine.is_some() != theirs.is_some(), "nobody has it");
        assert_eq!(UNARMED.load(Ordering::Relaxed), 0);
    });
}

/// Takes the first seat if its owner is dead.
fn reclaim() -> Option<&'static Seat> {
    let seat = &chunk(0)?[0];
    seat.take_from_dead(COPY).then(|| {
        seat.used.is_mine();
        seat
    })
}
