//! Last.fm: every play with artist and name, and totals.
//!
//! | source | how it is read |
//! | --- | --- |
//! | [`profile`] | totals of the account and of loved tracks, every few hours |
//! | [`plays`] | windows of a month, newest first, down to the first play; each later round reads the last fortnight again and replaces it |
//!
//! A run stops after [`BUDGET_REQUESTS`] requests or [`BUDGET_ENTRIES`] entries, answers `more`, and goes on below. Every window is read to
//! its end before anything of it is recorded, and committed together with the walk that it shortens, so an end at any instant costs at most
//! one window.
//!
//! Last.fm says what is wrong in `error`, whatever the HTTP status, so that is read first ([`api`]).

pub mod api;
pub mod plays;
pub mod profile;
pub mod shapes;

use serde::{Deserialize, Serialize};
use sluice_sdk::cursor::Versioned;
use sluice_sdk::walk::Walk;
use sluice_sdk::{Account, Connector, Failure, Host, Outcome};

/// Requests of one run: about two minutes at the pace that the manifest's quota sets.
pub const BUDGET_REQUESTS: u64 = 200;
/// Entries of one run.
pub const BUDGET_ENTRIES: u64 = 10_000;

/// The connector.
pub struct LastFm;

/// Where it got to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// When the present was last put on top of the walk, ms.
    pub seen: Option<i64>,
    /// Whether a round is under way.
    pub open: bool,
    /// Stretches of plays that are still to read, ms.
    pub plays: Walk,
    /// When the totals were last read, ms.
    pub totals: Option<i64>,
    /// When the account began, ms: below that there is next to nothing, and one window takes all of it.
    pub registered: i64,
}

impl Versioned for Cursor {
    const VERSION: u32 = 1;
}

impl Connector for LastFm {
    const DESCRIBE: &'static str = include_str!("../connector.toml");

    fn identify(host: &mut Host<'_>) -> Result<Account, Failure> {
        let api = api::Api::new(host, None);
        let user = profile::fetch(host, &api)?;
        Ok(Account::new(user.name.clone(), user.name))
    }

    fn sync(host: &mut Host<'_>) -> Result<Outcome, Failure> {
        let now = host.now().div_euclid(1_000) * 1_000;
        let account = host.account_id();
        let api = api::Api::new(host, account);
        let mut cursor: Cursor = host.cursor().unwrap_or_default();
        profile::read(host, &api, &mut cursor, now)?;
        plays::open_round(host, &mut cursor, now);
        if !plays::read(host, &api, &mut cursor)? {
            return Ok(Outcome::More);
        }
        cursor.open = false;
        host.checkpoint(&cursor)?;
        Ok(Outcome::Complete)
    }
}

sluice_sdk::export!(LastFm);

/// Whether this run has done its share.
fn is_spent(host: &Host<'_>) -> bool {
    host.requests() >= BUDGET_REQUESTS || host.entries() >= BUDGET_ENTRIES
}
