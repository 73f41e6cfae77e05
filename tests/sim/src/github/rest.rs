//! The way of every API request: who asks, may they still ask, what is the answer, has it changed, what did it cost.
//!
//! The order is the provider's: no `User-Agent` is refused before anything else, a bad token before limits, a limit before the resource;
//! an unchanged answer (304) is found after the work and costs nothing.

use super::auth::{Token, TokenKind, bearer};
use super::limits::{self, resource};
use super::world::World;
use crate::http::{Answer, Call};
use crate::time::iso;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

const DOCS: &str = "https://docs.github.com/rest";
const VERSIONS: &[&str] = &["2022-11-28", "2026-03-10"];

/// Who asks.
pub(super) struct Caller {
    /// The token, where there is one.
    pub token: Option<Token>,
}

impl Caller {
    pub fn user(&self) -> Option<u64> {
        self.token.as_ref().map(|token| token.user)
    }
}

/// `{"message", "documentation_url", "status"}`.
pub(super) fn problem(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({"message": message, "documentation_url": DOCS, "status": status.to_string()}))
}

pub(super) fn not_found() -> Answer {
    problem(404, "Not Found")
}

pub(super) fn invalid(resource: &str, field: &str, code: &str, message: &str) -> Answer {
    Answer::json(
        422,
        &json!({"message": "Validation Failed", "errors": [{"resource": resource, "field": field, "code": code, "message": message}], "documentation_url": DOCS, "status": "422"}),
    )
}

impl World {
    /// Answers a request under `/api/`.
    pub(super) fn api(&mut self, call: &Call, segments: &[&str]) -> Answer {
        if call.header("user-agent").is_none_or(|agent| agent.trim().is_empty()) {
            let text = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.\n";
            return Answer::new(403, "text/plain; charset=utf-8", text);
        }
        let version = call.header("x-github-api-version").unwrap_or("2022-11-28");
        let mut answer = if VERSIONS.contains(&version) {
            self.counted(call, segments)
        } else {
            problem(
                400,
                &format!("\"{version}\" is not a supported version. The following API versions are supported: {}.", VERSIONS.join(", ")),
            )
        };
        answer.set("x-github-api-version-selected", version);
        answer.set("x-github-media-type", "github.v3; format=json");
        answer.set("x-github-request-id", &format!("SIM0:{:X}", call.now));
        answer.set("server", "github.com");
        answer
    }

    fn counted(&mut self, call: &Call, segments: &[&str]) -> Answer {
        let now = call.seconds();
        if segments.first() == Some(&"applications") {
            return self.applications(call, segments);
        }
        let caller = match self.caller(call) {
            Ok(caller) => caller,
            Err(mut refused) => {
                self.buckets.charge(None, "core", now, 1);
                limits::headers(&mut refused, &self.buckets.standing(None, "core", now));
                return refused;
            }
        };
        let who = caller.user();
        let resource = resource(segments);
        let mut answer = if segments == ["rate_limit"] {
            self.rate_limit(&caller, now)
        } else if let Some(refused) = self.refuse(who, resource, now) {
            refused
        } else {
            let answer = self.judged(call, segments, &caller);
            let answer = unless_unchanged(call, answer, who);
            let free = answer.status == 304 && who.is_some();
            if !free {
                self.buckets.charge(who, resource, now, 1);
            }
            self.buckets.charge(who, "points", now, if call.method == "GET" { 1 } else { 5 });
            answer
        };
        if answer.header("x-ratelimit-limit").is_none() {
            limits::headers(&mut answer, &self.buckets.standing(who, resource, now));
        }
        if let Some(token) = &caller.token {
            describe(&mut answer, token);
        }
        answer
    }

    /// The token of a request, or the 401 that a bad one gets.
    fn caller(&self, call: &Call) -> Result<Caller, Answer> {
        let value = match (bearer(call), call.basic()) {
            (Some(value), _) | (None, Some((_, value))) => value,
            (None, None) if call.header("authorization").is_none() => return Ok(Caller { token: None }),
            (None, None) => return Err(problem(401, "Bad credentials")),
        };
        match self.auth.find(&value) {
            Some(token) if token.lives(call.seconds()) => Ok(Caller { token: Some(token.clone()) }),
            _ => Err(problem(401, "Bad credentials")),
        }
    }

    fn judged(&mut self, call: &Call, segments: &[&str], caller: &Caller) -> Answer {
        if let Some(refused) = self.demanded(call, caller) {
            return refused;
        }
        match (call.method.as_str(), segments) {
            ("POST", ["graphql"]) => self.graphql(call, caller),
            ("GET" | "HEAD", _) => self.read(call, segments, caller),
            _ => not_found(),
        }
    }

