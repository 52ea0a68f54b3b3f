//! The ground truth: a page of host memory (an `ivshmem-plain` device) that the harness writes while the machine is
//! paused. It says which clone this is, independently of every witness the library under test looks at.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags};

const PAGE: usize = 4096;
const CLONE: usize = 0;
const AGENT_MOVED: usize = 1;
/// Whether all workers with real-time priority may begin.
const BEGIN: usize = 2;
const READY: usize = 16;
const STARTED: usize = 80;

/// The shared page. Copying the handle copies the address: the page is mapped once and never unmapped.
#[derive(Clone, Copy)]
pub(crate) struct Truth {
    words: NonNull<AtomicU32>,
}

// SAFETY: the page is a `MAP_SHARED` mapping that lives until the process ends, and is only touched through atomics.
unsafe impl Send for Truth {}

impl Truth {
    /// Map the page that init handed over as standard input.
    pub(crate) fn map() -> Self {
        Self::map_device(io::stdin())
    }

    /// Map the page of an open device.
    pub(crate) fn map_device(device: impl AsFd) -> Self {
        // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
        let page = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                PAGE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                device,
                0,
            )
        };
        let page = page.expect("the shared memory device cannot be mapped");
        Self { words: NonNull::new(page.cast()).expect("a mapping is never at address zero") }
    }

    fn word(&self, index: usize) -> &AtomicU32 {
        assert!(index < PAGE / 4);
        // SAFETY: `index` is inside the mapped page, which is aligned, initialized (host memory) and never unmapped.
        let word = unsafe { self.words.add(index) };
        // SAFETY: as above; other processes and the host change the word, which is what an atomic is for.
        unsafe { word.as_ref() }
    }

    /// Which clone this is; 0 in the machine the snapshot was taken of.
    pub(crate) fn clone_id(&self) -> u32 {
        self.word(CLONE).load(Ordering::Acquire)
    }

    /// Whether the agent of this test has moved its generation page since the resume.
    pub(crate) fn agent_moved(&self) -> bool {
        self.word(AGENT_MOVED).load(Ordering::Acquire) != 0
    }

    pub(crate) fn set_agent_moved(&self) {
        self.word(AGENT_MOVED).store(1, Ordering::Release);
    }

    /// Tell the harness that the worker with this number is in its loop, so that a snapshot may be taken. The harness
    /// reads it from outside: in a machine that a hog holds nobody else might get to say it.
    pub(crate) fn set_ready(&self, worker: usize) {
        self.word(READY + worker).store(1, Ordering::Release);
    }

    /// Sleep until init has seen that all who wait here are started: on a CPU that is held, nobody could start.
    pub(crate) fn wait_for_all(&self, worker: usize) {
        self.word(STARTED + worker).store(1, Ordering::Release);
        while self.word(BEGIN).load(Ordering::Acquire) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Wait until these workers are started, and let them begin.
    pub(crate) fn let_begin(&self, workers: &[usize]) {
        for worker in workers {
            while self.word(STARTED + worker).load(Ordering::Acquire) == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.word(BEGIN).store(1, Ordering::Release);
    }
}

/// The device's memory. Init opens it for the workers, because it is a root-only file in sysfs.
pub(crate) fn open() -> io::Result<File> {
    let device =
        device_folder().ok_or_else(|| io::Error::other("the machine has no ivshmem device"))?;
    OpenOptions::new().read(true).write(true).open(device.join("resource2"))
}

fn device_folder() -> Option<PathBuf> {
    let is = |folder: &PathBuf, file: &str, value: &str| {
        fs::read_to_string(folder.join(file)).is_ok_and(|text| text.trim() == value)
    };
    fs::read_dir("/sys/bus/pci/devices")
        .ok()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|folder| is(folder, "vendor", "0x1af4") && is(folder, "device", "0x1110"))
}
