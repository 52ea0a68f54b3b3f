//! Looking again for what was not there: soon at first, for a device may come with its driver, and
//! then ever less often.

use crate::machine::Millis;

const FIRST: Millis = 500;
const LAST: Millis = 60_000;

#[derive(Debug, Default)]
pub struct Retry {
    at: Millis,
    pause: Millis,
}

impl Retry {
    pub fn at(&self) -> Millis {
        self.at
    }

    /// Whether it is time, in which case the next time is later.
    pub fn is_due(&mut self, now: Millis) -> bool {
        if now < self.at {
            return false;
        }
        self.pause = (self.pause * 2).clamp(FIRST, LAST);
        self.at = now.saturating_add(self.pause);
        true
    }
}
