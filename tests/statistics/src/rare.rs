//! Tests too slow for every word: ranks of matrices, gaps, birthdays; and words that come again, among a sample of them.

use std::collections::HashSet;

use crate::distributions::poisson;
use crate::tally::{Outcome, frequencies, together};

/// Of each chunk, so many words at its start are made into matrices and searched for gaps.
const LOOKED_AT: usize = 1 << 13;

/// Birthdays are looked for in one chunk of so many.
const BIRTHDAYS_EVERY: u64 = 16;
/// In a year of 2^32 days; a quarter of BIRTHDAYS^3 / 2^32 spacings are expected to come again.
const BIRTHDAYS: usize = 1 << 12;

/// Of the words, one in 2^SAMPLE is remembered, chosen by its own bits: a word that comes again is chosen again.
const SAMPLE: u32 = 10;
const MOST_REMEMBERED: usize = 1 << 24;

/// A gap is what lies between two bytes of the value zero; those of this length and more are one kind.
const LONGEST_GAP: usize = 1024;

pub(crate) struct Rare {
    ranks: [u64; 4], // 64, 63, 62, less
    gaps: Vec<u64>,
    birthday_parties: u64,
    equal_spacings: u64,
    sample: HashSet<u64>,
    again: u64,
}

impl Rare {
    pub(crate) fn new() -> Self {
        Self {
            ranks: [0; 4],
            gaps: vec![0; LONGEST_GAP + 1],
            birthday_parties: 0,
            equal_spacings: 0,
            sample: HashSet::new(),
            again: 0,
        }
    }

    pub(crate) fn add(&mut self, number: u64, chunk: &[u64]) {
        let start = &chunk[..chunk.len().min(LOOKED_AT)];
        for matrix in start.chunks_exact(64) {
            self.ranks[(64 - rank(matrix)).min(3)] += 1;
        }
        self.measure_gaps(start);
        if number.is_multiple_of(BIRTHDAYS_EVERY) && chunk.len() >= BIRTHDAYS {
            self.birthday_parties += 1;
            self.equal_spacings += equal_spacings(&chunk[chunk.len() - BIRTHDAYS..]);
        }
        for word in chunk.iter().filter(|word| *word >> (64 - SAMPLE) == 0) {
            self.remember(*word);
        }
    }

    fn remember(&mut self, word: u64) {
        if self.sample.len() < MOST_REMEMBERED {
            self.again += u64::from(!self.sample.insert(word));
        } else {
            self.again += u64::from(self.sample.contains(&word));
        }
    }

    /// Gaps that begin early enough for the longest to be seen: else short ones would be seen more often than they are.
    fn measure_gaps(&mut self, words: &[u64]) {
        let last = (8 * words.len()).saturating_sub(LONGEST_GAP + 1);
        let mut began = None;
        for (place, byte) in words.iter().flat_map(|word| word.to_le_bytes()).enumerate() {
            if byte == 0 {
                self.end_gap(began.replace(place), place, last);
            }
        }
        self.end_gap(began, 8 * words.len(), last);
    }

    fn end_gap(&mut self, began: Option<usize>, place: usize, last: usize) {
        if let Some(began) = began.filter(|began| *began < last) {
            self.gaps[LONGEST_GAP.min(place - began - 1)] += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (count, more) in
            self.ranks.iter_mut().chain(&mut self.gaps).zip(other.ranks.iter().chain(&other.gaps))
        {
            *count += more;
        }
        self.birthday_parties += other.birthday_parties;
        self.equal_spacings += other.equal_spacings;
        self.again += other.again;
        for word in other.sample {
            self.remember(word);
        }
    }

    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        let ranks: Vec<_> = self.ranks.into_iter().zip(likely_ranks()).collect();
        let gaps = self.gaps.iter().copied().zip(likely_gaps());
        let gaps = together(gaps.rev(), self.gaps.iter().sum());
        let mut all = Vec::new();
        all.extend(frequencies("ranks of 64×64 matrices".to_owned(), &ranks));
        all.extend(frequencies("gaps between bytes of zero".to_owned(), &gaps));
        if self.birthday_parties > 0 {
            let mean =
                (BIRTHDAYS as f64).powi(3) / 4.0 / 2.0_f64.powi(32) * self.birthday_parties as f64;
            all.push(("equal birthday spacings".to_owned(), poisson(self.equal_spacings, mean)));
        }
        // All of a sample begin with the same bits.
        let pairs = (self.sample.len() as f64).powi(2) / 2.0;
        let mean = pairs / 2.0_f64.powi(64 - SAMPLE as i32);
        all.push((
            format!("words again among {} of a sample", self.sample.len()),
            poisson(self.again, mean),
        ));
        all
    }
}

/// The rank over GF(2).
fn rank(matrix: &[u64]) -> usize {
    let mut rows = matrix.to_vec();
    let mut rank = 0;
    for column in 0..64 {
        let Some(pivot) = (rank..rows.len()).find(|row| rows[*row] >> column & 1 == 1) else {
            continue;
        };
        rows.swap(rank, pivot);
        let reducing = rows[rank];
        for row in &mut rows[rank + 1..] {
            // Without a branch, which would be taken at random: all ones if the bit is set.
            *row ^= reducing & (*row >> column & 1).wrapping_neg();
        }
        rank += 1;
    }
    rank
}

/// How likely the ranks 64, 63, 62 and less are.
fn likely_ranks() -> [f64; 4] {
    let of_rank = |rank: i32| -> f64 {
        let two = |exponent: i32| 1.0 - 2.0_f64.powi(exponent);
        let fraction: f64 = (0..rank).map(|i| two(i - 64).powi(2) / two(i - rank)).product();
        2.0_f64.powi(-(64 - rank).pow(2)) * fraction
    };
    let [full, one, two] = [64, 63, 62].map(of_rank);
    [full, one, two, 1.0 - full - one - two]
}

/// How likely gaps of each length are, and all that are longer.
fn likely_gaps() -> impl DoubleEndedIterator<Item = f64> + ExactSizeIterator {
    let longer = |length: usize| (255.0_f64 / 256.0).powi(length as i32);
    (0..LONGEST_GAP + 1).map(move |length| {
        if length < LONGEST_GAP { longer(length) / 256.0 } else { longer(length) }
    })
}

/// Of birthdays in a year of 2^32 days, how many spacings between neighbours come again.
fn equal_spacings(words: &[u64]) -> u64 {
    let mut days: Vec<u32> = words.iter().map(|word| (word >> 16) as u32).collect();
    days.sort_unstable();
    let mut spacings: Vec<u32> = days.windows(2).map(|pair| pair[1] - pair[0]).collect();
    spacings.sort_unstable();
    spacings.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_linear_algebra() {
        let identity: Vec<u64> = (0..64).map(|row| 1 << row).collect();
        assert_eq!(rank(&identity), 64);
        let mut dependent = identity.clone();
        dependent[63] = dependent[0] ^ dependent[1];
        assert_eq!(rank(&dependent), 63);
        assert_eq!(rank(&[7; 64]), 1);
        let likely = likely_ranks();
        assert!((likely[0] - 0.288_788).abs() < 1e-6 && (likely[1] - 0.577_576).abs() < 1e-6);
        assert!((likely_gaps().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn spacings_that_come_again_are_counted() {
        let days = [1_u64, 4, 7, 20].map(|day| day << 16);
        assert_eq!(equal_spacings(&days), 1);
    }
}
