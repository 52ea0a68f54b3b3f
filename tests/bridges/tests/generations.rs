//! One generator type behind the traits of four generations, in one binary.

use snaprng::{SnapRng, TrySnapRng};

/// Draws through every version's traits in turn; none may repeat what another gave.
fn draw_through_all(rng: &mut (impl rand_08::RngCore + rand_09::RngCore + rand_010::Rng)) {
    let mut draws: Vec<[u8; 16]> = Vec::new();
    for _ in 0..100 {
        draws.push(rand_08::Rng::r#gen(rng));
        draws.push(rand_09::Rng::random(rng));
        draws.push(rand_010::RngExt::random(rng));
    }
    let count = draws.len();
    draws.sort_unstable();
    draws.dedup();
    assert_eq!(draws.len(), count, "a block was handed out twice");
}

#[test]
fn rand_0_8_and_0_9_and_0_10_draw_from_the_same_generator() {
    draw_through_all(&mut SnapRng::new().unwrap());
}

#[test]
fn the_per_thread_generator_serves_all_of_them_too() {
    draw_through_all(&mut snaprng::rng());
}

#[test]
fn numbers_in_a_range_come_from_every_version() {
    let mut rng = snaprng::rng();
    for _ in 0..1000 {
        assert!((1..=6).contains(&rand_08::Rng::gen_range(&mut rng, 1..=6)));
        assert!((1..=6).contains(&rand_09::Rng::random_range(&mut rng, 1..=6)));
        assert!((1..=6).contains(&rand_010::RngExt::random_range(&mut rng, 1..=6)));
    }
}

#[test]
fn the_fallible_type_is_fallible_in_0_9() {
    use rand_09::TryRngCore;
    let mut rng = TrySnapRng::new().unwrap();
    let (mut a, mut b) = ([0; 32], [0; 32]);
    rng.try_fill_bytes(&mut a).unwrap();
    rng.try_fill_bytes(&mut b).unwrap();
    assert_ne!(a, b);
    assert_ne!(rng.try_next_u64().unwrap(), rng.try_next_u64().unwrap());
}

#[test]
fn the_fallible_method_of_0_6_fills() {
    use rand_08::RngCore;
    let mut out = [0; 600];
    snaprng::rng().try_fill_bytes(&mut out).unwrap();
    assert!(out.chunks(16).all(|block| block.iter().any(|&b| b != 0)));
}

#[test]
fn dalek_2_and_dalek_3_make_keys_that_sign() {
    let mut rng = SnapRng::new().unwrap();
    let old = ed25519_dalek_2::SigningKey::generate(&mut rng);
    let new = ed25519_dalek_3::SigningKey::generate(&mut rng);
    assert_ne!(old.to_bytes(), new.to_bytes());
    {
        use ed25519_dalek_2::{Signer, Verifier};
        old.verifying_key().verify(b"message", &old.sign(b"message")).unwrap();
    }
    use ed25519_dalek_3::{Signer, Verifier};
    new.verifying_key().verify(b"message", &new.sign(b"message")).unwrap();
}
