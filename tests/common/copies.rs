//! Copies of this process, and memory that they share with it to leave their records in.

use std::io::{Cursor, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a child is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// libc's `fork`, which runs `pthread_atfork` handlers.
    Fork,
    /// The bare system call, which nobody is told of.
    RawClone,
    /// `clone3`, with a new descriptor in the parent that stands for the child, and no handlers of
    /// signals in the child.
    Clone3,
    /// The bare system call into a pid namespace of the child's own: its id is 1 there. Takes
    /// privileges.
    RawCloneAsInit,
}

pub(crate) const WAYS: [Way; 2] = [Way::Fork, Way::RawClone];

/// Whether this process was made by another way than libc's `fork`.
static IS_RAW: AtomicBool = AtomicBool::new(false);

/// Ends such a child where it panics. The usual message takes locks that a thread may hold which
/// does not exist in the child, and would hang instead of failing.
fn end_raw_children_that_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_RAW.load(Ordering::SeqCst) {
                return usual(panic);
            }
            if let Some(place) = panic.location() {
                let mut message = Cursor::new([0; 256]);
                let _ = writeln!(message, "a raw clone panicked at {place}");
                let length = usize::try_from(message.position()).unwrap_or(0);
                // SAFETY: as many bytes as were written to the buffer.
                unsafe { libc::write(2, message.get_ref().as_ptr().cast(), length) };
            }
            leave(101)
        }));
    });
}

/// A child process that has not been waited for.
#[must_use]
pub(crate) struct Child(libc::pid_t);

/// Runs `work` in a child made in this `way`. The child ends with it, and its exit code tells
/// whether it panicked.
///
/// After [`Way::RawClone`] `work` must not allocate: another thread may have held malloc's lock.
pub(crate) fn child(way: Way, work: impl FnOnce()) -> Child {
    match split(way) {
        Some(child) => child,
        None => {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            leave(if outcome.is_ok() { 0 } else { 101 })
        }
    }
}

/// Forks, and returns twice: `None` in the child, which must end with [`leave`].
pub(crate) fn split(way: Way) -> Option<Child> {
    let pid = match way {
        // SAFETY: the child only runs code of the test, which keeps to what a child may do.
        Way::Fork => unsafe { libc::fork() },
        Way::RawClone => raw_clone(libc::SIGCHLD),
        Way::RawCloneAsInit => raw_clone(libc::SIGCHLD | libc::CLONE_NEWPID),
        Way::Clone3 => clone3(&[]),
    };
    assert!(pid >= 0, "no child: {}", std::io::Error::last_os_error());
    (pid != 0).then_some(Child(pid))
}

fn raw_clone(flags: i32) -> libc::pid_t {
    end_raw_children_that_panic();
    let flags = libc::c_long::from(flags);
    // SAFETY: without CLONE_VM and without a new stack this is fork's system call (clone(2); on
    // every architecture the first two arguments are flags and stack).
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    is_raw(pid)
}

/// The process id that `clone` returned; in the child, remembers how it was made.
fn is_raw(pid: libc::c_long) -> libc::pid_t {
    if pid == 0 {
        IS_RAW.store(true, Ordering::SeqCst);
    }
    libc::pid_t::try_from(pid).expect("a process id")
}

/// `include/uapi/linux/sched.h`, Linux 5.5; libc's constant is too narrow for it.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// clone3(2), with these ids in the child's pid namespaces, innermost first, or any.
fn clone3(ids: &[libc::pid_t]) -> libc::pid_t {
    end_raw_children_that_panic();
    let mut descriptor = -1;
    // SAFETY: integers, for which zeros are valid.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND;
    arguments.pidfd = (&raw mut descriptor).addr() as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if !ids.is_empty() {
        arguments.set_tid = ids.as_ptr().addr() as u64;
        arguments.set_tid_size = ids.len() as u64;
    }
    let size = size_of_val(&arguments);
    // SAFETY: without CLONE_VM this is a fork; the arguments and what they point to are locals.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) };
    if pid > 0 {
        // SAFETY: the kernel has just opened it for us.
        unsafe { libc::close(descriptor) };
    }
    is_raw(pid)
}

/// Like [`split`], with this process id in the child; an error if that is not to be had.
pub(crate) fn split_with_id(id: libc::pid_t) -> std::io::Result<Option<Child>> {
    match clone3(&[id]) {
        -1 => Err(std::io::Error::last_os_error()),
        pid => Ok((pid != 0).then_some(Child(pid))),
    }
}

/// Ends a child at once: no destructors, no exit handlers.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: ends the process, always allowed.
    unsafe { libc::_exit(code) }
}

impl Child {
    /// A child that was made elsewhere; -1 for any.
    pub(crate) fn of(pid: libc::pid_t) -> Self {
        Self(pid)
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        self.0
    }

    /// Waits for the child, and fails unless it ended well.
    pub(crate) fn join(self) {
        let status = self.status();
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
            "a child failed: wait status {status:#x}"
        );
    }

    /// Waits for the child's end.
    pub(crate) fn status(self) -> i32 {
        let mut status = 0;
        // SAFETY: the status is written to a local.
        while unsafe { libc::waitpid(self.0, &mut status, 0) } < 0 {
            let error = std::io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::EINTR), "cannot wait: {error}");
        }
        status
    }
}

/// Memory shared with every child made later, in slots of one size: each process writes its own.
pub(crate) struct Board {
    base: *mut u8,
    slots: usize,
    size: usize,
}

impl Board {
    pub(crate) fn new(slots: usize, size: usize) -> Self {
        let length = (slots * size).max(1);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { libc::mmap(null_mut(), length, protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "no shared memory");
        Self { base: base.cast(), slots, size }
    }

    /// How many slots there are.
    pub(crate) fn len(&self) -> usize {
        self.slots
    }

    /// The slot of one process or thread, for writing.
    #[allow(clippy::mut_from_ref, reason = "each slot has one writer, as the test sees to")]
    pub(crate) fn slot(&self, number: usize) -> &mut [u8] {
        assert!(number < self.slots);
        let base = self.base.wrapping_add(number * self.size);
        // SAFETY: in bounds by the assertion, initialized to zeros, mapped for ever; the test
        // gives every slot one writer and reads it when that has ended.
        unsafe { std::slice::from_raw_parts_mut(base, self.size) }
    }

    /// All slots, when their writers have ended.
    pub(crate) fn records(&self) -> Vec<&[u8]> {
        (0..self.slots).map(|n| &*self.slot(n)).collect()
    }
}

// SAFETY: shared memory; see `slot` for who writes what.
unsafe impl Sync for Board {}
// SAFETY: as above.
unsafe impl Send for Board {}
