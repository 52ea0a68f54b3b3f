use super::*;
use crate::sync::explore;
use loom::thread;

/// As `fill` does, without the kernel's function: `take` says that the state is this call's.
fn use_a_state() {
    if let Some(index) = take() {
        give_back(index);
    }
}

#[test]
fn a_state_is_in_one_call_at_a_time() {
    explore("the states of the vDSO's getrandom", 3, || {
        let others = [(); 2].map(|()| thread::spawn(use_a_state));
        use_a_state();
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}
