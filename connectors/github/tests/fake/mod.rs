//! A small GitHub in memory: enough of it to run whole rounds against, with a switch for each thing that can be wrong.

use serde_json::{Value, json};
use sluice_sdk::day::{parse_rfc3339, rfc3339};
use sluice_sdk::harness::{Sent, json as answer, with_headers};
use sluice_sdk::{FetchError, Response};

/// A commit: hash, author date, committer date.
#[derive(Clone, Debug)]
pub struct Commit(pub String, pub i64, pub i64);

#[derive(Clone, Debug)]
pub struct Repository {
    pub id: u64,
    pub name: String,
    pub fork: bool,
    pub stars: u64,
    pub pushed: i64,
    pub commits: Vec<Commit>,
    /// What asking for its commits is answered with instead.
    pub refusal: Option<Response>,
}

#[derive(Clone, Debug)]
pub struct GitHub {
    pub id: u64,
    pub login: String,
    pub created: i64,
    pub followers: u64,
    pub repositories: Vec<Repository>,
    /// Day → count.
    pub calendar: std::collections::BTreeMap<String, u64>,
    /// (id, opened at, is a pull request)
    pub opened: Vec<(u64, i64, bool)>,
    pub page_size: usize,
    /// Requests for these paths are answered so.
    pub refusals: Vec<(&'static str, Response)>,
    pub incomplete: bool,
}

pub fn ms(text: &str) -> i64 {
    parse_rfc3339(text).unwrap()
}

impl GitHub {
    /// An account of 2024 with three repositories, one of them empty, and a fork.
    pub fn small() -> Self {
        let at = |text: &str| ms(text);
        let commit = |sha: &str, author: &str, committer: &str| Commit(sha.to_owned(), at(author), at(committer));
        let repository = |id, name: &str, commits: Vec<Commit>| Repository {
            id,
            name: name.to_owned(),
            fork: false,
            stars: id,
            pushed: commits.first().map_or(0, |c: &Commit| c.2),
            commits,
            refusal: None,
        };
        let busy = vec![
            commit("a5", "2026-03-09T10:00:00Z", "2026-03-09T10:00:00Z"),
            commit("a4", "2026-03-08T23:30:00Z", "2026-03-08T23:30:00Z"),
            commit("a3", "2026-01-02T08:00:00Z", "2026-03-01T08:00:00Z"),
            commit("a2", "2025-06-01T08:00:00Z", "2025-06-01T08:00:00Z"),
            commit("a1", "2025-06-01T08:00:00Z", "2025-06-01T08:00:00Z"),
            commit("a0", "1999-01-01T00:00:00Z", "2024-06-01T00:00:00Z"),
        ];
        let mut fork = repository(12, "demo/fork", vec![commit("f1", "2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z")]);
        fork.fork = true;
        Self {
            id: 7,
            login: "demo".to_owned(),
            created: at("2024-05-05T05:05:05Z"),
            followers: 3,
            repositories: vec![
                repository(10, "demo/busy", busy),
                repository(11, "demo/empty", Vec::new()),
                fork,
                repository(13, "demo/quiet", vec![commit("q1", "2025-12-31T23:59:59Z", "2025-12-31T23:59:59Z")]),
            ],
            calendar: [("2024-06-01", 2), ("2025-12-31", 5), ("2026-01-01", 1), ("2026-03-09", 4)].map(|(d, n)| (d.to_owned(), n)).into(),
            opened: vec![
                (100, at("2024-07-01T00:00:00Z"), true),
                (101, at("2025-07-01T00:00:00Z"), true),
                (102, at("2026-03-09T00:00:00Z"), false),
            ],
            page_size: 2,
            refusals: Vec::new(),
            incomplete: false,
        }
    }

    /// As many commits in one repository, one an hour, in pages of 100.
    pub fn large(commits: usize) -> Self {
        let mut github = Self::small();
        let end = ms("2026-03-01T00:00:00Z");
        let one = |n: usize| {
            let at = end - (n / 2) as i64 * 3_600_000;
            Commit(format!("c{n}"), at, at)
        };
        github.repositories.truncate(1);
        github.repositories[0].commits = (0..commits).map(one).collect();
        github.created = ms("2023-01-01T00:00:00Z");
        github.page_size = 100;
        github
    }

    pub fn serve(&self, sent: &Sent<'_>) -> Result<Response, FetchError> {
        assert!(sent.attached, "a request without the key: {}", sent.request.url);
        assert_eq!(sent.header("X-GitHub-Api-Version"), Some("2022-11-28"));
        assert!(sent.header("User-Agent").is_some_and(|agent| !agent.is_empty()));
        if let Some((_, refusal)) = self.refusals.iter().find(|(path, _)| sent.path().starts_with(path)) {
            return Ok(refusal.clone());
        }
        let response = match sent.path() {
            "/user" => answer(200, &self.user()),
            "/user/repos" => self.list(sent),
            "/graphql" => self.graphql(&sent.body()),
            "/search/issues" => self.search(sent),
            path => self.commits(sent, path),
        };
        Ok(tagged(sent, response))
    }

    fn user(&self) -> Value {
        json!({ "id": self.id, "login": self.login, "created_at": rfc3339(self.created), "followers": self.followers, "public_repos": 4 })
    }

