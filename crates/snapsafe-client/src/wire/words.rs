//! The words of the interface: its enumerations.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$word_doc])* #[serde(rename = $text)] $word,)*
        }

        impl $name {
            /// As on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text,)* }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Where the machine is.
    State {
        /// No snapshot is under way.
        Running = "running",
        /// Participants get ready; the network is still open.
        Quiescing = "quiescing",
        /// The network is cut: a snapshot may be taken.
        Quiesced = "quiesced",
        /// Participants adapt; the network is still cut.
        Unquiescing = "unquiescing",
    }
}

words! {
    /// How a transition ended.
    Outcome {
        /// This is another world: a clone, an old state, or nobody can tell.
        Restored = "restored",
        /// The same machine went on.
        Resumed = "resumed",
        /// The snapshot was called off.
        Aborted = "aborted",
    }
}

words! {
    /// What a participant is asked to do.
    Phase {
        /// Get ready: no operation in flight that a copy must not repeat.
        Quiesce = "quiesce",
        /// The same machine went on.
        Resumed = "resumed",
        /// This is another world: make everything unique anew.
        Restored = "restored",
        /// The snapshot was called off.
        Aborted = "aborted",
    }
}

words! {
    /// How much a participant or an inhibitor counts.
    Mode {
        /// It is told and never waited for.
        Notify = "notify",
        /// It is waited for until a deadline.
        Delay = "delay",
        /// The transition fails without it.
        Block = "block",
    }
}

words! {
    /// What the host says of the machine that wakes up.
    Expectation {
        /// It does not know.
        Any = "any",
        /// The same machine goes on.
        Resumed = "resumed",
        /// It is a clone, or an old state.
        Restored = "restored",
    }
}
