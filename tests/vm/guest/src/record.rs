//! What a worker writes down, kept in memory until its work is over, then written to standard output as frames.
//!
//! A frame is a line `frame WORKER STREAM KIND WIDTH LENGTH` and LENGTH bytes. Of the kind `records`, the bytes are
//! records of a 16-byte header (flags, index and time stamp, little-endian) and WIDTH bytes of output; of the kind
//! `text` they are text.

use std::io::{self, Write};

use crate::clock;
use crate::truth::Truth;

/// The request began after the resume.
const AFTER: u32 = 1;
/// The request began after the agent had moved its page.
const AGENT_MOVED: u32 = 2;
/// The request began before the snapshot and ended after the resume.
const CUT: u32 = 4;

/// How many outputs from before the snapshot are kept, to see that none of them comes again.
const BEFORE_KEPT: usize = 512;
const HEADER: usize = 16;

/// The outputs of one generator.
pub(crate) struct Recorder {
    stream: String,
    width: usize,
    keep: usize,
    index: u32,
    before: Vec<u8>,
    kept: Vec<u8>,
    asked_before: usize,
    asked_after: usize,
    errors: usize,
    last_error: String,
    /// When the request returned that straddles the snapshot.
    cut_ended: u64,
    output: Vec<u8>,
}

impl Recorder {
    /// A log for `keep` outputs of `width` bytes; everything is allocated and touched here, not in the loop.
    pub(crate) fn new(stream: impl Into<String>, width: usize, keep: usize) -> Self {
        let record = HEADER + width;
        Self {
            stream: stream.into(),
            width,
            keep,
            index: 0,
            before: vec![0; before_kept(width) * record],
            // Room for the sampled outputs too; a Vec that has to grow in the loop would only cost time.
            kept: Vec::with_capacity((keep + keep / 2 + 2) * record),
            asked_before: 0,
            asked_after: 0,
            errors: 0,
            last_error: String::new(),
            cut_ended: 0,
            output: vec![0; width],
        }
    }

    /// Make one request and write down what came of it.
    ///
    /// The ground truth is read before the request, so an output counts as "after the resume" only if its request
    /// began after the resume. Once `keep` outputs are written down, only the `sampled` ones follow.
    pub(crate) fn ask(
        &mut self,
        truth: Truth,
        sampled: bool,
        request: impl FnOnce(&mut [u8]) -> Result<(), String>,
    ) -> bool {
        let mut flags = 0;
        if truth.clone_id() != 0 {
            flags |= AFTER;
        }
        if truth.agent_moved() {
            flags |= AGENT_MOVED;
        }
        let ticks = clock::ticks();
        let outcome = request(&mut self.output);
        let ended = clock::ticks();
        if flags & AFTER == 0 && truth.clone_id() != 0 {
            flags |= CUT;
            self.cut_ended = ended;
        }
        match outcome {
            Ok(()) => self.write_down(flags, ticks, sampled),
            Err(error) => {
                self.errors += 1;
                self.last_error = error;
            }
        }
        self.index = self.index.wrapping_add(1);
        flags & (AFTER | CUT) != 0
    }

    fn write_down(&mut self, flags: u32, ticks: u64, sampled: bool) {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&flags.to_le_bytes());
        header[4..8].copy_from_slice(&self.index.to_le_bytes());
        header[8..].copy_from_slice(&ticks.to_le_bytes());
        if flags & (AFTER | CUT) == 0 {
            let record = HEADER + self.width;
            let number = self.asked_before;
            self.asked_before += 1;
            let Some(place) = number.checked_rem(before_kept(self.width)) else { return };
            let at = place * record;
            self.before[at..at + HEADER].copy_from_slice(&header);
            self.before[at + HEADER..at + record].copy_from_slice(&self.output);
            return;
        }
        // A request that straddles the snapshot is kept beside the others: it is no evidence of what came after.
        let cut = flags & CUT != 0;
        self.asked_after += usize::from(!cut);
        if cut || self.asked_after <= self.keep || sampled {
            self.kept.extend_from_slice(&header);
            self.kept.extend_from_slice(&self.output);
        }
    }

    /// Whether as many outputs as wanted were written down.
    pub(crate) fn is_full(&self) -> bool {
        self.asked_after + self.errors >= self.keep
    }

    /// Write the log as frames.
    pub(crate) fn write(&self, worker: &str, out: &mut dyn Write) -> io::Result<()> {
        let filled = self.asked_before.min(before_kept(self.width)) * (HEADER + self.width);
        let before = &self.before[..filled];
        let length = before.len() + self.kept.len();
        writeln!(out, "frame {worker} {} records {} {length}", self.stream, self.width)?;
        out.write_all(before)?;
        out.write_all(&self.kept)?;
        let summary = format!(
            "asked={}\nasked_after={}\nerrors={}\nlast_error={}\ncut_ended={}\n",
            self.index, self.asked_after, self.errors, self.last_error, self.cut_ended
        );
        write_text(worker, &format!("{}/summary", self.stream), &summary, out)
    }
}

/// Large outputs are kept in smaller numbers; the largest not at all, so that the loop spends its time in requests and
/// not in copying.
fn before_kept(width: usize) -> usize {
    (BEFORE_KEPT * 32 / width).min(BEFORE_KEPT)
}

/// Write a frame of text.
pub(crate) fn write_text(
    worker: &str,
    stream: &str,
    text: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    write!(out, "frame {worker} {stream} text 0 {}\n{text}", text.len())
}
