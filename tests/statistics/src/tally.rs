//! What is counted in every word: frequencies, weights, runs, and what words at some distance have in common. One pass,
//! without a branch, so that many gibibytes are a matter of minutes.

use crate::distributions::{chi_squared, coins};
use crate::rare::Rare;

/// Words in a chunk: 1 MiB.
pub(crate) const CHUNK: usize = 1 << 17;

/// A name, and how likely a random stream is to look at least as bad.
pub(crate) type Outcome = (String, f64);

/// At these distances, in words, a word is compared with an earlier one; and with the one at its place in the last chunk.
const LAGS: [usize; 7] = [1, 2, 3, 4, 8, 16, 64];

/// Pairs of bytes are counted in one chunk of so many: their tables are too large to be quick.
const PAIRS_EVERY: u64 = 4;

/// A test of frequencies is made if so many are expected of each kind.
const ENOUGH: f64 = 20.0;

/// The counts of one stream, or of parts of it.
pub(crate) struct Tally {
    chunks: u64,
    bytes: Vec<[u64; 256]>, // of each of a word's eight places
    pairs: Vec<u64>,        // of neighbouring bytes: values of 16-bit words
    weights: [u64; 65],     // words by their number of ones
    changes: [u64; 65],     // words by how often neighbouring bits differ
    differing: [u64; LAGS.len()],
    compared: [u64; LAGS.len()],
    differing_from_last: u64,
    compared_with_last: u64,
    last: Vec<u64>,
    rare: Rare,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            chunks: 0,
            bytes: vec![[0; 256]; 8],
            pairs: vec![0; 1 << 16],
            weights: [0; 65],
            changes: [0; 65],
            differing: [0; LAGS.len()],
            compared: [0; LAGS.len()],
            differing_from_last: 0,
            compared_with_last: 0,
            last: Vec::new(),
            rare: Rare::new(),
        }
    }

    /// Count a chunk; the next one is taken to follow it.
    pub(crate) fn add(&mut self, chunk: &[u64]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("popcnt") && is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has what the function was compiled for, as was just asked.
            unsafe { self.count_quickly(chunk) };
            self.count_rarely(chunk);
            return;
        }
        self.count(chunk);
        self.count_rarely(chunk);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "popcnt,avx2")]
    fn count_quickly(&mut self, chunk: &[u64]) {
        self.count(chunk);
    }

    #[inline(always)]
    fn count(&mut self, chunk: &[u64]) {
        for word in chunk {
            for (table, byte) in self.bytes.iter_mut().zip(word.to_le_bytes()) {
                table[usize::from(byte)] += 1;
            }
            self.weights[word.count_ones() as usize] += 1;
            // 63 neighbours within a word: the last bit has none.
            self.changes[((word ^ (word >> 1)) & (u64::MAX >> 1)).count_ones() as usize] += 1;
        }
        for (at, lag) in LAGS.into_iter().enumerate() {
            let Some(later) = chunk.get(lag..) else { continue };
            self.differing[at] += differing_bits(chunk, later);
            self.compared[at] += 64 * later.len() as u64;
        }
        self.differing_from_last += differing_bits(chunk, &self.last);
        self.compared_with_last += 64 * self.last.len().min(chunk.len()) as u64;
        self.last.clear();
        self.last.extend_from_slice(chunk);
    }

    fn count_rarely(&mut self, chunk: &[u64]) {
        if self.chunks.is_multiple_of(PAIRS_EVERY) {
            for word in chunk {
                for shift in [0, 16, 32, 48] {
                    self.pairs[(word >> shift) as usize & 0xffff] += 1;
                }
            }
        }
        self.rare.add(self.chunks, chunk);
        self.chunks += 1;
    }

    /// Add the counts of another part of the stream.
    pub(crate) fn merge(&mut self, other: Self) {
        self.chunks += other.chunks;
        for (table, more) in self.bytes.iter_mut().zip(&other.bytes) {
            sum(table, more);
        }
        sum(&mut self.pairs, &other.pairs);
        sum(&mut self.weights, &other.weights);
        sum(&mut self.changes, &other.changes);
        sum(&mut self.differing, &other.differing);
        sum(&mut self.compared, &other.compared);
        self.differing_from_last += other.differing_from_last;
        self.compared_with_last += other.compared_with_last;
        self.rare.merge(other.rare);
    }

    /// Every test that there was enough data for.
    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        let mut all = Vec::new();
        for (place, table) in self.bytes.iter().enumerate() {
            all.extend(even(format!("bytes at place {place} of a word"), table));
        }
        all.extend(even("pairs of bytes".to_owned(), &self.pairs));
        all.extend(binomial("ones in a word".to_owned(), &self.weights, 64));
        all.extend(binomial("changes of bits in a word".to_owned(), &self.changes, 63));
        let ones =
            self.weights.iter().zip(0..).map(|(count, weight): (_, u64)| count * weight).sum();
        all.push(("ones".to_owned(), coins(ones, 64 * self.weights.iter().sum::<u64>())));
        for (at, lag) in LAGS.into_iter().enumerate() {
            let p = coins(self.differing[at], self.compared[at]);
            all.push((format!("bits that differ from those {lag} words before"), p));
        }
        if self.compared_with_last > 0 {
            let p = coins(self.differing_from_last, self.compared_with_last);
            all.push(("bits that differ from those 1 MiB before".to_owned(), p));
        }
        all.extend(self.rare.outcomes());
        all
    }
}

