//! Who it is: the account's id, its present name, and two gauges.
//!
//! Gauges count for the UTC day on which they were read: a gauge belongs to the moment of reading, and a day a few hours off is the price
//! of one row a day.

use crate::{Run, api};
use serde::{Deserialize, Serialize};
use sluice_sdk::{Day, Entry, Failure, FailureKind, Host, Response, cache, day};

/// The account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Never changes.
    pub id: u64,
    /// May change.
    pub login: String,
    /// When the account began, ms. Nothing counts for a day before.
    pub created_at: i64,
    /// A gauge.
    pub followers: u64,
    /// A gauge.
    pub public_repos: u64,
}

const WHAT: &str = "the account";

fn judge(response: &Response, now: i64) -> Result<User, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        id: u64,
        login: String,
        created_at: String,
        followers: u64,
        public_repos: u64,
    }
    api::check(response, WHAT, now)?;
    let answer: Answer = response.json(WHAT)?;
    let Some(created_at) = day::parse_rfc3339(&answer.created_at) else {
        return Err(Failure::unexpected(
            "wrong-shape",
            "asked for the account, GitHub answered with a date that is none; nothing of it was stored",
        ));
    };
    Ok(User { id: answer.id, login: answer.login, created_at, followers: answer.followers, public_repos: answer.public_repos })
}

/// Asks, whatever was known before.
///
/// # Errors
/// No answer, or not the expected one.
pub fn fetch(host: &mut Host<'_>) -> Result<User, Failure> {
    let now = host.now();
    let response = host.fetch(&api::get(format!("{}/user", api::API)))?;
    judge(&response, now)
}

/// Asks whether anything changed.
///
/// # Errors
/// No answer, not the expected one, or another account than the one that was linked.
pub fn current(host: &mut Host<'_>, now: i64) -> Result<User, Failure> {
    let account = host.account_id().unwrap_or_default();
    let request = api::get(format!("{}/user", api::API));
    let user = cache::conditional(host, request, &account, |response| judge(response, now))?.digest;
    if !account.is_empty() && account != user.id.to_string() {
        return Err(Failure::new(
            FailureKind::NeedsAction,
            "another-account",
            format!(
                "the token belongs to another account, {}: link with a token of the account that this connection was made for",
                user.login
            ),
        ));
    }
    Ok(user)
}

/// Records the gauges.
///
/// # Errors
/// The host takes no entries.
pub fn record(run: &mut Run<'_, '_>) -> Result<(), Failure> {
    let today = Day::of_ms(run.now);
    run.host.record(vec![
        Entry::on("followers", today, run.user.followers as f64),
        Entry::on("public_repos", today, run.user.public_repos as f64),
    ])
}
