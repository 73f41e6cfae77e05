//! Small worlds, the same for the same seed: enough of every kind that a connector meets, little enough that a sync takes a moment.

use crate::time::NOON;
use sluice_sim::{Clock, GitHub, LastFm, Running, github, lastfm};

/// The GitHub app whose tokens end and rotate.
pub const ROTATING: (&str, &str) = ("Iv23simgithubapp", "sim-github-app-secret-0001");
/// The GitHub OAuth app whose tokens live on.
pub const OAUTH: (&str, &str) = ("sim-oauth-app", "sim-oauth-app-secret-0001");

/// A simulated GitHub.
pub type Hub = Running<github::Simulator>;
/// A simulated Last.fm.
pub type Fm = Running<lastfm::Simulator>;

/// A few weeks of one developer, who signed up just before; limits that no test meets unless it sets others.
#[must_use]
pub fn github(clock: &Clock, users: u64, days: i64) -> Hub {
    github_of(github::Options { users, days, ..options(clock) })
}

/// The options of [`github`], to be changed.
#[must_use]
pub fn options(clock: &Clock) -> github::Options {
    github::Options {
        users: 1,
        repositories: 5,
        days: 20,
        until: Some(clock.now().div_euclid(1_000) - 3_600),
        clock: clock.clone(),
        limits: github::Limits::generous(),
        ..github::Options::default()
    }
}

/// A simulated GitHub of these options, whose accounts are a little older than their history.
#[must_use]
pub fn github_of(options: github::Options) -> Hub {
    let born = options.until.unwrap_or(NOON / 1_000) - (options.days + 5) * 86_400;
    let hub = GitHub::start(options).expect("a simulated GitHub");
    // Each year before the history would be one more request of every first sync.
    hub.with(|world| world.users.values_mut().for_each(|user| user.created_at = born));
    hub
}

/// A few weeks of some listeners, none of them hidden.
#[must_use]
pub fn lastfm(clock: &Clock, users: u64, days: i64) -> Fm {
    let until = clock.now().div_euclid(1_000) - 3_600;
    let options = lastfm::Options { users, days, plays_a_day: 8, until: Some(until), clock: clock.clone(), ..lastfm::Options::default() };
    let fm = LastFm::start(options).expect("a simulated Last.fm");
    fm.with(|world| {
        for user in world.users.values_mut() {
            user.hidden = false;
            user.registered = until - (days + 5) * 86_400;
        }
    });
    fm
}

/// The names of a simulated Last.fm's listeners, `demo` first.
#[must_use]
pub fn listeners(fm: &Fm) -> Vec<String> {
    let mut names: Vec<String> = fm.with(|world| world.users.values().map(|user| user.name.clone()).collect());
    names.sort_by_key(|name| name != "demo");
    names
}
