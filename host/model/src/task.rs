//! What a run is for: everything that the contract's `task` interface tells a guest.

use crate::moment::Moment;
use serde::{Deserialize, Serialize};

/// Why a run happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its time had come.
    Scheduled,
    /// Somebody asked.
    Manual,
    /// The first run after linking.
    Linked,
}

impl Reason {
    /// The contract's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
            Self::Linked => "linked",
        }
    }
}

/// What a guest may ask about its task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Why it runs.
    pub reason: Reason,
    /// The host's clock at the start, ms since the epoch; `now()` answers this plus the time that has passed.
    pub now: i64,
    /// The user's IANA zone.
    pub time_zone: String,
    /// Where the last run got to.
    pub cursor: Option<String>,
    /// The connector version that wrote the cursor.
    pub cursor_version: Option<String>,
    /// What to look at again: last complete run − overlap, now; `None` on the first run.
    pub window: Option<(Moment, Moment)>,
    /// The `[[auth]]` profile that the person chose.
    pub profile: String,
    /// What `identify` said.
    pub account_id: Option<String>,
    /// Scopes the provider granted.
    pub scopes: Vec<String>,
    /// Settings, with defaults filled in.
    pub settings: Vec<(String, String)>,
}
