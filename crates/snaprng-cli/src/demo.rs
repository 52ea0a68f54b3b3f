//! `snaprng demo`: what clones do to a plain generator, and that snaprng does not repeat.
//!
//! A machine cannot be cloned from inside, so the clones are children of this process: each begins
//! with a copy of all memory, and thus of every generator in it, as a cloned VM does. They share a
//! vmclock page with the parent, who moves it as a hypervisor would. In each step exactly one thing
//! moves, or nothing, so that the witness that fired is known and not guessed.
//!
//! Limits, which the output states: fork alone triggers the `process` witness, the page is a
//! stand-in, and no machine is cloned.

mod clone;
mod json;
mod process;
mod table;

use std::collections::HashSet;
use std::process::ExitCode;

use snaprng::host::VmClockPage;
use snaprng::{Config, Level, Policy, Protection, VmClock, WitnessState};

use crate::arguments::DemoOptions;
use crate::failure::{FAILED, Failure};
use crate::paint::{self, Paint};
use clone::{Block, Draw, ForkedClone, Seen};

/// What moves in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Each clone draws for the first time since it was forked.
    Fork,
    /// Each clone draws again. The control: no witness may fire.
    Nothing,
    /// Each clone draws after the VM generation counter moved. No process was forked.
    Counter,
}

const STEPS: [Step; 3] = [Step::Fork, Step::Nothing, Step::Counter];

/// What became of one step.
struct Outcome {
    step: Step,
    counter: u64,
    draws: Vec<Draw>,
}

/// What became of the demonstration.
struct Demonstration {
    outcomes: Vec<Outcome>,
    /// Blocks of snaprng output that were compared, in all processes, and how many came twice.
    compared: usize,
    repeated: usize,
}

pub(crate) fn run(options: DemoOptions) -> Result<ExitCode, Failure> {
    let mut page = VmClockPage::memfd()
        .map_err(|error| Failure::failed(format_args!("cannot make a stand-in page: {error}")))?;
    install(&page)?;
    let demonstration = demonstrate(&mut page, options.children)
        .map_err(|error| Failure::failed(format_args!("the demonstration broke off: {error}")))?;
    let text = if options.json {
        json::render(&demonstration)?
    } else {
        table::render(&demonstration, Paint::of_stdout())
    };
    paint::print(&text)?;
    Ok(if demonstration.is_convincing() { ExitCode::SUCCESS } else { FAILED.into() })
}

