//! A TLS handshake whose randomness, as far as rustls draws it, is ours.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, GetRandomFailed, SecureRandom};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

/// Ours, and what it gave.
#[derive(Debug, Default)]
struct Recorded(std::sync::Mutex<Vec<Vec<u8>>>);

impl SecureRandom for Recorded {
    fn fill(&self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        snaprng::SecureRandom.fill(out)?;
        self.0.lock().unwrap().push(out.to_vec());
        Ok(())
    }
}

fn provider(secure_random: &'static dyn SecureRandom) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { secure_random, ..rustls::crypto::ring::default_provider() })
}

/// Lets client and server talk until neither has anything more to say, and gives what the client
/// sent first.
fn shake_hands(client: &mut ClientConnection, server: &mut ServerConnection) -> Vec<u8> {
    let mut first = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        if first.is_empty() {
            first.clone_from(&wire);
        }
        let mut incoming = &wire[..];
        while !incoming.is_empty() {
            server.read_tls(&mut incoming).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut incoming = &wire[..];
        while !incoming.is_empty() {
            client.read_tls(&mut incoming).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    first
}

#[test]
fn a_handshake_runs_on_our_randomness() {
    let recorded: &'static Recorded = Box::leak(Box::default());
    let certified = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));

    let server = ServerConfig::builder_with_provider(provider(recorded))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider(recorded))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let hello = shake_hands(&mut client, &mut server);

    client.writer().write_all(b"ping").unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    server.read_tls(&mut &wire[..]).unwrap();
    server.process_new_packets().unwrap();
    let mut message = [0; 4];
    server.reader().read_exact(&mut message).unwrap();
    assert_eq!(&message, b"ping");

    // The ClientHello's random is 32 bytes behind the record's and the message's headers and the
    // version (RFC 8446, sections 4.1.2 and 5.1): 5 + 4 + 2.
    let random = hello.get(11..43).unwrap();
    let drawn = recorded.0.lock().unwrap();
    assert!(drawn.iter().any(|bytes| bytes == random), "the hello random is one that we drew");
}
