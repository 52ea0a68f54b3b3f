//! One descriptor for all that a participant waits for, the moment of the next attempt included.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Between two attempts: doubled each time. A restarted daemon is back in some of the first ones,
/// and who has none pays for one attempt a second.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// An epoll of sockets and one timer.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    timer: OwnedFd,
    pause: Duration,
}

impl Poller {
    pub(super) fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        let poller = Self { epoll, timer, pause: SHORTEST };
        poller.watch(poller.timer.as_fd())?;
        Ok(poller)
    }

    /// Becomes readable when this can be read, until it is closed.
    pub(super) fn watch(&self, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
        epoll::add(&self.epoll, descriptor, EventData::new_u64(0), EventFlags::IN)
    }

    /// Becomes readable after a pause, longer than the one before.
    pub(super) fn retry_later(&mut self) {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec::try_from(self.pause).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let once = Itimerspec { it_interval: zero, it_value: value };
        // It cannot fail: descriptor and time are valid.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
        self.pause = LONGEST.min(self.pause * 2);
    }

    /// Whether a pause is over. Once for each.
    pub(super) fn is_due(&self) -> bool {
        rustix::io::read(&self.timer, &mut [0; 8]).is_ok()
    }

    /// All is well: the next pause is a short one.
    pub(super) fn calm(&mut self) {
        self.pause = SHORTEST;
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
