//! Who holds a reference: participants and inhibitors, with what the driver needs to know of them.
//! What they mean for a transition, only the machine knows.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::event::PollFd;
use serde::{Deserialize, Serialize};
use snapsafe_client::wire::Mode;

use crate::locks::{self, Reference};
use crate::machine::{Event, Member, What};
use crate::server::Peer;

/// All of them. Those of a daemon before this one are here, too.
#[derive(Debug)]
pub struct Members {
    directory: PathBuf,
    members: BTreeMap<Member, (Record, Reference)>,
    next: Member,
}

/// A member, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Known to nobody but the client; the name of the FIFO, too.
    pub id: String,
    pub uid: u32,
    pub pid: i32,
    pub mode: Mode,
    pub required: bool,
    pub role: Role,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Participant { name: String, order: i32 },
    Inhibitor { what: What, who: String, why: String },
}

/// What is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remembered {
    next: Member,
    members: BTreeMap<Member, Record>,
}

impl Record {
    pub fn is_participant(&self) -> bool {
        matches!(self.role, Role::Participant { .. })
    }

    /// What the machine is told when it comes.
    pub fn arrival(&self, member: Member) -> Event {
        let (mode, required) = (self.mode, self.required);
        match self.role.clone() {
            Role::Participant { name, order } => {
                Event::Joined { member, name, mode, required, order }
            }
            Role::Inhibitor { what, who, .. } => {
                Event::Inhibited { member, what, who, mode, required }
            }
        }
    }

    /// And when it goes.
    pub fn departure(&self, member: Member) -> Event {
        if self.is_participant() { Event::Left { member } } else { Event::Released { member } }
    }
}

impl Members {
    pub fn new(directory: PathBuf) -> io::Result<Self> {
        locks::sweep(&directory, &[])?;
        Ok(Self { directory, members: BTreeMap::new(), next: 0 })
    }

    /// Those that were remembered, and what to tell the machine of those whose reference is lost.
    pub fn resume(directory: PathBuf, remembered: Remembered) -> io::Result<(Self, Vec<Event>)> {
        let ids: Vec<&str> = remembered.members.values().map(|record| record.id.as_str()).collect();
        locks::sweep(&directory, &ids)?;
        let mut members = BTreeMap::new();
        let mut lost = Vec::new();
        for (member, record) in remembered.members {
            match Reference::reopen(&directory, &record.id) {
                Ok(reference) => drop(members.insert(member, (record, reference))),
                Err(_) => lost.push(record.departure(member)),
            }
        }
        Ok((Self { directory, members, next: remembered.next }, lost))
    }

    pub fn remember(&self) -> Remembered {
        let members = self.members.iter().map(|(&member, (record, _))| (member, record.clone()));
        Remembered { next: self.next, members: members.collect() }
    }

    /// A new one, and the end of its reference that is the client's.
    pub fn add(
        &mut self,
        peer: Peer,
        mode: Mode,
        required: bool,
        role: Role,
    ) -> io::Result<(Member, OwnedFd)> {
        let id = new_id()?;
        let (reference, end) = Reference::create(&self.directory, &id)?;
        self.next += 1;
        let record = Record { id, uid: peer.uid, pid: peer.pid, mode, required, role };
        self.members.insert(self.next, (record, reference));
        Ok((self.next, end))
    }

    pub fn get(&self, member: Member) -> Option<&Record> {
        self.members.get(&member).map(|(record, _)| record)
    }

    /// The participant that knows this id.
    pub fn find(&self, id: &str) -> Option<(Member, &Record)> {
        let found = self.iter().find(|(_, record)| record.id == id && record.is_participant());
        found.filter(|_| !id.is_empty())
    }

    pub fn iter(&self) -> impl Iterator<Item = (Member, &Record)> {
        self.members.iter().map(|(&member, (record, _))| (member, record))
    }

    /// For the daemon's wait.
    pub fn to_poll(&self) -> impl Iterator<Item = (Member, PollFd<'_>)> {
        self.members.iter().map(|(&member, (_, reference))| (member, reference.to_poll()))
    }

    /// Removes `member`, if it has ended, and says what to tell the machine.
    pub fn end(&mut self, member: Member) -> Option<Event> {
        if !self.members.get(&member)?.1.is_over() {
            return None;
        }
        let (record, reference) = self.members.remove(&member)?;
        reference.remove();
        Some(record.departure(member))
    }

    /// All that have ended.
    pub fn over(&self) -> Vec<Member> {
        self.members.iter().filter(|(_, (_, r))| r.is_over()).map(|(&member, _)| member).collect()
    }
}

/// Makes the generator open and map what it needs, before descriptors are short and files frozen.
pub fn prepare() -> io::Result<()> {
    new_id().map(drop)
}

/// 128 random bits: whoever knows them is the participant.
fn new_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    snaprng::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
