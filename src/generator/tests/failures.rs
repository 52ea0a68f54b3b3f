//! Failures: no output, no stale bytes, no generator that works again by accident.

use super::*;

#[test]
fn a_failing_kernel_yields_an_error_a_wiped_buffer_and_a_rekey_next_time() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    let buffered = generator.buffer.duplicate();
    script.clone_vm();
    script.kernel_fails_after.set(Some(0));
    for _ in 0..3 {
        let mut out = [0xaa; 64];
        assert_eq!(generator.fill(&mut out), Err(Error::EntropyUnavailable(5)));
        assert_eq!(out, [0; 64]);
    }
    script.kernel_fails_after.set(None);
    let after = bytes(&mut generator, 64).unwrap();
    assert!(!contains(buffered.parts().1, &after[..8]), "nothing of the old buffer");
    assert_eq!(script.kernel_calls.get(), 2, "but of a new gather");
}

#[test]
fn a_generator_whose_rekey_failed_rekeys_even_when_the_world_moves_back() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    let old = script.epoch.get();
    script.clone_vm();
    script.kernel_fails_after.set(Some(0));
    assert!(bytes(&mut generator, 8).is_err());
    // A host that lies: the old epoch again.
    script.epoch.set(old);
    assert!(bytes(&mut generator, 8).is_err(), "unkeyed always rekeys");
}

#[test]
fn a_failed_absorb_leaves_nothing_usable() {
    let script = Script::with(PER_CALL);
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    script.kernel_fails_after.set(Some(0));
    assert!(bytes(&mut generator, 8).is_err());
    assert!(!generator.keyed);
    script.kernel_fails_after.set(None);
    bytes(&mut generator, 8).unwrap();
}

#[test]
fn a_failing_reseed_does_not_leave_the_old_key_in_use() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    script.kernel_fails_after.set(Some(0));
    assert!(generator.rekey(b"more").is_err());
    assert!(bytes(&mut generator, 8).is_err());
}

#[test]
fn an_all_zero_generator_is_unkeyed_and_has_nothing_to_hand_out() {
    let script = Script::synchronous();
    let generator = script.generator(prefer());
    assert!(!generator.keyed);
    assert_eq!(generator.buffer.left(), 0);
    assert_eq!(generator.epoch, Epoch::default());
}
