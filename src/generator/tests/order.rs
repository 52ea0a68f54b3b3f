//! The order of the steps: what is looked at and drawn, and what a move in between does.

use super::*;

#[test]
fn a_first_request_looks_gathers_looks_takes_and_looks() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 16).unwrap();
    let expected = [
        "look", // the inlined path finds nothing to take
        "look", // the first look of the request
        "look", // remembered before entropy is gathered
        "facts", "cpu", "cpu", "kernel", // CPU (twice on a new machine) before kernel
        "look",   // it has not moved: keyed
        "look",   // the last look
    ];
    assert_eq!(*script.log.borrow(), expected);
}

#[test]
fn a_buffered_request_looks_twice_and_does_nothing_else() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 16).unwrap();
    script.log.borrow_mut().clear();
    for _ in 0..10 {
        bytes(&mut generator, 8).unwrap();
    }
    assert_eq!(*script.log.borrow(), ["look"; 20]);
}

#[test]
fn a_snapshot_during_the_gather_makes_it_gather_again() {
    for step in ["cpu", "kernel"] {
        let script = Script::synchronous();
        let moved = Cell::new(false);
        script.on_step(move |script, _, name| {
            if name == step && !moved.replace(true) {
                script.change(|e| e.counter += 1);
            }
        });
        let mut generator = script.generator(prefer());
        bytes(&mut generator, 16).unwrap();
        assert_eq!(script.kernel_calls.get(), 2, "moved at {step}");
        assert_eq!(generator.epoch, script.epoch.get());
    }
}

#[test]
fn output_of_a_request_that_the_world_moved_under_is_never_released() {
    // The look that finds the move: every one of a buffered and of a slow request in turn.
    for length in [8, 100, 511, 512, 4096] {
        for when in 0..6 {
            let script = Script::synchronous();
            let mut generator = script.generator(prefer());
            bytes(&mut generator, 8).unwrap();
            let twin_script = Script::synchronous();
            let mut twin = twin_script.generator(prefer());
            bytes(&mut twin, 8).unwrap();
            let unmoved = bytes(&mut twin, length).unwrap();

            script.steps.set(0);
            script.on_step(move |script, number, _| {
                if number == when {
                    script.clone_vm();
                }
            });
            let moved = bytes(&mut generator, length).unwrap();
            if when <= script.last_look.get() {
                assert_ne!(moved, unmoved, "{length} bytes, moved at point {when}");
                assert_eq!(generator.epoch.counter, 1);
            }
        }
    }
}

#[test]
fn a_world_that_never_rests_is_an_error_and_wipes_the_buffer() {
    let script = Script::synchronous();
    script.on_step(|script, _, name| {
        if name == "look" {
            script.change(|e| e.counter += 1);
        }
    });
    let mut generator = script.generator(prefer());
    let mut out = [0xaa; 64];
    assert_eq!(generator.fill(&mut out), Err(Error::WorldUnstable));
    assert_eq!(out, [0; 64]);
    *script.hook.borrow_mut() = None;
    assert!(generator.fill(&mut out).is_ok(), "it works again when the world rests");
}

#[test]
fn each_generator_keeps_its_own_epoch() {
    let script = Script::synchronous();
    let (mut a, mut b) = (script.generator(prefer()), script.generator(prefer()));
    bytes(&mut a, 8).unwrap();
    bytes(&mut b, 8).unwrap();
    script.change(|e| e.process += 1);
    let before = script.kernel_calls.get();
    bytes(&mut a, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), before + 1, "the first one notices");
    bytes(&mut b, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), before + 2, "and so does the second");
}

#[test]
fn a_copy_after_the_first_look_of_a_buffered_request_is_seen_by_its_last() {
    type Draw = fn(&mut TestGenerator) -> Vec<u8>;
    let by_slice: Draw = |generator| bytes(generator, 16).unwrap();
    let by_value: Draw = |generator| generator.convert(|b: [u8; 16]| b.to_vec()).unwrap();
    for draw in [by_slice, by_value] {
        let script = Script::synchronous();
        let mut generator = script.generator(prefer());
        draw(&mut generator);
        let buffered = generator.buffer.parts().1[..16].to_vec();
        script.log.borrow_mut().clear();
        assert_eq!(draw(&mut generator), buffered);
        assert_eq!(*script.log.borrow(), ["look", "look"]);
        // The next one again, and the world is copied as soon as the first look has read it.
        let buffered = generator.buffer.parts().1[..16].to_vec();
        script.steps.set(0);
        script.on_step(|script, number, _| {
            if number == 1 {
                script.clone_vm();
            }
        });
        let kernel = script.kernel_calls.get();
        assert_ne!(draw(&mut generator), buffered);
        assert_eq!(script.kernel_calls.get(), kernel + 1);
    }
}

#[test]
fn a_dropped_page_does_not_restart_a_large_request() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 8).unwrap();
    let once: Key = generator.buffer.parts().1[..KEY_LEN].try_into().unwrap();
    script.steps.set(0);
    script.on_step(|script, number, _| {
        // After the first look, in the middle of the request.
        if number == 2 {
            script.change(|e| e.process += 1);
        }
    });
    let out = bytes(&mut generator, 4096).unwrap();
    let mut expected = vec![0; 4096];
    cipher::keystream(Rounds::Twenty, &once, &mut expected);
    assert_eq!(out, expected, "what was begun was finished");
    let kernel = script.kernel_calls.get();
    bytes(&mut generator, 8).unwrap();
    assert_eq!(script.kernel_calls.get(), kernel + 1, "and cost a rekey");
}

#[test]
fn the_inlined_ways_give_what_is_open_and_look_twice() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 16).unwrap();
    let open = generator.buffer.parts().1[..56].to_vec();
    script.log.borrow_mut().clear();
    assert_eq!(generator.array_if_unmoved::<16>().unwrap()[..], open[..16]);
    assert_eq!(generator.array_or_closed::<16>().unwrap()[..], open[16..32]);
    assert_eq!(generator.convert(|b: [u8; 8]| b.to_vec()).unwrap(), open[32..40]);
    let mut out = [0; 16];
    assert!(generator.fill_if_unmoved(&mut out));
    assert_eq!(out[..], open[40..]);
    assert_eq!(*script.log.borrow(), ["look"; 8]);
}

#[test]
fn large_requests_go_past_the_buffer_whatever_is_open() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 16).unwrap();
    let left = generator.buffer.left();
    assert!(left > LARGE);
    assert_eq!(generator.array_if_unmoved::<LARGE>(), None);
    assert!(!generator.fill_if_unmoved(&mut [0; LARGE]));
    assert_eq!(generator.buffer.left(), left);
    assert!(generator.fill_if_unmoved(&mut [0; LARGE - 1]));
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_not_keyed_has_nothing_open_after_the_inlined_way_and_what_is_keyed_keeps_it() {
    let script = Script::synchronous();
    let mut generator = script.generator(prefer());
    bytes(&mut generator, 16).unwrap();
    let left = generator.buffer.left();
    script.clone_vm();
    assert_eq!(generator.array_or_closed::<8>(), None);
    assert_eq!(generator.buffer.left(), left, "the slow way wipes them");
    generator.keyed = false;
    assert_eq!(generator.array_or_closed::<8>(), None);
    assert_eq!(generator.buffer.left(), 0);
}
