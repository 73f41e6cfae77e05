//! Row ids, as types of their own so that one is never taken for another.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A person who signs in to this host.
    UserId
);
id!(
    /// A connector instance with one registration at the provider.
    AppId
);
id!(
    /// One user's link to one provider account.
    ConnectionId
);
id!(
    /// One execution of a connector.
    RunId
);
