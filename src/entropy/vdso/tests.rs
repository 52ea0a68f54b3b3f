//! States, and the image that the function is found in.

use std::sync::Mutex;

use super::*;

fn is_there() -> bool {
    image().and_then(|image| address_of(image, NAME)).is_some()
}

#[test]
fn it_gives_bytes_that_differ_where_the_kernel_has_it() {
    crate::config::ensure_installed().unwrap();
    if !is_there() {
        return println!("SKIPPED: vDSO getrandom: this kernel has none");
    }
    let (mut a, mut b) = ([0; FULL], [0; FULL]);
    for out in [&mut a, &mut b] {
        // Another test may have taken all states, but not for long.
        let soon = |_| {
            std::thread::yield_now();
            fill(out)
        };
        assert!((0..10_000).any(soon));
    }
    // By chance: 2^-256.
    assert!(a != b && a != [0; FULL] && b != [0; FULL]);
}

/// Held by whoever takes all states.
static ALL: Mutex<()> = Mutex::new(());

/// Takes states until there are none, by `depth` times 32 or 64 KiB further down the stack.
fn take_all(depth: usize) -> Vec<usize> {
    let frame = core::hint::black_box([0u8; 32 << 10]);
    if depth > usize::from(frame[0]) {
        return take_all(depth - 1);
    }
    core::iter::from_fn(take).collect()
}

#[test]
fn a_call_takes_a_state_that_no_other_call_has_wherever_it_begins_to_look() {
    let _alone = ALL.lock();
    for depth in 0..5 {
        let taken = take_all(depth);
        let different: std::collections::HashSet<_> = taken.iter().collect();
        assert_eq!(different.len(), taken.len());
        // Other tests may hold some.
        assert!(taken.len() > STATES / 2, "{taken:?}");
        taken.into_iter().for_each(give_back);
        assert!(take().map(give_back).is_some());
    }
}

#[test]
fn every_state_serves_while_the_others_are_taken() {
    crate::config::ensure_installed().unwrap();
    if !is_there() {
        return println!("SKIPPED: states of vDSO getrandom: this kernel has none");
    }
    let _alone = ALL.lock();
    let mut taken = Vec::new();
    while fill(&mut [0; FULL]) {
        taken.extend(take());
    }
    assert!(taken.len() > STATES / 2, "{taken:?}");
    taken.into_iter().for_each(give_back);
}

#[test]
fn states_lie_apart_and_none_crosses_a_page() {
    let (memory, mut end) = (core::ptr::without_provenance_mut::<c_void>(4096), 4096);
    for index in 0..STATES {
        let begin = state(memory, index).addr();
        assert!(begin >= end, "{index}");
        end = begin + STRIDE;
        assert_eq!(begin / 4096, (end - 1) / 4096, "{index}");
    }
    assert_eq!(end, 4096 + STATES * STRIDE);
}

#[test]
fn only_an_answer_with_a_size_that_has_its_place_is_used() {
    assert!(fits(0, 1) && fits(0, STRIDE));
    assert!(!fits(0, 0) && !fits(0, STRIDE + 1));
    assert!(!fits(-38, STRIDE) && !fits(1, STRIDE));
}

#[test]
fn a_clock_that_every_vdso_has_is_found_and_nonsense_is_not() {
    let Some(image) = image() else {
        return println!("SKIPPED: the vDSO's symbols: there is no vDSO (emulators have none)");
    };
    let clock = if cfg!(target_arch = "aarch64") {
        c"__kernel_clock_gettime"
    } else {
        c"__vdso_clock_gettime"
    };
    assert!(address_of(image, clock).is_some());
    assert!(address_of(image, c"__vdso_teapot").is_none());
}

proptest::proptest! {
    #[test]
    fn what_is_no_image_is_read_within_its_bounds(
        mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
        is_elf in proptest::bool::ANY,
    ) {
        if is_elf && bytes.len() > 64 {
            bytes[..5].copy_from_slice(b"\x7fELF\x02");
            bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
            (bytes[54], bytes[55], bytes[57]) = (56, 0, 0);
        }
        let _ = elf::loaded_length(&bytes);
        let _ = elf::symbol(&bytes, c"x");
    }
}
