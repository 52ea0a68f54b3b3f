//! What clients call, and who may.

use std::os::fd::OwnedFd;

use base64ct::{Base64, Encoding};
use snapsafe_client::wire::manager::{
    Ack, Inhibit, Inhibited, InhibitorInfo, Inhibitors, ParticipantInfo, Participants, Quiesce,
    Register, Registered, StatusReply, Subscribe, Unquiesce,
};
use snapsafe_client::wire::service::{self, GetInterfaceDescription, Info, InterfaceDescription};
use snapsafe_client::wire::{
    Call, DESCRIPTION, Error, Expectation, INTERFACE, Mode, Reply, Request as Wanted,
};
use zeroize::Zeroizing;

use super::{Driver, Method, Origin, Result};
use crate::clock;
use crate::config::is_name;
use crate::machine::{Event, Member, What};
use crate::members::{Record, Role};
use crate::server::limits::{
    MOST_INHIBITORS, MOST_INHIBITORS_OF_USERS, MOST_PARTICIPANTS, MOST_PARTICIPANTS_OF_USERS,
    MOST_WHO_BYTES, MOST_WHY_BYTES,
};
use crate::server::{Id, Peer};

/// The group of whoever may not choose.
const ORDER: i32 = 50;
/// Of what the host sends along.
const MOST_TOKEN_BYTES: usize = 256;
/// More than that adds nothing to a generator.
const MOST_ENTROPY_BYTES: usize = 4096;
/// Of the reason of a veto.
const MOST_REASON_CHARS: usize = 256;

/// An answer at once, or none yet.
type Answered = std::result::Result<Option<Reply>, Error>;

/// Of whom may come in: how much it counts, whether it is required, and what it is here for.
type Admitted = (Mode, bool, Role);

impl Driver {
    /// Does what a connection calls.
    pub(super) fn call(&mut self, id: Id, call: &Call) -> Result {
        let Some(peer) = self.server.peer(id) else { return Ok(()) };
        let answered = match Wanted::read(call) {
            Ok(wanted) => self.serve(id, peer, call, wanted)?,
            Err(error) => Err(error),
        };
        let now = clock::now();
        let reply = match answered {
            Ok(None) => return Ok(()),
            Ok(Some(reply)) => reply,
            Err(error) => error.into(),
        };
        if call.oneway {
            self.server.no_reply(id);
        } else {
            self.server.reply(id, &reply, Vec::new(), now);
        }
        Ok(())
    }

    fn serve(&mut self, id: Id, peer: Peer, call: &Call, wanted: Wanted) -> Result<Answered> {
        let method = |method| if call.oneway { Method::OneWay } else { method };
        Ok(match wanted {
            Wanted::Quiesce(parameters) => {
                let origin = Origin::Call(id, method(Method::Transition));
                return self.quiesce(peer, origin, parameters);
            }
            Wanted::Unquiesce(parameters) => {
                let origin = Origin::Call(id, method(Method::Transition));
                return self.unquiesce(peer, origin, parameters);
            }
            Wanted::Abort(_) => {
                let origin = Origin::Call(id, method(Method::Abort));
                return self.abort(peer, origin);
            }
            Wanted::Register(parameters) => return self.register(id, peer, parameters),
            Wanted::Inhibit(parameters) => return self.inhibit(id, peer, parameters),
            Wanted::Ack(parameters) => {
                let origin = Origin::Call(id, method(Method::Ack));
                return self.ack(peer, origin, parameters);
            }
            Wanted::Subscribe(parameters) => self.subscribe(id, peer, call.more, &parameters),
            Wanted::ListInhibitors(_) => Ok(Some(Reply::of(&self.inhibitors()))),
            Wanted::ListParticipants(_) => Ok(Some(Reply::of(&self.participants()))),
            Wanted::Status(_) => Ok(Some(Reply::of(&self.status()))),
            Wanted::GetInfo(_) => Ok(Some(Reply::of(&info()))),
            Wanted::GetInterfaceDescription(parameters) => describe(parameters),
        })
    }

    fn must_be_root(&self, peer: Peer) -> std::result::Result<(), Error> {
        if self.server.is_root(peer.uid) {
            return Ok(());
        }
        Err(Error::NotPermitted { why: "transitions are root's".to_owned() })
    }

