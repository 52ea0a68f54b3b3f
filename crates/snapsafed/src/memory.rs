//! `memory.json`: what a daemon that is killed at any moment has to find again.
//!
//! It is replaced as a whole before anything is done that it speaks of. What cannot be remembered
//! must not be done: so whoever cannot write it stops, and the gate stays as it is.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine;
use crate::members::Remembered;
use crate::runtime;

/// Changes with its form. Another one is not understood.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub struct Memory {
    version: u32,
    pub machine: machine::Memory,
    pub members: Remembered,
}

impl Memory {
    pub fn new(machine: machine::Memory, members: Remembered) -> Self {
        Self { version: VERSION, machine, members }
    }

    pub fn write(&self, path: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        runtime::replace(path, &bytes, 0o600)
    }

    /// `None`: there was no daemon before this one.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let memory: Self = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if memory.version != VERSION {
            return Err(format!("it is of version {}, and not {VERSION}", memory.version));
        }
        Ok(Some(memory))
    }
}