    fn read(&mut self, call: &Call, segments: &[&str], caller: &Caller) -> Answer {
        match *segments {
            ["user"] => self.own_profile(call, caller),
            ["user", "repos"] => self.own_repositories(call, caller),
            ["user", "starred"] => self.own_stars(call, caller),
            ["users", login] => self.profile(call, login),
            ["users", login, "repos"] => self.public_repositories(call, self.user(login).map(|user| user.id), caller),
            ["user", id, "repos"] => self.public_repositories(call, id.parse().ok(), caller),
            ["users", login, "starred"] => self.stars(call, self.user(login).map(|user| user.id)),
            ["users", login, "events"] => self.events(call, self.user(login).map(|user| user.id), caller, false),
            ["users", login, "events", "public"] => self.events(call, self.user(login).map(|user| user.id), caller, true),
            ["user", id, "events"] => self.events(call, id.parse().ok(), caller, false),
            ["repos", owner, name] => self.by_name(call, owner, name, "", caller),
            ["repos", owner, name, "commits"] => self.by_name(call, owner, name, "/commits", caller),
            ["repositories", id] => self.by_id(call, id, "", caller),
            ["repositories", id, "commits"] => self.by_id(call, id, "/commits", caller),
            ["search", "issues"] => self.search_issues(call, caller),
            _ => not_found(),
        }
    }

    /// Refuses a token that lacks what a test asks for on this path.
    fn demanded(&self, call: &Call, caller: &Caller) -> Option<Answer> {
        let demand = self.demands.iter().find(|demand| call.path.contains(&demand.path))?;
        let token = caller.token.as_ref()?;
        match (token.kind, &demand.scope, &demand.permission) {
            (TokenKind::Classic | TokenKind::OAuth, Some(scope), _) if !token.scopes.contains(scope) => Some(
                problem(403, "Your token has not been granted the required scopes to execute this request.")
                    .with("x-accepted-oauth-scopes", scope),
            ),
            (TokenKind::FineGrained | TokenKind::App, _, Some(permission)) if !token.permissions.contains(permission) => {
                Some(missing_permission(token, permission))
            }
            _ => None,
        }
    }

    fn rate_limit(&mut self, caller: &Caller, now: i64) -> Answer {
        let mut resources = serde_json::Map::new();
        for resource in ["core", "search", "graphql"] {
            let standing = self.buckets.standing(caller.user(), resource, now);
            resources.insert(
                resource.to_owned(),
                json!({"limit": standing.limit, "used": standing.used, "remaining": standing.remaining, "reset": standing.reset_at}),
            );
        }
        let core = resources.get("core").cloned().unwrap_or(Value::Null);
        Answer::json(200, &json!({"resources": resources, "rate": core}))
    }
}

/// The 403 of a token without a permission.
pub(super) fn missing_permission(token: &Token, permission: &str) -> Answer {
    let by = if token.kind == TokenKind::App { "integration" } else { "personal access token" };
    problem(403, &format!("Resource not accessible by {by}")).with("x-accepted-github-permissions", &format!("{permission}=read"))
}

/// The headers that tell a client about its own token.
fn describe(answer: &mut Answer, token: &Token) {
    if matches!(token.kind, TokenKind::Classic | TokenKind::OAuth) {
        answer.set("x-oauth-scopes", &token.scopes.join(", "));
        if answer.header("x-accepted-oauth-scopes").is_none() {
            answer.set("x-accepted-oauth-scopes", "");
        }
    }
    if let (Some(client), TokenKind::OAuth) = (&token.client_id, token.kind) {
        answer.set("x-oauth-client-id", client);
    }
    if let Some(end) = token.expires_at {
        answer.set("github-authentication-token-expiration", &iso(end).replace('T', " ").replace('Z', " UTC"));
    }
}

/// Gives a good answer its tag, and turns it into 304 where the client has it already.
fn unless_unchanged(call: &Call, answer: Answer, who: Option<u64>) -> Answer {
    if answer.status != 200 || call.method != "GET" {
        return answer;
    }
    let mut hash = Sha256::new();
    hash.update(format!("{who:?}"));
    hash.update(answer.header("link").unwrap_or_default());
    hash.update(&answer.body);
    let digest = hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let tag = format!("W/\"{digest}\"");
    let known = call.header("if-none-match").unwrap_or_default();
    let same = known.split(',').any(|known| known.trim() == "*" || known.trim().trim_start_matches("W/") == tag.trim_start_matches("W/"));
    let mut answer = if same { Answer { status: 304, body: bytes::Bytes::new(), ..answer } } else { answer };
    if same {
        answer.headers.retain(|(name, _)| name != "content-type");
    }
    answer
        .with("etag", &tag)
        .with("cache-control", "private, max-age=60, s-maxage=60")
        .with("vary", "Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding")
}
