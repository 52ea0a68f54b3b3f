//! Why something was refused, in the words that go onto OpenSSL's error stack.
//!
//! A refusal is a reason, which has a number and a short text, and details, which say what to do.
//! It is made in requests that may not allocate, so it is a small value. It never holds anything
//! secret.

use core::fmt;

use snaprng::Error;

use crate::abi::Item;

/// Provider errors: the number that `ERR_GET_REASON` gives, and [`REASONS`] its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Reason {
    BadConfiguration = 1,
    ConfigurationInForce = 2,
    NotStarted = 3,
    NoRandomBytes = 4,
    StrengthTooHigh = 5,
    BadArgument = 6,
    NotInstantiated = 7,
    NoMemory = 8,
    Internal = 9,
}

/// What `OSSL_FUNC_PROVIDER_GET_REASON_STRINGS` gives.
pub(crate) static REASONS: [Item; 10] = [
    Item::new(1, c"bad configuration"),
    Item::new(2, c"another configuration is in force"),
    Item::new(3, c"not started"),
    Item::new(4, c"no random bytes"),
    Item::new(5, c"strength too high"),
    Item::new(6, c"bad argument"),
    Item::new(7, c"not instantiated"),
    Item::new(8, c"no memory"),
    Item::new(9, c"internal error"),
    Item::END,
];

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The library has no bytes.
    Library(Error),
    /// More bits of strength than there are.
    Strength(u32),
    /// A null pointer, a length beyond the address space, a minimum above its maximum.
    BadArgument,
    /// A context that was not instantiated, or was uninstantiated.
    NotInstantiated,
    /// This many bytes could not be allocated.
    NoMemory(usize),
    /// A panic: it never happens, and ends here if it does.
    Panicked,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl Refusal {
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Library(_) => Reason::NoRandomBytes,
            Self::Strength(_) => Reason::StrengthTooHigh,
            Self::BadArgument => Reason::BadArgument,
            Self::NotInstantiated => Reason::NotInstantiated,
            Self::NoMemory(_) => Reason::NoMemory,
            Self::Panicked => Reason::Internal,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(error) => error.fmt(f),
            Self::Strength(bits) => {
                write!(f, "{bits} bits were asked for and 256 is all there is")
            }
            Self::BadArgument => f.write_str("a null pointer, or lengths that cannot be"),
            Self::NotInstantiated => f.write_str("call EVP_RAND_instantiate first"),
            Self::NoMemory(bytes) => write!(f, "{bytes} bytes could not be allocated"),
            Self::Panicked => f.write_str("this is a defect of the provider: please report it"),
        }
    }
}
