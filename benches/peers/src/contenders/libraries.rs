//! The big libraries' `RAND_bytes`: AWS-LC, linked, and the system's OpenSSL, found at run time.

use std::ffi::{c_int, c_void};

use super::{Field, Kind, dynamic, filling, name};

/// Why a contender whose feature is off is missing. The launcher says more.
#[cfg(not(all(feature = "aws-lc", feature = "ring")))]
pub(super) const NOT_BUILT: &str = "its feature was left out of this build";

type RandBytes = unsafe extern "C" fn(*mut u8, c_int) -> c_int;

pub(super) fn enter(field: &mut Field) {
    #[cfg(feature = "aws-lc")]
    field.add(Kind::Peer, name::AWS_LC, |size| {
        Some(filling(
            |out| {
                // SAFETY: pointer and length are those of a slice that may be written.
                let outcome = unsafe { aws_lc_sys::RAND_bytes(out.as_mut_ptr(), out.len()) };
                assert_eq!(outcome, 1, "AWS-LC gave no bytes");
            },
            size,
        ))
    });
    #[cfg(not(feature = "aws-lc"))]
    field.misses(name::AWS_LC, NOT_BUILT);
    match openssl() {
        Ok(fill) => field.add(Kind::Peer, name::OPENSSL, move |size| {
            Some(filling(
                move |out| {
                    // SAFETY: pointer and length are those of a slice that may be written, and the
                    // length fits (1 MiB at most).
                    let outcome = unsafe { fill(out.as_mut_ptr(), out.len() as c_int) };
                    assert_eq!(outcome, 1, "OpenSSL gave no bytes");
                },
                size,
            ))
        }),
        Err(why) => field.misses(name::OPENSSL, why),
    }
}

fn openssl() -> Result<RandBytes, String> {
    let found = dynamic::Library::open(c"libcrypto.so.3")?.symbol(c"RAND_bytes")?;
    // SAFETY: OpenSSL documents the function under this name with these types.
    Ok(unsafe { std::mem::transmute::<*mut c_void, RandBytes>(found) })
}
