//! What is around parameters: calls and replies.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Error;

/// A method: the type of its parameters names it, and the type of what it answers.
pub trait Method: Serialize + DeserializeOwned {
    /// With its interface: `io.snapsafe.Manager.Status`.
    const NAME: &'static str;
    /// What it answers.
    type Reply: Serialize + DeserializeOwned;
}

/// A call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// With its interface.
    pub method: String,
    /// Missing counts as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// Whether more than one reply is wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// Whether no reply is wanted, not even an error.
    #[serde(default, skip_serializing_if = "is_false")]
    pub oneway: bool,
}

/// A reply, or one of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Of the answer, or of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// Whether another reply to the same call will follow.
    #[serde(default, skip_serializing_if = "is_false")]
    pub continues: bool,
    /// The name of an error, with its interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Call {
    /// A call that wants one reply.
    pub fn new<M: Method>(parameters: &M) -> Self {
        Self {
            method: M::NAME.to_owned(),
            parameters: Some(object(parameters)),
            more: false,
            oneway: false,
        }
    }

    /// A call that wants replies until it is over.
    pub fn with_more<M: Method>(parameters: &M) -> Self {
        Self { more: true, ..Self::new(parameters) }
    }

    /// The interface, and the method in it.
    pub fn name(&self) -> (&str, &str) {
        self.method.rsplit_once('.').unwrap_or(("", &self.method))
    }

    /// The parameters as those of a method. The error names the one that is wrong.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let given = self.parameters.clone().unwrap_or_default();
        let attempt = |object: Map<String, Value>| {
            serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())
        };
        attempt(given.clone()).map_err(|problem: String| {
            // Without the one that is complained of the complaint is another one, or there is none.
            let culprit = given.keys().find(|name| {
                let mut others = given.clone();
                others.remove(*name);
                attempt(others).map(|_: T| ()) != Err(problem.clone())
            });
            // What is missing is in serde's words: missing field `name`.
            let parameter = culprit.map(String::as_str).or_else(|| problem.split('`').nth(1));
            Error::InvalidParameter { parameter: parameter.unwrap_or(&problem).to_owned() }
        })
    }
}

impl Reply {
    /// The only reply, or the last one.
    pub fn of(parameters: &impl Serialize) -> Self {
        Self { parameters: Some(object(parameters)), continues: false, error: None }
    }

    /// One after which more will follow.
    pub fn continued(parameters: &impl Serialize) -> Self {
        Self { continues: true, ..Self::of(parameters) }
    }

    /// What the method answers, or the error.
    pub fn read<T: DeserializeOwned>(self) -> Result<Result<T, Error>, serde_json::Error> {
        let parameters = self.parameters.unwrap_or_default();
        match self.error {
            Some(name) => Ok(Err(Error::named(name, parameters))),
            None => serde_json::from_value(Value::Object(parameters)).map(Ok),
        }
    }
}

impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        let (name, parameters) = error.into_parts();
        Self { parameters: Some(parameters), continues: false, error: Some(name) }
    }
}

/// Parameters are structs with named fields, which can always be written. What is not given is left
/// out, and not `null`.
fn object(parameters: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(parameters) {
        Ok(Value::Object(mut object)) => {
            object.retain(|_, value| !value.is_null());
            object
        }
        _ => Map::new(),
    }
}
