//! Where the words come from: the library's generator, children of a fork, files; and generators that are bad on purpose.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::tally::CHUNK;

/// A stream of words.
pub(crate) trait Source: Send {
    /// The next words; how many there were, fewer than wanted only at the end.
    fn fill(&mut self, chunk: &mut [u64]) -> io::Result<usize>;
}

/// The calling thread's generator. Most chunks are one request each; one in sixteen is made of small ones, through the buffer.
pub(crate) struct Snaprng {
    chunks: u64,
    bytes: Vec<u8>,
}

impl Snaprng {
    pub(crate) fn new() -> Self {
        Self { chunks: 0, bytes: vec![0; 8 * CHUNK] }
    }
}

impl Source for Snaprng {
    fn fill(&mut self, chunk: &mut [u64]) -> io::Result<usize> {
        let bytes = &mut self.bytes[..8 * chunk.len()];
        self.chunks += 1;
        if self.chunks.is_multiple_of(16) {
            let mut left = &mut *bytes;
            for size in (1..=64).cycle() {
                let (request, rest) = left.split_at_mut(size.min(left.len()));
                snaprng::fill(request).map_err(io::Error::other)?;
                left = rest;
                if left.is_empty() {
                    break;
                }
            }
        } else {
            snaprng::fill(bytes).map_err(io::Error::other)?;
        }
        into_words(bytes, chunk);
        Ok(chunk.len())
    }
}

/// Several streams as one: a word of each in turn, until one of them ends.
pub(crate) struct Interleaved<R> {
    streams: Vec<R>,
    bytes: Vec<u8>,
}

impl<R: Read> Interleaved<R> {
    pub(crate) fn new(streams: Vec<R>) -> Self {
        Self { streams, bytes: Vec::new() }
    }
}

impl Interleaved<File> {
    pub(crate) fn of_files(paths: &[impl AsRef<Path>]) -> io::Result<Self> {
        paths.iter().map(File::open).collect::<io::Result<_>>().map(Self::new)
    }
}

impl<R: Read + Send> Source for Interleaved<R> {
    fn fill(&mut self, chunk: &mut [u64]) -> io::Result<usize> {
        let (count, each) = (self.streams.len(), chunk.len() / self.streams.len());
        self.bytes.resize(8 * each, 0);
        let mut fewest = each;
        for (place, stream) in self.streams.iter_mut().enumerate() {
            let words = read_words(stream, &mut self.bytes)?;
            fewest = fewest.min(words);
            for (at, word) in self.bytes.chunks_exact(8).take(words).enumerate() {
                chunk[at * count + place] =
                    u64::from_le_bytes(word.try_into().expect("eight bytes"));
            }
        }
        Ok(fewest * count)
    }
}

/// As many whole words as there are.
fn read_words(stream: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled / 8)
}

fn into_words(bytes: &[u8], words: &mut [u64]) {
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
}

/// What the tests must find: a good stream made bad.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A linear congruential generator with 64 bits of state, all of them given out.
    Congruential,
    /// 4 KiB at the start of each MiB are always the same.
    RepeatedBlock,
    /// A bit is one with probability 1/2 + 2^-14.
    Bias,
    /// Two clones that share everything, interleaved.
    SharedByClones,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] =
        [Self::Congruential, Self::RepeatedBlock, Self::Bias, Self::SharedByClones];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Congruential => "a linear congruential generator",
            Self::RepeatedBlock => "a block that comes again every MiB",
            Self::Bias => "a bias of 2^-14",
            Self::SharedByClones => "two equal streams, interleaved",
        }
    }
}

/// snaprng's stream with a fault.
pub(crate) struct Faulty {
    fault: Fault,
    good: Snaprng,
    state: u64,
    block: Vec<u64>,
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, good: Snaprng::new(), state: 1, block: Vec::new() }
    }
}

impl Source for Faulty {
    fn fill(&mut self, chunk: &mut [u64]) -> io::Result<usize> {
        self.good.fill(chunk)?;
        match self.fault {
            Fault::Congruential => {
                for word in &mut *chunk {
                    self.state = self
                        .state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    *word = self.state;
                }
            }
            Fault::RepeatedBlock => {
                if self.block.is_empty() {
                    self.block = chunk[..512].to_vec();
                }
                chunk[..512].copy_from_slice(&self.block);
            }
            Fault::Bias => {
                // One bit in 2^13 is forced to be one: one in every 128 words, at any place.
                for group in chunk.chunks_exact_mut(128) {
                    group[0] |= 1 << (group[1] % 64);
                }
            }
            Fault::SharedByClones => {
                for pair in chunk.chunks_exact_mut(2) {
                    pair[1] = pair[0];
                }
            }
        }
        Ok(chunk.len())
    }
}
