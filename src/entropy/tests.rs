//! Mixing and settling under fixed sources.

use std::cell::RefCell;

use proptest::prelude::*;

use super::*;

/// Sources that give what they are told to.
#[derive(Default)]
struct Fixed {
    cpu: Option<u8>,
    seed: Option<u8>,
    kernel: Option<u8>,
    injected: Option<u8>,
    reseeds: bool,
    seeded: bool,
    calls: RefCell<Vec<&'static str>>,
}

impl Entropy for Fixed {
    fn cpu(&self, out: &mut [u8]) -> bool {
        self.calls.borrow_mut().push("cpu");
        out.fill(self.cpu.unwrap_or(0));
        self.cpu.is_some()
    }

    fn cpu_seed(&self, _: &Epoch, needed: bool, out: &mut [u8; FULL]) -> bool {
        if self.seeded && !needed {
            return false;
        }
        self.calls.borrow_mut().push("cpu seed");
        out.fill(self.seed.unwrap_or(0));
        self.seed.is_some()
    }

    fn kernel(&self, out: &mut [u8; FULL]) -> Result<(), Error> {
        self.calls.borrow_mut().push("kernel");
        out.fill(self.kernel.ok_or(Error::EntropyUnavailable(38))?);
        Ok(())
    }

    fn kernel_quickly(&self, out: &mut [u8; FULL]) -> Result<(), Error> {
        self.calls.borrow_mut().push("quickly");
        out.fill(self.kernel.ok_or(Error::EntropyUnavailable(38))?);
        Ok(())
    }

    fn reseed_kernel(&self, _: &Epoch) -> bool {
        self.calls.borrow_mut().push("reseed");
        self.reseeds
    }

    fn injected(&self, _: &Epoch, out: &mut Key) -> bool {
        out.fill(self.injected.unwrap_or(0));
        self.injected.is_some()
    }

    fn diversifiers(&self, out: &mut [u8; DIVERSIFIERS]) {
        out.fill(0);
    }

    fn now(&self) -> u64 {
        0
    }

    fn now_coarse(&self) -> u64 {
        0
    }

    fn settling_began(&self, _: &Epoch, now: u64) -> u64 {
        now
    }

    fn settling_time(&self) -> u64 {
        0
    }
}

fn occasion() -> Occasion<'static> {
    const EPOCH: Epoch =
        Epoch { counter: 0, marker: 0, process: 1, sysgenid: 0, agent: 0, copy: 0, machine: 0 };
    Occasion { epoch: &EPOCH, personalization: &[0; 32], additional: &[] }
}

fn key_of(entropy: &Fixed) -> Key {
    key_on(entropy, [0; 32], &occasion())
}

fn key_on(entropy: &Fixed, mut key: Key, occasion: &Occasion<'_>) -> Key {
    gather(entropy, &mut key, occasion).unwrap();
    key
}

fn diversity_of(entropy: &Fixed) -> Diversity {
    gather(entropy, &mut [0; 32], &occasion()).unwrap()
}

/// A mixer that has this old key.
fn mixer() -> Mixer {
    let mut mixer = Mixer::NEW;
    mixer.add(Source::OldKey, give([1; 32]));
    mixer
}

fn finish(mixer: &Mixer) -> Key {
    let mut key = [0; 32];
    mixer.finish(&mut key);
    key
}

fn full() -> Fixed {
    Fixed { cpu: Some(1), seed: Some(2), kernel: Some(3), ..Fixed::default() }
}

#[test]
fn the_cpu_comes_before_the_kernel() {
    let entropy = full();
    key_of(&entropy);
    assert_eq!(*entropy.calls.borrow(), ["cpu", "cpu seed", "kernel"]);
    let entropy = full();
    absorb(&entropy, &mut [0; 32], false, &mut [0; 32]).unwrap();
    assert_eq!(*entropy.calls.borrow(), ["cpu", "kernel"]);
}

