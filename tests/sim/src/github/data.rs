//! What exists: users, repositories, commits, issues, stars. Times are seconds since 1970.

use serde::Serialize;

/// An account.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// Never changes.
    pub id: u64,
    /// May change.
    pub login: String,
    /// The person's name.
    pub name: String,
    /// The address that commits carry.
    pub email: String,
    /// When the account began.
    pub created_at: i64,
    /// A gauge.
    pub followers: u64,
    /// A gauge.
    pub following: u64,
    /// When this user reviewed pull requests.
    pub reviews: Vec<i64>,
    /// What this user starred, newest first.
    pub stars: Vec<Star>,
}

/// A star that a user gave.
#[derive(Debug, Clone, Serialize)]
pub struct Star {
    /// The repository's id.
    pub repository: u64,
    /// When.
    pub at: i64,
}

/// A repository.
#[derive(Debug, Clone, Serialize)]
pub struct Repository {
    /// Never changes.
    pub id: u64,
    /// The owner's id.
    pub owner: u64,
    /// The name without the owner; may change.
    pub name: String,
    /// Names that still lead here, as `owner/name` in lower case.
    pub former: Vec<String>,
    /// Seen only by tokens that may.
    pub private: bool,
    /// A fork counts for no contributions.
    pub fork: bool,
    /// A gauge.
    pub stars: u64,
    /// When it began.
    pub created_at: i64,
    /// An organisation that enforces its own sign-in, where there is one.
    pub sso: Option<String>,
    /// The default branch, newest first by committer date.
    pub commits: Vec<Commit>,
}

impl Repository {
    /// The committer date of the newest commit.
    pub fn pushed_at(&self) -> i64 {
        self.commits.first().map_or(self.created_at, |commit| commit.committed_at)
    }

    /// Puts a commit where its committer date belongs.
    pub fn insert(&mut self, commit: Commit) {
        let at = self.commits.partition_point(|other| other.committed_at > commit.committed_at);
        self.commits.insert(at, commit);
    }
}

/// A commit on the default branch.
#[derive(Debug, Clone, Serialize)]
pub struct Commit {
    /// The hash.
    pub sha: String,
    /// The account of the author's address; null at the provider where the address belongs to nobody.
    pub login: Option<String>,
    /// The author's name in the commit.
    pub name: String,
    /// The author's address in the commit.
    pub email: String,
    /// The author date.
    pub authored_at: i64,
    /// The committer date, by which the list is ordered and `since`, `until` cut.
    pub committed_at: i64,
    /// The message.
    pub message: String,
}

/// An issue or a pull request.
#[derive(Debug, Clone, Serialize)]
pub struct Issue {
    /// Never changes.
    pub id: u64,
    /// Within its repository.
    pub number: u64,
    /// The repository's id.
    pub repository: u64,
    /// The login of who opened it.
    pub author: String,
    /// The title.
    pub title: String,
    /// Whether it is a pull request.
    pub pull_request: bool,
    /// When it was opened.
    pub created_at: i64,
    /// When it was closed.
    pub closed_at: Option<i64>,
    /// When it was merged.
    pub merged_at: Option<i64>,
}
