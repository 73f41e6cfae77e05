//! `…/commits`: the default branch newest first by committer date, cut by `since` and `until`, for one author or all.

use super::data::{Commit, Repository};
use super::repositories::{linked, paging};
use super::rest::problem;
use super::users::brief;
use super::world::World;
use crate::http::{Answer, Call};
use crate::page::{rows, window};
use crate::time::{iso, parse};
use serde_json::{Value, json};

impl World {
    pub(super) fn commits(&self, call: &Call, repository: &Repository) -> Answer {
        if repository.commits.is_empty() {
            let url = "https://docs.github.com/rest/commits/commits#list-commits";
            return Answer::json(409, &json!({"message": "Git Repository is empty.", "documentation_url": url, "status": "409"}));
        }
        if let Some(branch) = call.param("sha").filter(|sha| *sha != "main" && !repository.commits.iter().any(|commit| commit.sha == *sha))
        {
            return problem(404, &format!("No commit found for SHA: {branch}"));
        }
        let author = call.param("author").unwrap_or_default();
        let since = call.param("since").and_then(parse).unwrap_or(i64::MIN);
        let until = call.param("until").and_then(parse).unwrap_or(i64::MAX);
        let listed = |commit: &&Commit| {
            let by = author.is_empty()
                || commit.email == author
                || commit.login.as_deref().is_some_and(|login| login.eq_ignore_ascii_case(author));
            by && commit.committed_at >= since && commit.committed_at <= until
        };
        let found: Vec<&Commit> = repository.commits.iter().filter(listed).collect();
        let (page, size) = paging(call);
        let window = window(found.len(), page, size, call.shift);
        let name = self.full_name(repository);
        let body: Vec<Value> = rows(&found, &window).iter().map(|commit| self.commit(call, &name, repository, commit)).collect();
        linked(call, &format!("/repositories/{}/commits", repository.id), Answer::json(200, &Value::Array(body)), page, window.pages)
    }

    fn commit(&self, call: &Call, name: &str, repository: &Repository, commit: &Commit) -> Value {
        let account = commit.login.as_deref().and_then(|login| self.user(login)).map_or_else(
            || commit.login.as_ref().map_or(Value::Null, |login| json!({"login": login, "id": 999_999, "type": "User"})),
            |user| brief(call, user),
        );
        let api = format!("{}/api/repos/{name}", call.base);
        let sha = &commit.sha;
        let parent = repository.commits.iter().position(|other| other.sha == *sha).and_then(|at| repository.commits.get(at + 1));
        let parents: Vec<Value> =
            parent.into_iter().map(|parent| json!({"sha": parent.sha, "url": format!("{api}/commits/{}", parent.sha)})).collect();
        let tree: String = sha.chars().rev().collect();
        json!({
            "sha": sha,
            "node_id": format!("C_sim{sha}"),
            "commit": {
                "author": {"name": commit.name, "email": commit.email, "date": iso(commit.authored_at)},
                "committer": {"name": commit.name, "email": commit.email, "date": iso(commit.committed_at)},
                "message": commit.message,
                "tree": {"sha": tree, "url": format!("{api}/git/trees/{tree}")},
                "url": format!("{api}/git/commits/{sha}"),
                "comment_count": 0,
                "verification": {"verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null},
            },
            "url": format!("{api}/commits/{sha}"),
            "html_url": format!("{}/{name}/commit/{sha}", call.base),
            "comments_url": format!("{api}/commits/{sha}/comments"),
            "author": account,
            "committer": account,
            "parents": parents,
        })
    }
}
