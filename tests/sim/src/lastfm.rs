//! Last.fm: the web service at `/2.0/`, its sign-in page at `/api/auth/`.
//!
//! Where the real hosts go: `https://ws.audioscrobbler.com/2.0/` is `{url}/2.0/`, `https://www.last.fm/api/auth/` is `{url}/api/auth/`.
//!
//! What holds: the shapes that break readers are the normal case here (numbers as text, one row as an object, a row that plays now and has no
//! date); a user who hides recent listening is read only with a session and a signature; a token is exchanged once and within an
//! hour; a session lives until it is revoked. What nobody knows for certain about the real service (whether the ends of a range are included, the form of an empty answer,
//! the status of an error) is an [`Options`] field or a [`Command`].

use crate::clock::Clock;
use crate::fault::LimitForm;
use crate::http::{Answer, Call};
use crate::server::{Listen, Running, lock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io;
use std::sync::Mutex;

mod command;
mod generate;
mod recent;
mod service;
mod session;
mod user;
mod world;
mod xml;

pub use command::Command;
pub use service::sign;
pub use world::{ApiKey, Loved, Play, Playing, User, World};

/// Which ends of `from` and `to` belong to the range; the provider does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bounds {
    /// `from <= uts < to`.
    HalfOpen,
    /// `from <= uts <= to`.
    Closed,
    /// `from < uts < to`.
    Open,
}

/// How a simulated Last.fm begins.
#[derive(Debug, Clone)]
pub struct Options {
    /// The same seed (and `until`) makes the same world.
    pub seed: u64,
    /// How many users; the first one's name is `demo`.
    pub users: u64,
    /// Days of history.
    pub days: i64,
    /// The most plays on an ordinary day.
    pub plays_a_day: i64,
    /// The end of the generated history in seconds since 1970; the clock's hour where not said.
    pub until: Option<i64>,
    /// The time.
    pub clock: Clock,
    /// Known API keys.
    pub keys: Vec<ApiKey>,
    /// Whom the sign-in page signs in at once, without showing itself.
    pub auto_approve: Option<String>,
    /// Which ends of a range count.
    pub bounds: Bounds,
    /// So many requests in so many seconds for each API key before error 29; no limit where not said.
    pub limit: Option<(u64, i64)>,
    /// Errors come with status 200, as they used to.
    pub errors_on_200: bool,
    /// Empty lists in the old form, with attributes beside `#text`.
    pub old_empty_form: bool,
    /// Port and threads.
    pub listen: Listen,
}

/// The API key that a simulated Last.fm knows unless told otherwise.
pub const API_KEY: &str = "51a0000000000000000000000000f001";
/// Its shared secret.
pub const SHARED_SECRET: &str = "51a0000000000000000000000000f002";

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 1,
            users: 2,
            days: 120,
            plays_a_day: 12,
            until: None,
            clock: Clock::system(),
            keys: vec![ApiKey::new(API_KEY, SHARED_SECRET)],
            auto_approve: None,
            bounds: Bounds::HalfOpen,
            limit: None,
            errors_on_200: false,
            old_empty_form: false,
            listen: Listen::default(),
        }
    }
}

/// Starts simulated Last.fms.
pub struct LastFm;

impl LastFm {
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
        let mut world = lock(&self.world);
        match call.path.trim_end_matches('/') {
            "/2.0" => world.serve(call),
            "/api/auth" => world.sign_in(call),
            _ => Answer::html(404, "<!DOCTYPE html><title>404</title><p>Nothing is here.</p>".to_owned()),
        }
    }

    fn credentials(&self, call: &Call) -> Vec<String> {
        let parameters = service::parameters(call);
        let named = |name: &&str| crate::http::find(&parameters, name).map(str::to_owned);
        ["sk", "api_key", "token", "api_sig"].iter().filter_map(named).collect()
    }

    fn error(&self, _call: &Call, status: u16, more: &str) -> Answer {
        let (code, text) = match status {
            503 => (11, "Service Offline - This service is temporarily offline. Try again later."),
            _ => (8, "Operation failed - Most likely the backend service failed. Please try again."),
        };
        service::dressed(Answer::json(status, &json!({"error": code, "message": format!("{text} {more}").trim()})))
    }

    fn limited(&self, _call: &Call, _form: Option<LimitForm>) -> Answer {
        service::dressed(service::problem(29).answer(false))
    }

    fn error_in_200(&self, _call: &Call) -> Answer {
        service::dressed(service::problem(8).answer(true))
    }

    fn command(&self, command: Value) -> Result<Value, String> {
        let command: Command = serde_json::from_value(command).map_err(|error| error.to_string())?;
        lock(&self.world).apply(command)
    }

    fn state(&self) -> Value {
        lock(&self.world).state()
    }

    fn truth(&self, user: &str) -> Option<Value> {
        lock(&self.world).users.get(&user.to_lowercase()).map(|user| json!(user))
    }
}

impl Running<Simulator> {
    /// What `https://ws.audioscrobbler.com/2.0/` maps to.
    pub fn api(&self) -> String {
        format!("{}/2.0/", self.url())
    }

    /// What `https://www.last.fm/api/auth/` maps to.
    pub fn sign_in(&self) -> String {
        format!("{}/api/auth/", self.url())
    }

    /// Changes the world; answers what the command makes, or why it can't.
    pub fn apply(&self, command: Command) -> Result<Value, String> {
        lock(&self.provider().world).apply(command)
    }

    /// Looks at the world, or changes it by hand.
    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut lock(&self.provider().world))
    }

    /// A user as it truly is.
    pub fn user(&self, name: &str) -> Option<User> {
        self.with(|world| world.users.get(&name.to_lowercase()).cloned())
    }

    /// Every play of a user, newest first.
    pub fn plays(&self, name: &str) -> Vec<Play> {
        self.user(name).map(|user| user.plays).unwrap_or_default()
    }

    /// What a user loves, newest first.
    pub fn loved(&self, name: &str) -> Vec<Loved> {
        self.user(name).map(|user| user.loved).unwrap_or_default()
    }

    /// The session keys that would be accepted now, with their users.
    pub fn sessions_alive(&self) -> Vec<(String, String)> {
        self.with(|world| world.sessions_alive())
    }

    /// How many tokens were exchanged for sessions.
    pub fn exchanges(&self) -> u64 {
        self.with(|world| world.exchanges)
    }
}
