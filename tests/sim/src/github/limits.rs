//! Limits of requests: primary ones for each user and resource, the secondary one by points a minute, and the headers that say where one stands.
//!
//! A window begins with its first request and ends at `x-ratelimit-reset`. The numbers are GitHub's; a test that makes
//! thousands of requests sets its own. The secondary limit is off unless a test turns it on, since a fast test looks just like abuse.

use super::world::World;
use crate::fault::LimitForm;
use crate::http::{Answer, Call};
use serde_json::json;
use std::collections::HashMap;

/// Requests that a user may make.
#[derive(Debug, Clone)]
pub struct Limits {
    /// REST with a token, an hour.
    pub core: u64,
    /// REST without a token, an hour and address.
    pub anonymous: u64,
    /// Search with a token, a minute.
    pub search: u64,
    /// GraphQL points, an hour.
    pub graphql: u64,
    /// Points a minute and user (a read 1, a write 5) before the secondary limit speaks.
    pub points_a_minute: Option<u64>,
    /// The status that primary limits are answered with: 403 or 429.
    pub status: u16,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { core: 5_000, anonymous: 60, search: 30, graphql: 5_000, points_a_minute: None, status: 403 }
    }
}

impl Limits {
    /// So high that no test meets them.
    pub fn generous() -> Limits {
        Limits { core: 100_000_000, anonymous: 100_000_000, search: 100_000_000, graphql: 100_000_000, ..Limits::default() }
    }
}

/// Who is counted: a user, or an address without a token.
pub(super) type Who = Option<u64>;

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    used: u64,
    reset_at: i64,
}

/// All counters.
pub(super) struct Buckets {
    pub limits: Limits,
    counts: HashMap<(Who, &'static str), Bucket>,
}

/// Where somebody stands with one resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub resource: &'static str,
    pub limit: u64,
    pub used: u64,
    pub remaining: u64,
    pub reset_at: i64,
}

impl Buckets {
    pub fn new(limits: Limits) -> Buckets {
        Buckets { limits, counts: HashMap::new() }
    }

    fn limit(&self, who: Who, resource: &str) -> u64 {
        match (resource, who) {
            ("search", Some(_)) => self.limits.search,
            ("search", None) => self.limits.search.min(10),
            ("graphql", Some(_)) => self.limits.graphql,
            ("graphql", None) => 0,
            ("points", _) => self.limits.points_a_minute.unwrap_or(u64::MAX),
            (_, Some(_)) => self.limits.core,
            (_, None) => self.limits.anonymous,
        }
    }

    fn bucket(&mut self, who: Who, resource: &'static str, now: i64) -> &mut Bucket {
        let span = if matches!(resource, "search" | "points") { 60 } else { 3_600 };
        let bucket = self.counts.entry((who, resource)).or_default();
        if now >= bucket.reset_at {
            *bucket = Bucket { used: 0, reset_at: now + span };
        }
        bucket
    }

    pub fn standing(&mut self, who: Who, resource: &'static str, now: i64) -> Standing {
        let limit = self.limit(who, resource);
        let bucket = *self.bucket(who, resource, now);
        let used = bucket.used.min(limit);
        Standing { resource, limit, used, remaining: limit - used, reset_at: bucket.reset_at }
    }

    pub fn charge(&mut self, who: Who, resource: &'static str, now: i64, cost: u64) {
        self.bucket(who, resource, now).used += cost;
    }

    /// Leaves so many requests until the reset.
    pub fn leave(&mut self, who: Who, resource: &'static str, now: i64, remaining: u64) {
        let limit = self.limit(who, resource);
        self.bucket(who, resource, now).used = limit.saturating_sub(remaining);
    }
}

/// The resource that a path is counted under.
pub(super) fn resource(segments: &[&str]) -> &'static str {
    match segments.first() {
        Some(&"search") => "search",
        Some(&"graphql") => "graphql",
        _ => "core",
    }
}

/// Resource names as commands give them.
pub(super) fn known(resource: &str) -> Option<&'static str> {
    ["core", "search", "graphql", "points"].into_iter().find(|known| *known == resource)
}

pub(super) fn headers(answer: &mut Answer, standing: &Standing) {
    for (name, value) in [("limit", standing.limit), ("remaining", standing.remaining), ("used", standing.used)] {
        answer.set(&format!("x-ratelimit-{name}"), &value.to_string());
    }
    answer.set("x-ratelimit-reset", &standing.reset_at.to_string());
    answer.set("x-ratelimit-resource", standing.resource);
}

impl World {
    /// The answer to one who has no requests left.
    pub(super) fn refuse(&mut self, who: Who, resource: &'static str, now: i64) -> Option<Answer> {
        let standing = self.buckets.standing(who, resource, now);
        if standing.remaining == 0 {
            return Some(primary(self.buckets.limits.status, who, &standing));
        }
        if self.buckets.standing(who, "points", now).remaining == 0 {
            let mut answer = secondary(403).with("retry-after", "60");
            headers(&mut answer, &standing);
            return Some(answer);
        }
        None
    }

    /// A limit on demand, in the form asked for, with headers that fit it.
    pub(super) fn limited(&mut self, call: &Call, form: Option<LimitForm>) -> Answer {
        let who = super::auth::bearer(call).and_then(|value| self.auth.find(&value)).map(|token| token.user);
        let segments = call.segments();
        let parts: Vec<&str> = segments.iter().skip(1).map(String::as_str).collect();
        let mut standing = self.buckets.standing(who, resource(&parts), call.seconds());
        let form = form.unwrap_or(if standing.resource == "graphql" { LimitForm::GraphQl200 } else { LimitForm::Secondary429 });
        let spent = !matches!(form, LimitForm::Secondary403 | LimitForm::Secondary429);
        if spent {
            standing = Standing { used: standing.limit, remaining: 0, ..standing };
        }
        let mut answer = match form {
            LimitForm::Primary403 => primary(403, who, &standing),
            LimitForm::Primary429 => primary(429, who, &standing),
            LimitForm::Secondary429 => secondary(429),
            LimitForm::GraphQl200 => primary(200, who, &Standing { resource: "graphql", ..standing }),
            LimitForm::Secondary403 | LimitForm::SecondaryReset => secondary(403),
        };
        headers(&mut answer, &standing);
        answer
    }
}

fn primary(status: u16, who: Who, standing: &Standing) -> Answer {
    let message = match who {
        Some(user) => format!("API rate limit exceeded for user ID {user}."),
        None => {
            "API rate limit exceeded for 127.0.0.1. (But here's the good news: authenticated requests get a higher rate limit.)".to_owned()
        }
    };
    let mut answer = if standing.resource == "graphql" {
        Answer::json(200, &json!({"data": null, "errors": [{"type": "RATE_LIMITED", "message": message}]}))
    } else {
        Answer::json(
            status,
            &json!({"message": message, "documentation_url": "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"}),
        )
    };
    headers(&mut answer, standing);
    answer
}

fn secondary(status: u16) -> Answer {
    let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    Answer::json(
        status,
        &json!({"message": message, "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}),
    )
}
