//! The world of a seed: a few years of an account, so many days of work, and one repository of each awkward kind.
//!
//! Of each user's repositories the first holds most commits, the second is empty, the third private, the fourth was renamed. One commit in
//! thirty comes from an address that belongs to no account, one in seven from somebody else, one in twenty was written days before it was pushed.

use super::data::{Commit, Issue, Repository, Star, User};
use crate::prng::Prng;
use crate::text;
use crate::time::DAY;

/// Everything that belongs to one user.
pub struct Household {
    /// The account.
    pub user: User,
    /// What it owns.
    pub repositories: Vec<Repository>,
    /// What it opened.
    pub issues: Vec<Issue>,
}

/// Makes the user of an index.
pub fn household(seed: u64, index: u64, repositories: u64, days: i64, until: i64) -> Household {
    let mut prng = Prng::of(seed, "github", index);
    let id = 1_000_001 + index;
    let login = if index == 0 { "demo".to_owned() } else { text::login(&mut prng, index) };
    let first = until - days.max(1) * DAY;
    let mut user = User {
        id,
        name: text::person(&mut prng),
        email: format!("{login}@mail.example"),
        created_at: first - prng.between(30, 900) * DAY,
        followers: prng.below(500),
        following: prng.below(100),
        reviews: Vec::new(),
        stars: Vec::new(),
        login,
    };
    let mut owned: Vec<Repository> = (0..repositories.max(4)).map(|at| repository(&mut prng, &user, at, first)).collect();
    for offset in 0..days.max(1) {
        day(&mut prng, &user, &mut owned, first + offset * DAY, until);
    }
    let issues = issues(&mut prng, &user, &owned, first, until);
    user.reviews = moments(&mut prng, days / 6, first, until);
    user.stars = stars(&mut prng, &owned, days, first, until);
    Household { user, repositories: owned, issues }
}

fn repository(prng: &mut Prng, user: &User, at: u64, first: i64) -> Repository {
    let name = format!("{}-{at}", text::repository(prng));
    let former = if at == 3 { vec![format!("{}/old-{name}", user.login).to_lowercase()] } else { Vec::new() };
    Repository {
        id: (user.id - 1_000_000) * 1_000 + 200_000_000 + at,
        owner: user.id,
        name,
        former,
        private: at == 2,
        fork: at >= 4 && prng.percent(20),
        stars: prng.below(80),
        created_at: first - prng.between(0, 20) * DAY,
        sso: None,
        commits: Vec::new(),
    }
}

fn day(prng: &mut Prng, user: &User, owned: &mut [Repository], day: i64, until: i64) {
    // A third of the days are quiet, a few are full.
    let most = if prng.percent(8) { 9 } else { 3 };
    let count = if prng.percent(35) { 0 } else { prng.between(1, most) };
    for _ in 0..count {
        let kinds = owned.len() as u64;
        let at = if prng.percent(60) { 0 } else { 2 + prng.below(kinds.saturating_sub(2)) };
        let committed_at = day + prng.between(0, DAY - 1);
        let commit = commit(prng, user, committed_at);
        if let Some(repository) = owned.get_mut(usize::try_from(at).unwrap_or(0)).filter(|_| committed_at <= until) {
            repository.insert(commit);
        }
    }
}

fn commit(prng: &mut Prng, user: &User, committed_at: i64) -> Commit {
    let written = if prng.percent(5) { committed_at - prng.between(1, 9) * DAY } else { committed_at - prng.between(0, 600) };
    let (login, name, email) = match prng.below(100) {
        0..3 => (None, user.name.clone(), format!("{}@old-laptop.invalid", user.login)),
        3..17 => (Some("somebody-else".to_owned()), "Somebody Else".to_owned(), "somebody@mail.example".to_owned()),
        _ => (Some(user.login.clone()), user.name.clone(), user.email.clone()),
    };
    Commit { sha: prng.hex(40), login, name, email, authored_at: written, committed_at, message: text::sentence(prng) }
}

fn issues(prng: &mut Prng, user: &User, owned: &[Repository], first: i64, until: i64) -> Vec<Issue> {
    let many = (until - first) / DAY / 3;
    let mut issues = Vec::new();
    for (offset, created_at) in moments(prng, many, first, until).into_iter().enumerate() {
        let at = if prng.percent(70) { 0 } else { prng.below(owned.len() as u64) };
        let Some(repository) = owned.get(usize::try_from(at).unwrap_or(0)) else { continue };
        let pull_request = prng.percent(60);
        let closed_at = prng.percent(75).then(|| created_at + prng.between(600, 6 * DAY)).filter(|at| *at <= until);
        issues.push(Issue {
            id: user.id * 10_000 + offset as u64,
            number: offset as u64 + 1,
            repository: repository.id,
            author: user.login.clone(),
            title: text::sentence(prng),
            pull_request,
            created_at,
            closed_at,
            merged_at: closed_at.filter(|_| pull_request && prng.percent(80)),
        });
    }
    issues
}

fn stars(prng: &mut Prng, owned: &[Repository], days: i64, first: i64, until: i64) -> Vec<Star> {
    let mut stars: Vec<Star> = owned
        .iter()
        .filter(|repository| !repository.private)
        .zip(moments(prng, days.min(40), first, until))
        .map(|(repository, at)| Star { repository: repository.id, at })
        .collect();
    stars.reverse();
    stars
}

/// So many instants, oldest first.
fn moments(prng: &mut Prng, many: i64, first: i64, until: i64) -> Vec<i64> {
    let mut moments: Vec<i64> = (0..many).map(|_| prng.between(first, until)).collect();
    moments.sort_unstable();
    moments
}
