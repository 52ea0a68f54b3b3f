//! `org.varlink.service`: how every Varlink service tells what it is.

use serde::{Deserialize, Serialize};

use super::envelope::Method;

/// The interface's name.
pub const INTERFACE: &str = "org.varlink.service";

/// Its description.
pub const DESCRIPTION: &str = include_str!("org.varlink.service.varlink");

impl Method for GetInfo {
    const NAME: &'static str = "org.varlink.service.GetInfo";
    type Reply = Info;
}

impl Method for GetInterfaceDescription {
    const NAME: &'static str = "org.varlink.service.GetInterfaceDescription";
    type Reply = InterfaceDescription;
}

/// Parameters: what service is this?
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetInfo {}

/// What service it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Who makes it.
    pub vendor: String,
    /// What it is called.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Where to read about it.
    pub url: String,
    /// What it offers.
    pub interfaces: Vec<String>,
}

/// Parameters: what is in this interface?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetInterfaceDescription {
    /// Its name.
    pub interface: String,
}

/// What is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceDescription {
    /// In Varlink's language.
    pub description: String,
}
