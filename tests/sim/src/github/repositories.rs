//! Repositories: lists, single ones, old names that lead to new ones, and who may see which.

use super::auth::TokenKind;
use super::data::Repository;
use super::rest::{Caller, missing_permission, not_found, problem};
use super::users::brief;
use super::world::World;
use crate::http::{Answer, Call, encode};
use crate::page::{rows, window};
use crate::time::iso;
use serde_json::{Value, json};

/// Page (from 1) and rows a page (30 unless asked, at most 100).
pub(super) fn paging(call: &Call) -> (usize, usize) {
    let size = call.number("per_page").filter(|size| *size > 0).unwrap_or(30).min(100);
    (call.number("page").filter(|page| *page > 0).unwrap_or(1), size)
}

/// Adds the `link` header, where there is more than one page; `path` is where the other pages are.
pub(super) fn linked(call: &Call, path: &str, answer: Answer, page: usize, pages: usize) -> Answer {
    if pages <= 1 {
        return answer;
    }
    let to = |page: usize, rel: &str| {
        let mut query: Vec<(String, String)> = call.query.iter().filter(|(name, _)| name != "page").cloned().collect();
        query.push(("page".to_owned(), page.to_string()));
        format!("<{}/api{path}?{}>; rel=\"{rel}\"", call.base, encode(&query))
    };
    let mut links = Vec::new();
    if page > 1 {
        links.push(to((page - 1).min(pages), "prev"));
    }
    if page < pages {
        links.push(to(page + 1, "next"));
        links.push(to(pages, "last"));
    }
    if page > 1 {
        links.push(to(1, "first"));
    }
    answer.with("link", &links.join(", "))
}

impl World {
    pub(super) fn repository(&self, call: &Call, repository: &Repository) -> Value {
        let full = self.full_name(repository);
        let owner = self.users.get(&repository.owner).map_or(Value::Null, |user| brief(call, user));
        let api = format!("{}/api/repos/{full}", call.base);
        json!({
            "id": repository.id,
            "node_id": format!("R_sim{}", repository.id),
            "name": repository.name,
            "full_name": full,
            "private": repository.private,
            "owner": owner,
            "html_url": format!("{}/{full}", call.base),
            "description": null,
            "fork": repository.fork,
            "url": api,
            "commits_url": format!("{api}/commits{{/sha}}"),
            "created_at": iso(repository.created_at),
            "updated_at": iso(repository.pushed_at()),
            "pushed_at": iso(repository.pushed_at()),
            "size": repository.commits.len() * 7,
            "stargazers_count": repository.stars,
            "watchers_count": repository.stars,
            "language": null,
            "forks_count": 0,
            "archived": false,
            "disabled": false,
            "open_issues_count": self.issues.iter().filter(|issue| issue.repository == repository.id && issue.closed_at.is_none()).count(),
            "visibility": if repository.private { "private" } else { "public" },
            "default_branch": "main",
            "permissions": {"admin": true, "maintain": true, "push": true, "triage": true, "pull": true},
        })
    }

    /// Whether a caller may know that this repository exists.
    pub(super) fn visible(&self, repository: &Repository, caller: &Caller) -> bool {
        let token = caller.token.as_ref();
        !repository.private || token.is_some_and(|token| token.user == repository.owner && token.has("repo", "metadata"))
    }

    pub(super) fn own_repositories(&self, call: &Call, caller: &Caller) -> Answer {
        let Some(token) = &caller.token else { return problem(401, "Requires authentication") };
        let visibility = call.param("visibility").or_else(|| call.param("type")).unwrap_or("all");
        let listed = |repository: &&Repository| {
            let wanted = match visibility {
                "public" => !repository.private,
                "private" => repository.private,
                _ => true,
            };
            repository.owner == token.user && wanted && self.visible(repository, caller)
        };
        let mut found: Vec<&Repository> = self.repositories.values().filter(listed).collect();
        let hidden: Vec<&str> = found.iter().filter_map(|repository| repository.sso.as_deref().filter(|_| !token.sso)).collect();
        let partial = (!hidden.is_empty()).then(|| format!("partial-results; organizations={}", hidden.join(",")));
        found.retain(|repository| repository.sso.is_none() || token.sso);
        let answer = self.listed(call, found, "/user/repos", "full_name");
        match partial {
            Some(partial) => answer.with("x-github-sso", &partial),
            None => answer,
        }
    }

