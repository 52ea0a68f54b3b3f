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

/// Names and values of the symbols of an image that is made up. The last is behind their table.
const SYMBOLS: [(&CStr, u64); 6] =
    [(c"", 0), (c"undefined", 0), (c"one", 0x10), (c"two", 0x20), (c"last", 0x30), (c"no", 0x40)];

/// Tags of the two tables that tell how many symbols there are.
const HASH: u64 = 4;
const GNU_HASH: u64 = 0x6fff_fef5;

/// An image of two loaded segments, with those symbols and one of the two tables.
fn made_up(table: u64, words: &[u32]) -> Vec<u8> {
    const DYNAMIC: usize = 256;
    const STRINGS: usize = 384;
    const ENTRIES: usize = 512;
    const TABLE: usize = 768;
    let mut image = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);

    put(0, b"\x7fELF\x02");
    // Where the program headers are; how long each is, and how many there are.
    put(32, &64_u64.to_ne_bytes());
    put(54, &56_u16.to_ne_bytes());
    put(56, &3_u16.to_ne_bytes());
    let segments = [(1_u32, 512_u64, 512_u64), (2, DYNAMIC as u64, 96), (1, 0, 512)];
    for (header, (kind, begin, length)) in (64..).step_by(56).zip(segments) {
        put(header, &kind.to_ne_bytes());
        put(header + 8, &begin.to_ne_bytes());
        put(header + 32, &length.to_ne_bytes());
    }
    // The zero ends it: what follows does not count.
    let dynamic = [
        (77, 1),
        (5, STRINGS as u64),
        (6, ENTRIES as u64),
        (table, TABLE as u64),
        (0, 0),
        (HASH, 0),
    ];
    for (entry, (tag, value)) in (DYNAMIC..).step_by(16).zip(dynamic) {
        put(entry, &u64::to_ne_bytes(tag));
        put(entry + 8, &value.to_ne_bytes());
    }
    let mut name_at = 0;
    for (entry, (name, value)) in (ENTRIES..).step_by(24).zip(SYMBOLS) {
        put(STRINGS + name_at, name.to_bytes_with_nul());
        put(entry, &(name_at as u32).to_ne_bytes());
        put(entry + 8, &value.to_ne_bytes());
        name_at += name.count_bytes() + 1;
    }
    for (at, word) in (TABLE..).step_by(4).zip(words) {
        put(at, &word.to_ne_bytes());
    }
    image
}

/// Five symbols: as a plain table says it, and as one of GNU's: two buckets, the first symbol that
/// counts, two words of 8 bytes of a filter, its shift, the filter, the buckets, and two chains.
const PLAIN: [u32; 2] = [1, 5];
const GNU: [u32; 14] = [2, 1, 2, 6, 8, 8, 8, 8, 3, 1, 2, 3, 4, 5];

#[test]
fn symbols_are_found_by_either_table_and_none_behind_it() {
    for image in [made_up(HASH, &PLAIN), made_up(GNU_HASH, &GNU)] {
        assert_eq!(elf::loaded_length(&image), Some(1024));
        for (name, value) in &SYMBOLS[2..5] {
            assert_eq!(elf::symbol(&image, name), Some(*value as usize), "{name:?}");
        }
        for name in [c"", c"undefined", c"no", c"nobody"] {
            assert_eq!(elf::symbol(&image, name), None, "{name:?}");
        }
    }
}

#[test]
fn a_table_of_gnu_may_have_one_symbol_or_none() {
    let last_alone = made_up(GNU_HASH, &[1, 4, 1, 6, 8, 8, 4, 5]);
    assert_eq!(elf::symbol(&last_alone, c"last"), Some(0x30));
    assert_eq!(elf::symbol(&last_alone, c"no"), None);
    let those_before = made_up(GNU_HASH, &[1, 4, 1, 6, 8, 8, 0, 0]);
    assert_eq!(elf::symbol(&those_before, c"two"), Some(0x20));
    assert_eq!(elf::symbol(&those_before, c"last"), None);
}

#[test]
fn what_is_not_elf_of_64_bits_has_no_segments() {
    let mut image = made_up(HASH, &PLAIN);
    image[4] = 1;
    // Even if a header seemed to be where none is looked for.
    image[57] = 1;
    assert_eq!(elf::loaded_length(&image), None);
    assert_eq!(elf::symbol(&image, c"one"), None);
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
