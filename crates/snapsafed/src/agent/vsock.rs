//! Sockets between a virtual machine and its host.
//!
//! A snapshot breaks every open connection and no listening socket: so the host connects for each
//! request, and here one listens.
#![allow(unsafe_code, reason = "rustix knows no addresses of this family")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketFlags, SocketType, acceptfrom_with, bind, listen,
    socket_with,
};

/// The host, for its guests.
pub const HOST: u32 = 2;

const ANY: u32 = u32::MAX;

/// `struct sockaddr_vm` of `linux/vm_sockets.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Address {
    family: u16,
    reserved: u16,
    port: u32,
    cid: u32,
    flags: u8,
    zero: [u8; 3],
}

const LENGTH: SocketAddrLen = 16;
const _: () = assert!(size_of::<Address>() == LENGTH as usize);

// SAFETY: `f` gets a pointer to a whole `sockaddr_vm` that lives until it returns, and its size.
unsafe impl SocketAddrArg for Address {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        f(core::ptr::from_ref(self).cast(), LENGTH)
    }
}

/// A socket that listens for the host.
pub fn listen_at(port: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::VSOCK, SocketType::STREAM, flags, None)?;
    let family = AddressFamily::VSOCK.as_raw();
    bind(&socket, &Address { family, reserved: 0, port, cid: ANY, flags: 0, zero: [0; 3] })?;
    listen(&socket, 16)?;
    Ok(socket)
}

/// The next connection, and whether it comes from the host.
pub fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, bool)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, peer) = acceptfrom_with(listener, flags)?;
    Ok((socket, peer.as_ref().and_then(cid_of) == Some(HOST)))
}

fn cid_of(address: &SocketAddrAny) -> Option<u32> {
    if address.address_family() != AddressFamily::VSOCK || address.addr_len() < LENGTH {
        return None;
    }
    // SAFETY: the kernel wrote at least that many bytes there, and any bytes are an `Address`.
    let address = unsafe { address.as_ptr().cast::<Address>().read_unaligned() };
    Some(address.cid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        let family = AddressFamily::VSOCK.as_raw();
        let address = Address { family, reserved: 0, port: 7, cid: 3, flags: 0, zero: [0; 3] };
        assert_eq!(cid_of(&address.as_any()), Some(3));
    }

    #[test]
    fn the_host_can_reach_a_listener_where_there_is_vsock() {
        match listen_at(59_000 + std::process::id() % 1000) {
            Ok(socket) => {
                let error = accept(&socket).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            }
            Err(error) => println!("SKIPPED: no vsock here: {error}"),
        }
    }
}
