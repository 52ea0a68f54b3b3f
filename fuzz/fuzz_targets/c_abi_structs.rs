//! The C ABI, called by a program that is older, newer or wrong: sizes, flags, numbers, pointers and
//! lengths of any value. Each call answers what the header says, and touches no byte beyond what it
//! was given: the memory ends at a page that may not be touched.
//!
//! The rules for a configuration are stated here a second time, from the header's words.
#![no_main]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr::{null, null_mut};

use libfuzzer_sys::fuzz_target;
use snaprng::capi::*;
use snaprng::host::VmClockPage;
use snaprng_fuzz::{Guarded, Input};

thread_local! {
    static PAGE: VmClockPage = VmClockPage::memfd().expect("a memfd");
    /// For structs, for what they point to, and for a buffer.
    static MEMORY: RefCell<[Guarded; 5]> = RefCell::new(std::array::from_fn(|_| Guarded::new()));
}

const CONFIG: usize = size_of::<snaprng_config>();
const REPORT: usize = size_of::<snaprng_protection_t>();

fn descriptor() -> OwnedFd {
    PAGE.with(|page| page.try_clone_fd().expect("a descriptor"))
}

fn is_open(descriptor: c_int) -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) != -1 }
}

/// A size that a program may have, or an uninitialized one.
fn size(input: &mut Input<'_>, right: usize) -> usize {
    let odd = input.byte() as usize;
    let far = usize::MAX - odd;
    input.choice(&[right, right, right + 8, right - 8, right + odd, odd, 4096, 4104, far, 0])
}

/// Whether a struct of this size is read at all.
fn is_possible(size: usize, known: usize) -> bool {
    size >= known && size <= 4096 && size.is_multiple_of(8)
}

/// Memory for a struct: as long as its size says, if that is looked at.
fn room(size: usize) -> usize {
    if size <= 4096 { size.max(size_of::<usize>()) } else { size_of::<usize>() }
}

/// A configuration, and the words of the header on it.
struct Asked {
    bytes: Vec<u8>,
    config: snaprng_config,
    /// Not acceptable, whoever asks.
    is_wrong: bool,
    /// Its size or its unknown fields are not acceptable: the others were not looked at.
    is_unread: bool,
    names_sources: bool,
}

fn asked(input: &mut Input<'_>, memory: &mut [Guarded; 5]) -> Asked {
    let size = size(input, CONFIG);
    let any = |input: &mut Input<'_>| input.number::<4>() as u32;
    let number = any(input);
    let policy = input.choice(&[0, 0, 1, 2, 3, number]);
    let flags = input.choice(&[0, 48, number & 63, number & 59, number, 4, 8]);
    let path = |input: &mut Input<'_>, memory: &mut Guarded| -> *const c_char {
        let mut text = input.bytes(8).to_vec();
        text.retain(|byte| *byte != 0);
        if text.is_empty() {
            return null();
        }
        text.push(0);
        memory.hold(&text).cast_const().cast()
    };
    let [_, first, second, third, personal] = memory;
    let (vmclock_path, sysgenid_path) = (path(input, first), path(input, second));
    let agent_page_path = path(input, third);
    let text = input.bytes(16);
    let far = usize::MAX - input.byte() as usize;
    let (personalization, personalization_len) = match input.byte() % 6 {
        0 => (null(), 0),
        1 => (null(), 1 + text.len()),
        2 => (personal.hold(text).cast_const(), far),
        3 => (null(), far),
        _ => (personal.hold(text).cast_const(), text.len()),
    };
    let rounds = input.choice(&[0, 20, 12, 8, 7, number]);
    let closed = 1 << 20;
    let has_descriptor = flags & SNAPRNG_VMCLOCK_FD != 0;
    let vmclock_fd = match (input.byte() % 4, has_descriptor) {
        (0, true) => -1,
        (1, true) => closed,
        (0, false) => 3,
        (_, true) => descriptor().into_raw_fd(),
        (_, false) => 0,
    };
    let config = snaprng_config {
        size,
        policy,
        flags,
        vmclock_path,
        sysgenid_path,
        agent_page_path,
        personalization: personalization.cast::<c_void>(),
        personalization_len,
        vmclock_fd,
        rounds,
    };
    // SAFETY: a struct without padding, of numbers and pointers.
    let known = unsafe { std::mem::transmute::<snaprng_config, [u8; CONFIG]>(config) };
    let mut bytes = known.to_vec();
    // As much of it as there is room for.
    bytes.resize(room(size), 0);
    let unknown = input.byte();
    if bytes.len() > CONFIG && unknown & 1 != 0 {
        let at = CONFIG + unknown as usize % (bytes.len() - CONFIG);
        bytes[at] = unknown;
    }
    let has = |flag| flags & flag != 0;
    let is_unread = !is_possible(size, CONFIG) || bytes.iter().skip(CONFIG).any(|byte| *byte != 0);
    let contradicts = [
        (vmclock_path, SNAPRNG_NO_VMCLOCK),
        (sysgenid_path, SNAPRNG_NO_SYSGENID),
        (agent_page_path, SNAPRNG_NO_AGENT_PAGE),
    ]
    .iter()
    .any(|(path, off)| !path.is_null() && has(*off));
    let bad_descriptor = if has_descriptor {
        has(SNAPRNG_NO_VMCLOCK) || !vmclock_path.is_null() || !is_open(vmclock_fd)
    } else {
        vmclock_fd != 0
    };
    let is_wrong = is_unread
        || flags >= 64
        || policy > 2
        || ![0, 8, 12, 20].contains(&rounds)
        || contradicts
        || bad_descriptor
        || (personalization_len > 0 && personalization.is_null())
        || personalization_len > isize::MAX as usize;
    // What the process has: a descriptor for vmclock, and neither of the others.
    let names_sources = !vmclock_path.is_null()
        || !sysgenid_path.is_null()
        || !agent_page_path.is_null()
        || has(SNAPRNG_NO_VMCLOCK);
    Asked { bytes, config, is_wrong, is_unread, names_sources }
}

