//! Does nothing but take part. The test hangs it by a signal.

use std::error::Error;
use std::time::Duration;

use crate::journal::Journal;
use crate::taking_part::{Part, take_part};

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    take_part("patient", Duration::from_secs(1), Patient { journal: Journal::new("patient")? })
}

struct Patient {
    journal: Journal,
}

impl Part for Patient {
    fn restored(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    fn tick(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }
}
