//! Stops a request at an exact point, and runs code there as a signal handler would.
//!
//! The buffer of the request has a page that may not be touched. When the request writes its first
//! byte there, the kernel raises SIGSEGV; the handler runs the test's code, in the middle of the
//! request and with the library's generator in use, with the page writable again, and returns. So what
//! is usually a race happens at the same byte every time.

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A page of any machine that these tests run on.
pub(crate) const PAGE: usize = 65536;

/// Memory with a page in it that stops who writes to it.
pub(crate) struct Trap {
    base: *mut u8,
    length: usize,
}

/// What is to be done when the trap springs.
struct Armed<'a> {
    /// The page that may not be touched, and one that it takes turns with.
    pages: [*mut u8; 2],
    /// Whether the other page is forbidden when the trap has sprung: it then springs for ever.
    again: bool,
    sprung: Cell<usize>,
    meanwhile: RefCell<&'a mut dyn FnMut()>,
}

static ARMED: AtomicPtr<Armed<'static>> = AtomicPtr::new(null_mut());

impl Trap {
    /// A trap for requests that write up to `before` bytes in front of the page and `after` bytes
    /// from its beginning.
    pub(crate) fn new(before: usize, after: usize) -> Self {
        let before = before.next_multiple_of(PAGE);
        let length = before + after.next_multiple_of(PAGE).max(PAGE) + PAGE;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { libc::mmap(null_mut(), length, protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "no memory");
        handle_faults();
        Self { base: base.cast(), length }
    }

    /// Where the memory is, for a look at it from the code that runs in the middle.
    pub(crate) fn base(&self) -> Base {
        Base(self.base)
    }

    /// Makes `request` fill `before + after` bytes, runs `meanwhile` once when it writes the byte
    /// number `before`, and returns what it filled.
    pub(crate) fn spring(
        &mut self,
        before: usize,
        after: usize,
        request: impl FnOnce(&mut [u8]),
        mut meanwhile: impl FnMut(),
    ) -> &mut [u8] {
        self.arm(before, after, false, request, &mut meanwhile)
    }

    /// Runs `meanwhile` whenever somebody writes past byte number `before` of a large request,
    /// however often the library begins anew, and returns what is in the buffer in the end.
    pub(crate) fn spring_again_and_again(
        &mut self,
        before: usize,
        request: impl FnOnce(&mut [u8]),
        mut meanwhile: impl FnMut(),
    ) -> &mut [u8] {
        self.arm(before, 2 * PAGE, true, request, &mut meanwhile)
    }

    fn arm(
        &mut self,
        before: usize,
        after: usize,
        again: bool,
        request: impl FnOnce(&mut [u8]),
        meanwhile: &mut dyn FnMut(),
    ) -> &mut [u8] {
        let page = self.base().start(before).cast_mut().wrapping_add(before);
        let end = page.addr() + after.max(if again { 2 * PAGE } else { PAGE });
        assert!(after > 0 && end <= self.base.addr() + self.length);
        let start = page.wrapping_sub(before);
        // SAFETY: in bounds by the assertion, and lives as long as `self`, which is borrowed.
        let out = unsafe { std::slice::from_raw_parts_mut(start, before + after) };
        let pages = [page, page.wrapping_add(PAGE)];
        let armed =
            Armed { pages, again, sprung: Cell::new(0), meanwhile: RefCell::new(meanwhile) };
        protect(page, libc::PROT_NONE);
        // The one that was armed before, if this is a trap within a trap.
        let outer = ARMED.swap((&raw const armed).cast_mut().cast(), Ordering::SeqCst);
        request(out);
        ARMED.store(outer, Ordering::SeqCst);
        assert_ne!(armed.sprung.get(), 0, "the request never wrote that far");
        if again {
            pages.iter().for_each(|page| protect(*page, libc::PROT_READ | libc::PROT_WRITE));
        }
        out
    }
}

/// The address of a trap's memory.
#[derive(Clone, Copy)]
pub(crate) struct Base(*mut u8);

impl Base {
    /// Where a request begins that is stopped after `before` bytes.
    pub(crate) fn start(self, before: usize) -> *const u8 {
        let offset = (self.0.addr() + before).next_multiple_of(PAGE) - self.0.addr();
        self.0.wrapping_add(offset - before)
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and what pointed into it was borrowed from `self`.
        unsafe { libc::munmap(self.base.cast(), self.length) };
    }
}

fn protect(page: *mut u8, protection: i32) {
    // SAFETY: a whole page of a trap's own mapping.
    let answer = unsafe { libc::mprotect(page.cast(), PAGE, protection) };
    assert_eq!(answer, 0);
}

fn handle_faults() {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeros is a valid sigaction.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = on_fault as *const () as usize;
    // On the thread's own stack: a second, smaller one is meant for stack overflows.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    // SAFETY: the handler is a function of this type.
    let answer = unsafe { libc::sigaction(libc::SIGSEGV, action, null_mut()) };
    assert_eq!(answer, 0);
}

extern "C" fn on_fault(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid siginfo to a handler with SA_SIGINFO.
    let info = unsafe { &*info };
    // SAFETY: a SIGSEGV has an address.
    let address = unsafe { info.si_addr() }.addr();
    let armed = ARMED.load(Ordering::SeqCst);
    // SAFETY: null, or the `Armed` of a `spring` that is still running below this handler.
    let armed = unsafe { armed.as_ref() };
    let is_at = |page: &*mut u8| (page.addr()..page.addr() + PAGE).contains(&address);
    let hit = armed.and_then(|armed| Some((armed, armed.pages.iter().position(is_at)?)));
    let Some((armed, index)) = hit else {
        // A real fault: let the next one kill.
        // SAFETY: the default action is always allowed.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        return;
    };
    protect(armed.pages[index], libc::PROT_READ | libc::PROT_WRITE);
    if armed.again {
        protect(armed.pages[1 - index], libc::PROT_NONE);
    }
    armed.sprung.set(armed.sprung.get() + 1);
    armed.meanwhile.borrow_mut()();
}
