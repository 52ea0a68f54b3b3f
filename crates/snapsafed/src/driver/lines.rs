//! What the host asks for in lines. It may do what root may.

use snapsafe_client::wire::State;

use super::{Driver, Origin, Result};
use crate::agent::{Channel, Line, Position, Verb};
use crate::machine::Event;

impl Driver {
    pub(super) fn line(
        &mut self,
        channel: Channel,
        line: std::result::Result<Line, String>,
    ) -> Result {
        match line {
            Err(why) => self.agent.answer(channel, &format!("ERR usage: {why}")),
            Ok(Line::Status) => {
                let line = self.position().line();
                self.agent.answer(channel, &line);
            }
            Ok(Line::Quiesce { timeout, force, token }) => {
                let request = self.request(Origin::Line(channel, Verb::Quiesce));
                self.happened(Event::Quiesce { request, timeout, force, token });
            }
            Ok(Line::Unquiesce { timeout, expect, token, entropy }) => {
                let request = self.request(Origin::Line(channel, Verb::Unquiesce));
                let has_entropy = entropy.is_some();
                if let Some(bytes) = entropy {
                    self.entropy.insert(request, bytes);
                }
                self.happened(Event::Unquiesce { request, timeout, expect, token, has_entropy });
            }
            Ok(Line::Abort) => {
                let request = self.request(Origin::Line(channel, Verb::Abort));
                self.happened(Event::Abort { request });
            }
        }
        Ok(())
    }

    pub(super) fn position(&self) -> Position {
        Position {
            state: self.machine.state(),
            transition: self.machine.transition(),
            generation: self.generation(),
            last_outcome: self.machine.last_outcome(),
            waiting_for: self.machine.waiting_for(),
            degraded: self.machine.degraded().map(str::to_owned),
        }
    }

    pub(super) fn gate_info(&mut self) -> snapsafe_client::wire::manager::GateInfo {
        snapsafe_client::wire::manager::GateInfo {
            kind: self.gate.kind().to_owned(),
            shut: self.machine.state() != State::Running && self.gate.holds() == Ok(true),
            owned: self.gate.is_owned(),
            weaknesses: self.gate.weaknesses(),
        }
    }
}
