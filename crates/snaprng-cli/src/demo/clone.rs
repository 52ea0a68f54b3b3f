//! One clone: a child process that draws from both generators whenever it is asked to.

use std::io::{self, PipeReader, PipeWriter, Read, Write};

use rand::Rng;
use snaprng::Generation;
use snaprng::host::VmClockPage;

use super::process::{self, Child, Side};
use crate::failure::Failure;

/// What is compared: chance does not make two of them equal.
pub(super) type Block = [u8; BLOCK];
pub(super) const BLOCK: usize = 16;

/// How much a clone draws from each generator in one step.
pub(super) const DRAW_BYTES: usize = 4 * BLOCK;

/// What a clone draws in one step, and what it knows about it.
pub(super) struct Draw {
    pub(super) plain: [u8; DRAW_BYTES],
    pub(super) snaprng: [u8; DRAW_BYTES],
    /// Whether the library says that this is another generation than at the last draw.
    pub(super) noticed: bool,
    /// Whether this is another process than at the last draw.
    pub(super) forked: bool,
    /// Whether the VM generation counter is another one than at the last draw.
    pub(super) counter_moved: bool,
    /// Whether a generator of this process rekeyed since the last draw.
    pub(super) rekeyed: bool,
}

/// What a process saw when it last looked.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    generation: Generation,
    process: u32,
    counter: u64,
    rekeys: u64,
}

impl Seen {
    pub(super) fn now(page: &VmClockPage) -> Self {
        Self {
            generation: snaprng::generation(),
            process: std::process::id(),
            counter: page.counter(),
            rekeys: snaprng::protection().rekeys(),
        }
    }
}

impl Draw {
    const ENCODED: usize = 2 * DRAW_BYTES + 4;

    /// Draws from both generators of this thread, and compares with what was `seen` before.
    pub(super) fn make(seen: &Seen, page: &VmClockPage) -> io::Result<Self> {
        let mut plain = [0; DRAW_BYTES];
        rand::rng().fill_bytes(&mut plain);
        let mut snaprng = [0; DRAW_BYTES];
        snaprng::fill(&mut snaprng).map_err(io::Error::other)?;
        Ok(Self {
            plain,
            snaprng,
            noticed: !seen.generation.is_current(),
            forked: seen.process != std::process::id(),
            counter_moved: seen.counter != page.counter(),
            rekeyed: seen.rekeys != snaprng::protection().rekeys(),
        })
    }

    pub(super) fn snaprng_blocks(&self) -> impl Iterator<Item = &Block> {
        self.snaprng.as_chunks().0.iter()
    }

    /// The witness that fired. It is named from what moved, since only one thing moves in a step:
    /// the library tells that a copy was made, not by which witness it knew.
    pub(super) fn witness(&self) -> Option<&'static str> {
        let answered = self.noticed && self.rekeyed;
        match (answered, self.forked, self.counter_moved) {
            (_, false, false) => (!self.noticed).then_some("none"),
            (true, true, false) => Some("process"),
            (true, false, true) => Some("vmclock"),
            (true, true, true) => None,
            (false, _, _) => Some("missed"),
        }
    }

    fn flags(&self) -> [bool; 4] {
        [self.noticed, self.forked, self.counter_moved, self.rekeyed]
    }

    fn encode(&self) -> [u8; Self::ENCODED] {
        let mut bytes = [0; Self::ENCODED];
        let (plain, rest) = bytes.split_at_mut(DRAW_BYTES);
        let (snaprng, flags) = rest.split_at_mut(DRAW_BYTES);
        plain.copy_from_slice(&self.plain);
        snaprng.copy_from_slice(&self.snaprng);
        flags.copy_from_slice(&self.flags().map(u8::from));
        bytes
    }

    fn read_from(from: &mut impl Read) -> io::Result<Self> {
        let mut draw = Self {
            plain: [0; DRAW_BYTES],
            snaprng: [0; DRAW_BYTES],
            noticed: false,
            forked: false,
            counter_moved: false,
            rekeyed: false,
        };
        let mut flags = [0; 4];
        from.read_exact(&mut draw.plain)?;
        from.read_exact(&mut draw.snaprng)?;
        from.read_exact(&mut flags)?;
        [draw.noticed, draw.forked, draw.counter_moved, draw.rekeyed] = flags.map(|flag| flag != 0);
        Ok(draw)
    }
}

/// A child process, as its parent sees it.
pub(super) struct ForkedClone {
    child: Child,
    questions: PipeWriter,
    answers: PipeReader,
}

impl ForkedClone {
    /// Forks, and adds the clone to the `others`. It has `seen` what its parent saw.
    pub(super) fn start(others: &mut Vec<Self>, page: &VmClockPage, seen: &Seen) -> io::Result<()> {
        let (mut asked, questions) = io::pipe()?;
        let (answers, mut answer) = io::pipe()?;
        match process::fork()? {
            Side::Parent(child) => others.push(Self { child, questions, answers }),
            Side::Child => {
                // The parent's ends, or no pipe would ever be seen to end.
                others.clear();
                drop((questions, answers));
                let outcome = serve(&mut asked, &mut answer, page, *seen);
                if let Err(error) = &outcome {
                    Failure::failed(format_args!("in a clone: {error}")).report();
                }
                process::exit(&outcome);
            }
        }
        Ok(())
    }

    /// Lets the clone draw.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        self.questions.write_all(&[1])
    }

    /// Waits for what it drew.
    pub(super) fn answer(&mut self) -> io::Result<Draw> {
        Draw::read_from(&mut self.answers).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::other("a clone ended early"),
            _ => error,
        })
    }

    /// Lets the clone end, and waits for that.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.questions);
        self.child.wait()
    }
}

/// A child's life: draws for each byte it reads, and ends with the pipe.
fn serve(
    asked: &mut impl Read,
    answer: &mut impl Write,
    page: &VmClockPage,
    mut seen: Seen,
) -> io::Result<()> {
    while asked.read(&mut [0])? != 0 {
        let draw = Draw::make(&seen, page)?;
        seen = Seen::now(page);
        answer.write_all(&draw.encode())?;
    }
    Ok(())
}
