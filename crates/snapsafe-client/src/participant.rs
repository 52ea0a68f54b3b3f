//! An application that gets ready before a snapshot and adapts after it, by two closures.

use std::any::Any;
use std::convert::Infallible;
use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use crate::error::Error;
use crate::registration::{Asked, Options, Registration};
use crate::wire::{Mode, Phase};

type Closure = Box<dyn FnMut(&Asked) -> Result<(), String> + Send>;

/// An application that takes part. Dropping it deregisters.
///
/// It has no thread of its own: requests wait until the application calls
/// [`dispatch`](Self::dispatch), when its event loop finds [`fd`](Self::fd) readable, or
/// [`run`](Self::run) in a thread that does nothing else.
///
/// ```no_run
/// use snapsafe_client::{Error, Participant};
///
/// let participant = Participant::register("session-server")
///     .before(|_| Ok::<_, std::io::Error>(())) // nothing in flight from here on
///     .after(|asked| {
///         println!("{}: generation {}", asked.phase, asked.generation);
///         Ok::<_, std::io::Error>(())
///     })
///     .start();
/// match participant {
///     Ok(mut participant) => {
///         std::thread::spawn(move || participant.run());
///     }
///     Err(Error::NotRunning { .. }) => {} // no snapshots here, or nobody announces them
///     Err(error) => eprintln!("snapshots are not announced to this program: {error}"),
/// }
/// ```
#[must_use = "it takes part until this is dropped"]
pub struct Participant {
    registration: Registration,
    before: Option<Closure>,
    after: Option<Closure>,
}

/// A participant that does not take part yet.
#[must_use = "nothing happens before `start`"]
pub struct Builder {
    options: Options,
    before: Option<Closure>,
    after: Option<Closure>,
}

impl Builder {
    /// How much this application counts; [`Mode::Delay`] if not said.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.options.mode = mode;
        self
    }

    /// Its group; see [`Options::order`].
    pub fn order(mut self, order: i64) -> Self {
        self.options.order = Some(order);
        self
    }

    /// Another daemon than the system's.
    pub fn socket(mut self, socket: &Path) -> Self {
        socket.clone_into(&mut self.options.socket);
        self
    }

    /// What to do before the snapshot ([`Phase::Quiesce`]): finish or hold back whatever a copy of
    /// this machine must not do a second time. An error or a panic is a veto.
    pub fn before<E: Display>(
        mut self,
        mut closure: impl FnMut(&Asked) -> Result<(), E> + Send + 'static,
    ) -> Self {
        self.before = Some(Box::new(move |asked| closure(asked).map_err(|why| why.to_string())));
        self
    }

    /// What to do after it, as [`Asked::phase`] says: make unique anew what must be so, after
    /// [`Phase::Restored`]; go on, after the others. An error or a panic is a veto: the network
    /// stays cut, if this application is required. The same request may come again after that.
    pub fn after<E: Display>(
        mut self,
        mut closure: impl FnMut(&Asked) -> Result<(), E> + Send + 'static,
    ) -> Self {
        self.after = Some(Box::new(move |asked| closure(asked).map_err(|why| why.to_string())));
        self
    }

    /// Takes part from now on.
    ///
    /// # Errors
    /// [`Error::NotRunning`] where there is no snapsafed: the application runs on without it.
    /// [`Error::Refused`] if it refuses.
    pub fn start(self) -> Result<Participant, Error> {
        let registration = Registration::new(self.options)?;
        Ok(Participant { registration, before: self.before, after: self.after })
    }
}

impl Participant {
    /// Begins to describe a participant; see [`Builder::start`].
    pub fn register(name: &str) -> Builder {
        Builder { options: Options::new(name), before: None, after: None }
    }

    /// What to poll: readable when [`dispatch`](Self::dispatch) is to be called.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.registration.as_fd()
    }

    /// Runs the closures of what is asked now, and answers. Does not wait for anything else. How
    /// many requests there were.
    pub fn dispatch(&mut self) -> usize {
        let mut count = 0;
        while let Some(asked) = self.registration.take() {
            let closure = match asked.phase {
                Phase::Quiesce => &mut self.before,
                Phase::Resumed | Phase::Restored | Phase::Aborted => &mut self.after,
            };
            let result = closure.as_mut().map_or(Ok(()), |closure| contained(closure, &asked));
            self.registration.answer(&asked, result.as_ref().copied().map_err(String::as_str));
            count += 1;
        }
        count
    }

    /// Waits until something may have been asked, at most so long, and does what
    /// [`dispatch`](Self::dispatch) does.
    ///
    /// # Errors
    /// If the system cannot wait. The time running out is none.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<usize, Error> {
        match self.registration.wait(timeout) {
            Ok(()) | Err(Error::TimedOut) => Ok(self.dispatch()),
            Err(error) => Err(error),
        }
    }

    /// Does that for ever.
    ///
    /// # Errors
    /// If the system cannot wait.
    pub fn run(&mut self) -> Result<Infallible, Error> {
        loop {
            self.wait(None)?;
        }
    }

    /// What is known of the machine, and what is wrong.
    pub fn registration(&self) -> &Registration {
        &self.registration
    }
}

impl AsFd for Participant {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

impl core::fmt::Debug for Participant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Participant")
            .field("registration", &self.registration)
            .finish_non_exhaustive()
    }
}

impl core::fmt::Debug for Builder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Builder").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A panic is a veto, and goes no further: the application's other threads, and the machine's other
/// participants, are to hear of it in order.
fn contained(closure: &mut Closure, asked: &Asked) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| closure(asked)))
        .unwrap_or_else(|payload| Err(format!("it panicked: {}", words_of(&*payload))))
}

fn words_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("for a reason that is no text")
}
