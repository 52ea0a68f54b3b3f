//! Telling systemd: `READY=1` and a status line, by the socket that it names.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager, if one listens.
#[derive(Debug)]
pub struct Notify(Option<UnixDatagram>);

impl Notify {
    /// As `NOTIFY_SOCKET` says.
    pub fn from_environment() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").and_then(|name| connect(name.as_bytes())))
    }

    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// What `systemctl status` shows. Others' words may not begin a line.
    pub fn status(&self, text: &str) {
        let line: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.send(&format!("STATUS={line}"));
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.0 {
            // Nothing depends on it, and nobody is waited for.
            let _ = socket.send(message.as_bytes());
        }
    }
}

fn connect(name: &[u8]) -> Option<UnixDatagram> {
    let address = match name.split_first()? {
        (b'@', rest) => SocketAddr::from_abstract_name(rest).ok()?,
        (b'/', _) => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)).ok()?,
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect_addr(&address).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_by_either_kind_of_address() {
        let name = format!("snapsafed-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let systemd = UnixDatagram::bind_addr(&address).unwrap();
        let notify = Notify(connect(format!("@{name}").as_bytes()));
        notify.ready();
        notify.status("quiesced\nREADY=0");
        let mut buffer = [0; 64];
        let mut next = || {
            let count = systemd.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        };
        assert_eq!(next(), "READY=1");
        assert_eq!(next(), "STATUS=quiesced?READY=0");
        assert!(connect(b"relative").is_none());
    }
}
