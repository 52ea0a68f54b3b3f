//! The state machine under a scripted world and scripted entropy.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;

use super::*;
use crate::policy::Facts;

mod combinations;
mod copies;
mod failures;
mod keys;
mod levels;
mod model;
mod order;
mod script;

use script::*;

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|w| w == needle)
}
