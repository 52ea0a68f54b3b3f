//! A vmclock page from anybody, changing while it is read: whatever its bytes, it is refused with a
//! cause or it is what the ABI says (`include/uapi/linux/vmclock-abi.h`, Linux 7.0).
//!
//! An input is the page's first 0x70 bytes and then a schedule: after how many reads of the library
//! which words get which values. What the library must answer is told from what was there at the
//! moment of each read, so nothing may be read twice and believed once.
#![no_main]

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use snaprng::fuzzing::{
    Read, before_reads, install_vmclock, look_at_vmclock, validate_installed_vmclock,
    validate_vmclock_page as validate, vmclock_is_still, vmclock_page,
};
use snaprng::{Cause, Config, Error, Level, Source, VmClock, WitnessState};
use snaprng_fuzz::Input;

/// The header ends with `flags`, and the page's fields with the counter.
const HEADER: usize = 0x20;
const FIELDS: usize = 0x70;
const COUNTER: usize = 0x68;
const MARKER: usize = 0x10;

/// What the ABI says about a header. The first fault is the one that is named.
fn verdict(header: &[u8; HEADER]) -> Result<bool, Cause> {
    let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    match (&header[..4] == b"VCLK", header[8], header[9], number(4)) {
        (false, ..) => Err(Cause::BadMagic(number(0))),
        (_, 1, 0, 0x70..) => Ok(header[0x19] & 1 != 0),
        (_, 1, 0, size) => Err(Cause::TooSmall(size)),
        (_, low, high, _) => Err(Cause::BadVersion(u32::from(low) | u32::from(high) << 8)),
    }
}

/// A page of memory, what is in it, and what will happen to it.
struct Page {
    file: File,
    bytes: [u8; 4096],
    /// After how many more reads, where, and what; the next one last.
    schedule: Vec<(u8, usize, u64)>,
    /// What was there when it was read: the header as a whole, and each word.
    header: [u8; HEADER],
    read: Vec<(usize, u64)>,
    moves: usize,
}

impl Page {
    fn new(head: &[u8], schedule: &mut Input<'_>) -> Self {
        let file = File::from(memfd_create("page", MemfdFlags::ALLOW_SEALING).expect("a memfd"));
        ftruncate(&file, 4096).expect("our own memfd");
        fcntl_add_seals(&file, SealFlags::SHRINK).expect("our own memfd");
        let mut page = Self {
            file,
            bytes: [0; 4096],
            schedule: Vec::new(),
            header: [0; HEADER],
            read: Vec::new(),
            moves: 0,
        };
        page.write(0, head);
        while !schedule.is_over() && page.schedule.len() < 64 {
            let after = schedule.byte() % 16;
            let offset = usize::from(schedule.byte() % (FIELDS as u8 / 4)) * 4;
            page.schedule.push((after, offset, schedule.number::<8>()));
        }
        page.schedule.reverse();
        page
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.file.write_all_at(bytes, offset as u64).expect("our own memfd");
    }

    fn word(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.bytes[offset..offset + 8].try_into().unwrap())
    }

    /// What happens before a read of a word.
    fn about_to_be_read(&mut self, offset: usize) {
        while let Some((after, at, value)) = self.schedule.last_mut() {
            if *after > 0 {
                *after -= 1;
                break;
            }
            let (at, value) = (*at, *value);
            self.schedule.pop();
            self.moves += 1;
            self.write(at, &value.to_le_bytes());
        }
        let now = self.word(offset);
        self.read.push((offset, now));
        if let Some(read) = self.header.get_mut(offset..offset + 8) {
            read.copy_from_slice(&now.to_le_bytes());
        }
    }

    /// The reads since the last call.
    fn take_reads(&mut self) -> Vec<(usize, u64)> {
        self.moves = 0;
        std::mem::take(&mut self.read)
    }
}

