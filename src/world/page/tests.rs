//! What can be asked of a page without a source that is moved over it.

use core::sync::atomic::Ordering;

use super::*;

#[test]
fn words_hold_as_long_as_none_of_them_is_another() {
    const A: usize = Watched::PROCESS;
    const B: usize = Watched::VMCLOCK + 0x68;
    const C: usize = Watched::VMCLOCK + 0x10;
    static OURS: Watched = Watched { process: Page::new(), vmclock: Page::new() };
    let words = [
        OURS.process.word::<0>(),
        OURS.vmclock.word::<{ 0x68 / 8 }>(),
        OURS.vmclock.word::<{ 0x10 / 8 }>(),
    ];
    assert!(OURS.hold::<A, B, C>([0; 3]));
    for (number, word) in (1..).zip(words) {
        word.store(number, Ordering::Relaxed);
    }
    assert!(OURS.hold::<A, B, C>([1, 2, 3]));
    for (word, other) in words.iter().zip([[0, 2, 3], [1, 0, 3], [1, 2, 0]]) {
        assert!(!OURS.hold::<A, B, C>(other));
        // Each bit counts, the highest too.
        let before = word.fetch_xor(1 << 63, Ordering::Relaxed);
        assert!(!OURS.hold::<A, B, C>([1, 2, 3]));
        word.store(before, Ordering::Relaxed);
    }
    assert!(OURS.hold::<A, B, C>([1, 2, 3]));
}

#[test]
fn only_words_of_a_source_can_be_watched() {
    for at in [0, 8, SOURCE_BYTES - 8, Watched::VMCLOCK, Watched::VMCLOCK + SOURCE_BYTES - 8] {
        assert!(Watched::is_word(at), "{at}");
    }
    for at in [4, Watched::VMCLOCK + 1, size_of::<Watched>(), size_of::<Watched>() + 8] {
        assert!(!Watched::is_word(at), "{at}");
    }
}

#[test]
fn a_page_is_where_its_words_are() {
    static OURS: Page = Page::new();
    let begin = (&raw const OURS).addr();
    assert_eq!(OURS.as_ptr().addr(), begin);
    assert_eq!((&raw const *OURS.first_half_word()).addr(), begin);
    assert_eq!((&raw const *OURS.word::<2>()).addr(), begin + 16);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_machines_page_has_4096_bytes() {
    assert_eq!(machine_page(), Ok(4096));
}

/// Where a file of this name is mapped in this process.
fn mapped_at(name: &str) -> Option<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains(name))?;
    usize::from_str_radix(line.split('-').next()?, 16).ok()
}

#[test]
fn a_mapping_knows_where_it_is_and_is_gone_when_it_is_dropped() {
    let file = rustix::fs::memfd_create(c"where-it-is", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, SOURCE_BYTES as u64).unwrap();
    let mapping = Mapping::of_file(std::os::fd::AsFd::as_fd(&file)).unwrap();
    let (address, length) = mapping.range();
    assert_eq!((Some(address.addr()), Ok(length)), (mapped_at("where-it-is"), machine_page()));
    drop(mapping);
    assert_eq!(mapped_at("where-it-is"), None);
}
