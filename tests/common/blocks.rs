//! The comparison behind every "nothing is shared": no block of 16 bytes occurs twice.

use std::collections::HashMap;

/// Two equal blocks of true randomness: 2^-128 for each pair.
const BLOCK: usize = 16;

/// Up to this many bytes, blocks are looked for at every offset.
const SMALL: usize = 1 << 20;

/// Fails if a block of 16 bytes occurs twice, in two of the records or within one.
///
/// In small records it is looked for at every offset, so that a stream that one side continued
/// from another position is found too; in large ones at multiples of its size. Returns how many
/// blocks were compared with all others.
pub(crate) fn assert_nothing_repeats(records: &[(String, &[u8])]) -> usize {
    let mut places = HashMap::new();
    for (index, (name, record)) in records.iter().enumerate() {
        for (number, block) in record.chunks_exact(BLOCK).enumerate() {
            let offset = number * BLOCK;
            if let Some((other, at)) = places.insert(block, (index, offset)) {
                fail((name, offset), (&records[other].0, at));
            }
        }
    }
    if records.iter().map(|(_, record)| record.len()).sum::<usize>() > SMALL {
        return places.len();
    }
    for (index, (name, record)) in records.iter().enumerate() {
        for (offset, block) in record.windows(BLOCK).enumerate() {
            if let Some(&(other, at)) = places.get(block)
                && (other, at) != (index, offset)
            {
                fail((name, offset), (&records[other].0, at));
            }
        }
    }
    places.len()
}

fn fail(one: (&str, usize), other: (&str, usize)) {
    panic!(
        "the same 16 bytes at offset {} of `{}` and at offset {} of `{}`",
        one.1, one.0, other.1, other.0
    );
}

/// Names records by number.
pub(crate) fn numbered<'a>(name: &str, records: &[&'a [u8]]) -> Vec<(String, &'a [u8])> {
    records.iter().enumerate().map(|(n, r)| (format!("{name} {n}"), *r)).collect()
}
