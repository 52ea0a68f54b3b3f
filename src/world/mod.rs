//! The world: everything readable whose value changes when this process or its machine was copied.
//!
//! A *witness* is one such thing, a *look* reads them all, and an *epoch* is what was read. Epochs
//! are compared for equality only: values are neither ordered nor unique to a clone (siblings read
//! the same new counter), so they are never mixed into a key as if they told clones apart.
//!
//! Each witness is mapped over a static page of its own ([`page`]), so that a look costs one load
//! per word, at an address the linker knew. A source that is absent leaves its page zero; nothing
//! on the hot path asks whether it is there. What the pages may be trusted for is decided from the
//! [`Facts`], read anew at each rekey.
//!
//! Limits: a look tells that a copy was made, never that this copy is unique.

#[cfg(target_os = "linux")]
mod agent_page;
mod cause;
#[cfg(target_os = "linux")]
mod claim;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod page;
#[cfg(target_os = "linux")]
mod platform;
#[cfg(target_os = "linux")]
mod process;
#[cfg(all(fuzzing, target_os = "linux"))]
pub(crate) mod seam;
#[cfg(target_os = "linux")]
mod sysgenid;
#[cfg(target_os = "linux")]
mod trusted_file;
#[cfg(target_os = "linux")]
pub(crate) mod vmclock;

pub use cause::{Cause, WitnessState};

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::*;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

use crate::policy::Facts;

/// All that one look read. Compared for equality only.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Epoch {
    /// `vmclock`: the VM generation counter (0x68).
    pub(crate) counter: u64,
    /// `vmclock`: the disruption marker (0x10).
    pub(crate) marker: u64,
    /// The process word, which a look never finds 0. A remembered epoch of all zeros (the kernel
    /// wipes a per-thread generator in a child) does match a cleared page until somebody looks; but
    /// with it the buffer was wiped, and an empty buffer sends the request to a look.
    pub(crate) process: u64,
    /// `sysgenid`'s counter.
    pub(crate) sysgenid: u64,
    /// The agent page's generation.
    pub(crate) agent: u64,
    /// Which copy of the process this is: changes with the process word, except when that word was
    /// provably only dropped under memory pressure.
    pub(crate) copy: u64,
    /// Which machine the process believes to be on: changes with a process restore and with a
    /// host's call to `notify_restored`, which no other witness may have shown.
    pub(crate) machine: u64,
}

/// The three words of an epoch that are at fixed addresses. See [`Epoch`].
#[derive(Clone, Copy)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nobody looks at them elsewhere"))]
pub(crate) struct Words {
    pub(crate) counter: u64,
    pub(crate) marker: u64,
    pub(crate) process: u64,
}

impl Epoch {
    #[inline(always)]
    pub(crate) fn words(&self) -> Words {
        Words { counter: self.counter, marker: self.marker, process: self.process }
    }

    /// Whether both epochs belong to the same VM epoch: same machine, not restored in between.
    /// A fork does not change it.
    pub(crate) fn same_machine(&self, other: &Self) -> bool {
        are_equal(self.vm_words(), other.vm_words())
    }

    /// Whether process or machine may have been copied between the two looks. False for a process
    /// page that was provably only dropped.
    pub(crate) fn copied_since(&self, earlier: &Self) -> bool {
        self.copy != earlier.copy || !self.same_machine(earlier)
    }

    /// All words.
    #[inline]
    fn all(&self) -> [u64; 7] {
        let Self { counter, marker, process, sysgenid, agent, copy, machine } = *self;
        [counter, marker, process, sysgenid, agent, copy, machine]
    }

    /// The words that make a VM epoch.
    pub(crate) fn vm_words(&self) -> [u64; 5] {
        [self.counter, self.marker, self.sysgenid, self.agent, self.machine]
    }
}

impl PartialEq for Epoch {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        are_equal(self.all(), other.all())
    }
}

impl Eq for Epoch {}

/// In registers. What is derived calls a function that compares memory, a few nanoseconds each time.
#[inline(always)]
fn are_equal<const N: usize>(a: [u64; N], b: [u64; N]) -> bool {
    a.iter().zip(&b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// The seam between the generator and what it looks at.
pub(crate) trait World {
    /// Reads every witness; arms the process word if it was cleared.
    fn look(&self) -> Epoch;

    /// Whether the words at fixed addresses are still these.
    fn unmoved(&self, words: &Words) -> bool;

    /// Asks the kernel for the process id, and clears the process word if it is another one than
    /// the word was armed under. Costs a system call: for rekeys only.
    fn confirm_process(&self);

    /// What the witnesses are good for now: mapped headers are validated again.
    fn facts(&self) -> Facts;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_a_copy_on_the_same_machine() {
        let parent = Epoch { process: 1, copy: 1, ..Epoch::default() };
        let child = Epoch { process: 2, copy: 2, ..Epoch::default() };
        assert!(child.same_machine(&parent));
        assert!(child.copied_since(&parent));
    }

    #[test]
    fn a_dropped_process_page_is_no_copy() {
        let before = Epoch { process: 1, copy: 1, ..Epoch::default() };
        let after = Epoch { process: 2, ..before };
        assert_ne!(before, after);
        assert!(!after.copied_since(&before));
    }

    #[test]
    fn every_machine_word_makes_a_new_machine() {
        let old = Epoch::default();
        for new in [
            Epoch { counter: 1, ..old },
            Epoch { marker: 1, ..old },
            Epoch { sysgenid: 1, ..old },
            Epoch { agent: 1, ..old },
            Epoch { machine: 1, ..old },
        ] {
            assert!(!new.same_machine(&old));
            assert!(new.copied_since(&old));
        }
    }
}
