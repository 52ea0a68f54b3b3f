//! Keys and the buffer: what is made of what, what is wiped, when there is a new key.

use super::*;

#[test]
fn what_was_handed_out_is_wiped_and_the_key_that_made_it_is_gone() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    let first = bytes(&mut generator, 300).unwrap();
    let (gone, left) = generator.buffer.parts();
    assert!(gone.iter().all(|&b| b == 0));
    assert!(!contains(left, &first[..8]));
    let key = generator.key;
    use_up_the_buffer(&mut generator);
    bytes(&mut generator, 300).unwrap();
    assert_ne!(generator.key, key, "a refill replaces the key");
    assert!(!contains(generator.buffer.parts().1, &key[..8]), "and keeps no copy of it");
}

#[test]
fn a_large_request_leaves_neither_its_key_nor_its_output_behind() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    let once: Key = generator.buffer.parts().1[..KEY_LEN].try_into().unwrap();
    let out = bytes(&mut generator, LARGE).unwrap();
    let mut expected = vec![0; LARGE];
    cipher::keystream(Rounds::Twenty, &once, &mut expected);
    assert_eq!(out, expected, "the keystream of a key taken from the buffer");
    assert!(!contains(generator.buffer.parts().1, &once[..8]));
}

#[test]
fn the_first_refill_after_a_rekey_is_half_as_long_as_the_others() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    for (length, made) in [(BUFFER / 2, BUFFER / 2), (BUFFER, 3 * BUFFER / 2)] {
        use_up_the_buffer(&mut generator);
        bytes(&mut generator, 16).unwrap();
        assert_eq!(generator.buffer.left(), length - KEY_LEN - 16);
        assert_eq!(generator.bytes_since_rekey, made as u64);
    }
}

#[test]
fn a_generator_rekeys_after_a_mebibyte() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), 1);
    bytes(&mut generator, 1 << 20).unwrap();
    use_up_the_buffer(&mut generator);
    bytes(&mut generator, 1).unwrap();
    assert_eq!(script.kernel_calls.get(), 2);
}

#[test]
fn bytes_that_absorbs_make_count_towards_the_next_rekey() {
    let script = Script::with(PER_CALL);
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 32).unwrap();
    let rekeyed = generator.rekeyed_at;
    script.now.set(script.now.get() + 1);
    for _ in 0..(1 << 20) / 32 - 2 {
        bytes(&mut generator, 32).unwrap();
    }
    assert_eq!(generator.rekeyed_at, rekeyed);
    for _ in 0..3 {
        bytes(&mut generator, 32).unwrap();
    }
    assert_ne!(generator.rekeyed_at, rekeyed);
}

#[test]
fn a_generator_rekeys_after_a_minute_at_the_next_refill() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    script.now.set(script.now.get() + 60 * SECOND);
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), 1, "no clock is read while the buffer lasts");
    use_up_the_buffer(&mut generator);
    bytes(&mut generator, 1).unwrap();
    assert_eq!(script.kernel_calls.get(), 2);
}

#[test]
fn requests_of_any_length_are_filled() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    for length in 0..3000 {
        let out = bytes(&mut generator, length).unwrap();
        assert!(length < 16 || out[length - 16..].iter().any(|&b| b != 0), "{length}");
    }
}

/// Frozen: a change of these bytes is a change of the documented stream, and needs a new version of
/// the rekey's personalization.
#[test]
fn the_stream_under_fixed_entropy_is_frozen() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    let mut stream = bytes(&mut generator, 16).unwrap();
    stream.extend(bytes(&mut generator, 512).unwrap().split_off(496));
    script.clone_vm();
    stream.extend(bytes(&mut generator, 16).unwrap());
    let per_call = Script::with(PER_CALL);
    let mut generator = per_call.generator(prefer());
    bytes(&mut generator, 16).unwrap();
    stream.extend(bytes(&mut generator, 16).unwrap());
    let mut once = [0; 16];
    one_shot(&per_call, &per_call, &prefer(), &mut once).unwrap();
    stream.extend(once);
    assert_eq!(hex(&stream), FROZEN);
}

/// What a second implementation computes: `tests/reference/stream.py`.
const FROZEN: &str = "0059455f1b91ffece6496d1e24a8484b1ce1b522f4d2cb2f2445c54e766b1c95\
                      c8edf4ede28b2308441afb0c5aabff7a2354b6abfc61843ec950c9241990f6d5\
                      b34c38d2d477a19f7f85e25eb101326e";

#[test]
fn an_absorb_replaces_the_key_and_discards_the_buffer() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    let (key, buffered) = (generator.key, generator.buffer.parts().1.to_vec());
    generator.absorb().unwrap();
    assert_ne!(generator.key, key);
    assert!(!contains(generator.buffer.parts().1, &buffered[..8]));
    assert!(generator.array_if_unmoved::<1>().is_none(), "nothing of it is open");
}