#[test]
fn every_source_and_the_old_key_change_the_new_one() {
    let mut keys = vec![
        key_of(&full()),
        key_of(&Fixed { cpu: Some(9), ..full() }),
        key_of(&Fixed { cpu: None, ..full() }),
        key_of(&Fixed { seed: Some(9), ..full() }),
        key_of(&Fixed { kernel: Some(9), ..full() }),
        key_of(&Fixed { injected: Some(9), ..full() }),
        key_on(&full(), [1; 32], &occasion()),
        key_of(&Fixed { seeded: true, ..full() }),
        key_on(&full(), [0; 32], &Occasion { additional: b"a", ..occasion() }),
        key_on(&full(), [0; 32], &Occasion { personalization: &[1; 32], ..occasion() }),
    ];
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

#[test]
fn bytes_cannot_move_from_one_source_to_another() {
    let ab = Occasion { additional: b"ab", ..occasion() };
    let mut mixer = mixer();
    mixer.add(Source::Cpu, give(*b"a"));
    mixer.add(Source::Kernel, give(*b"b"));
    let mut other = self::mixer();
    other.add(Source::Cpu, give([b'a', Source::Kernel as u8, 1, b'b']));
    assert_ne!(finish(&mixer), finish(&other));
    assert_ne!(key_on(&full(), [0; 32], &ab), key_of(&full()));
}

/// A source that has these bytes.
fn give<const N: usize>(bytes: [u8; N]) -> impl FnOnce(&mut [u8; N]) -> bool {
    move |out| {
        *out = bytes;
        true
    }
}

#[test]
fn the_usual_gather_is_two_blocks_of_the_hash_and_there_is_room_for_all_sources() {
    let mut mixer = mixer();
    mixer.add(Source::Cpu, give([2; FULL]));
    mixer.add(Source::Diversifiers, give([3; DIVERSIFIERS]));
    mixer.add(Source::Kernel, give([4; FULL]));
    assert_eq!(mixer.length, 128);
    for source in [Source::CpuSeed, Source::Injected, Source::Personalization, Source::Additional] {
        assert!(mixer.add(source, give([5; FULL])));
    }
    assert_eq!(mixer.length, Mixer::ROOM);
    assert!(!mixer.add(Source::Kernel, give([6; FULL])), "and for no more");
}

#[test]
fn a_source_that_gives_nothing_leaves_nothing() {
    let mut mixer = mixer();
    let nothing = |out: &mut Key| {
        *out = [7; 32];
        false
    };
    assert!(!mixer.add(Source::Cpu, nothing));
    assert!(!mixer.sources.contains(&7));
    assert_eq!(finish(&mixer), finish(&self::mixer()));
}

#[test]
fn without_the_kernel_there_is_no_key_whatever_else_there_is() {
    let entropy = Fixed { kernel: None, injected: Some(1), reseeds: true, ..full() };
    let mut key = [7; 32];
    let outcome = gather(&entropy, &mut key, &occasion());
    assert_eq!(outcome.unwrap_err(), Error::EntropyUnavailable(38));
    assert_eq!(key, [7; 32]);
    let outcome = absorb(&entropy, &mut key, false, &mut [0; 32]);
    assert_eq!(outcome, Err(Error::EntropyUnavailable(38)));
    assert_eq!(key, [7; 32]);
}

#[test]
fn the_kernel_is_made_to_reseed_only_where_the_cpu_has_no_randomness() {
    let entropy = Fixed { reseeds: true, ..full() };
    assert!(!diversity_of(&entropy).kernel_reseeded());
    assert!(!entropy.calls.borrow().contains(&"reseed"));
    let entropy = Fixed { cpu: None, seed: None, reseeds: true, ..full() };
    assert!(diversity_of(&entropy).kernel_reseeded());
    assert_eq!(entropy.calls.borrow()[2..], ["reseed", "kernel"], "before the kernel is asked");
}

#[test]
fn diversity_says_what_was_credited() {
    let of = |entropy: &Fixed| {
        let diversity = diversity_of(entropy);
        assert_eq!(format!("{diversity:?}"), format!("Diversity({diversity})"));
        assert_eq!(diversity.injected_bits(), if entropy.injected.is_some() { 256 } else { 0 });
        diversity.to_string()
    };
    assert_eq!(of(&full()), "CPU 256 bits");
    assert_eq!(of(&Fixed { kernel: Some(1), ..Fixed::default() }), "none");
    assert_eq!(
        of(&Fixed { kernel: Some(1), injected: Some(1), reseeds: true, ..Fixed::default() }),
        "injected 256 bits, kernel made to reseed"
    );
}

#[test]
fn an_absorb_depends_on_the_key_on_the_cpu_and_on_the_kernel() {
    let absorbed = |key: u8, cpu, kernel| {
        let (mut key, mut spare) = ([key; 32], [0; 32]);
        absorb(&Fixed { cpu, kernel, ..Fixed::default() }, &mut key, false, &mut spare).unwrap();
        (key, spare)
    };
    let mut made = vec![
        absorbed(0, Some(1), Some(1)),
        absorbed(8, Some(1), Some(1)),
        absorbed(0, Some(2), Some(1)),
        absorbed(0, Some(1), Some(2)),
        absorbed(0, None, Some(1)),
    ];
    assert!(made.iter().all(|(key, spare)| key != spare));
    made.sort_unstable();
    made.dedup_by(|a, b| a.0 == b.0 || a.1 == b.1);
    assert_eq!(made.len(), 5);
}

#[test]
fn the_kernels_code_in_user_space_is_used_beside_cpu_bytes_alone() {
    let entropy = full();
    absorb(&entropy, &mut [0; 32], true, &mut [0; 32]).unwrap();
    assert_eq!(*entropy.calls.borrow(), ["cpu", "quickly"]);
    let entropy = Fixed { cpu: None, ..full() };
    absorb(&entropy, &mut [0; 32], true, &mut [0; 32]).unwrap();
    assert_eq!(*entropy.calls.borrow(), ["cpu", "kernel"]);
}

#[test]
fn the_noise_source_is_drawn_from_again_where_the_generator_of_the_cpu_fails() {
    let entropy = Fixed { cpu: None, seeded: true, ..full() };
    assert_eq!(diversity_of(&entropy).cpu_bits(), 256);
    assert_eq!(*entropy.calls.borrow(), ["cpu", "cpu seed", "kernel"]);
}

#[test]
fn a_later_start_on_record_takes_as_long_as_its_age_says() {
    let mut settling = Settling::begin(0);
    let now = 30_000 * MILLISECOND;
    settling.absorbed(now, 64_000 * MILLISECOND);
    assert!(!settling.is_due(now, 64_000 * MILLISECOND), "the early stages are over at once");
    assert_eq!(settling.remaining(now, 64_000 * MILLISECOND), 34_000 * MILLISECOND);
}

// The real sources.

/// Whether two draws of 32 bytes each gave some, and other ones; `None` where there were none.
fn differ(mut draw: impl FnMut(&mut [u8; FULL]) -> bool) -> Option<bool> {
    let [mut one, mut other] = [[0; FULL]; 2];
    (draw(&mut one) && draw(&mut other)).then_some(one != other && one != [0; FULL])
}

#[test]
fn the_real_kernel_gives_other_bytes_each_time_either_way() {
    assert_eq!(differ(|out| SystemEntropy.kernel(out).is_ok()), Some(true));
    assert_eq!(differ(|out| SystemEntropy.kernel_quickly(out).is_ok()), Some(true));
}

#[test]
fn the_real_cpu_gives_other_bytes_each_time_if_it_gives_any() {
    let gives = cpu::fill(&mut [0; FULL]);
    assert_eq!(differ(|out| SystemEntropy.cpu(out)), gives.then_some(true));
    if !gives {
        println!("SKIPPED: bytes of the CPU: this one has no randomness");
    }
}

#[test]
fn the_real_noise_source_is_drawn_once_in_an_epoch_or_where_it_is_needed() {
    let mut out = [0; FULL];
    let epoch = Epoch { counter: 0x5eed, ..Epoch::default() };
    assert_eq!(SEEDED_IN.get(&epoch), None);
    // It may give nothing: others draw it empty, and nobody insists.
    let _ = SystemEntropy.cpu_seed(&epoch, false, &mut out);
    assert!(SEEDED_IN.get(&epoch).is_some(), "asked");
    out.fill(0);
    assert!(!SystemEntropy.cpu_seed(&epoch, false, &mut out));
    assert_eq!(out, [0; FULL], "not asked");
    let mut insist = |draw: &dyn Fn(&mut [u8; FULL]) -> bool| (0..1000).any(|_| draw(&mut out));
    if !insist(&|out| cpu::fill_seed(true, out)) {
        return println!("SKIPPED: the noise source: this CPU has none, or gives nothing");
    }
    assert!(insist(&|out| SystemEntropy.cpu_seed(&epoch, true, out)), "needed");
}

#[test]
fn the_real_diversifiers_are_time_and_place_and_number() {
    let here = 0u8;
    let mut all = [[0; DIVERSIFIERS]; 2];
    all.iter_mut().for_each(|out| SystemEntropy.diversifiers(out));
    let words = all.map(|out| {
        let words = out.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word));
        <[u64; 3]>::try_from(words.collect::<Vec<_>>()).unwrap()
    });
    let [[ticks, wall, first], [later_ticks, later_wall, second]] = words;
    assert!(later_ticks >= ticks && later_wall >= wall && wall != 0);
    let distance = ((first >> 32) as u32).abs_diff((&raw const here).addr() as u32);
    assert!(distance < 1 << 16, "of this thread's stack");
    // Others count, too.
    assert!((second as i32).wrapping_sub(first as i32) > 0);
}

#[test]
fn the_real_clocks_go_and_agree() {
    let before = SystemEntropy.now();
    let coarse = SystemEntropy.now_coarse();
    // It is some milliseconds behind.
    assert!(before > 1_000 * MILLISECOND && coarse > before - 1_000 * MILLISECOND);
    assert!(SystemEntropy.now() >= coarse);
}

proptest! {
    #[test]
    fn settling_ends_with_an_absorb_at_or_after_the_deadline_and_with_nothing_else(
        mut times in proptest::collection::vec(0..100_000u64, 1..50),
    ) {
        times.sort_unstable();
        let deadline = 64_000;
        let mut settling = Settling::begin(0);
        for time in times {
            let (now, deadline) = (time * MILLISECOND, deadline * MILLISECOND);
            let due = settling.is_due(now, deadline);
            let over = settling.is_over();
            settling.absorbed(now, deadline);
            prop_assert_eq!(settling.is_over(), over || now >= deadline);
            prop_assert!(due || over == settling.is_over());
            prop_assert!(!settling.is_due(now, deadline));
        }
    }
}
