//! The gate: what cuts the network before the snapshot, and is in force at the first instruction of
//! every clone.

use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Why a gate could not be shut or opened.
pub type Result<T> = std::result::Result<T, String>;

/// Something that cuts the network.
pub trait Gate {
    /// `nftables`, `link`, `none`, `fake`.
    fn kind(&self) -> &'static str;

    /// Cuts the network. Harmless if it is cut already: repairs what was removed. Does not wait.
    fn shut(&mut self) -> Result<()>;

    /// Whether packets that were queued before have left (qdiscs, rings). Called again and again
    /// until it is true, by a driver that waits `pause` in between.
    fn is_drained(&mut self) -> Result<bool>;

    /// Between two questions whether the queues are empty.
    fn pause(&self) -> Duration {
        Duration::from_millis(1)
    }

    /// Opens the network. Harmless if it is open.
    fn open(&mut self) -> Result<()>;

    /// Whether every rule is in place, read back from the kernel and not from memory.
    fn holds(&mut self) -> Result<bool>;

    /// Becomes readable when somebody may have changed the rules. After that `changed` is called.
    fn watch(&self) -> Option<BorrowedFd<'_>>;

    /// Reads what `watch` has, and tells whether `holds` has to be asked.
    fn changed(&mut self) -> bool;

    /// Whether nobody but this process can remove the rules (table owner, persistent).
    fn is_owned(&self) -> bool;

    /// What is known to get past this gate on this machine, in words.
    fn weaknesses(&mut self) -> Vec<String>;
}