    fn list(&self, sent: &Sent<'_>) -> Response {
        let rows: Vec<Value> = self
            .repositories
            .iter()
            .map(|r| {
                json!({ "id": r.id, "full_name": r.name, "fork": r.fork, "stargazers_count": r.stars, "owner": { "id": self.id },
                        "pushed_at": rfc3339(r.pushed), "size": 1, "default_branch": "main" })
            })
            .collect();
        self.paged(sent, "/user/repos", rows)
    }

    fn paged(&self, sent: &Sent<'_>, path: &str, rows: Vec<Value>) -> Response {
        let page: usize = sent.query("page").map_or(1, |p| p.parse().unwrap());
        let from = ((page - 1) * self.page_size).min(rows.len());
        let to = (from + self.page_size).min(rows.len());
        let response = answer(200, &rows[from..to]);
        if to == rows.len() {
            return response;
        }
        let query = sent.request.url.split_once('?').map_or("", |(_, q)| q);
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("page=")).collect();
        let link = format!(
            "<https://api.github.com{path}?{}&page={}>; rel=\"next\", <https://api.github.com{path}>; rel=\"last\"",
            kept.join("&"),
            page + 1
        );
        with_headers(response, &[("Link", &link)])
    }

    fn commits(&self, sent: &Sent<'_>, path: &str) -> Response {
        let found = self
            .repositories
            .iter()
            .find(|r| path == format!("/repos/{}/commits", r.name) || path == format!("/repositories/{}/commits", r.id));
        let Some(repository) = found else { return answer(404, &json!({ "message": "Not Found" })) };
        if let Some(refusal) = &repository.refusal {
            return refusal.clone();
        }
        if repository.commits.is_empty() {
            return answer(409, &json!({ "message": "Git Repository is empty." }));
        }
        assert_eq!(sent.query("author").as_deref(), Some(self.login.as_str()));
        let bound = |name: &str, default: i64| sent.query(name).map_or(default, |text| ms(&text));
        let (since, until) = (bound("since", i64::MIN), bound("until", i64::MAX));
        let mut listed: Vec<&Commit> = repository.commits.iter().filter(|c| c.2 >= since && c.2 <= until).collect();
        listed.sort_by_key(|c| std::cmp::Reverse(c.2));
        let row = |c: &&Commit| json!({ "sha": c.0, "author": null, "commit": { "author": { "date": rfc3339(c.1) }, "committer": { "date": rfc3339(c.2) } } });
        // The next page of a repository is at its id.
        self.paged(sent, &format!("/repositories/{}/commits", repository.id), listed.iter().map(row).collect())
    }

    fn graphql(&self, body: &Value) -> Response {
        let bound = |name: &str| body["variables"][name].as_str().unwrap()[..10].to_owned();
        let (from, to) = (bound("from"), bound("to"));
        let mut day: sluice_sdk::Day = from.parse().unwrap();
        let past: sluice_sdk::Day = to.parse().unwrap();
        assert!(past.0 - day.0 <= 366, "a collection spans a year at most");
        let mut days = Vec::new();
        while day <= past {
            let count = self.calendar.get(&day.to_string()).copied().unwrap_or(0);
            days.push(json!({ "date": day.to_string(), "contributionCount": count }));
            day = day.plus(1);
        }
        let weeks: Vec<Value> = days.chunks(7).map(|week| json!({ "contributionDays": week })).collect();
        answer(200, &json!({ "data": { "viewer": { "contributionsCollection": { "contributionCalendar": { "weeks": weeks } } } } }))
    }

    fn search(&self, sent: &Sent<'_>) -> Response {
        let query = sent.query("q").unwrap();
        let pull_request = query.contains("type:pr");
        assert!(query.contains(&format!("author:{} ", self.login)));
        let range = query.split("created:").nth(1).unwrap();
        let (from, to) = range.split_once("..").unwrap();
        let (from, to) = (ms(from), ms(to));
        let found: Vec<&(u64, i64, bool)> = self.opened.iter().filter(|o| o.2 == pull_request && o.1 >= from && o.1 <= to).collect();
        let rows: Vec<Value> = found
            .iter()
            .map(|o| {
                json!({ "id": o.0, "number": o.0, "title": "A title", "created_at": rfc3339(o.1),
                        "repository_url": "https://api.github.com/repos/demo/busy" })
            })
            .collect();
        let total = rows.len();
        let mut response = self.paged(sent, "/search/issues", rows);
        let items: Value = serde_json::from_slice(&response.body).unwrap();
        response.body =
            serde_json::to_vec(&json!({ "total_count": total, "incomplete_results": self.incomplete, "items": items })).unwrap();
        response
    }
}

/// Gives an answer its tag, or answers 304 where the client has it.
fn tagged(sent: &Sent<'_>, response: Response) -> Response {
    if sent.request.method != "GET" || response.status != 200 {
        return response;
    }
    let tag = format!(
        "W/\"{:x}\"",
        sluice_sdk::cache::hash(&[response.body.as_slice(), response.header("link").unwrap_or("").as_bytes()].concat())
    );
    if sent.header("If-None-Match") == Some(tag.as_str()) {
        return with_headers(Response { status: 304, body: Vec::new(), ..response }, &[("etag", &tag)]);
    }
    with_headers(response, &[("etag", &tag)])
}
