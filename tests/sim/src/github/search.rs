//! `/search/issues`: the qualifiers that collectors use, with the limits of search (256 characters, 1,000 results).

use super::data::Issue;
use super::repositories::{linked, paging};
use super::rest::{Caller, invalid};
use super::users::brief;
use super::world::World;
use crate::http::{Answer, Call};
use crate::page::{rows, window};
use crate::time::{DAY, iso, parse};
use serde_json::{Value, json};

const MOST_RESULTS: usize = 1_000;

impl World {
    pub(super) fn search_issues(&self, call: &Call, caller: &Caller) -> Answer {
        let query = call.param("q").unwrap_or_default();
        if query.trim().is_empty() {
            return invalid("Search", "q", "missing", "The search is empty.");
        }
        if query.chars().count() > 256 {
            return invalid("Search", "q", "invalid", "The search is longer than 256 characters.");
        }
        let found = match self.matching(query, caller) {
            Ok(found) => found,
            Err(answer) => return *answer,
        };
        let (page, size) = paging(call);
        if page.saturating_sub(1).saturating_mul(size) >= MOST_RESULTS {
            return invalid("Search", "page", "invalid", "Only the first 1000 search results are available");
        }
        let reachable = found.len().min(MOST_RESULTS);
        let window = window(reachable, page, size, call.shift);
        let items: Vec<Value> = rows(&found, &window).iter().map(|issue| self.issue(call, issue)).collect();
        let body = json!({"total_count": found.len(), "incomplete_results": false, "items": items});
        linked(call, "/search/issues", Answer::json(200, &body), page, window.pages)
    }

    /// The issues that a query finds, newest first.
    pub(super) fn matching(&self, query: &str, caller: &Caller) -> Result<Vec<&Issue>, Box<Answer>> {
        let mut found: Vec<&Issue> = self
            .issues
            .iter()
            .filter(|issue| self.repositories.get(&issue.repository).is_some_and(|repository| self.visible(repository, caller)))
            .collect();
        for term in query.split_whitespace() {
            let Some((name, value)) = term.split_once(':') else {
                found.retain(|issue| issue.title.to_lowercase().contains(&term.to_lowercase()));
                continue;
            };
            let value = value.trim_matches('"');
            match (name, value) {
                ("type" | "is", "pr" | "pull-request") => found.retain(|issue| issue.pull_request),
                ("type" | "is", "issue") => found.retain(|issue| !issue.pull_request),
                ("is" | "state", "open") => found.retain(|issue| issue.closed_at.is_none()),
                ("is" | "state", "closed") => found.retain(|issue| issue.closed_at.is_some()),
                ("is", "merged") => found.retain(|issue| issue.merged_at.is_some()),
                ("author", login) => {
                    let me = caller.user().and_then(|id| self.users.get(&id));
                    let user = if login == "@me" { me } else { self.user(login) };
                    let Some(user) = user else {
                        let text = "The listed users cannot be searched either because the users do not exist or you do not have permission to view the users.";
                        return Err(Box::new(invalid("Search", "q", "invalid", text)));
                    };
                    found.retain(|issue| issue.author == user.login);
                }
                ("repo", name) => {
                    let id = name.split_once('/').and_then(|(owner, name)| self.named(owner, name)).map(|(repository, _)| repository.id);
                    found.retain(|issue| Some(issue.repository) == id);
                }
                ("created", range) => found.retain(|issue| within(range, Some(issue.created_at))),
                ("closed", range) => found.retain(|issue| within(range, issue.closed_at)),
                ("merged", range) => found.retain(|issue| within(range, issue.merged_at)),
                _ => {}
            }
        }
        found.sort_by_key(|issue| std::cmp::Reverse((issue.created_at, issue.id)));
        Ok(found)
    }

    pub(super) fn issue(&self, call: &Call, issue: &Issue) -> Value {
        let name = self.repositories.get(&issue.repository).map_or_else(String::new, |repository| self.full_name(repository));
        let user = self.user(&issue.author).map_or(Value::Null, |user| brief(call, user));
        let mut body = json!({
            "id": issue.id,
            "node_id": format!("I_sim{}", issue.id),
            "number": issue.number,
            "title": issue.title,
            "url": format!("{}/api/repos/{name}/issues/{}", call.base, issue.number),
            "repository_url": format!("{}/api/repos/{name}", call.base),
            "user": user,
            "state": if issue.closed_at.is_some() { "closed" } else { "open" },
            "locked": false,
            "comments": 0,
            "created_at": iso(issue.created_at),
            "updated_at": iso(issue.closed_at.unwrap_or(issue.created_at)),
            "closed_at": issue.closed_at.map(iso),
            "labels": [],
            "author_association": "OWNER",
            "body": null,
        });
        if let (true, Value::Object(object)) = (issue.pull_request, &mut body) {
            let url = format!("{}/api/repos/{name}/pulls/{}", call.base, issue.number);
            object.insert("draft".to_owned(), json!(false));
            object.insert("pull_request".to_owned(), json!({"url": url, "merged_at": issue.merged_at.map(iso)}));
        }
        body
    }
}

/// Whether an instant lies in `A..B`, `>=A`, `>A`, `<=B`, `<B`, `A..*`, `*..B` or on day `A`; a day as an end is included in full.
fn within(range: &str, at: Option<i64>) -> bool {
    let Some(at) = at else { return false };
    let first = |text: &str| if text == "*" { Some(i64::MIN) } else { parse(text) };
    let last = |text: &str| {
        let whole_day = if text.contains('T') { 0 } else { DAY - 1 };
        if text == "*" { Some(i64::MAX) } else { parse(text).map(|at| at + whole_day) }
    };
    let bounds = if let Some((from, to)) = range.split_once("..") {
        first(from).zip(last(to))
    } else if let Some(from) = range.strip_prefix(">=") {
        first(from).map(|from| (from, i64::MAX))
    } else if let Some(from) = range.strip_prefix('>') {
        last(from).map(|from| (from + 1, i64::MAX))
    } else if let Some(to) = range.strip_prefix("<=") {
        last(to).map(|to| (i64::MIN, to))
    } else if let Some(to) = range.strip_prefix('<') {
        first(to).map(|to| (i64::MIN, to - 1))
    } else {
        first(range).zip(last(range))
    };
    bounds.is_some_and(|(from, to)| at >= from && at <= to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_qualifiers_take_whole_days_and_exact_instants() {
        let at = parse("2026-03-04T12:00:00Z");
        for (range, expected) in [
            ("2026-03-04", true),
            ("2026-03-03..2026-03-04", true),
            ("2026-03-05..2026-03-06", false),
            (">=2026-03-04", true),
            (">2026-03-04", false),
            ("<=2026-03-04", true),
            ("<2026-03-04", false),
            ("*..2026-03-04T11:59:59Z", false),
            ("2026-03-04T12:00:00Z..*", true),
            ("nonsense", false),
        ] {
            assert_eq!(within(range, at), expected, "{range}");
        }
        assert!(!within("2026-03-04", None));
    }
}
