//! How the daemon begins: anew, or where the one before it ended.

use std::fs;

use snaprng::host::AgentPage;

use super::world::World;
use super::{Driver, Fatal, Result};
use crate::agent::Agent;
use crate::clock;
use crate::config::Config;
use crate::gate;
use crate::kernel::KernelGenerator;
use crate::log;
use crate::machine::{Effect, Event, Facts, Machine};
use crate::members::{self, Members};
use crate::memory::Memory;
use crate::notify::Notify;
use crate::runtime::Runtime;
use crate::server::Server;
use crate::target::Target;

/// What there is before anybody is served.
struct Beginning {
    machine: Machine,
    members: Members,
    effects: Vec<Effect>,
    events: Vec<Event>,
}

impl Driver {
    /// Begins, and does what is to be done before anybody is served.
    pub fn start(mut config: Config, runtime: Runtime, notify: Notify) -> Result<Self> {
        let fatal = |what: &str, error: &dyn std::fmt::Display| Fatal(format!("{what}: {error}"));
        if config.gate.kind == gate::Kind::Fake && config.gate.fake_state.is_none() {
            config.gate.fake_state = Some(runtime.fake_gate());
        }
        members::prepare().map_err(|error| fatal("random bytes", &error))?;
        let page = open_page(&runtime).map_err(|error| fatal("agent page", &error))?;
        let mut gate = gate::open_gate(&config.gate).map_err(|why| fatal("gate", &why))?;
        let now = clock::now();
        let world = World::open(&config.witnesses, now);
        let facts = Facts { now, generation: page.generation(), counter: world.counter() };
        // Without a gate there is nothing in the kernel that a daemon could have left.
        let is_shut = config.gate.kind != gate::Kind::None && gate.is_there() == Ok(true);
        let memory = Memory::read(&runtime.memory());
        let again = !matches!(memory, Ok(None));
        let beginning = begin(&config, &runtime, memory, is_shut, facts)?;
        let server = Server::listen(&runtime.socket(), config.limits)
            .map_err(|error| fatal("socket", &error))?;
        let mut driver = Self {
            agent: Agent::open(&config.agent),
            target: Target::new(config.quiesced_target, again),
            runtime,
            machine: beginning.machine,
            members: beginning.members,
            server,
            gate,
            page,
            kernel: KernelGenerator::open(config.entropy_credit),
            world,
            hooks: None,
            draining: None,
            notify,
            wake: None,
            look_at_gate: 0,
            events: beginning.events.into(),
            todo: Default::default(),
            requests: Default::default(),
            next_request: 0,
            subscribers: Default::default(),
            entropy: Default::default(),
            config,
        };
        let present = driver.present();
        driver.todo.extend(beginning.effects.into_iter().map(|effect| (effect, present.clone())));
        driver.settle()?;
        for member in driver.members.over() {
            driver.end_member(member)?;
        }
        driver.settle()?;
        driver.persist()?;
        driver.announce(&driver.present())?;
        driver.notify.ready();
        Ok(driver)
    }
}

/// The page is made once and then written in place: whoever has it mapped looks at this very file.
fn open_page(runtime: &Runtime) -> std::io::Result<AgentPage> {
    let path = runtime.agent_page();
    match AgentPage::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => AgentPage::create(&path),
        opened => opened,
    }
}

fn begin(
    config: &Config,
    runtime: &Runtime,
    memory: std::result::Result<Option<Memory>, String>,
    is_shut: bool,
    facts: Facts,
) -> Result<Beginning> {
    let fatal = |error: std::io::Error| Fatal(format!("locks: {error}"));
    let lost = match memory {
        Ok(Some(memory)) => {
            let (machine, effects) = Machine::resume(config.rules(), memory.machine, facts);
            let (members, events) =
                Members::resume(runtime.locks(), memory.members).map_err(fatal)?;
            return Ok(Beginning { machine, members, effects, events });
        }
        Ok(None) if !is_shut => None,
        Ok(None) => Some("the gate is shut, and nothing is known of it".to_owned()),
        Err(why) => {
            // For whoever wants to know; the next one is written under the old name.
            let path = runtime.memory();
            let _ = fs::rename(&path, path.with_extension("bad"));
            Some(format!("memory.json cannot be read: {why}"))
        }
    };
    let members = Members::new(runtime.locks()).map_err(fatal)?;
    let events = lost.map(|why| {
        log::error(format!("{why}: going on as if the world had changed"));
        Event::WorldChanged { witness: "lost memory".to_owned() }
    });
    Ok(Beginning {
        machine: Machine::new(config.rules()),
        members,
        effects: Vec::new(),
        events: events.into_iter().collect(),
    })
}
