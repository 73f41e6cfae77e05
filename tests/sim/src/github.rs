//! GitHub: REST and GraphQL under `/api/`, sign-in under `/login/oauth/`.
//!
//! Where the real hosts go: `https://api.github.com/` is `{url}/api/`, `https://github.com/login/oauth/` is `{url}/login/oauth/`. Links,
//! locations and URLs in bodies begin with the simulator's own origin, as those of a GitHub Enterprise server begin with its own.
//!
//! What holds: who may see what depends on the token alone; limits are counted for each user and resource, and a conditional
//! request that is answered 304 costs nothing; tokens of the application that rotates die as GitHub's do, and an old refresh token that
//! comes back kills its family and is counted ([`Running::revoked_families`]). What is not known for certain about the real service is an
//! [`Options`] field or a [`Command`], not a guess that tests would harden into fact.

use crate::clock::Clock;
use crate::http::{Answer, Call};
use crate::server::{Listen, Running, lock};
use serde_json::{Value, json};
use std::io;
use std::sync::Mutex;

mod auth;
mod command;
mod commits;
mod data;
mod events;
mod generate;
mod graphql;
mod limits;
mod oauth;
mod repositories;
mod rest;
mod search;
mod token_endpoint;
mod users;
mod world;

pub use auth::{App, AppKind, Token, TokenKind};
pub use command::Command;
pub use data::{Commit, Issue, Repository, Star, User};
pub use limits::Limits;
pub use world::World;

/// How a simulated GitHub begins.
#[derive(Debug, Clone)]
pub struct Options {
    /// The same seed (and `until`) makes the same world.
    pub seed: u64,
    /// How many users; the first one's login is `demo`.
    pub users: u64,
    /// Repositories of each user (at least 4: busy, empty, private, renamed; more are ordinary).
    pub repositories: u64,
    /// Days of history.
    pub days: i64,
    /// The end of the generated history in seconds since 1970; the clock's hour where not said.
    pub until: Option<i64>,
    /// The time.
    pub clock: Clock,
    /// Limits of requests.
    pub limits: Limits,
    /// Applications; by default one of each kind, whose redirects may go to any port on loopback.
    pub apps: Vec<App>,
    /// Whom the sign-in page signs in at once, without showing itself.
    pub auto_approve: Option<String>,
    /// Refuse authorizations without a code challenge (GitHub recommends one and takes requests without).
    pub require_pkce: bool,
    /// The first user's fine-grained token, where it must be a known one.
    pub token: Option<String>,
    /// Port and threads.
    pub listen: Listen,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 1,
            users: 2,
            repositories: 5,
            days: 200,
            until: None,
            clock: Clock::system(),
            limits: Limits::default(),
            apps: vec![
                App::oauth("sim-oauth-app", "sim-oauth-app-secret-0001"),
                App::github("Iv23simgithubapp", "sim-github-app-secret-0001"),
            ],
            auto_approve: None,
            require_pkce: false,
            token: None,
            listen: Listen::default(),
        }
    }
}

/// Starts simulated GitHubs.
pub struct GitHub;

impl GitHub {
    /// Generates the world and listens.
    pub fn start(options: Options) -> io::Result<Running<Simulator>> {
        let clock = options.clock.clone();
        let listen = options.listen.clone();
        Running::start(Simulator { world: Mutex::new(World::new(&options)) }, clock, &listen)
    }
}

/// The provider behind the port.
pub struct Simulator {
    world: Mutex<World>,
}

impl crate::server::Provider for Simulator {
    fn answer(&self, call: &Call) -> Answer {
        let segments = call.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let mut world = lock(&self.world);
        match segments.split_first() {
            Some((&"api", rest)) => world.api(call, rest),
            Some((&"login", ["oauth", "authorize"])) => world.authorize(call),
            Some((&"login", ["oauth", "access_token"])) => world.access_token(call),
            _ => Answer::html(404, "<!DOCTYPE html><title>Not Found</title><p>Nothing is here.</p>".to_owned()),
        }
    }

    fn credentials(&self, call: &Call) -> Vec<String> {
        auth::credentials(call)
    }

    fn error(&self, _call: &Call, status: u16, text: &str) -> Answer {
        rest::problem(status, text)
    }

    fn limited(&self, call: &Call, form: Option<crate::fault::LimitForm>) -> Answer {
        lock(&self.world).limited(call, form)
    }

    fn error_in_200(&self, call: &Call) -> Answer {
        if call.path.ends_with("/graphql") {
            return Answer::json(200, &json!({"data": null, "errors": [{"message": "Something went wrong while executing your query."}]}));
        }
        Answer::json(200, &json!({"error": "server_error", "error_description": "Something went wrong."}))
    }

    fn command(&self, command: Value) -> Result<Value, String> {
        let command: Command = serde_json::from_value(command).map_err(|error| error.to_string())?;
        lock(&self.world).apply(command)
    }

    fn state(&self) -> Value {
        lock(&self.world).state()
    }

    fn truth(&self, user: &str) -> Option<Value> {
        lock(&self.world).truth(user)
    }
}

impl Running<Simulator> {
    /// What `https://api.github.com/` maps to.
    pub fn api(&self) -> String {
        format!("{}/api/", self.url())
    }

    /// What `https://github.com/login/oauth/` maps to.
    pub fn sign_in(&self) -> String {
        format!("{}/login/oauth/", self.url())
    }

    /// Changes the world; answers what the command makes (a token's value, an id), or why it can't.
    pub fn apply(&self, command: Command) -> Result<Value, String> {
        lock(&self.provider().world).apply(command)
    }

    /// Looks at the world, or changes it by hand.
    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut lock(&self.provider().world))
    }

    /// The users.
    pub fn users(&self) -> Vec<User> {
        self.with(|world| world.users.values().cloned().collect())
    }

    /// The user's fine-grained personal token that was made with the world.
    pub fn token(&self, login: &str) -> Option<String> {
        self.with(|world| world.personal_token(login))
    }

    /// The repositories that a user owns.
    pub fn repositories(&self, login: &str) -> Vec<Repository> {
        self.with(|world| world.owned(login).into_iter().cloned().collect())
    }

    /// Every commit whose author is that account, with its repository's id, over all repositories the user owns.
    pub fn commits(&self, login: &str) -> Vec<(u64, Commit)> {
        self.with(|world| world.commits_by(login))
    }

    /// The issues and pull requests that a user opened.
    pub fn issues(&self, login: &str) -> Vec<Issue> {
        self.with(|world| world.issues.iter().filter(|issue| issue.author == login).cloned().collect())
    }

    /// The true contributions a day (UTC), days without any left out.
    pub fn contributions(&self, login: &str) -> std::collections::BTreeMap<String, u64> {
        self.with(|world| world.calendar(login))
    }

    /// The tokens that would be accepted now.
    pub fn tokens_alive(&self) -> Vec<Token> {
        let now = self.clock().now().div_euclid(1000);
        self.with(|world| world.auth.alive(now))
    }

    /// How many refreshes succeeded.
    pub fn refreshes(&self) -> u64 {
        self.with(|world| world.auth.refreshes)
    }

    /// How many families of tokens died because an old refresh token came back.
    pub fn revoked_families(&self) -> u64 {
        self.with(|world| world.auth.revoked_families)
    }

    /// How many grants and tokens were revoked by an application or a command.
    pub fn revocations(&self) -> u64 {
        self.with(|world| world.auth.revocations)
    }
}
