//! What was measured, as data: what a child hands to its parent, and what `--json` writes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contenders::{Kind, Missing};
use crate::cpu::Machine;
use crate::measure::{Plan, Spread};
use crate::world::{Standing, World};

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) snaprng: String,
    pub(crate) plan: Plan,
    pub(crate) quick: bool,
    pub(crate) tables: Vec<Table>,
    /// Tables that were asked for and could not be made.
    pub(crate) failures: Vec<Missing>,
}

/// One world's figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) world: World,
    pub(crate) standing: Standing,
    /// Why nothing in this table may be judged.
    pub(crate) unjudged: Option<String>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) ratios: Vec<Ratio>,
    pub(crate) others: Vec<Other>,
    pub(crate) missing: Vec<Missing>,
}

/// Nanoseconds per call of one contender at one size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) contender: String,
    pub(crate) kind: Kind,
    pub(crate) size: usize,
    pub(crate) nanoseconds: Spread,
}

/// Time of ours by time of theirs, within rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) ours: String,
    pub(crate) theirs: String,
    pub(crate) size: usize,
    pub(crate) ratio: Spread,
}

/// A figure that is no time per call at a size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) limit: Option<Limit>,
    /// What the figure is made of.
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl Report {
    pub(crate) fn table(&self, world: World) -> Option<&Table> {
        self.tables.iter().find(|table| table.world == world)
    }

    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|e| e.to_string())?;
        // A line for each figure: short, and fit for `diff`. No text in it has these characters.
        let text = text.replace("},{", "},\n{").replace(":[{", ":[\n{");
        fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))
    }
}

impl Table {
    pub(crate) fn cell(&self, contender: &str, size: usize) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.contender == contender && cell.size == size)
    }

    pub(crate) fn ratio(&self, ours: &str, theirs: &str, size: usize) -> Option<&Ratio> {
        self.ratios
            .iter()
            .find(|ratio| ratio.ours == ours && ratio.theirs == theirs && ratio.size == size)
    }

    /// Its contenders, in their order.
    pub(crate) fn contenders(&self) -> Vec<(&str, Kind)> {
        let mut found: Vec<(&str, Kind)> = Vec::new();
        for cell in &self.cells {
            if !found.iter().any(|(name, _)| *name == cell.contender) {
                found.push((&cell.contender, cell.kind));
            }
        }
        found
    }
}

/// What a child says to its parent, one line each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// It waits for this long, and uses no CPU meanwhile.
    Settles(Duration),
    /// It is ready to measure, when it is told to.
    Ready,
    Progress(String),
    Done(Box<Table>),
    Failed(String),
}
