//! What all applications have in common: work at a steady pace, and a part in snapshots.
//!
//! A participant's closures run in the one thread that does the work, when snapsafed asks.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use snapsafe_client::wire::Phase;
use snapsafe_client::{Asked, Participant};

use crate::journal::Journal;
use crate::machine::microseconds;

/// An application.
pub(crate) trait Part: Send {
    /// This is another world: whatever must be unique is made anew.
    fn restored(&mut self) -> Result<(), Box<dyn Error>>;

    /// One step of its work.
    fn tick(&mut self) -> Result<(), Box<dyn Error>>;

    fn journal(&mut self) -> &mut Journal;
}

/// Registers `part` and works until something cannot be done. Without a snapsafed it works all the
/// same.
pub(crate) fn take_part<P: Part + 'static>(
    name: &str,
    period: Duration,
    part: P,
) -> Result<(), Box<dyn Error>> {
    let part = Arc::new(Mutex::new(part));
    let mut participant = match register(name, &part) {
        Ok(participant) => Some(participant),
        Err(snapsafe_client::Error::NotRunning { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    part.lock().map_err(|_| "the application panicked")?.journal().write()?;
    let mut next = Instant::now();
    loop {
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            part.lock().map_err(|_| "the application panicked")?.tick()?;
            next = Instant::now() + period;
            continue;
        }
        wait(participant.as_ref(), left)?;
        if let Some(participant) = &mut participant {
            participant.dispatch();
        }
    }
}

fn register<P: Part + 'static>(
    name: &str,
    part: &Arc<Mutex<P>>,
) -> Result<Participant, snapsafe_client::Error> {
    let (before, after) = (Arc::clone(part), Arc::clone(part));
    Participant::register(name)
        .before(move |asked| adapt(&before, asked))
        .after(move |asked| adapt(&after, asked))
        .start()
}

/// Does what is asked, and writes down when that was done: the answer leaves after it.
fn adapt<P: Part>(part: &Mutex<P>, asked: &Asked) -> Result<(), String> {
    let mut part = part.lock().map_err(|_| "the application panicked")?;
    if asked.phase == Phase::Restored {
        part.restored().map_err(|error| error.to_string())?;
    }
    let journal = part.journal();
    journal.set("phase", asked.phase);
    journal.set("generation", asked.generation);
    journal.set("acked", microseconds());
    journal.write().map_err(|error| error.to_string())
}

fn wait(participant: Option<&Participant>, at_most: Duration) -> Result<(), Box<dyn Error>> {
    let mut fds: Vec<_> =
        participant.iter().map(|p| PollFd::from_borrowed_fd(p.fd(), PollFlags::IN)).collect();
    match poll(&mut fds, Some(&Timespec::try_from(at_most)?)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
