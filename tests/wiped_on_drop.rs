//! An owned generator leaves nothing in the memory that it gives back. An allocator that looks at
//! what is freed is the only witness of that.
#![cfg(target_os = "linux")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;

use snaprng::rand_core::TryRng;

/// More than a generator takes.
const ROOM: usize = 8192;

/// What is watched: the last block that was allocated as generators are.
struct Watched {
    address: usize,
    freed: Option<[u8; ROOM]>,
}

static WATCHED: Mutex<Watched> = Mutex::new(Watched { address: 0, freed: None });

struct Watching;

/// Whether a block is one in which a generator may be: nothing else is aligned like that.
fn holds_a_generator(layout: Layout) -> bool {
    layout.align() >= 128 && (1024..ROOM).contains(&layout.size())
}

// SAFETY: the system's allocator, which only is watched; watching allocates nothing.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: our caller's promise.
        let block = unsafe { System.alloc(layout) };
        if holds_a_generator(layout) {
            *WATCHED.lock().unwrap() = Watched { address: block.addr(), freed: None };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if holds_a_generator(layout) {
            let mut watched = WATCHED.lock().unwrap();
            if watched.address == block.addr() {
                let mut copy = [0; ROOM];
                // SAFETY: a block of this length, which is still ours: it is about to be freed.
                let memory = unsafe { std::slice::from_raw_parts(block, layout.size()) };
                copy[..layout.size()].copy_from_slice(memory);
                watched.freed = Some(copy);
            }
        }
        // SAFETY: our caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

#[test]
fn the_memory_of_a_dropped_generator_holds_neither_keys_nor_bytes_to_come() {
    // Buffered, so that there is something to leave behind.
    let never =
        snaprng::Config { policy: snaprng::Policy::AssumeNeverCloned, ..Default::default() };
    let mut rng = never.build_try().expect("a generator");
    rng.try_next_u64().expect("a number");
    drop(rng);
    let freed = WATCHED.lock().unwrap().freed.take().expect("a generator is on the heap");
    let longest = freed.split(|&byte| byte == 0).map(<[u8]>::len).max();
    // Words of an epoch and of the clock are left: none of them is longer than 8 bytes.
    assert!(longest.is_some_and(|length| length <= 8 + 8), "{longest:?} bytes that are not zero");
}
