//! A CSPRNG that cannot repeat itself when its virtual machine is cloned.
//!
//! (manual to come)
#![deny(unsafe_code)]

#[cfg(not(feature = "std"))]
compile_error!("snaprng needs its `std` feature for now");

mod cipher;
mod config;
mod entropy;
mod environment;
mod error;
mod generator;
#[cfg(target_os = "linux")]
pub mod host;
mod local;
mod policy;
mod protection;
mod rng;
mod unique;
mod world;

pub use config::{Config, Source, VmClock};
pub use entropy::Diversity;
pub use error::Error;
pub use local::{
    ThreadRng, bytes, fill, fill_uninit, notify_restored, protection, rediscover, reseed, rng,
};
pub use policy::{Level, Policy, UnknownLevel};
pub use protection::{ForkSafety, Protection, RestoreSafety, Witness};
pub use rand_core;
pub use rng::{SnapRng, TrySnapRng};
pub use unique::{Generation, generation};
pub use world::{Cause, WitnessState};