    pub(super) fn public_repositories(&self, call: &Call, user: Option<u64>, caller: &Caller) -> Answer {
        let Some(user) = user.filter(|id| self.users.contains_key(id)) else { return not_found() };
        let mine = caller.user() == Some(user);
        let listed = |repository: &&Repository| {
            repository.owner == user
                && (!repository.private || mine && self.visible(repository, caller) && call.param("type") == Some("all"))
        };
        let found = self.repositories.values().filter(listed).collect();
        self.listed(call, found, &format!("/user/{user}/repos"), "full_name")
    }

    fn listed(&self, call: &Call, mut found: Vec<&Repository>, path: &str, default_sort: &str) -> Answer {
        let sort = call.param("sort").unwrap_or(default_sort);
        match sort {
            "created" => found.sort_by_key(|repository| (repository.created_at, repository.id)),
            "updated" | "pushed" => found.sort_by_key(|repository| (repository.pushed_at(), repository.id)),
            _ => found.sort_by_key(|repository| self.full_name(repository)),
        }
        let descending = call.param("direction").map_or(sort != "full_name", |direction| direction == "desc");
        if descending {
            found.reverse();
        }
        let (page, size) = paging(call);
        let window = window(found.len(), page, size, call.shift);
        let body: Vec<Value> = rows(&found, &window).iter().map(|repository| self.repository(call, repository)).collect();
        linked(call, path, Answer::json(200, &Value::Array(body)), page, window.pages)
    }

    /// `/repos/OWNER/NAME…`: the repository, or the way to where it went.
    pub(super) fn by_name(&self, call: &Call, owner: &str, name: &str, rest: &str, caller: &Caller) -> Answer {
        match self.named(owner, name) {
            Some((repository, _)) if !self.visible(repository, caller) => not_found(),
            Some((repository, true)) => {
                let query = if call.raw_query.is_empty() { String::new() } else { format!("?{}", call.raw_query) };
                let url = format!("{}/api/repositories/{}{rest}{query}", call.base, repository.id);
                let body = json!({"message": "Moved Permanently", "url": url, "documentation_url": "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects"});
                Answer::json(301, &body).with("location", &url)
            }
            Some((repository, false)) => self.inside(call, repository, rest, caller),
            None => not_found(),
        }
    }

    /// `/repositories/ID…`, the address that stays.
    pub(super) fn by_id(&self, call: &Call, id: &str, rest: &str, caller: &Caller) -> Answer {
        let repository = id.parse().ok().and_then(|id: u64| self.repositories.get(&id));
        match repository.filter(|repository| self.visible(repository, caller)) {
            Some(repository) => self.inside(call, repository, rest, caller),
            None => not_found(),
        }
    }

    fn inside(&self, call: &Call, repository: &Repository, rest: &str, caller: &Caller) -> Answer {
        let token = caller.token.as_ref();
        if let (Some(organisation), false) = (&repository.sso, token.is_some_and(|token| token.sso)) {
            let url = format!("{}/orgs/{organisation}/sso?authorization_request=SIM{}", call.base, repository.id);
            let text = "Resource protected by organization SAML enforcement. You must grant your OAuth token access to this organization.";
            return problem(403, text).with("x-github-sso", &format!("required; url={url}"));
        }
        if rest.is_empty() {
            return Answer::json(200, &self.repository(call, repository));
        }
        match token {
            Some(token) if repository.private && !token.sees_private() && matches!(token.kind, TokenKind::FineGrained | TokenKind::App) => {
                missing_permission(token, "contents")
            }
            _ => self.commits(call, repository),
        }
    }
}
