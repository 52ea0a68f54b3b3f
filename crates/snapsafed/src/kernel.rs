//! The kernel's generator after a restore: the host's bytes in, then a reseed; and what came of it.
//!
//! `RNDADDENTROPY` mixes bytes into the input pool, `RNDRESEEDCRNG` makes the generator take a new
//! key out of that pool: bytes that siblings do not share make their kernels differ from there on.
//!
//! **Credit.** How many bits the kernel *counts* for the bytes is the configuration's decision, none
//! by default: they take part in the reseed without it, whoever sends them. Credit matters only to a
//! kernel that was never seeded, which is then made to believe that it is.
//!
//! Numbers: `include/uapi/linux/random.h`. Both calls need `CAP_SYS_ADMIN`.
#![allow(unsafe_code, reason = "two ioctls that rustix does not have")]

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor, open};
use rustix::io::Errno;
use rustix::ioctl::{NoArg, Opcode, Updater, ioctl, opcode};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `_IOW('R', 0x03, int[2])`.
const ADD_ENTROPY: Opcode = opcode::write::<[i32; 2]>(b'R', 0x03);
/// `_IO('R', 0x07)`, Linux 4.17.
const RESEED: Opcode = opcode::none(b'R', 0x07);

/// `/dev/random` and `/dev/urandom`: both have the calls.
const MEMORY_MAJOR: u32 = 1;
const RANDOM_MINORS: [u32; 2] = [8, 9];

/// Of the host's bytes, so many go in at once.
const PORTION: usize = 256;

/// `struct rand_pool_info`, of a size that is enough for a portion.
#[repr(C)]
#[derive(Zeroize, ZeroizeOnDrop)]
struct PoolInfo {
    entropy_count: i32,
    buf_size: i32,
    buf: [u8; PORTION],
}

/// The kernel's generator, opened before a sandbox or a full file table can be in the way.
pub struct KernelGenerator {
    device: Result<OwnedFd, Errno>,
    bits_per_byte: u8,
}

/// What came of it: nothing is claimed that the kernel did not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Whether the host's bytes are in; `None` if there were none.
    pub mixed: Option<Result<(), Errno>>,
    /// Whether the generator has a new key.
    pub reseeded: Result<(), Errno>,
}

impl Renewal {
    /// Whether the kernel's generator differs from its siblings' as far as it can be made to: it was
    /// reseeded, with the host's bytes if there were any.
    pub fn is_complete(&self) -> bool {
        self.reseeded.is_ok() && self.mixed.is_none_or(|mixed| mixed.is_ok())
    }
}

impl KernelGenerator {
    /// `bits_per_byte`: how much the kernel is to count for a byte of the host's, 0 to 8.
    pub fn open(bits_per_byte: u8) -> Self {
        Self { device: open_device("/dev/random"), bits_per_byte: bits_per_byte.min(8) }
    }

    /// Mixes `bytes` in, wipes them whatever happens, and makes the generator reseed. The second is
    /// done also where the first failed.
    pub fn renew(&self, bytes: &mut [u8]) -> Renewal {
        let mixed = (!bytes.is_empty()).then(|| self.mix(bytes));
        bytes.zeroize();
        Renewal { mixed, reseeded: self.reseed() }
    }

    fn mix(&self, bytes: &[u8]) -> Result<(), Errno> {
        let device = self.device.as_ref().map_err(|errno| *errno)?;
        for portion in bytes.chunks(PORTION) {
            let mut info = PoolInfo {
                entropy_count: i32::from(self.bits_per_byte) * portion.len() as i32,
                buf_size: portion.len() as i32,
                buf: [0; PORTION],
            };
            info.buf[..portion.len()].copy_from_slice(portion);
            // SAFETY: the number is that of a call that takes a `struct rand_pool_info`.
            let call = unsafe { Updater::<ADD_ENTROPY, PoolInfo>::new(&mut info) };
            // SAFETY: on a random device, which reads `buf_size` bytes of `buf`, all of them there.
            unsafe { ioctl(device, call) }?;
        }
        Ok(())
    }

    fn reseed(&self) -> Result<(), Errno> {
        let device = self.device.as_ref().map_err(|errno| *errno)?;
        // SAFETY: the number is that of a call without an argument.
        let call = unsafe { NoArg::<RESEED>::new() };
        // SAFETY: on a random device, which touches no memory of ours.
        unsafe { ioctl(device, call) }
    }
}

/// `NODEV` for anything but the kernel's random devices: another one may understand the same numbers.
fn open_device(path: &str) -> Result<OwnedFd, Errno> {
    let device = open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
    let stat = fstat(device.as_fd())?;
    let is_random = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && major(stat.st_rdev) == MEMORY_MAJOR
        && RANDOM_MINORS.contains(&minor(stat.st_rdev));
    if is_random { Ok(device) } else { Err(Errno::NODEV) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn the_hosts_bytes_are_wiped_and_what_the_kernel_said_is_reported() {
        let generator = KernelGenerator::open(0);
        let mut bytes = [7; 3 * PORTION + 5];
        let renewal = generator.renew(&mut bytes);
        assert_eq!(bytes, [0; 3 * PORTION + 5]);
        assert!(renewal.mixed.is_some());
        // Without CAP_SYS_ADMIN both are refused, and in containers of root, too.
        let expected = if is_root() { [Ok(()), Err(Errno::PERM)] } else { [Err(Errno::PERM); 2] };
        assert!(expected.contains(&renewal.reseeded), "{renewal:?}");
        assert_eq!(renewal.mixed, Some(renewal.reseeded));
        assert_eq!(renewal.is_complete(), renewal.reseeded.is_ok());
    }

    #[test]
    fn no_bytes_are_no_failure_and_no_success() {
        let renewal = KernelGenerator::open(8).renew(&mut []);
        assert_eq!(renewal.mixed, None);
        assert_eq!(renewal.is_complete(), renewal.reseeded.is_ok());
    }

    #[test]
    fn without_a_device_nothing_is_claimed_and_the_bytes_are_wiped_all_the_same() {
        let generator = KernelGenerator { device: open_device("/dev/null"), bits_per_byte: 0 };
        let mut bytes = [7; 32];
        let renewal = generator.renew(&mut bytes);
        assert_eq!(bytes, [0; 32]);
        let refused = Err(Errno::NODEV);
        assert_eq!(renewal, Renewal { mixed: Some(refused), reseeded: refused });
        assert!(!renewal.is_complete());
    }

    #[test]
    fn a_reseed_without_the_hosts_bytes_is_not_complete_if_there_were_some() {
        let renewal = Renewal { mixed: Some(Err(Errno::PERM)), reseeded: Ok(()) };
        assert!(!renewal.is_complete());
    }
}
