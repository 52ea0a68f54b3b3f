//! vmclock's counter and disruption marker, read by the daemon for itself.
//!
//! The generator library watches the same page for its own sake; what the daemon needs besides is to
//! be woken up, and to know whether the counter is one that *must* change with every clone: only then
//! does an unchanged counter say that this is the original.
//!
//! By `pread`, and not through a mapping: a system call costs nothing here, it answers between two
//! updates of the page, it cannot kill the daemon with SIGBUS, and it is what makes `poll` of the
//! kernel's driver (Linux 7.0) wait for the next change.
//!
//! ABI: `include/uapi/linux/vmclock-abi.h` (Linux 7.0), little-endian everywhere. The printed
//! specification UAPI.13 1.0 has other offsets; the header is right.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{Errno, pread};

/// The device of the kernel's driver.
pub const DEFAULT_PATH: &str = "/dev/vmclock0";

const MAGIC: &[u8; 4] = b"VCLK";
const SIZE_AT: usize = 0x04;
const VERSION_AT: usize = 0x08;
const VERSION: u16 = 1;
const SEQUENCE_AT: usize = 0x0c;
const MARKER_AT: usize = 0x10;
const FLAGS_AT: usize = 0x18;
/// `VMCLOCK_FLAG_VM_GEN_COUNTER_PRESENT`.
const COUNTER_PRESENT: u64 = 1 << 8;
const COUNTER_AT: usize = 0x68;
/// `sizeof(struct vmclock_abi)`.
const BYTES: usize = 0x70;

/// How often a page in the middle of an update is read again.
const TRIES: usize = 1000;

/// What the page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Words {
    marker: u64,
    /// `None` without flag bit 8.
    counter: Option<u64>,
}

/// The page.
#[derive(Debug)]
pub struct VmClock {
    file: OwnedFd,
    is_device: bool,
    can_wake: bool,
    seen: Words,
}

impl VmClock {
    /// The device, or a stand-in for tests that the configuration names.
    ///
    /// # Errors
    /// `NotFound` where there is none; `InvalidData` for what is no vmclock page.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = open(path, flags, Mode::empty())?;
        let is_device = FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::CharacterDevice;
        let seen = look(file.as_fd())?;
        let can_wake = can_wake(file.as_fd())?;
        Ok(Self { file, is_device, can_wake, seen })
    }

    /// Becomes readable with a change, and until it is looked at. `None` where the driver or the
    /// hypervisor cannot do that: look every [`interval`](Self::interval).
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.can_wake.then(|| self.file.as_fd())
    }

    /// How often to look where nothing wakes up.
    pub fn interval(&self) -> Option<Duration> {
        match (self.can_wake, self.is_device) {
            (true, _) => None,
            (false, true) => Some(Duration::from_millis(100)),
            (false, false) => Some(Duration::from_millis(10)),
        }
    }

    /// The counter, read now, if it is one that must change with every clone.
    ///
    /// # Errors
    /// As [`open`](Self::open), if the page became invalid. That is no unchanged counter.
    pub fn counter(&self) -> io::Result<Option<u64>> {
        Ok(look(self.file.as_fd())?.counter)
    }

    /// Whether the counter or the marker is another than at the last look, or the counter came or
    /// went: a machine may be restored where there is none.
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn has_changed(&mut self) -> io::Result<bool> {
        let now = look(self.file.as_fd())?;
        Ok(std::mem::replace(&mut self.seen, now) != now)
    }
}

fn look(file: BorrowedFd<'_>) -> io::Result<Words> {
    for _ in 0..TRIES {
        let mut page = [0; BYTES];
        let length = pread(file, &mut page, 0)?;
        if length < BYTES {
            return Err(invalid("it is too small"));
        }
        let words = parse(&page)?;
        // The device answers between two updates; of a stand-in another process may write meanwhile.
        let before = u32_at(&page, SEQUENCE_AT);
        let mut after = [0; 4];
        pread(file, &mut after, SEQUENCE_AT as u64)?;
        if before.is_multiple_of(2) && u32::from_le_bytes(after) == before {
            return Ok(words);
        }
        std::thread::yield_now();
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the vmclock page is always being updated"))
}

fn parse(page: &[u8; BYTES]) -> io::Result<Words> {
    if page[..4] != *MAGIC {
        return Err(invalid("its magic is another"));
    }
    let version = u16::from_le_bytes([page[VERSION_AT], page[VERSION_AT + 1]]);
    if version != VERSION {
        return Err(invalid(&format!("its version is {version}, and not {VERSION}")));
    }
    if (u32_at(page, SIZE_AT) as usize) < BYTES {
        return Err(invalid("it has no room for the counter"));
    }
    let has_counter = u64_at(page, FLAGS_AT) & COUNTER_PRESENT != 0;
    let counter = has_counter.then(|| u64_at(page, COUNTER_AT));
    Ok(Words { marker: u64_at(page, MARKER_AT), counter })
}

fn u32_at(page: &[u8; BYTES], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| page[at + i]))
}

