//! Holds a TCP connection to the host: sends numbered lines and checks that the host's echo has
//! them all, in their order. Connects anew when it is broken, and counts.

use std::error::Error;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::journal::Journal;
use crate::machine::{HOST, port};
use crate::taking_part::{Part, take_part};

const PERIOD: Duration = Duration::from_millis(100);
/// Lines that wait for their echo. More are not sent.
const WINDOW: u64 = 64;

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let host = (HOST, port("tcp")?).into();
    let journal = Journal::new("connection")?;
    let broken = String::new();
    take_part("connection", PERIOD, Holder { host, open: None, connections: 0, broken, journal })
}

struct Holder {
    host: SocketAddr,
    open: Option<Open>,
    connections: u64,
    /// Why the last one ended.
    broken: String,
    journal: Journal,
}

struct Open {
    stream: BufReader<TcpStream>,
    line: String,
    sent: u64,
    echoed: u64,
}

impl Open {
    fn new(host: &SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(host, Duration::from_millis(500))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), line: String::new(), sent: 0, echoed: 0 })
    }

    /// Sends a line, and reads what came back.
    fn step(&mut self) -> io::Result<()> {
        if self.sent - self.echoed < WINDOW {
            self.stream.get_mut().write_all(format!("{}\n", self.sent).as_bytes())?;
            self.sent += 1;
        }
        loop {
            match self.stream.read_line(&mut self.line) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) if self.line.trim_end() == self.echoed.to_string() => self.echoed += 1,
                Ok(_) => {
                    let wrong = format!("{:?} came back instead of {}", self.line, self.echoed);
                    return Err(io::Error::other(wrong));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            self.line.clear();
        }
    }
}

impl Part for Holder {
    fn restored(&mut self) -> Result<(), Box<dyn Error>> {
        // The other end is somebody else's, or was told nothing: not this world's connection.
        self.open = None;
        self.broken = "restored".into();
        Ok(())
    }

    fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    fn tick(&mut self) -> Result<(), Box<dyn Error>> {
        match &mut self.open {
            None => {
                if let Ok(open) = Open::new(&self.host) {
                    self.open = Some(open);
                    self.connections += 1;
                }
            }
            Some(open) => {
                if let Err(error) = open.step() {
                    self.broken = error.to_string();
                    self.open = None;
                }
            }
        }
        let (sent, echoed) = self.open.as_ref().map_or((0, 0), |open| (open.sent, open.echoed));
        self.journal.set("connections", self.connections);
        self.journal.set("sent", sent);
        self.journal.set("echoed", echoed);
        self.journal.set("broken", &self.broken);
        Ok(self.journal.write()?)
    }
}
