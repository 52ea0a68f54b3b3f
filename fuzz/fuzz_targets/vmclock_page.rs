//! A vmclock page from anybody: whatever its bytes, it is refused with a cause or it is what the
//! ABI says (`include/uapi/linux/vmclock-abi.h`, Linux 7.0).
#![no_main]

use libfuzzer_sys::fuzz_target;
use snaprng::Cause;
use snaprng::fuzzing::validate_vmclock_page as validate;

/// The header ends with `flags`.
const HEADER: usize = 0x20;

fuzz_target!(|bytes: &[u8]| {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        assert_eq!(validate(bytes), None, "{} bytes are no header", bytes.len());
        return;
    };
    let magic = &header[..4];
    let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let version = u16::from_le_bytes([header[8], header[9]]);
    let has_counter = header[0x19] & 1 != 0;

    // The first fault is the one that is named.
    let expected = if magic != b"VCLK" {
        Err(Cause::BadMagic(u32::from_le_bytes([magic[0], magic[1], magic[2], magic[3]])))
    } else if version != 1 {
        Err(Cause::BadVersion(version.into()))
    } else if size < 0x70 {
        Err(Cause::TooSmall(size))
    } else {
        Ok(has_counter)
    };
    assert_eq!(validate(bytes), Some(expected));
    // What follows the header changes nothing.
    assert_eq!(validate(header), Some(expected));
});
