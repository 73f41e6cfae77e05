//! All of a simulated Last.fm's state.

use super::{Bounds, Options, generate};
use crate::clock::Clock;
use crate::prng::Prng;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// An application's key.
#[derive(Debug, Clone, Serialize)]
pub struct ApiKey {
    /// Public.
    pub key: String,
    /// What requests are signed with.
    pub secret: String,
    /// Error 26 instead of answers.
    pub suspended: bool,
    /// Where sign-in returns to when the request does not say.
    pub callback: Option<String>,
}

impl ApiKey {
    /// A key in good standing.
    pub fn new(key: &str, secret: &str) -> ApiKey {
        ApiKey { key: key.to_owned(), secret: secret.to_owned(), suspended: false, callback: None }
    }
}

/// A song as it was played.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Play {
    /// The simulator's own number, for commands; the provider has none.
    pub id: u64,
    /// Seconds since 1970.
    pub at: i64,
    /// The artist.
    pub artist: String,
    /// The song.
    pub track: String,
    /// The album, often empty.
    pub album: String,
    /// An identifier, often empty.
    pub mbid: String,
}

/// A song that plays at this moment.
#[derive(Debug, Clone, Serialize)]
pub struct Playing {
    /// The artist.
    pub artist: String,
    /// The song.
    pub track: String,
}

/// A song that a user loves.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Loved {
    /// When it was marked.
    pub at: i64,
    /// The artist.
    pub artist: String,
    /// The song.
    pub track: String,
}

/// An account.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// May change.
    pub name: String,
    /// The person's name.
    pub realname: String,
    /// The country.
    pub country: String,
    /// When the account began.
    pub registered: i64,
    /// Newest first.
    pub plays: Vec<Play>,
    /// Newest first.
    pub loved: Vec<Loved>,
    /// What plays now.
    pub playing: Option<Playing>,
    /// Recent listening is shown to the user alone.
    pub hidden: bool,
}

impl User {
    /// Puts a play where its time belongs.
    pub fn insert(&mut self, play: Play) {
        let at = self.plays.partition_point(|other| other.at > play.at);
        self.plays.insert(at, play);
    }
}

/// A token of the sign-in page.
#[derive(Debug, Clone)]
pub(super) struct SignInToken {
    pub key: String,
    /// Who let the application in; nobody yet for a desktop's token.
    pub user: Option<String>,
    pub ends_at: i64,
}

/// The state behind one port.
pub struct World {
    /// By name in lower case.
    pub users: BTreeMap<String, User>,
    /// Known applications.
    pub keys: Vec<ApiKey>,
    pub(super) tokens: HashMap<String, SignInToken>,
    pub(super) pending: HashMap<String, (String, String)>,
    pub(super) sessions: BTreeMap<String, Session>,
    pub(super) exchanges: u64,
    pub(super) auto_approve: Option<String>,
    pub(super) bounds: Bounds,
    pub(super) limit: Option<(u64, i64)>,
    pub(super) counts: HashMap<String, (i64, u64)>,
    pub(super) errors_on_200: bool,
    pub(super) old_empty_form: bool,
    pub(super) clock: Clock,
    pub(super) prng: Prng,
    pub(super) next_play: u64,
}

/// A user's permission for one application.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Session {
    pub user: String,
    pub key: String,
    pub revoked: bool,
}

impl World {
    pub(super) fn new(options: &Options) -> World {
        let until = options.until.unwrap_or_else(|| options.clock.now().div_euclid(3_600_000) * 3600);
        let mut next_play = 1;
        let mut users = BTreeMap::new();
        for index in 0..options.users {
            let user = generate::user(options, index, until, &mut next_play);
            users.insert(user.name.to_lowercase(), user);
        }
        World {
            users,
            keys: options.keys.clone(),
            tokens: HashMap::new(),
            pending: HashMap::new(),
            sessions: BTreeMap::new(),
            exchanges: 0,
            auto_approve: options.auto_approve.clone(),
            bounds: options.bounds,
            limit: options.limit,
            counts: HashMap::new(),
            errors_on_200: options.errors_on_200,
            old_empty_form: options.old_empty_form,
            clock: options.clock.clone(),
            prng: Prng::of(options.seed, "lastfm tokens", 0),
            next_play,
        }
    }

    pub(super) fn user_mut(&mut self, name: &str) -> Result<&mut User, String> {
        self.users.get_mut(&name.to_lowercase()).ok_or_else(|| format!("there is no user {name:?}"))
    }

    /// A session key for a user and an application.
    pub(super) fn open_session(&mut self, user: &str, key: &str) -> String {
        let value = self.prng.token(32);
        self.sessions.insert(value.clone(), Session { user: user.to_lowercase(), key: key.to_owned(), revoked: false });
        value
    }

    pub(super) fn sessions_alive(&self) -> Vec<(String, String)> {
        self.sessions.iter().filter(|(_, session)| !session.revoked).map(|(key, session)| (key.clone(), session.user.clone())).collect()
    }

    pub(super) fn state(&self) -> Value {
        let users: Vec<Value> =
            self.users.values().map(|user| json!({"name": user.name, "plays": user.plays.len(), "hidden": user.hidden})).collect();
        json!({"users": users, "keys": self.keys, "sessions": self.sessions, "exchanges": self.exchanges})
    }
}
