//! `/users/NAME/events`: what happened in the last thirty days, at most 300 events, newest first, private ones for the user alone.

use super::data::User;
use super::repositories::{linked, paging};
use super::rest::{Caller, not_found};
use super::world::World;
use crate::http::{Answer, Call};
use crate::page::{rows, window};
use crate::time::{DAY, iso};
use serde_json::{Value, json};

const MOST_EVENTS: usize = 300;

struct Event {
    kind: &'static str,
    at: i64,
    repository: u64,
    payload: Value,
}

impl World {
    pub(super) fn events(&self, call: &Call, user: Option<u64>, caller: &Caller, public: bool) -> Answer {
        let Some(user) = user.and_then(|id| self.users.get(&id)) else { return not_found() };
        let private = caller.user() == Some(user.id) && !public;
        let mut events = self.happened(user, call.seconds());
        events.retain(|event| {
            self.repositories
                .get(&event.repository)
                .is_some_and(|repository| !repository.private || private && self.visible(repository, caller))
        });
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        events.truncate(MOST_EVENTS);
        let (page, size) = paging(call);
        let window = window(events.len(), page, size, call.shift);
        let body: Vec<Value> = rows(&events, &window).iter().filter_map(|event| self.event(call, user, event)).collect();
        let path = format!("/user/{}/events{}", user.id, if public { "/public" } else { "" });
        linked(call, &path, Answer::json(200, &Value::Array(body)), page, window.pages).with("x-poll-interval", "60")
    }

    fn happened(&self, user: &User, now: i64) -> Vec<Event> {
        let recent = |at: &i64| *at > now - 30 * DAY && *at <= now;
        let mut events = Vec::new();
        for repository in self.repositories.values().filter(|repository| repository.owner == user.id) {
            let before = repository.commits.iter().skip(1).map(|commit| commit.sha.clone()).chain(std::iter::once("0".repeat(40)));
            for (commit, before) in repository.commits.iter().zip(before).filter(|(commit, _)| recent(&commit.committed_at)) {
                let push = json!({"repository_id": repository.id, "push_id": commit.committed_at * 10, "ref": "refs/heads/main", "head": commit.sha, "before": before});
                events.push(Event { kind: "PushEvent", at: commit.committed_at, repository: repository.id, payload: push });
            }
        }
        for star in user.stars.iter().filter(|star| recent(&star.at)) {
            events.push(Event { kind: "WatchEvent", at: star.at, repository: star.repository, payload: json!({"action": "started"}) });
        }
        for issue in self.issues.iter().filter(|issue| issue.author == user.login) {
            let (kind, name) = if issue.pull_request { ("PullRequestEvent", "pull_request") } else { ("IssuesEvent", "issue") };
            let done = if issue.merged_at.is_some() { "merged" } else { "closed" };
            for (action, at) in [("opened", Some(issue.created_at)), (done, issue.closed_at)] {
                if let Some(at) = at.filter(recent) {
                    let payload = json!({"action": action, "number": issue.number, name: {"id": issue.id, "number": issue.number}});
                    events.push(Event { kind, at, repository: issue.repository, payload });
                }
            }
        }
        events
    }

    fn event(&self, call: &Call, user: &User, event: &Event) -> Option<Value> {
        let repository = self.repositories.get(&event.repository)?;
        let name = self.full_name(repository);
        let number = event.at.unsigned_abs() * 1_000 + event.repository % 1_000;
        Some(json!({
            "id": number.to_string(),
            "type": event.kind,
            "actor": {"id": user.id, "login": user.login, "display_login": user.login, "gravatar_id": "", "url": format!("{}/api/users/{}", call.base, user.login)},
            "repo": {"id": repository.id, "name": name, "url": format!("{}/api/repos/{name}", call.base)},
            "payload": event.payload,
            "public": !repository.private,
            "created_at": iso(event.at),
        }))
    }
}
