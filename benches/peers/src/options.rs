//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::measure::Plan;
use crate::world::World;

/// In a file of its own, for the launcher shows it without building anything.
pub(crate) const HELP: &str = include_str!("../help.txt");

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Options {
    pub(crate) worlds: Vec<World>,
    pub(crate) quick: bool,
    pub(crate) rounds: Option<usize>,
    pub(crate) batch: Option<Duration>,
    pub(crate) skip_settling: bool,
    pub(crate) cpu: Option<usize>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) plot: Option<PathBuf>,
    pub(crate) from: Vec<PathBuf>,
    pub(crate) require: bool,
    pub(crate) library: Option<PathBuf>,
}

/// What the command line asks for.
pub(crate) enum Asked {
    Run(Box<Options>),
    Help,
}

impl Options {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
        let mut options = Self {
            worlds: World::ALL.to_vec(),
            quick: false,
            rounds: None,
            batch: None,
            skip_settling: false,
            cpu: None,
            json: None,
            plot: None,
            from: Vec::new(),
            require: false,
            library: None,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "-h" | "--help" => return Ok(Asked::Help),
                "--quick" => options.quick = true,
                "--skip-settling" => options.skip_settling = true,
                "--require" => options.require = true,
                "--tables" => options.worlds = worlds(&value()?)?,
                "--rounds" => options.rounds = Some(number(&value()?)? as usize),
                "--batch" => options.batch = Some(Duration::from_micros(number(&value()?)?)),
                "--cpu" => options.cpu = Some(number(&value()?)? as usize),
                "--json" => options.json = Some(value()?.into()),
                "--plot" => options.plot = Some(value()?.into()),
                "--from" => options.from.push(value()?.into()),
                "--library" => options.library = Some(value()?.into()),
                _ => return Err(format!("unknown argument `{argument}`")),
            }
        }
        if options.rounds == Some(0) || options.batch == Some(Duration::ZERO) {
            return Err("nothing can be measured in no time".into());
        }
        Ok(Asked::Run(Box::new(options)))
    }

    pub(crate) fn plan(&self) -> Plan {
        let (rounds, micros) = if self.quick { (7, 500) } else { (31, 2000) };
        Plan {
            rounds: self.rounds.unwrap_or(rounds),
            batch: self.batch.unwrap_or(Duration::from_micros(micros)),
        }
    }
}

fn worlds(list: &str) -> Result<Vec<World>, String> {
    list.split(',')
        .map(|id| World::of_id(id.trim()).ok_or(format!("there is no table `{id}`")))
        .collect()
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}
