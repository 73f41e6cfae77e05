//! Applications and tokens: who holds what, what it may, until when, and which tokens fall together.
//!
//! A GitHub App's tokens come in families: one sign-in and all its refreshes. A refresh kills the pair that it replaces, at once; a refresh token
//! that is used a second time kills the whole family. An OAuth app keeps at most ten tokens for each user and set of scopes; the eleventh revokes the oldest.

use super::Options;
use crate::http::{Call, find};
use crate::prng::Prng;
use serde::Serialize;
use std::collections::HashMap;

/// A GitHub App's access token lives eight hours.
const ACCESS_LIFE: i64 = 28_800;
/// Its refresh token about six months.
const REFRESH_LIFE: i64 = 15_897_600;
/// Tokens that an OAuth app may hold for one user and one set of scopes.
const MOST_TOKENS: usize = 10;

/// Which kind of application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppKind {
    /// Tokens that do not end; scopes.
    OAuth,
    /// Tokens that end and rotate; permissions, no scopes.
    GitHub,
}

/// A registered application.
#[derive(Debug, Clone, Serialize)]
pub struct App {
    /// Public.
    pub client_id: String,
    /// What the token endpoint asks for.
    pub client_secret: String,
    /// Which kind.
    pub kind: AppKind,
    /// Where sign-in may return to: same scheme and host, same port (any on loopback), same path or below it.
    pub redirect_uris: Vec<String>,
    /// A GitHub App's permissions.
    pub permissions: Vec<String>,
    /// How long access tokens live, in seconds, where they end.
    pub access_life: i64,
}

impl App {
    /// An OAuth app whose redirects may go to loopback.
    pub fn oauth(client_id: &str, client_secret: &str) -> App {
        let redirect_uris = vec!["http://127.0.0.1/".to_owned(), "http://localhost/".to_owned()];
        App {
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            kind: AppKind::OAuth,
            redirect_uris,
            permissions: Vec::new(),
            access_life: ACCESS_LIFE,
        }
    }

    /// A GitHub App that may read contents and metadata, whose redirects may go to loopback.
    pub fn github(client_id: &str, client_secret: &str) -> App {
        let permissions = vec!["metadata".to_owned(), "contents".to_owned(), "issues".to_owned(), "pull_requests".to_owned()];
        App { kind: AppKind::GitHub, permissions, ..App::oauth(client_id, client_secret) }
    }

    /// Whether sign-in may return there.
    pub fn may_return_to(&self, redirect: &url::Url) -> bool {
        self.redirect_uris.iter().filter_map(|known| url::Url::parse(known).ok()).any(|known| {
            let loopback = matches!(known.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
            let below = known.path().trim_end_matches('/');
            let path = redirect.path() == known.path() || redirect.path().strip_prefix(below).is_some_and(|rest| rest.starts_with('/'));
            known.scheme() == redirect.scheme()
                && known.host_str() == redirect.host_str()
                && (loopback || known.port_or_known_default() == redirect.port_or_known_default())
                && path
        })
    }
}

/// Which kind of token, by its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenKind {
    /// `ghp_`: a person's, with scopes.
    Classic,
    /// `github_pat_`: a person's, with permissions.
    FineGrained,
    /// `gho_`: an OAuth app's.
    OAuth,
    /// `ghu_`: a GitHub App's.
    App,
}

/// An access token.
#[derive(Debug, Clone, Serialize)]
pub struct Token {
    /// The secret.
    pub value: String,
    /// Which kind.
    pub kind: TokenKind,
    /// Whose.
    pub user: u64,
    /// The application that holds it; none for personal tokens.
    pub client_id: Option<String>,
    /// Scopes (classic, OAuth).
    pub scopes: Vec<String>,
    /// Permissions (fine-grained, GitHub App).
    pub permissions: Vec<String>,
    /// When it ends.
    pub expires_at: Option<i64>,
    /// When it was made.
    pub issued_at: i64,
    /// Dead for good.
    pub revoked: bool,
    /// Sign-in and all its refreshes.
    pub family: u64,
    /// Whether the person authorised it for organisations with a sign-in of their own.
    pub sso: bool,
}

impl Token {
    /// Whether it is accepted at that time.
    pub fn lives(&self, now: i64) -> bool {
        !self.revoked && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it reads private repositories.
    pub fn sees_private(&self) -> bool {
        self.has("repo", "contents")
    }

    /// Whether it has the scope or the permission, whichever its kind knows.
    pub fn has(&self, scope: &str, permission: &str) -> bool {
        match self.kind {
            TokenKind::Classic | TokenKind::OAuth => self.scopes.iter().any(|have| have == scope),
            TokenKind::FineGrained | TokenKind::App => self.permissions.iter().any(|have| have == permission),
        }
    }
}

/// A refresh token.
#[derive(Debug, Clone)]
pub(super) struct Refresh {
    pub user: u64,
    pub client_id: String,
    pub family: u64,
    pub expires_at: i64,
    pub used: bool,
    pub access: String,
}

/// What sign-in granted, waiting to be fetched.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub client_id: String,
    pub redirect_uri: String,
    pub challenge: Option<String>,
    pub scopes: Vec<String>,
    pub user: u64,
    pub ends_at: i64,
}

/// A sign-in page that was shown.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub client_id: String,
    pub redirect_uri: String,
    pub state: Option<String>,
    pub challenge: Option<String>,
    pub scopes: Vec<String>,
}