fn init(input: &mut Input<'_>, memory: &mut [Guarded; 5]) {
    let asked = asked(input, memory);
    let at = memory[0].hold(&asked.bytes).cast::<snaprng_config>();
    // SAFETY: as long as its size says, and pointers as long as theirs, where they can be read.
    let answer = unsafe { snaprng_init(at) };
    assert_eq!(memory[0].held(), asked.bytes, "a configuration is only read");
    let expected = if asked.is_wrong { SNAPRNG_EINVAL } else { SNAPRNG_EINSTALLED };
    assert_eq!(answer, expected);
    close(&asked, answer == SNAPRNG_EINVAL);
}

/// A descriptor is the caller's again if it was refused, and closed if not.
fn close(asked: &Asked, is_callers: bool) {
    let fd = asked.config.vmclock_fd;
    let was_ours = asked.config.flags & SNAPRNG_VMCLOCK_FD != 0 && fd > 3 && fd < 1 << 20;
    if was_ours {
        assert_eq!(is_open(fd), is_callers);
        if is_callers {
            // SAFETY: ours.
            unsafe { libc::close(fd) };
        }
    }
}

fn owned(input: &mut Input<'_>, memory: &mut [Guarded; 5]) {
    let asked = asked(input, memory);
    let at = memory[0].hold(&asked.bytes).cast::<snaprng_config>();
    let mut handle: *mut snaprng_t = null_mut::<u8>().wrapping_add(1).cast();
    // SAFETY: as in `init`.
    let answer = unsafe { snaprng_new(at, &raw mut handle) };
    let hands_in = asked.config.flags & SNAPRNG_VMCLOCK_FD != 0;
    let expected = match () {
        () if asked.is_unread => SNAPRNG_EINVAL,
        () if hands_in => SNAPRNG_ESOURCES,
        () if asked.is_wrong => SNAPRNG_EINVAL,
        () if asked.names_sources => SNAPRNG_ESOURCES,
        () => SNAPRNG_OK,
    };
    // Without CPU randomness `Require` refuses for a while.
    let refused = answer == SNAPRNG_ENOTYETDIVERSE && asked.config.policy == 1;
    assert!(answer == expected || (refused && expected == SNAPRNG_OK), "{answer}, not {expected}");
    assert_eq!(handle.is_null(), answer != SNAPRNG_OK);
    close(&asked, true);
    // SAFETY: no configuration, or no place for the handle.
    assert_eq!(unsafe { snaprng_new(at, null_mut()) }, SNAPRNG_EINVAL);
    if !handle.is_null() {
        request(input, memory, handle);
        // SAFETY: made above.
        unsafe { snaprng_free(handle) };
    }
}

