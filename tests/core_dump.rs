//! What a dump of a living process shows: nothing that was handed out, and of what comes next nothing
//! outside of the memory that the kernel leaves out of core dumps.
//!
//! A child draws in every way there is, sends each output through a pipe and overwrites its own
//! copy. Then its memory and registers are read as a debugger would, and in the end the kernel
//! writes a core file. Every output is cut into words of 8 bytes, and each is looked for at every
//! offset: a copy of 15 bytes is always found.
//!
//! Limits: the library does not wipe the stack, and 16 bytes of a small request were found there,
//! in the frames of functions that had returned; so the child overwrites that part of its stack
//! first. Owned generators are on the heap, which a core dump shows, and with them what they give
//! next.
#![cfg(target_os = "linux")]

mod common;

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use snaprng::rand_core::Rng;

use common::copies::{Child, Way, child};
use common::draws::assert_is_busy;
use common::interruption::Trap;
use common::scratch::Scratch;
use common::skip;
use common::worlds::{self, PER_CALL, PROCESS_ONLY, SYNCHRONOUS, in_worlds};

/// What is looked for. One of 10^5 equal by chance to one of 10^8 in a dump: below 10^-6.
const WINDOW: usize = 8;

/// Bytes of one request that is larger than every buffer.
const LARGE: usize = 64 << 10;

/// Sends `output` and leaves no copy of it.
fn hand_over(to: &mut UnixStream, output: &mut [u8]) {
    to.write_all(output).expect("the other end reads");
    for byte in output.iter_mut() {
        // SAFETY: a valid byte of the buffer.
        unsafe { std::ptr::write_volatile(byte, 0) };
    }
}

/// Overwrites what functions that have returned left on the stack.
#[inline(never)]
fn wipe_dead_stack() {
    let mut dead = [1u8; 256 << 10];
    for byte in &mut dead {
        // SAFETY: a valid byte of the array.
        unsafe { std::ptr::write_volatile(byte, 0) };
    }
}

/// One small request of each kind, and a few large ones. Everything goes into `buffer`.
#[inline(never)]
fn draw_in_every_way(to: &mut UnixStream, buffer: &mut [u8]) {
    for length in [8, 16, 32, 100, 500, 1024, 5000, LARGE] {
        snaprng::fill(&mut buffer[..length]).expect("bytes");
        hand_over(to, &mut buffer[..length]);
    }
    for chunk in buffer[..800].chunks_mut(8) {
        snaprng::rng().fill_bytes(chunk);
    }
    hand_over(to, &mut buffer[..800]);
    let mut owned = worlds::owned();
    for length in [8, 32, 700, LARGE] {
        owned.fill(&mut buffer[..length]).expect("bytes");
        hand_over(to, &mut buffer[..length]);
    }
}

/// From a handler that finds the generator busy: the path without state.
fn draw_in_a_handler(to: &mut UnixStream, buffer: &mut [u8]) {
    let mut trap = Trap::new(64, 64);
    let (one_shot, large_one_shot) = buffer[..1032].split_at_mut(32);
    let outer = trap.spring(
        64,
        64,
        |out| snaprng::fill(out).expect("bytes"),
        || {
            assert_is_busy();
            snaprng::fill(one_shot).expect("bytes in a handler");
            snaprng::fill(large_one_shot).expect("bytes in a handler");
        },
    );
    hand_over(to, outer);
    hand_over(to, &mut buffer[..1032]);
}

/// Everything that a process hands out, up to the moment of the dump.
fn draw_everything(to: &mut UnixStream, buffer: &mut [u8]) {
    draw_in_every_way(to, buffer);
    draw_in_a_handler(to, buffer);
    // A thread that has ended: its stack is kept for the next one.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            draw_in_every_way(to, buffer);
            wipe_dead_stack();
        });
    });
    child(Way::Fork, || draw_in_every_way(to, buffer)).join();
    snaprng::reseed(b"more").expect("a rekey");
    draw_in_every_way(to, buffer);
    snaprng::notify_restored(b"of the host");
    draw_in_every_way(to, buffer);
}

/// What comes after the first dump. Its frame, which requests are inlined into, ends with it.
#[inline(never)]
fn draw_a_little_more(to: &mut UnixStream, buffer: &mut [u8]) {
    for chunk in buffer[1000..1256].chunks_mut(16) {
        snaprng::fill(chunk).expect("bytes");
    }
    hand_over(to, &mut buffer[1000..1256]);
}

/// The child that is dumped, and the parent's end of its pipe.
struct Dumped {
    child: Child,
    from: UnixStream,
}

impl Dumped {
    /// Starts it. It draws, waits for a byte, draws 256 bytes more, waits again, and aborts.
    fn start(folder: &Path, plant: bool) -> (Self, Vec<u8>) {
        let (from, mut to) = UnixStream::pair().expect("a pair of sockets");
        let folder = folder.to_owned();
        let other_end = std::os::fd::AsRawFd::as_raw_fd(&from);
        let child = child(Way::Fork, move || {
            // Or this process would never see its parent's end.
            // SAFETY: the child's copy of a descriptor that only the parent uses.
            unsafe { libc::close(other_end) };
            std::env::set_current_dir(&folder).expect("the folder");
            let mut buffer = vec![0; LARGE];
            draw_everything(&mut to, &mut buffer);
            if plant {
                snaprng::fill(&mut buffer[..32]).expect("bytes");
                to.write_all(&buffer[..32]).expect("the other end reads");
            }
            tell_and_wait(&mut to);
            draw_a_little_more(&mut to, &mut buffer);
            tell_and_wait(&mut to);
            leave_a_core();
        });
        let mut dumped = Self { child, from };
        let output = dumped.read();
        (dumped, output)
    }

