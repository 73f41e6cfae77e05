//! Who a connection belongs to at the provider.

use serde::{Deserialize, Serialize};

/// What a connector's `identify` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Account {
    /// The provider's own id of the account; `None` where it tells nobody who they are.
    pub id: Option<String>,
    /// For people: a user name, an address.
    pub label: String,
    /// The names under which the provider's pushes call this account.
    pub route_keys: Vec<String>,
}
