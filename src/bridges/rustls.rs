//! rustls 0.23: its source of randomness.

use rustls::crypto::GetRandomFailed;

/// The per-thread generators as a rustls [`SecureRandom`](rustls::crypto::SecureRandom), for a
/// [`CryptoProvider`](rustls::crypto::CryptoProvider).
///
/// It covers what rustls itself draws: hello randoms, session ids, tickets. Key exchange and
/// signatures draw from the provider's own library unless that is told otherwise.
///
/// ```ignore
/// let provider = rustls::crypto::CryptoProvider {
///     secure_random: &snaprng::SecureRandom,
///     ..rustls::crypto::ring::default_provider()
/// };
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SecureRandom;

impl rustls::crypto::SecureRandom for SecureRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        crate::fill(out).map_err(|_| GetRandomFailed)
    }
}
