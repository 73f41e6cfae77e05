//! All of a simulated GitHub's state, and the questions that several parts ask of it.

use super::auth::{Auth, Token};
use super::data::{Commit, Issue, Repository, User};
use super::limits::Buckets;
use super::{Options, generate};
use crate::clock::Clock;
use crate::time::day;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// The state behind one port.
pub struct World {
    /// By id.
    pub users: BTreeMap<u64, User>,
    /// By id.
    pub repositories: BTreeMap<u64, Repository>,
    /// Oldest first within each author.
    pub issues: Vec<Issue>,
    /// Applications, tokens, codes.
    pub(super) auth: Auth,
    /// Counters of limits.
    pub(super) buckets: Buckets,
    /// What certain paths ask of a token.
    pub(super) demands: Vec<Demand>,
    /// The time, for commands; requests bring theirs along.
    pub(super) clock: Clock,
    logins: HashMap<String, u64>,
}

/// Requests whose path has this in it need that scope or permission.
#[derive(Debug, Clone)]
pub struct Demand {
    /// A part of the path.
    pub path: String,
    /// An OAuth scope.
    pub scope: Option<String>,
    /// A permission of a fine-grained token or an application.
    pub permission: Option<String>,
}

impl World {
    pub(super) fn new(options: &Options) -> World {
        let until = options.until.unwrap_or_else(|| options.clock.now().div_euclid(3_600_000) * 3600);
        let mut world = World {
            users: BTreeMap::new(),
            repositories: BTreeMap::new(),
            issues: Vec::new(),
            auth: Auth::new(options),
            buckets: Buckets::new(options.limits.clone()),
            demands: Vec::new(),
            clock: options.clock.clone(),
            logins: HashMap::new(),
        };
        for index in 0..options.users {
            let household = generate::household(options.seed, index, options.repositories, options.days, until);
            let known = options.token.clone().filter(|_| index == 0);
            world.auth.personal(household.user.id, known, until);
            world.logins.insert(household.user.login.to_lowercase(), household.user.id);
            world.users.insert(household.user.id, household.user);
            world.repositories.extend(household.repositories.into_iter().map(|repository| (repository.id, repository)));
            world.issues.extend(household.issues);
        }
        world
    }

    /// The user of a login, in any case of letters.
    pub fn user(&self, login: &str) -> Option<&User> {
        self.users.get(self.logins.get(&login.to_lowercase())?)
    }

    pub(super) fn user_mut(&mut self, login: &str) -> Result<&mut User, String> {
        let id = self.logins.get(&login.to_lowercase()).copied();
        id.and_then(|id| self.users.get_mut(&id)).ok_or_else(|| format!("there is no user {login:?}"))
    }

    pub(super) fn rename_user(&mut self, login: &str, to: &str) -> Result<(), String> {
        let user = self.user_mut(login)?;
        let (id, old) = (user.id, std::mem::replace(&mut user.login, to.to_owned()));
        self.logins.remove(&old.to_lowercase());
        self.logins.insert(to.to_lowercase(), id);
        for issue in self.issues.iter_mut().filter(|issue| issue.author == old) {
            to.clone_into(&mut issue.author);
        }
        for commit in self.repositories.values_mut().flat_map(|repository| &mut repository.commits) {
            if commit.login.as_deref() == Some(old.as_str()) {
                commit.login = Some(to.to_owned());
            }
        }
        Ok(())
    }

    /// `owner/name` as it is now.
    pub fn full_name(&self, repository: &Repository) -> String {
        let owner = self.users.get(&repository.owner).map_or("ghost", |user| user.login.as_str());
        format!("{owner}/{}", repository.name)
    }

    /// The repository of a name, and whether the name is one it had before.
    pub fn named(&self, owner: &str, name: &str) -> Option<(&Repository, bool)> {
        let wanted = format!("{owner}/{name}").to_lowercase();
        if let Some(user) = self.user(owner) {
            let mut owned = self.repositories.values().filter(|repository| repository.owner == user.id);
            if let Some(found) = owned.find(|repository| repository.name.eq_ignore_ascii_case(name)) {
                return Some((found, false));
            }
        }
        self.repositories.values().find(|repository| repository.former.contains(&wanted)).map(|repository| (repository, true))
    }

