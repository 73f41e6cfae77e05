//! GitHub: commits by repository, contributions, pull requests, issues, stars, followers, public repositories.
//!
//! A run is one **round** over four kinds of source, and a round may take several runs: each stops after [`BUDGET_REQUESTS`] requests or
//! [`BUDGET_ENTRIES`] entries and answers `more`, with everything it did committed. What is left to do stands in the [`cursor`] (stretches
//! of time) and in marks that the connector keeps of each repository, so an end at any instant costs at most one unfinished window.
//!
//! | source | how it is read | what an hour costs when nothing happened |
//! | --- | --- | --- |
//! | [`user`] | one conditional request | 0 of the quota (304) |
//! | [`repositories`] | the list, page by page, each conditional | 0 |
//! | [`contributions`] | GraphQL, a calendar year at a time back to the account's first day | 1 |
//! | [`commits`] | repositories that changed since they were last walked, and no others | 0 |
//! | [`opened`] | search by date of creation | 2 |
//!
//! One request at a time: GitHub asks for it. What one repository or one metric refuses is a problem shown with the run; the run itself
//! fails only when the key is refused, GitHub asks to wait or is in trouble, an answer is not what it should be, or nothing at all may be
//! read.

pub mod api;
pub mod commits;
pub mod contributions;
pub mod cursor;
pub mod opened;
pub mod repositories;
pub mod user;

use cursor::Cursor;
use sluice_sdk::{Account, Connector, Failure, FailureKind, Host, Outcome};

/// Requests of one run. A twenty-fifth of GitHub's hourly allowance, and about a minute's work: others get their turn.
pub const BUDGET_REQUESTS: u64 = 200;
/// Entries of one run.
pub const BUDGET_ENTRIES: u64 = 10_000;

/// The connector.
pub struct GitHub;

impl Connector for GitHub {
    const DESCRIBE: &'static str = include_str!("../connector.toml");

    fn identify(host: &mut Host<'_>) -> Result<Account, Failure> {
        let user = user::fetch(host)?;
        Ok(Account::new(user.id.to_string(), user.login))
    }

    fn sync(host: &mut Host<'_>) -> Result<Outcome, Failure> {
        let mut run = Run::begin(host)?;
        run.read()
    }
}

sluice_sdk::export!(GitHub);

/// One run under way.
pub struct Run<'h, 'a> {
    /// The host.
    pub host: &'h mut Host<'a>,
    /// The host's time when the run began, cut to the second; every window of the run ends by it.
    pub now: i64,
    /// Who it is.
    pub user: user::User,
    /// What is left to do.
    pub cursor: Cursor,
    /// Whether a person asked: then nothing that was refused lately is left out.
    pub asked: bool,
    worked: bool,
    refused: Option<Failure>,
}

impl<'h, 'a> Run<'h, 'a> {
    fn begin(host: &'h mut Host<'a>) -> Result<Self, Failure> {
        let now = host.now().div_euclid(1_000) * 1_000;
        let window = host.window_ms();
        let reason = host.reason();
        let cursor = host.cursor().unwrap_or_default();
        let user = user::current(host, now)?;
        let mut run = Self { host, now, user, cursor, asked: matches!(reason.as_str(), "manual" | "linked"), worked: false, refused: None };
        let overlap = window.map(|(first, _)| first);
        run.cursor.open_round(run.now, overlap, run.user.created_at);
        Ok(run)
    }

    fn read(&mut self) -> Result<Outcome, Failure> {
        user::record(self)?;
        let list = repositories::read(self)?;
        self.checkpoint()?;
        contributions::read(self)?;
        let trouble = commits::read(self, &list)?;
        opened::read(self)?;
        if let Some(failure) = trouble {
            self.checkpoint()?;
            return Err(failure);
        }
        if !self.cursor.is_read() {
            self.checkpoint()?;
            return Ok(Outcome::More);
        }
        self.cursor.close_round();
        self.checkpoint()?;
        match self.refused.take() {
            Some(failure) if !self.worked => Err(failure),
            _ => Ok(Outcome::Complete),
        }
    }

    /// Commits what was recorded, with what is left to do.
    fn checkpoint(&mut self) -> Result<(), Failure> {
        self.host.checkpoint(&self.cursor)
    }

    /// Whether this run has done its share.
    fn is_spent(&self) -> bool {
        self.host.requests() >= BUDGET_REQUESTS || self.host.entries() >= BUDGET_ENTRIES
    }

    /// Something could be read.
    fn note_worked(&mut self) {
        self.worked = true;
    }

    /// Turns what only one part of the data refuses into a problem, and lets through what ends the run.
    fn tolerate(&mut self, failure: Failure, metric: &str) -> Result<(), Failure> {
        match failure.kind {
            FailureKind::NeedsConsent | FailureKind::NeedsAction => {
                self.host.problem(&failure, Some(metric));
                self.refused.get_or_insert(failure);
                Ok(())
            }
            // What the host itself refuses (an entry, a cursor) is a fault of ours, and never passed over.
            FailureKind::Other if api::is_about_one_thing(&failure.code) => {
                self.host.problem(&failure, Some(metric));
                Ok(())
            }
            _ => Err(failure),
        }
    }
}
