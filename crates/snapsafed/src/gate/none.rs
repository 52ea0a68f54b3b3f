//! No gate: the host cuts the network, or nobody does.

use std::os::fd::BorrowedFd;

use super::{Gate, Result};

pub(super) struct NoGate;

impl Gate for NoGate {
    fn kind(&self) -> &'static str {
        "none"
    }

    fn shut(&mut self) -> Result<()> {
        Ok(())
    }

    fn is_drained(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn open(&mut self) -> Result<()> {
        Ok(())
    }

    fn holds(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn watch(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn changed(&mut self) -> bool {
        false
    }

    fn is_owned(&self) -> bool {
        false
    }

    fn weaknesses(&mut self) -> Vec<String> {
        vec!["there is no gate: the configuration leaves it to the host to cut the network".into()]
    }
}