    fn quiesce(&mut self, peer: Peer, origin: Origin, wanted: Quiesce) -> Result<Answered> {
        let Quiesce { timeout_ms, force, token } = wanted;
        let allowed = self.must_be_root(peer).and_then(|()| check_token(token.as_deref()));
        if let Err(error) = allowed {
            return Ok(Err(error));
        }
        let request = self.request(origin);
        let force = force.unwrap_or(false);
        self.happened(Event::Quiesce { request, timeout: timeout_ms, force, token });
        Ok(Ok(None))
    }

    fn unquiesce(&mut self, peer: Peer, origin: Origin, wanted: Unquiesce) -> Result<Answered> {
        let Unquiesce { timeout_ms, expect, entropy, token } = wanted;
        let entropy = entropy.map(Zeroizing::new);
        let allowed = self.must_be_root(peer).and_then(|()| check_token(token.as_deref()));
        let bytes = allowed.and_then(|()| entropy.map(|text| decode(&text)).transpose());
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error)),
        };
        let request = self.request(origin);
        let has_entropy = bytes.is_some();
        if let Some(bytes) = bytes {
            self.entropy.insert(request, bytes);
        }
        let expect = expect.unwrap_or(Expectation::Any);
        let timeout = timeout_ms;
        self.happened(Event::Unquiesce { request, timeout, expect, token, has_entropy });
        Ok(Ok(None))
    }

    fn abort(&mut self, peer: Peer, origin: Origin) -> Result<Answered> {
        if let Err(error) = self.must_be_root(peer) {
            return Ok(Err(error));
        }
        let request = self.request(origin);
        self.happened(Event::Abort { request });
        Ok(Ok(None))
    }

    fn register(&mut self, id: Id, peer: Peer, wanted: Register) -> Result<Answered> {
        let admitted = self.admit_participant(peer, wanted);
        let (member, end) = match self.enter(peer, admitted)? {
            Ok(entered) => entered,
            Err(error) => return Ok(Err(error)),
        };
        let registered = Registered {
            id: self.members.get(member).map(|record| record.id.clone()).unwrap_or_default(),
            state: self.machine.state(),
            transition: self.machine.transition(),
            generation: self.generation(),
            fd: 0,
        };
        self.server.reply(id, &Reply::of(&registered), vec![end], clock::now());
        Ok(Ok(None))
    }

    fn inhibit(&mut self, id: Id, peer: Peer, wanted: Inhibit) -> Result<Answered> {
        let admitted = self.admit_inhibitor(peer, wanted);
        let (_, end) = match self.enter(peer, admitted)? {
            Ok(entered) => entered,
            Err(error) => return Ok(Err(error)),
        };
        self.server.reply(id, &Reply::of(&Inhibited { fd: 0 }), vec![end], clock::now());
        Ok(Ok(None))
    }

    /// Takes a member in: the machine is told, and it is remembered before anybody hears of it.
    /// With the end of its reference that the client gets.
    fn enter(
        &mut self,
        peer: Peer,
        admitted: std::result::Result<Admitted, Error>,
    ) -> Result<std::result::Result<(Member, OwnedFd), Error>> {
        let added = admitted.and_then(|(mode, required, role)| {
            self.members.add(peer, mode, required, role).map_err(|error| failed(&error))
        });
        if let Ok((member, _)) = &added {
            let arrival = self.members.get(*member).map(|record| record.arrival(*member));
            if let Some(event) = arrival {
                self.happened(event);
            }
            self.persist()?;
        }
        Ok(added)
    }

    fn admit_participant(
        &self,
        peer: Peer,
        wanted: Register,
    ) -> std::result::Result<Admitted, Error> {
        let Register { name, mode, order } = wanted;
        let is_root = self.server.is_root(peer.uid);
        if !is_name(&name) {
            return Err(invalid("name"));
        }
        let mode = mode.unwrap_or(Mode::Delay);
        let order = order.unwrap_or(ORDER.into());
        let order = i32::try_from(order).map_err(|_| invalid("order"))?;
        let mut rules = self.config.required.iter().filter(|rule| rule.name == name).peekable();
        let is_listed = rules.peek().is_some();
        if is_listed && !is_root && !rules.any(|rule| rule.uid == Some(peer.uid)) {
            let why = format!("`{name}` is required, and reserved to another user");
            return Err(Error::NotPermitted { why });
        }
        if is_listed && mode == Mode::Notify {
            // It is waited for, and must know.
            return Err(invalid("mode"));
        }
        if !is_root && !is_listed && mode == Mode::Block {
            return Err(not_permitted("to block is root's"));
        }
        if !is_root && order != ORDER {
            return Err(not_permitted("to choose an order is root's"));
        }
        let limits = [MOST_PARTICIPANTS, MOST_PARTICIPANTS_OF_USERS];
        let own = self.config.limits.participants_per_user as usize;
        self.check_count(peer, "participants", Record::is_participant, limits, own)?;
        let required = is_listed || is_root && Self::counts(mode, false);
        Ok((mode, required, Role::Participant { name, order }))
    }

    fn admit_inhibitor(&self, peer: Peer, wanted: Inhibit) -> std::result::Result<Admitted, Error> {
        let Inhibit { what, who, why, mode } = wanted;
        let is_root = self.server.is_root(peer.uid);
        let what = read_what(&what).ok_or_else(|| invalid("what"))?;
        check_text(&who, MOST_WHO_BYTES, "who")?;
        check_text(&why, MOST_WHY_BYTES, "why")?;
        let mode = mode.unwrap_or(Mode::Delay);
        match mode {
            Mode::Notify => return Err(invalid("mode")),
            Mode::Block if !is_root => return Err(not_permitted("to block is root's")),
            Mode::Block | Mode::Delay => {}
        }
        let limits = [MOST_INHIBITORS, MOST_INHIBITORS_OF_USERS];
        let own = self.config.limits.inhibitors_per_user as usize;
        self.check_count(peer, "inhibitors", |record| !record.is_participant(), limits, own)?;
        Ok((mode, is_root, Role::Inhibitor { what, who, why }))
    }

    /// `most`: of everybody, and of everybody but root.
    fn check_count(
        &self,
        peer: Peer,
        what: &str,
        is_kind: impl Fn(&Record) -> bool,
        most: [usize; 2],
        own: usize,
    ) -> std::result::Result<(), Error> {
        let uids = || self.members.iter().filter(|(_, r)| is_kind(r)).map(|(_, r)| r.uid);
        let limit = if self.server.is_root(peer.uid) {
            (uids().count() >= most[0]).then_some(most[0])
        } else if uids().filter(|&uid| uid == peer.uid).count() >= own {
            Some(own)
        } else {
            let of_users = uids().filter(|&uid| !self.server.is_root(uid)).count();
            (of_users >= most[1]).then_some(most[1])
        };
        match limit {
            None => Ok(()),
            Some(limit) => Err(Error::TooMany { what: what.to_owned(), limit: limit as u64 }),
        }
    }

    fn ack(&mut self, peer: Peer, origin: Origin, wanted: Ack) -> Result<Answered> {
        let Ack { id, transition, generation, phase, ok, why } = wanted;
        let found = self.members.find(&id).filter(|(_, record)| record.uid == peer.uid);
        let Some((member, _)) = found else { return Ok(Err(Error::UnknownParticipant {})) };
        let answer = if ok.unwrap_or(true) {
            Ok(())
        } else {
            let why = why.unwrap_or_else(|| "no reason given".to_owned());
            Err(why.chars().filter(|c| !c.is_control()).take(MOST_REASON_CHARS).collect())
        };
        let request = self.request(origin);
        self.happened(Event::Acked { request, member, transition, generation, phase, answer });
        Ok(Ok(None))
    }

    fn subscribe(&mut self, id: Id, peer: Peer, more: bool, wanted: &Subscribe) -> Answered {
        let member = match &wanted.id {
            None => None,
            Some(secret) => {
                let found = self.members.find(secret);
                let own = found.filter(|(_, record)| record.uid == peer.uid);
                Some(own.ok_or(Error::UnknownParticipant {})?.0)
            }
        };
        let mut event = self.present();
        if let Some(asked) = member.and_then(|member| self.machine.asked(member)) {
            let now = clock::now();
            event.phase = Some(asked.phase);
            event.transition = asked.transition;
            event.generation = asked.generation;
            event.deadline_ms = asked.deadline.map(|deadline| deadline.saturating_sub(now));
        }
        if !more {
            return Ok(Some(Reply::of(&event)));
        }
        self.subscribers.insert(id, member);
        Ok(Some(Reply::continued(&event)))
    }

    fn inhibitors(&self) -> Inhibitors {
        let info = |record: &Record| match &record.role {
            Role::Participant { .. } => None,
            Role::Inhibitor { what, who, why } => Some(InhibitorInfo {
                what: write_what(*what).to_owned(),
                who: who.clone(),
                why: why.clone(),
                mode: record.mode,
                uid: record.uid,
                pid: record.pid,
            }),
        };
        Inhibitors { inhibitors: self.members.iter().filter_map(|(_, r)| info(r)).collect() }
    }

    fn participants(&self) -> Participants {
        let info = |(member, record): (u64, &Record)| match &record.role {
            Role::Inhibitor { .. } => None,
            Role::Participant { name, order } => Some(ParticipantInfo {
                name: name.clone(),
                mode: record.mode,
                required: record.required,
                order: (*order).into(),
                uid: record.uid,
                pid: record.pid,
                asked: self.machine.asked(member).map(|asked| asked.phase),
            }),
        };
        Participants { participants: self.members.iter().filter_map(info).collect() }
    }

    fn status(&mut self) -> StatusReply {
        StatusReply {
            state: self.machine.state(),
            transition: self.machine.transition(),
            generation: self.generation(),
            last_outcome: self.machine.last_outcome(),
            degraded: self.machine.degraded().map(str::to_owned),
            gate: self.gate_info(),
            waiting_for: self.machine.waiting_for(),
            witnesses: self.world.describe(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

fn info() -> Info {
    Info {
        vendor: "snaprng".to_owned(),
        product: "snapsafed".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        url: String::new(),
        interfaces: vec![service::INTERFACE.to_owned(), INTERFACE.to_owned()],
    }
}

fn describe(wanted: GetInterfaceDescription) -> Answered {
    let description = match wanted.interface.as_str() {
        INTERFACE => DESCRIPTION,
        service::INTERFACE => service::DESCRIPTION,
        _ => return Err(Error::InterfaceNotFound { interface: wanted.interface }),
    };
    Ok(Some(Reply::of(&InterfaceDescription { description: description.to_owned() })))
}

fn invalid(parameter: &str) -> Error {
    Error::InvalidParameter { parameter: parameter.to_owned() }
}

fn not_permitted(why: &str) -> Error {
    Error::NotPermitted { why: why.to_owned() }
}

/// No place for another FIFO: as if a limit were reached, which is what it is.
fn failed(error: &std::io::Error) -> Error {
    crate::log::error(format!("cannot make a reference: {error}"));
    Error::TooMany { what: "references".to_owned(), limit: 0 }
}

fn check_token(token: Option<&str>) -> std::result::Result<(), Error> {
    match token {
        Some(token) if token.len() > MOST_TOKEN_BYTES => Err(invalid("token")),
        _ => Ok(()),
    }
}

fn decode(text: &str) -> std::result::Result<Zeroizing<Vec<u8>>, Error> {
    match Base64::decode_vec(text).map(Zeroizing::new) {
        Ok(bytes) if (1..=MOST_ENTROPY_BYTES).contains(&bytes.len()) => Ok(bytes),
        _ => Err(invalid("entropy")),
    }
}

/// It is shown to people, on terminals.
fn check_text(text: &str, most: usize, parameter: &str) -> std::result::Result<(), Error> {
    let is_fine = (1..=most).contains(&text.len()) && !text.contains(char::is_control);
    if is_fine { Ok(()) } else { Err(invalid(parameter)) }
}

fn read_what(text: &str) -> Option<What> {
    let mut what = What { quiesce: false, unquiesce: false };
    for word in text.split(':') {
        match word {
            "quiesce" => what.quiesce = true,
            "unquiesce" => what.unquiesce = true,
            _ => return None,
        }
    }
    Some(what)
}

fn write_what(what: What) -> &'static str {
    match (what.quiesce, what.unquiesce) {
        (true, true) => "quiesce:unquiesce",
        (true, false) => "quiesce",
        _ => "unquiesce",
    }
}