/// Puts the page under the library's eyes.
fn watch(page: &Rc<RefCell<Page>>) {
    let (page, installed) = (Rc::clone(page), vmclock_page());
    before_reads(Some(Box::new(move |read: Read| {
        if read.page.is_none_or(|address| address == installed) {
            page.borrow_mut().about_to_be_read(read.offset);
        }
    })));
}

fn install_once() {
    let page = snaprng::host::VmClockPage::memfd().expect("a memfd");
    let vmclock = VmClock::Fd(page.try_clone_fd().expect("a descriptor"));
    let (sysgenid, agent_page) = (Source::Off, Source::Off);
    Config { vmclock, sysgenid, agent_page, ..Config::default() }.install().expect("the first one");
    assert_eq!(snaprng::protection().level(), Level::Synchronous);
}

fuzz_target!(init: install_once(), |bytes: &[u8]| {
    match bytes.first_chunk::<HEADER>() {
        None => assert_eq!(validate(bytes), None, "{} bytes are no header", bytes.len()),
        Some(header) => {
            assert_eq!(validate(bytes), Some(verdict(header)));
            // What follows the header changes nothing.
            assert_eq!(validate(header), Some(verdict(header)));
        }
    }

    let (head, schedule) = bytes.split_at(bytes.len().min(FIELDS));
    let page = Rc::new(RefCell::new(Page::new(head, &mut Input(schedule))));
    let before = look_at_vmclock();
    watch(&page);
    let descriptor = page.borrow().file.try_clone().expect("a descriptor");
    let outcome = install_vmclock(descriptor.into());
    let reads = page.borrow_mut().take_reads();
    let mut offsets: Vec<_> = reads.iter().map(|(offset, _)| *offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 8, 0x18], "each part of the header, once");
    let expected = verdict(&page.borrow().header).map(|_| WitnessState::StandIn);
    assert_eq!(outcome, expected);
    if outcome.is_err() {
        // It is not looked at: what was there before is.
        assert_eq!(look_at_vmclock(), before);
        assert_eq!(page.borrow_mut().take_reads().len(), 2);
        before_reads(None);
        return;
    }

    // A look, and a second one behind the output.
    let (counter, marker) = look_at_vmclock();
    assert_eq!(page.borrow_mut().take_reads(), [(COUNTER, counter), (MARKER, marker)]);
    let is_still = vmclock_is_still(counter, marker);
    let reads = page.borrow_mut().take_reads();
    let expected = reads.iter().all(|(offset, now)| match *offset {
        COUNTER => *now == counter,
        MARKER => *now == marker,
        offset => panic!("{offset:#x} was looked at"),
    });
    assert_eq!(is_still, expected, "{reads:x?}");
    assert!(!is_still || reads.len() == 2, "both words: {reads:x?}");
    // A rekey asks again what the page is.
    let outcome = validate_installed_vmclock();
    assert_eq!(outcome, verdict(&page.borrow().header));
    page.borrow_mut().take_reads();

    // A request during which it changes.
    let mut out = [0; 32];
    match snaprng::fill(&mut out) {
        Ok(()) => assert_ne!(out, [0; 32]),
        Err(error) => {
            assert_eq!(error, Error::WorldUnstable);
            assert!(page.borrow().moves >= 8, "after {} moves", page.borrow().moves);
            assert_eq!(out, [0; 32]);
        }
    }
    before_reads(None);

    // When it has come to rest, the next rekey gives the level that it is worth.
    let generation = snaprng::generation();
    let moved = page.borrow().word(MARKER).wrapping_add(1);
    page.borrow_mut().write(MARKER, &moved.to_le_bytes());
    assert!(!generation.is_current());
    let header = *page.borrow().bytes.first_chunk().unwrap();
    let report = snaprng::protection();
    let is_synchronous = report.level() == Level::Synchronous;
    assert_eq!(is_synchronous, verdict(&header) == Ok(true), "{report}");
    let cause = match verdict(&header) {
        Ok(true) => None,
        Ok(false) => Some(Cause::NoCounter),
        Err(cause) => Some(cause),
    };
    assert_eq!(report.witnesses()[0].cause(), cause);
});