fn u64_at(page: &[u8; BYTES], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| page[at + i]))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a vmclock page: {why}"))
}

/// Whether `poll` waits for changes, asked right after a look. A driver without `poll` (before Linux
/// 7.0) is always ready, for writing too; one whose hypervisor sends no notifications hangs up.
fn can_wake(file: BorrowedFd<'_>) -> io::Result<bool> {
    let mut asked = [PollFd::from_borrowed_fd(file, PollFlags::IN | PollFlags::OUT)];
    loop {
        match poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Err(Errno::INTR) => {}
            outcome => {
                outcome?;
                let is_always_ready = PollFlags::OUT | PollFlags::HUP | PollFlags::ERR;
                return Ok(!asked[0].revents().intersects(is_always_ready));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use snaprng::host::VmClockPage;

    /// A stand-in, and its writer.
    fn page(name: &str) -> (VmClockPage, VmClock) {
        let path = std::env::temp_dir().join(format!("vmclock-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let writer = VmClockPage::create(&path).unwrap();
        let clock = VmClock::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        (writer, clock)
    }

    #[test]
    fn a_moved_counter_and_a_moved_marker_are_changes_and_are_told_once() {
        let (mut writer, mut clock) = page("changes");
        assert_eq!(clock.counter().unwrap(), Some(0));
        assert!(!clock.has_changed().unwrap());
        writer.advance_counter();
        assert_eq!(clock.counter().unwrap(), Some(1));
        assert!(clock.has_changed().unwrap());
        assert!(!clock.has_changed().unwrap());
        writer.set_marker(7);
        assert!(clock.has_changed().unwrap());
        assert!(!clock.has_changed().unwrap());
    }

    #[test]
    fn a_counter_without_its_flag_is_none_and_its_going_is_a_change() {
        let (mut writer, mut clock) = page("flag");
        // Bit 7 is the misprinted specification's, bit 9 says that notifications come.
        writer.set_flags(0x280);
        assert_eq!(clock.counter().unwrap(), None);
        assert!(clock.has_changed().unwrap());
        writer.advance_counter();
        assert!(!clock.has_changed().unwrap());
    }

    #[test]
    fn a_file_does_not_wake_anybody_and_says_how_often_to_look() {
        let (_writer, clock) = page("file");
        assert!(clock.fd().is_none());
        assert!(clock.interval().is_some());
    }

    #[test]
    fn what_is_no_page_is_refused_with_the_reason() {
        let refused = |path: &str| VmClock::open(Path::new(path)).unwrap_err();
        assert_eq!(refused("/dev/null").kind(), io::ErrorKind::InvalidData);
        assert_eq!(refused("/dev/zero").kind(), io::ErrorKind::InvalidData);
        assert_eq!(refused("/nonexistent/vmclock").kind(), io::ErrorKind::NotFound);
    }

    proptest! {
        #[test]
        fn only_a_valid_header_with_bit_8_has_a_counter(
            mut bytes in proptest::collection::vec(any::<u8>(), BYTES),
            is_likely in any::<bool>(),
        ) {
            if is_likely {
                bytes[..4].copy_from_slice(MAGIC);
                bytes[SIZE_AT + 1] = 1;
                bytes[VERSION_AT..VERSION_AT + 2].copy_from_slice(&[1, 0]);
            }
            let page: &[u8; BYTES] = bytes[..].try_into().unwrap();
            match parse(page) {
                Ok(words) => {
                    prop_assert_eq!(&page[..4], MAGIC);
                    prop_assert_eq!(words.counter.is_some(), page[FLAGS_AT + 1] & 1 == 1);
                }
                Err(_) => prop_assert!(!is_likely),
            }
        }
    }
}