fn request(input: &mut Input<'_>, memory: &mut [Guarded; 5], handle: *mut snaprng_t) {
    let length = input.number::<2>() as usize % 4096;
    let far = usize::MAX - length;
    let at = memory[0].hold(&vec![0; length]);
    let beyond = isize::MAX as usize + 1 + length;
    // SAFETY: null, or memory of that length; other lengths are refused before it is touched.
    let answers = unsafe {
        [
            snaprng_generate(handle, null_mut(), 1 + length),
            snaprng_generate(handle, at.cast(), far),
            snaprng_generate(handle, at.cast(), beyond),
            snaprng_reseed(handle, null(), 1 + length),
            snaprng_reseed(handle, at.cast(), far),
            snaprng_fill(null_mut(), 1 + length),
            snaprng_fill(at.cast(), far),
            snaprng_notify_restored(null(), 1 + length),
            snaprng_notify_restored(at.cast(), far),
        ]
    };
    assert_eq!(answers, [SNAPRNG_EINVAL; 9]);
    assert!(memory[0].held().iter().all(|byte| *byte == 0), "nothing was written");
    // SAFETY: null, or a negative length.
    let answers = unsafe { [snaprng_RAND_bytes(null_mut(), 1), snaprng_RAND_bytes(at, -1)] };
    assert_eq!(answers, [0; 2]);
    // SAFETY: memory of that length; input and output are the same here.
    let answers = unsafe {
        [
            snaprng_generate(handle, at.cast(), length),
            snaprng_reseed(handle, at.cast(), length),
            snaprng_notify_restored(at.cast(), length),
            snaprng_fill(at.cast(), length),
            snaprng_generate(handle, null_mut(), 0),
        ]
    };
    assert_eq!(answers, [SNAPRNG_OK; 5]);
    assert!(length < 16 || memory[0].held().iter().any(|byte| *byte != 0));
}

fn report(input: &mut Input<'_>, memory: &mut [Guarded; 5]) {
    let size = size(input, REPORT);
    let mut bytes = vec![0xcc; room(size)];
    bytes[..8].copy_from_slice(&size.to_ne_bytes());
    let at = memory[0].hold(&bytes);
    // SAFETY: as long as its size says.
    let answer = unsafe { snaprng_protection(at.cast()) };
    let now = memory[0].held();
    if !is_possible(size, REPORT) {
        assert_eq!((answer, now), (SNAPRNG_EINVAL, bytes));
        return;
    }
    assert_eq!(answer, SNAPRNG_OK);
    assert_eq!(now[..8], size.to_ne_bytes());
    assert!(now.iter().skip(REPORT).all(|byte| *byte == 0), "fields of later versions");
    let field = |at: usize| u32::from_ne_bytes(now[at..at + 4].try_into().unwrap());
    assert_eq!(field(8), SNAPRNG_LEVEL_SYNCHRONOUS);
    assert_eq!(field(12) & SNAPRNG_IS_STAND_IN, SNAPRNG_IS_STAND_IN);
    assert_eq!(field(20), 4);
}

/// Texts, as snprintf writes them.
fn texts(input: &mut Input<'_>, memory: &mut [Guarded; 5]) {
    let (index, length) = (input.number::<4>() as u32, input.number::<2>() as usize % 4096);
    let index = if input.byte() & 1 == 0 { index % 5 } else { index };
    let at = memory[0].hold(&vec![0xcc; length]).cast::<c_char>();
    for whole in [true, false] {
        memory[0].hold(&vec![0xcc; length]);
        // SAFETY: memory of that length.
        let count = unsafe {
            if whole {
                snaprng_protection_string(at, length)
            } else {
                snaprng_witness_cause(index, at, length)
            }
        };
        let now = memory[0].held();
        if !whole && index > 3 {
            assert_eq!((count, now), (SNAPRNG_EINVAL, vec![0xcc; length]));
            continue;
        }
        let kept = usize::try_from(count).expect("a length").min(length.saturating_sub(1));
        assert!(now[..kept].iter().all(|byte| *byte != 0));
        assert!(now.get(kept).is_none_or(|byte| *byte == 0));
        assert!(now.iter().skip(kept + 1).all(|byte| *byte == 0xcc));
    }
    assert_eq!(snaprng_witness_name(index).is_null(), index > 3);
    assert_eq!(snaprng_witness_state(index) == SNAPRNG_EINVAL, index > 3);
    // SAFETY: null with a length, or neither.
    let answers = unsafe {
        [snaprng_protection_string(null_mut(), 1), snaprng_witness_cause(0, null_mut(), 1)]
    };
    assert_eq!(answers, [SNAPRNG_EINVAL; 2]);
    // SAFETY: a string that is never freed.
    let text = unsafe { CStr::from_ptr(snaprng_strerror(index.cast_signed())) };
    assert!(!text.is_empty());
}

