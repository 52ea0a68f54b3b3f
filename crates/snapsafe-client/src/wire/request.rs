//! Any call that the service answers, with its parameters checked.

use super::envelope::{Call, Method};
use super::manager::{
    Abort, Ack, Inhibit, ListInhibitors, ListParticipants, Quiesce, Register, Status, Subscribe,
    Unquiesce,
};
use super::service::{GetInfo, GetInterfaceDescription};
use super::{Error, INTERFACE, service};

macro_rules! requests {
    ($($method:ident,)*) => {
        /// A call that the service knows, with parameters of the right form.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "each is explained at its parameters")]
        pub enum Request {
            $($method($method),)*
        }

        impl Request {
            /// Reads a call. The error is the one to answer.
            pub fn read(call: &Call) -> Result<Self, Error> {
                $(if call.method == $method::NAME {
                    return call.read().map(Self::$method);
                })*
                Err(not_found(call))
            }
        }
    };
}

requests! {
    Quiesce,
    Unquiesce,
    Abort,
    Register,
    Subscribe,
    Ack,
    Inhibit,
    ListInhibitors,
    ListParticipants,
    Status,
    GetInfo,
    GetInterfaceDescription,
}

/// Whether it is the method or the interface that is not there.
fn not_found(call: &Call) -> Error {
    let (interface, _) = call.name();
    if [INTERFACE, service::INTERFACE].contains(&interface) {
        Error::MethodNotFound { method: call.method.clone() }
    } else {
        Error::InterfaceNotFound { interface: interface.to_owned() }
    }
}
