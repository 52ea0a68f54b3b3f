//! What tells that this machine is a copy: vmclock's counter, and the kernel's line about a fork.
//!
//! Both are *looked at* whenever the daemon wakes up, and wake it up where they can. Neither can be
//! the gate: the first may come with no notification, the second comes when the clone already runs.

mod kmsg;
mod vmclock;

pub use kmsg::{KernelLog, News};
pub use vmclock::{DEFAULT_PATH, VmClock};
