//! What is left to do, as it is kept between runs.
//!
//! A round begins by putting what is new (and the overlap, which is looked at again) on top of each walk, and ends when all of them are
//! done. A run that continues a round adds nothing new unless the round is older than [`STALE`]: otherwise a back-fill of hours would show
//! nothing of today.

use serde::{Deserialize, Serialize};
use sluice_sdk::Day;
use sluice_sdk::cursor::Versioned;
use sluice_sdk::day::{DAY, HOUR};
use sluice_sdk::walk::Walk;

/// How long a round may take before the newest data is looked at again.
const STALE: i64 = HOUR;

/// The least overlap: GitHub's calendar moves for about a week, and search lags behind by minutes.
const OVERLAP: i64 = 7 * DAY;

/// Where the connector got to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// When the present was last put on top of the walks, ms.
    pub seen: Option<i64>,
    /// Whether a round is under way.
    pub open: bool,
    /// Civil days of the contribution calendar.
    pub contributions: Walk,
    /// Instants at which pull requests were opened, ms.
    pub pull_requests: Walk,
    /// Instants at which issues were opened, ms.
    pub issues: Walk,
    /// Whether every repository that changed has been walked.
    pub commits_done: bool,
    /// A repository in the middle of whose history a run stopped.
    pub repository: Option<Unfinished>,
}

/// A repository whose history takes more than one bite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Its id.
    pub id: u64,
    /// What its marks said when the walk began.
    pub fingerprint: u64,
    /// Where the walk begins, ms by committer date; none for the whole history.
    pub since: Option<i64>,
    /// Where it ends.
    pub until: i64,
    /// The next page.
    pub next: String,
    /// The commits of the last second of the page before: the next page may have more of that second.
    pub held: Held,
}

/// Commits that are not recorded yet because their second may not be complete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The second, ms.
    pub when: i64,
    /// Their hashes, shortened to 64 bits.
    pub hashes: Vec<u64>,
}

impl Versioned for Cursor {
    const VERSION: u32 = 1;
}

impl Cursor {
    /// Begins a round, or takes up the one that is under way.
    pub fn open_round(&mut self, now: i64, overlap_from: Option<i64>, account_created: i64) {
        if self.open && self.seen.is_some_and(|seen| now - seen < STALE) {
            return;
        }
        let from = match self.seen {
            None => account_created,
            Some(seen) => overlap_from.unwrap_or(seen).min(seen - OVERLAP).max(account_created),
        };
        // Past the second that is running; past tomorrow for days, since east of Greenwich tomorrow has begun.
        let to = now + 1_000;
        self.pull_requests.push(from, to);
        self.issues.push(from, to);
        self.contributions.push(i64::from(Day::of_ms(from).0), i64::from(Day::of_ms(now).0) + 2);
        self.commits_done = false;
        self.seen = Some(now);
        self.open = true;
    }

    /// Whether everything of the round has been read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.commits_done
            && self.repository.is_none()
            && self.contributions.is_done()
            && self.pull_requests.is_done()
            && self.issues.is_done()
    }

    /// Ends the round.
    pub fn close_round(&mut self) {
        self.open = false;
    }
}