    /// What a user owns, by id.
    pub fn owned(&self, login: &str) -> Vec<&Repository> {
        let Some(user) = self.user(login) else { return Vec::new() };
        self.repositories.values().filter(|repository| repository.owner == user.id).collect()
    }

    /// The commits whose author is that account, in the repositories that it owns.
    pub fn commits_by(&self, login: &str) -> Vec<(u64, Commit)> {
        let by = |commit: &&Commit| commit.login.as_deref() == Some(login);
        self.owned(login)
            .into_iter()
            .flat_map(|repository| repository.commits.iter().filter(by).map(|commit| (repository.id, commit.clone())))
            .collect()
    }

    /// When a user did what counts as a contribution, with the repository where it was done.
    pub(super) fn contributions(&self, login: &str) -> Vec<Contribution> {
        let Some(user) = self.user(login) else { return Vec::new() };
        let mut all = Vec::new();
        for repository in self.owned(login).into_iter().filter(|repository| !repository.fork) {
            let mine = repository.commits.iter().filter(|commit| commit.login.as_deref() == Some(user.login.as_str()));
            all.extend(mine.map(|commit| Contribution { what: What::Commit, at: commit.authored_at, repository: Some(repository.id) }));
        }
        for issue in self.issues.iter().filter(|issue| issue.author == user.login) {
            let what = if issue.pull_request { What::PullRequest } else { What::Issue };
            all.push(Contribution { what, at: issue.created_at, repository: Some(issue.repository) });
        }
        all.extend(user.reviews.iter().map(|at| Contribution { what: What::Review, at: *at, repository: None }));
        all
    }

    /// Contributions a day in UTC.
    pub fn calendar(&self, login: &str) -> BTreeMap<String, u64> {
        let mut days = BTreeMap::new();
        for contribution in self.contributions(login) {
            *days.entry(day(contribution.at)).or_insert(0) += 1;
        }
        days
    }

    /// The token made with the world for a user.
    pub fn personal_token(&self, login: &str) -> Option<String> {
        let user = self.user(login)?.id;
        self.auth.tokens().find(|token| token.user == user && token.client_id.is_none()).map(|token| token.value.clone())
    }

    pub(super) fn state(&self) -> Value {
        let users: Vec<Value> = self
            .users
            .values()
            .map(|user| json!({"id": user.id, "login": user.login, "name": user.name, "token": self.personal_token(&user.login)}))
            .collect();
        let tokens: Vec<&Token> = self.auth.tokens().collect();
        json!({
            "users": users,
            "apps": self.auth.apps,
            "tokens": tokens,
            "refreshes": self.auth.refreshes,
            "revoked-families": self.auth.revoked_families,
            "revocations": self.auth.revocations,
        })
    }

    pub(super) fn truth(&self, login: &str) -> Option<Value> {
        let user = self.user(login)?;
        let commits: Vec<Value> =
            self.commits_by(login).into_iter().map(|(repository, commit)| json!({"repository": repository, "commit": commit})).collect();
        let issues: Vec<&Issue> = self.issues.iter().filter(|issue| issue.author == user.login).collect();
        let repositories: Vec<Value> = self
            .owned(login)
            .into_iter()
            .map(|repository| json!({"id": repository.id, "name": self.full_name(repository), "private": repository.private, "fork": repository.fork, "stars": repository.stars, "commits": repository.commits.len()}))
            .collect();
        Some(
            json!({"user": user, "repositories": repositories, "commits": commits, "issues": issues, "contributions": self.calendar(login)}),
        )
    }
}

/// What kind of contribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Commit,
    Issue,
    PullRequest,
    Review,
}

/// One contribution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contribution {
    pub what: What,
    pub at: i64,
    pub repository: Option<u64>,
}