    /// What it has handed out since the last time.
    fn read(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        let mut part = [0; 1 << 16];
        while !output.ends_with(END) {
            let length = self.from.read(&mut part).expect("it writes");
            assert_ne!(length, 0, "it ended");
            output.extend_from_slice(&part[..length]);
        }
        output.truncate(output.len() - END.len());
        output
    }

    fn go_on(&mut self) {
        self.from.write_all(b".").expect("it waits");
    }

    /// All memory that can be read; that which core dumps leave out apart.
    fn memory(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut dumped, mut left_out) = (Vec::new(), Vec::new());
        let memory = File::open(format!("/proc/{}/mem", self.child.pid())).expect("its memory");
        for mapping in common::maps::mappings_of(self.child.pid()) {
            let part =
                if mapping.has(common::maps::NOT_DUMPED) { &mut left_out } else { &mut dumped };
            let mut bytes = vec![0; mapping.length];
            // Some cannot be read: guard pages, the vDSO's data.
            if memory.read_exact_at(&mut bytes, mapping.start as u64).is_ok() {
                part.extend(bytes);
            }
        }
        (dumped, left_out)
    }
}

impl Dumped {
    /// The core file of its end, with all registers, if the kernel wrote one to its folder.
    fn core(self, folder: &Path) -> Option<Vec<u8>> {
        assert!(libc::WIFSIGNALED(self.child.status()), "it was to abort");
        let mut files = std::fs::read_dir(folder).expect("its folder");
        let file = files.find_map(|entry| entry.ok().map(|entry| entry.path()))?;
        std::fs::read(file).ok()
    }
}

/// Ends what is handed out in one go; never a part of it by chance.
const END: &[u8] = b"\0 that is all for now \0";

fn tell_and_wait(to: &mut UnixStream) {
    wipe_dead_stack();
    to.write_all(END).expect("the other end reads");
    to.read_exact(&mut [0]).expect("the other end writes");
}

/// Ends this process by a signal that makes the kernel write its core.
fn leave_a_core() -> ! {
    let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: reads a local.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &all) };
    // SAFETY: always allowed.
    unsafe { libc::signal(libc::SIGABRT, libc::SIG_DFL) };
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}

/// Where a word of `outputs` stands in `memory`, if anywhere.
fn find(memory: &[u8], outputs: &[u8]) -> Option<usize> {
    const FILTER: usize = 1 << 22;
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("a whole word"));
    let words: HashSet<u64> = outputs.chunks_exact(WINDOW).map(word).collect();
    // Most words are told to be none by this alone, quicker than by the set.
    let mut filter = vec![false; FILTER];
    words.iter().for_each(|&word| filter[word as usize % FILTER] = true);
    memory.windows(WINDOW).position(|window| {
        let word = word(window);
        filter[word as usize % FILTER] && words.contains(&word)
    })
}

fn assert_none(memory: &[u8], outputs: &[u8], place: &str) {
    let Some(at) = find(memory, outputs) else { return };
    let found = &memory[at..at + WINDOW];
    let output = outputs.chunks_exact(WINDOW).position(|word| word == found);
    let rest = output.map_or(&[][..], |output| &outputs[output * WINDOW..]);
    let length = memory[at..].iter().zip(rest).take_while(|(a, b)| a == b).count();
    let further = memory.len() - at;
    panic!(
        "{length} bytes that were handed out are in {place}, {further} bytes before its end: those \
         from number {} on",
        output.unwrap_or(0) * WINDOW
    );
}

#[test]
fn nothing_that_was_handed_out_is_in_a_dump_of_memory() {
    in_worlds(&[SYNCHRONOUS, PROCESS_ONLY, PER_CALL], |_| {
        let folder = Scratch::below(std::env::temp_dir());
        let (mut dumped, handed_out) = Dumped::start(folder.path(), false);
        assert!(handed_out.len() > 500_000);
        let (memory, left_out) = dumped.memory();
        assert!(memory.len() > 100_000 && left_out.len() > 10_000);
        assert_none(&memory, &handed_out, "memory that core dumps show");
        assert_none(&left_out, &handed_out, "memory of the generator");
        // What comes next, too.
        dumped.go_on();
        let next = dumped.read();
        assert_eq!(next.len(), 256);
        assert_eq!(find(&memory, &next), None, "the next outputs are in memory that is dumped");
        let is_buffered = find(&left_out, &next).is_some();
        let level = snaprng::protection().level();
        assert_eq!(is_buffered, level != snaprng::Level::PerCall, "where to look");
        dumped.go_on();
        let Some(core) = dumped.core(folder.path()) else {
            return skip("a core file of the kernel", "none was written (see core_pattern)");
        };
        assert!(core.starts_with(b"\x7fELF") && core.len() > 100_000);
        assert_none(&core, &handed_out, "the kernel's core file");
        assert_none(&core, &next, "the kernel's core file");
    });
}

#[test]
fn a_copy_that_was_left_is_found() {
    in_worlds(&[SYNCHRONOUS], |_| {
        let folder = Scratch::below(std::env::temp_dir());
        let (mut dumped, handed_out) = Dumped::start(folder.path(), true);
        let (memory, _) = dumped.memory();
        assert!(find(&memory, &handed_out).is_some());
        dumped.go_on();
        dumped.read();
        dumped.go_on();
        if let Some(core) = dumped.core(folder.path()) {
            assert!(find(&core, &handed_out).is_some());
        }
    });
}
