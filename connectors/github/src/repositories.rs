//! The list of repositories: what there is, what changed, how many stars.
//!
//! The list is the key to doing nothing: it says of every repository when something was last pushed to it, and its pages answer 304 as long
//! as nothing was. A digest of each page is kept in the connector's state, so that a page that did not change still has its rows.
//!
//! A page may shift while the list is read (a repository appears, is renamed). Rows are told apart by id; one that slipped through is there
//! an hour later.

use crate::{Run, api};
use serde::{Deserialize, Serialize};
use sluice_sdk::{Day, Entry, Failure, Response, cache, paging};

/// Pages of a list that is followed at most: 10,000 repositories.
const MAX_PAGES: usize = 100;

const WHAT: &str = "the list of repositories";

/// One repository. The names are short because thousands of them are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Never changes.
    #[serde(rename = "i")]
    pub id: u64,
    /// `owner/name`; may change.
    #[serde(rename = "n")]
    pub name: String,
    /// Changes whenever its history may have changed.
    #[serde(rename = "f")]
    pub fingerprint: u64,
    /// A gauge.
    #[serde(rename = "s")]
    pub stars: u64,
    /// A copy of another one: its commits are the other one's.
    #[serde(rename = "k")]
    pub fork: bool,
    /// The owner's id, where there is one.
    #[serde(rename = "o")]
    pub owner: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Page {
    rows: Vec<Repository>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    id: u64,
    full_name: String,
    #[serde(default)]
    fork: bool,
    #[serde(default)]
    stargazers_count: u64,
    owner: Option<Owner>,
    pushed_at: Option<String>,
    #[serde(default)]
    size: u64,
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct Owner {
    id: u64,
}

impl From<Row> for Repository {
    fn from(row: Row) -> Self {
        // A push moves the date; the size and the default branch catch what moves the history without one.
        let signs =
            format!("{}|{}|{}", row.pushed_at.as_deref().unwrap_or_default(), row.size, row.default_branch.as_deref().unwrap_or_default());
        Self {
            id: row.id,
            name: row.full_name,
            fingerprint: cache::hash(signs.as_bytes()),
            stars: row.stargazers_count,
            fork: row.fork,
            owner: row.owner.map(|owner| owner.id),
        }
    }
}

fn judge(response: &Response, now: i64) -> Result<Page, Failure> {
    api::check(response, WHAT, now)?;
    let rows: Vec<Row> = response.json(WHAT)?;
    Ok(Page { rows: rows.into_iter().map(Repository::from).collect(), next: paging::next(response).map(str::to_owned) })
}

/// Reads the list and records the stars. Empty where the list may not be read.
///
/// # Errors
/// What ends a run.
pub fn read(run: &mut Run<'_, '_>) -> Result<Vec<Repository>, Failure> {
    let account = run.user.id.to_string();
    let now = run.now;
    let mut found: Vec<Repository> = Vec::new();
    let mut next = Some(format!("{}/user/repos?per_page=100", api::API));
    for _ in 0..MAX_PAGES {
        let Some(url) = next.take() else { break };
        let page = match cache::conditional(run.host, api::get(url), &account, |response| judge(response, now)) {
            Ok(fetched) => fetched.digest,
            Err(failure) => {
                run.tolerate(failure, "commits")?;
                return Ok(Vec::new());
            }
        };
        found.extend(page.rows);
        next = page.next;
    }
    run.note_worked();
    found.sort_unstable_by_key(|repository| repository.id);
    found.dedup_by_key(|repository| repository.id);
    let mine = |repository: &&Repository| repository.owner.is_none_or(|owner| owner == run.user.id);
    let stars: u64 = found.iter().filter(mine).map(|repository| repository.stars).sum();
    run.host.record(vec![Entry::on("stars", Day::of_ms(run.now), stars as f64)])?;
    Ok(found)
}