/// Makes the stand-in page the vmclock of this process.
fn install(page: &VmClockPage) -> Result<(), Failure> {
    let fd = page.try_clone_fd().map_err(Failure::failed)?;
    let config = Config { policy: Policy::Prefer, vmclock: VmClock::Fd(fd), ..Config::default() };
    match config.install() {
        Ok(()) | Err(snaprng::Error::NotProtected(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let protection = snaprng::protection();
    let is_watched = protection.level() == Level::Synchronous && protection.is_stand_in();
    if is_watched { Ok(()) } else { Err(not_watched(&protection)) }
}

fn not_watched(protection: &Protection) -> Failure {
    let cause = protection
        .witnesses()
        .iter()
        .filter(|witness| witness.name() == "vmclock" && witness.state() != WitnessState::StandIn)
        .find_map(|witness| witness.cause());
    match cause {
        Some(cause) => Failure::failed(format_args!("the stand-in page cannot be used: {cause}")),
        None => Failure::failed("the stand-in page is not watched: see `snaprng status`"),
    }
}

fn demonstrate(page: &mut VmClockPage, children: u8) -> std::io::Result<Demonstration> {
    // Both generators are in use, with something in their buffers, when the copies are made.
    let original = Draw::make(&Seen::now(page), page)?;
    let seen = Seen::now(page);
    let mut clones = Vec::new();
    for _ in 0..children {
        ForkedClone::start(&mut clones, page, &seen)?;
    }
    let mut outcomes = Vec::new();
    for step in STEPS {
        if step == Step::Counter {
            page.advance_counter();
        }
        // All at once: the clones run side by side, as virtual machines do.
        clones.iter_mut().try_for_each(ForkedClone::ask)?;
        let draws = clones.iter_mut().map(ForkedClone::answer).collect::<Result<_, _>>()?;
        outcomes.push(Outcome { step, counter: page.counter(), draws });
    }
    clones.into_iter().try_for_each(ForkedClone::finish)?;
    Ok(Demonstration::of(&original, outcomes))
}

impl Outcome {
    /// Whether the plain generator gave the same to every clone.
    fn plain_repeats(&self) -> bool {
        self.draws.windows(2).all(|pair| matches!(pair, [a, b] if a.plain == b.plain))
    }

    /// Whether two clones, or two places in one, share a block of snaprng's output.
    fn snaprng_repeats(&self) -> bool {
        count_repeated(self.draws.iter().flat_map(Draw::snaprng_blocks)).1 != 0
    }

    /// Whether every clone rekeyed.
    fn all_rekeyed(&self) -> bool {
        self.draws.iter().all(|draw| draw.rekeyed)
    }

    /// The witness that fired in the clones; the same in each, or the demonstration is void.
    fn witness(&self) -> Option<&'static str> {
        let mut fired = self.draws.iter().map(Draw::witness);
        let first = fired.next().flatten();
        fired.all(|other| other == first).then_some(first).flatten()
    }
}

impl Step {
    /// The witness that must fire.
    fn expected_witness(self) -> &'static str {
        match self {
            Self::Fork => "process",
            Self::Nothing => "none",
            Self::Counter => "vmclock",
        }
    }
}

impl Demonstration {
    fn of(original: &Draw, outcomes: Vec<Outcome>) -> Self {
        let draws = outcomes.iter().flat_map(|outcome| &outcome.draws);
        let blocks = draws.chain([original]).flat_map(Draw::snaprng_blocks);
        let (compared, repeated) = count_repeated(blocks);
        Self { outcomes, compared, repeated }
    }

    /// Whether the plain generator repeated everywhere, ours nowhere, and each witness fired when
    /// it had to and only then.
    fn is_convincing(&self) -> bool {
        self.repeated == 0 && self.plain_repeats() && self.witnesses_fired()
    }

    fn plain_repeats(&self) -> bool {
        self.outcomes.iter().all(Outcome::plain_repeats)
    }

    fn witnesses_fired(&self) -> bool {
        self.outcomes.iter().all(|o| o.witness() == Some(o.step.expected_witness()))
    }
}

/// How many blocks there are, and how many of them have come before. By chance, two of a thousand
/// blocks of 128 bits are the same once in 2^108 runs.
fn count_repeated<'a>(blocks: impl Iterator<Item = &'a Block>) -> (usize, usize) {
    let mut seen = HashSet::new();
    let (mut compared, mut repeated) = (0, 0);
    for block in blocks {
        compared += 1;
        repeated += usize::from(!seen.insert(block));
    }
    (compared, repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(plain: u8, snaprng: u8, flags: [bool; 4]) -> Draw {
        let mut bytes = [0; clone::DRAW_BYTES];
        // Distinct blocks within one draw.
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = (index / 16) as u8;
        }
        bytes[0] = snaprng;
        bytes[16] = snaprng.wrapping_add(100);
        bytes[32] = snaprng.wrapping_add(50);
        bytes[48] = snaprng.wrapping_add(150);
        let [noticed, forked, counter_moved, rekeyed] = flags;
        let plain = [plain; clone::DRAW_BYTES];
        Draw { plain, snaprng: bytes, noticed, forked, counter_moved, rekeyed }
    }

    fn demonstration(plain: [u8; 2], snaprng: [u8; 2], flags: [bool; 4]) -> Demonstration {
        let draws = vec![draw(plain[0], snaprng[0], flags), draw(plain[1], snaprng[1], flags)];
        let outcome = Outcome { step: Step::Fork, counter: 0, draws };
        Demonstration::of(&draw(0, 200, [false; 4]), vec![outcome])
    }

    const FORKED: [bool; 4] = [true, true, false, true];

    #[test]
    fn a_plain_generator_that_repeats_beside_ours_that_does_not_is_convincing() {
        let shown = demonstration([7, 7], [1, 2], FORKED);
        assert!(shown.is_convincing());
        assert_eq!(shown.compared, 12);
    }

    #[test]
    fn a_repetition_of_ours_is_not_convincing() {
        let shown = demonstration([7, 7], [1, 1], FORKED);
        assert!(!shown.is_convincing());
        assert_eq!(shown.repeated, 4);
        assert!(shown.outcomes[0].snaprng_repeats());
    }

    #[test]
    fn ours_that_repeats_the_original_is_not_convincing() {
        assert!(!demonstration([7, 7], [1, 200], FORKED).is_convincing());
    }

    #[test]
    fn a_plain_generator_that_does_not_repeat_shows_nothing() {
        assert!(!demonstration([7, 8], [1, 2], FORKED).is_convincing());
    }

    #[test]
    fn a_fork_that_was_not_noticed_is_not_convincing() {
        for flags in [[false, true, false, true], [true, true, false, false]] {
            let shown = demonstration([7, 7], [1, 2], flags);
            assert!(!shown.is_convincing());
            assert_eq!(shown.outcomes[0].witness(), Some("missed"));
        }
    }

    #[test]
    fn a_witness_that_fires_without_a_reason_is_not_convincing() {
        let shown = demonstration([7, 7], [1, 2], [true, false, false, true]);
        assert!(!shown.is_convincing());
        assert_eq!(shown.outcomes[0].witness(), None);
    }
}
