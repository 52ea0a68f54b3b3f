//! Says who it is: a random id, made at the start and anew when the machine was restored, in a
//! datagram over IPv4 and one over IPv6, ten times a second, whether they leave or not.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use crate::journal::Journal;
use crate::machine::{HOST, microseconds, port};
use crate::taking_part::{Part, take_part};

const PERIOD: Duration = Duration::from_millis(100);
/// Everybody on the link. Unlike the host's address, nobody has to be asked where that is.
const EVERYBODY: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    take_part("beacon", PERIOD, Beacon::new()?)
}

struct Beacon {
    id: String,
    sockets: [(UdpSocket, SocketAddr); 2],
    sent: u64,
    refused: u64,
    journal: Journal,
}

impl Beacon {
    fn new() -> Result<Self, Box<dyn Error>> {
        let port = port("udp")?;
        let four = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let six = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        let card = std::fs::read_to_string("/sys/class/net/eth0/ifindex")?.trim().parse()?;
        let everybody = SocketAddrV6::new(EVERYBODY, port, 0, card);
        let sockets = [(four, (HOST, port).into()), (six, everybody.into())];
        Ok(Self { id: fresh_id()?, sockets, sent: 0, refused: 0, journal: Journal::new("beacon")? })
    }
}

impl Part for Beacon {
    fn restored(&mut self) -> Result<(), Box<dyn Error>> {
        self.id = fresh_id()?;
        Ok(())
    }

    fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    fn tick(&mut self) -> Result<(), Box<dyn Error>> {
        let text = format!("beacon {} {} {}", self.id, self.sent + self.refused, microseconds());
        for (socket, to) in &self.sockets {
            match socket.send_to(text.as_bytes(), to) {
                Ok(_) => self.sent += 1,
                // The gate's answer, or a network that is not there.
                Err(_) => self.refused += 1,
            }
        }
        self.journal.set("id", &self.id);
        self.journal.set("sent", self.sent);
        self.journal.set("refused", self.refused);
        Ok(self.journal.write()?)
    }
}

/// 128 random bits from the kernel, as anybody would take them.
fn fresh_id() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