fn generations(input: &mut Input<'_>, memory: &mut [Guarded; 5]) {
    // At any address, as everything is.
    let at = memory[0].hold(&[0xcc; 65]).cast::<snaprng_generation_t>();
    // SAFETY: 64 bytes, and what lies behind them.
    let answer = unsafe { snaprng_generation(at) };
    assert_eq!((answer, memory[0].held()[64]), (SNAPRNG_OK, 0xcc));
    // SAFETY: as above.
    assert_eq!(unsafe { snaprng_generation_is_current(at) }, 1);
    let mut now = memory[0].held();
    let changed = input.byte() as usize % 56;
    now[changed] ^= input.byte() | 1;
    let at = memory[0].hold(&now).cast::<snaprng_generation_t>();
    // SAFETY: as above.
    assert_eq!(unsafe { snaprng_generation_is_current(at) }, 0);
    // SAFETY: null.
    assert_eq!(unsafe { snaprng_generation(null_mut()) }, SNAPRNG_EINVAL);
    // SAFETY: null.
    assert_eq!(unsafe { snaprng_generation_is_current(null()) }, SNAPRNG_EINVAL);
}

/// Nothing that is wrong installs anything; then the right one does, once.
fn install() {
    MEMORY.with_borrow_mut(|memory| {
        for size in [0, 8, CONFIG - 8, CONFIG + 1, 4104, usize::MAX] {
            let mut bytes = vec![0; room(size)];
            bytes[..8].copy_from_slice(&size.to_ne_bytes());
            // SAFETY: as long as its size says.
            let answer = unsafe { snaprng_init(memory[0].hold(&bytes).cast()) };
            assert_eq!(answer, SNAPRNG_EINVAL);
        }
        let given = descriptor().into_raw_fd();
        let right = snaprng_config {
            size: CONFIG,
            policy: 0,
            flags: SNAPRNG_VMCLOCK_FD | SNAPRNG_NO_SYSGENID | SNAPRNG_NO_AGENT_PAGE,
            vmclock_path: null(),
            sysgenid_path: null(),
            agent_page_path: null(),
            personalization: null(),
            personalization_len: 0,
            vmclock_fd: given,
            rounds: 0,
        };
        for wrong in [
            snaprng_config { policy: 3, ..right },
            snaprng_config { rounds: 1, ..right },
            snaprng_config { flags: right.flags | 64, ..right },
            snaprng_config { vmclock_fd: -1, ..right },
            snaprng_config { personalization_len: 1, ..right },
        ] {
            // SAFETY: a struct of this version.
            assert_eq!(unsafe { snaprng_init(&raw const wrong) }, SNAPRNG_EINVAL);
            assert!(is_open(given), "still the caller's");
        }
        // SAFETY: a struct of this version.
        assert_eq!(unsafe { snaprng_init(&raw const right) }, SNAPRNG_OK);
        assert!(!is_open(given), "the library's, which needs it no more");
    });
}

fuzz_target!(init: install(), |bytes: &[u8]| {
    let mut input = Input(bytes);
    MEMORY.with_borrow_mut(|memory| {
        for _ in 0..8 {
            match input.byte() % 6 {
                0 => init(&mut input, memory),
                1 => owned(&mut input, memory),
                2 => report(&mut input, memory),
                3 => texts(&mut input, memory),
                4 => generations(&mut input, memory),
                _ => request(&mut input, memory, null_mut()),
            }
            if input.is_over() {
                break;
            }
        }
    });
});