/// Every application, token and code.
pub(super) struct Auth {
    pub apps: Vec<App>,
    pub codes: HashMap<String, Code>,
    pub pending: HashMap<String, Pending>,
    pub refresh: HashMap<String, Refresh>,
    pub refreshes: u64,
    pub revoked_families: u64,
    pub revocations: u64,
    pub auto_approve: Option<String>,
    pub grant_only: Option<Vec<String>>,
    pub require_pkce: bool,
    tokens: Vec<Token>,
    by_value: HashMap<String, usize>,
    families: u64,
    prng: Prng,
}

impl Auth {
    pub fn new(options: &Options) -> Auth {
        Auth {
            apps: options.apps.clone(),
            codes: HashMap::new(),
            pending: HashMap::new(),
            refresh: HashMap::new(),
            refreshes: 0,
            revoked_families: 0,
            revocations: 0,
            auto_approve: options.auto_approve.clone(),
            grant_only: None,
            require_pkce: options.require_pkce,
            tokens: Vec::new(),
            by_value: HashMap::new(),
            families: 0,
            prng: Prng::of(options.seed, "github tokens", 0),
        }
    }

    pub fn random(&mut self, length: usize) -> String {
        self.prng.token(length)
    }

    pub fn new_family(&mut self) -> u64 {
        self.families += 1;
        self.families
    }

    /// A person's fine-grained, read-only token.
    pub fn personal(&mut self, user: u64, value: Option<String>, now: i64) -> String {
        let permissions = ["metadata", "contents", "issues", "pull_requests"].map(str::to_owned).to_vec();
        let value = value.unwrap_or_else(|| format!("github_pat_{}_{}", self.prng.token(22), self.prng.token(59)));
        let family = self.new_family();
        let token = Token {
            value,
            kind: TokenKind::FineGrained,
            user,
            client_id: None,
            scopes: Vec::new(),
            permissions,
            expires_at: None,
            issued_at: now,
            revoked: false,
            family,
            sso: false,
        };
        self.add(token)
    }

    /// Keeps a token; of an OAuth app's tokens for the same user and scopes the oldest goes when there are too many.
    pub fn add(&mut self, token: Token) -> String {
        if token.kind == TokenKind::OAuth {
            let same = |other: &&mut Token| {
                !other.revoked && other.user == token.user && other.client_id == token.client_id && other.scopes == token.scopes
            };
            let count = self.tokens.iter_mut().filter(same).count();
            if count >= MOST_TOKENS
                && let Some(oldest) = self.tokens.iter_mut().find(same)
            {
                oldest.revoked = true;
            }
        }
        let value = token.value.clone();
        self.by_value.insert(value.clone(), self.tokens.len());
        self.tokens.push(token);
        value
    }

    pub fn app(&self, client_id: &str) -> Option<&App> {
        self.apps.iter().find(|app| app.client_id == client_id)
    }

    pub fn find(&self, value: &str) -> Option<&Token> {
        self.tokens.get(*self.by_value.get(value)?)
    }

    pub fn find_mut(&mut self, value: &str) -> Option<&mut Token> {
        self.tokens.get_mut(*self.by_value.get(value)?)
    }

    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter()
    }

    pub fn tokens_mut(&mut self) -> impl Iterator<Item = &mut Token> {
        self.tokens.iter_mut()
    }

    pub fn alive(&self, now: i64) -> Vec<Token> {
        self.tokens.iter().filter(|token| token.lives(now)).cloned().collect()
    }

    /// A GitHub App's next pair in a family: access token, its life, refresh token, its life.
    pub fn pair(&mut self, app: &App, user: u64, family: u64, now: i64) -> (String, i64, String, i64) {
        let access = format!("ghu_{}", self.prng.token(36));
        let refresh = format!("ghr_{}", self.prng.token(76));
        let client_id = Some(app.client_id.clone());
        let expires_at = Some(now + app.access_life);
        self.add(Token {
            value: access.clone(),
            kind: TokenKind::App,
            user,
            client_id,
            scopes: Vec::new(),
            permissions: app.permissions.clone(),
            expires_at,
            issued_at: now,
            revoked: false,
            family,
            sso: false,
        });
        let row =
            Refresh { user, client_id: app.client_id.clone(), family, expires_at: now + REFRESH_LIFE, used: false, access: access.clone() };
        self.refresh.insert(refresh.clone(), row);
        (access, app.access_life, refresh, REFRESH_LIFE)
    }

    /// An old refresh token came back: nothing of that sign-in is good any more.
    pub fn kill_family(&mut self, family: u64) {
        self.tokens.iter_mut().filter(|token| token.family == family).for_each(|token| token.revoked = true);
        self.refresh.retain(|_, refresh| refresh.family != family || refresh.used);
    }

    /// Ends everything an application holds of a user.
    pub fn revoke_grant(&mut self, client_id: &str, user: u64) {
        let of = |token: &&mut Token| token.user == user && token.client_id.as_deref() == Some(client_id);
        self.tokens.iter_mut().filter(of).for_each(|token| token.revoked = true);
        self.refresh.retain(|_, refresh| refresh.user != user || refresh.client_id != client_id);
        self.revocations += 1;
    }
}

/// The credentials in a request: what authorises it, and what a token request carries.
pub(super) fn credentials(call: &Call) -> Vec<String> {
    let mut found: Vec<String> = bearer(call).into_iter().collect();
    found.extend(call.basic().map(|(_, password)| password));
    if call.path.starts_with("/login/") {
        let fields = call.fields();
        let named = |name: &&str| find(&fields, name).map(str::to_owned);
        found.extend(["refresh_token", "code", "client_secret"].iter().filter_map(named));
    }
    found
}

/// The token of an `Authorization` header, in either of its two spellings.
pub(super) fn bearer(call: &Call) -> Option<String> {
    let (scheme, value) = call.header("authorization")?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token")).then(|| value.trim().to_owned())
}