#[inline(always)]
fn differing_bits(some: &[u64], others: &[u64]) -> u64 {
    some.iter().zip(others).map(|(one, other)| u64::from((one ^ other).count_ones())).sum()
}

fn sum(counts: &mut [u64], more: &[u64]) {
    for (count, one) in counts.iter_mut().zip(more) {
        *count += one;
    }
}

/// All kinds are equally likely.
fn even(name: String, counts: &[u64]) -> Option<Outcome> {
    let likely = 1.0 / counts.len() as f64;
    frequencies(name, &counts.iter().map(|count| (*count, likely)).collect::<Vec<_>>())
}

/// Counts of `coins` coins by the number of ones. Kinds too rare are put together at the ends.
fn binomial(name: String, counts: &[u64], coins: i32) -> Option<Outcome> {
    let total: u64 = counts.iter().sum();
    let mut likely = 0.5_f64.powi(coins);
    let mut kinds = Vec::new();
    for ones in 0..=coins {
        kinds.push((counts[ones as usize], likely));
        likely *= f64::from(coins - ones) / f64::from(ones + 1);
    }
    let middle = kinds.split_off(kinds.len() / 2);
    let low = together(kinds.into_iter(), total);
    let high = together(middle.into_iter().rev(), total);
    frequencies(name, &low.into_iter().chain(high).collect::<Vec<_>>())
}

/// Kinds from the rare to the frequent, each large enough.
pub(crate) fn together(kinds: impl Iterator<Item = (u64, f64)>, total: u64) -> Vec<(u64, f64)> {
    let (mut done, mut open) = (Vec::new(), (0, 0.0));
    for (count, likely) in kinds {
        open = (open.0 + count, open.1 + likely);
        if open.1 * total as f64 >= ENOUGH {
            done.push(std::mem::replace(&mut open, (0, 0.0)));
        }
    }
    if let Some(last) = done.last_mut() {
        *last = (last.0 + open.0, last.1 + open.1);
    }
    done
}

/// Pearson's test of counts, each with its probability.
pub(crate) fn frequencies(name: String, kinds: &[(u64, f64)]) -> Option<Outcome> {
    let total = kinds.iter().map(|(count, _)| count).sum::<u64>() as f64;
    if kinds.len() < 2 || kinds.iter().any(|(_, likely)| likely * total < ENOUGH) {
        return None;
    }
    let distance = |(count, likely): &(u64, f64)| {
        let expected = likely * total;
        (*count as f64 - expected).powi(2) / expected
    };
    Some((name, chi_squared(kinds.iter().map(distance).sum(), kinds.len() as f64 - 1.0)))
}
