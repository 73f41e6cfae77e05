//! The types that can be asked for and their fields.

use super::collection::Collection;
use super::connection::{Connection, Row, cut};
use super::parse::Arguments;
use super::{Failed, Scope};
use crate::github::data::{Commit, Issue, Repository, User};
use crate::time::{iso, parse};
use serde_json::{Map, Value, json};
use std::rc::Rc;

/// Something with fields.
#[derive(Clone)]
pub(super) enum Node<'w> {
    Query,
    User(&'w User),
    Repository(&'w Repository),
    Issue(&'w Issue),
    /// A branch, or the commit at its head.
    Branch(&'w Repository),
    Head(&'w Repository),
    Commit(&'w Commit),
    Contributions(Rc<Collection>),
    Connection(Rc<Connection<'w>>, bool),
    Edge(Map<String, Value>, Box<Node<'w>>),
    /// An object that is known in full; the name is its type's.
    Json(&'static str, Map<String, Value>),
}

/// What a field holds.
pub(super) enum Out<'w> {
    Leaf(Value),
    Node(Node<'w>),
    List(Vec<Out<'w>>),
}

impl<'w> Out<'w> {
    /// JSON as nodes: objects become nodes of that type, lists lists, the rest leaves.
    pub(super) fn json(name: &'static str, value: Value) -> Out<'w> {
        match value {
            Value::Object(object) => Out::Node(Node::Json(name, object)),
            Value::Array(items) => Out::List(items.into_iter().map(|item| Out::json(name, item)).collect()),
            other => Out::Leaf(other),
        }
    }

    fn of(node: Option<Node<'w>>) -> Out<'w> {
        node.map_or(Out::Leaf(Value::Null), Out::Node)
    }

    fn page(name: &'static str, arguments: &Arguments, rows: impl Iterator<Item = Node<'w>>) -> Result<Out<'w>, Failed> {
        Out::rows(name, arguments, rows.map(|node| Row { node, edge: Map::new() }).collect())
    }

    pub(super) fn rows(name: &'static str, arguments: &Arguments, rows: Vec<Row<'w>>) -> Result<Out<'w>, Failed> {
        let bounded = arguments.contains_key("first") || arguments.contains_key("last");
        Ok(Out::Node(Node::Connection(Rc::new(cut(name, arguments, rows)?), bounded)))
    }
}

fn text<'a>(arguments: &'a Arguments, name: &str) -> &'a str {
    arguments.get(name).and_then(Value::as_str).unwrap_or_default()
}

impl<'w> Node<'w> {
    /// The type's name.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Node::Query => "Query",
            Node::User(_) => "User",
            Node::Repository(_) => "Repository",
            Node::Issue(issue) if issue.pull_request => "PullRequest",
            Node::Issue(_) => "Issue",
            Node::Branch(_) => "Ref",
            Node::Head(_) | Node::Commit(_) => "Commit",
            Node::Contributions(_) => "ContributionsCollection",
            Node::Connection(connection, _) => connection.name,
            Node::Edge(..) => "Edge",
            Node::Json(name, _) => name,
        }
    }

    /// Whether a fragment on that type applies.
    pub(super) fn is(&self, on: &str) -> bool {
        on == self.type_name()
            || on == "Node"
            || (on == "GitObject" && self.type_name() == "Commit")
            || (on == "Actor" && self.type_name() == "User")
    }

    /// The value of a field.
    pub(super) fn field(&self, scope: &Scope<'w>, name: &str, arguments: &Arguments) -> Result<Out<'w>, Failed> {
        let found = match self {
            Node::Query => query(scope, name, arguments)?,
            Node::User(user) => self::user(scope, user, name, arguments)?,
            Node::Repository(repository) => self::repository(scope, repository, name, arguments)?,
            Node::Issue(issue) => self::issue(scope, issue, name),
            Node::Branch(repository) => branch(repository, name),
            Node::Head(repository) => match name {
                "history" => Some(history(scope, repository, arguments)?),
                _ => repository.commits.first().and_then(|commit| self::commit(scope, commit, name)),
            },
            Node::Commit(commit) => self::commit(scope, commit, name),
            Node::Contributions(collection) => collection.field(scope, name, arguments)?,
            Node::Connection(connection, bounded) => return connection.field(scope, name, *bounded),
            Node::Edge(_, node) if name == "node" => Some(Out::Node((**node).clone())),
            Node::Edge(object, _) => object.get(name).map(|value| Out::Leaf(value.clone())),
            Node::Json(kind, object) => object.get(name).map(|value| Out::json(kind, value.clone())),
        };
        found.ok_or_else(|| Failed::unknown_field(name, self.type_name()))
    }
}

fn query<'w>(scope: &Scope<'w>, name: &str, arguments: &Arguments) -> Result<Option<Out<'w>>, Failed> {
    let world = scope.world;
    Ok(Some(match name {
        "viewer" => Out::of(scope.caller.user().and_then(|id| world.users.get(&id)).map(Node::User)),
        "user" => {
            let login = text(arguments, "login");
            let user = world
                .user(login)
                .ok_or_else(|| Failed::of("NOT_FOUND", format!("Could not resolve to a User with the login of '{login}'.")))?;
            Out::Node(Node::User(user))
        }
        "repository" => {
            let (owner, name) = (text(arguments, "owner"), text(arguments, "name"));
            let found =
                world.named(owner, name).map(|(repository, _)| repository).filter(|repository| world.visible(repository, scope.caller));
            let text = || format!("Could not resolve to a Repository with the name '{owner}/{name}'.");
            Out::Node(Node::Repository(found.ok_or_else(|| Failed::of("NOT_FOUND", text()))?))
        }
        "search" => {
            let found =
                world.matching(text(arguments, "query"), scope.caller).map_err(|_| Failed::new("The search query can't be run."))?;
            Out::page("SearchResultItemConnection", arguments, found.into_iter().map(Node::Issue))?
        }
        "rateLimit" => Out::json("RateLimit", scope.rate_limit.clone()),
        _ => return Ok(None),
    }))
}

fn user<'w>(scope: &Scope<'w>, user: &'w User, name: &str, arguments: &Arguments) -> Result<Option<Out<'w>>, Failed> {
    let world = scope.world;
    let issues = |pull_request: bool, kind: &'static str| {
        let mut found: Vec<&Issue> =
            world.issues.iter().filter(|issue| issue.author == user.login && issue.pull_request == pull_request).collect();
        found.retain(|issue| {
            world.repositories.get(&issue.repository).is_some_and(|repository| world.visible(repository, scope.caller))
                && state_fits(issue, arguments)
        });
        found.sort_by_key(|issue| std::cmp::Reverse((issue.created_at, issue.id)));
        Out::page(kind, arguments, found.into_iter().map(Node::Issue))
    };
    Ok(Some(match name {
        "login" => Out::Leaf(json!(user.login)),
        "id" => Out::Leaf(json!(format!("U_sim{}", user.id))),
        "databaseId" => Out::Leaf(json!(user.id)),
        "name" => Out::Leaf(json!(user.name)),
        "email" => Out::Leaf(json!("")),
        "createdAt" => Out::Leaf(json!(iso(user.created_at))),
        "isViewer" => Out::Leaf(json!(scope.caller.user() == Some(user.id))),
        "followers" => Out::json("FollowerConnection", json!({"totalCount": user.followers})),
        "following" => Out::json("FollowingConnection", json!({"totalCount": user.following})),
        "contributionsCollection" => {
            let end = |name: &str| {
                arguments.get(name).filter(|value| !value.is_null()).map(|value| {
                    parse(value.as_str().unwrap_or_default())
                        .ok_or_else(|| Failed::new(format!("Argument '{name}' has an invalid value. Expected type 'DateTime'.")))
                })
            };
            let collection = Collection::new(scope, user, end("from").transpose()?, end("to").transpose()?)?;
            Out::Node(Node::Contributions(Rc::new(collection)))
        }
        "repositories" => {
            let privacy = text(arguments, "privacy");
            let fork = arguments.get("isFork").and_then(Value::as_bool);
            let mut found: Vec<&Repository> = world
                .repositories
                .values()
                .filter(|repository| repository.owner == user.id && world.visible(repository, scope.caller))
                .collect();
            found.retain(|repository| {
                (privacy.is_empty() || repository.private == (privacy == "PRIVATE")) && fork.is_none_or(|fork| repository.fork == fork)
            });
            found.reverse();
            Out::page("RepositoryConnection", arguments, found.into_iter().map(Node::Repository))?
        }
        "issues" => issues(false, "IssueConnection")?,
        "pullRequests" => issues(true, "PullRequestConnection")?,
        "starredRepositories" => {
            let row = |star: &crate::github::data::Star| {
                let edge = json!({"starredAt": iso(star.at)}).as_object().cloned().unwrap_or_default();
                Some(Row { node: Node::Repository(world.repositories.get(&star.repository)?), edge })
            };
            Out::rows("StarredRepositoryConnection", arguments, user.stars.iter().filter_map(row).collect())?
        }
        _ => return Ok(None),
    }))
}

fn state_fits(issue: &Issue, arguments: &Arguments) -> bool {
    let state = state(issue);
    match arguments.get("states") {
        Some(Value::Array(states)) => states.iter().any(|wanted| wanted.as_str() == Some(state)),
        Some(Value::String(wanted)) => wanted == state,
        _ => true,
    }
}

fn state(issue: &Issue) -> &'static str {
    match (issue.merged_at, issue.closed_at) {
        (Some(_), _) => "MERGED",
        (None, Some(_)) => "CLOSED",
        (None, None) => "OPEN",
    }
}

fn repository<'w>(scope: &Scope<'w>, repository: &'w Repository, name: &str, arguments: &Arguments) -> Result<Option<Out<'w>>, Failed> {
    Ok(Some(match name {
        "id" => Out::Leaf(json!(format!("R_sim{}", repository.id))),
        "databaseId" => Out::Leaf(json!(repository.id)),
        "name" => Out::Leaf(json!(repository.name)),
        "nameWithOwner" => Out::Leaf(json!(scope.world.full_name(repository))),
        "isPrivate" => Out::Leaf(json!(repository.private)),
        "isFork" => Out::Leaf(json!(repository.fork)),
        "isEmpty" => Out::Leaf(json!(repository.commits.is_empty())),
        "isArchived" => Out::Leaf(json!(false)),
        "stargazerCount" => Out::Leaf(json!(repository.stars)),
        "stargazers" => Out::json("StargazerConnection", json!({"totalCount": repository.stars})),
        "createdAt" => Out::Leaf(json!(iso(repository.created_at))),
        "pushedAt" | "updatedAt" => Out::Leaf(json!(iso(repository.pushed_at()))),
        "owner" => Out::of(scope.world.users.get(&repository.owner).map(Node::User)),
        "defaultBranchRef" => Out::of((!repository.commits.is_empty()).then_some(Node::Branch(repository))),
        "issues" | "pullRequests" => {
            let pull_request = name == "pullRequests";
            let mut found: Vec<&Issue> = scope
                .world
                .issues
                .iter()
                .filter(|issue| issue.repository == repository.id && issue.pull_request == pull_request && state_fits(issue, arguments))
                .collect();
            found.sort_by_key(|issue| std::cmp::Reverse((issue.created_at, issue.id)));
            Out::page(
                if pull_request { "PullRequestConnection" } else { "IssueConnection" },
                arguments,
                found.into_iter().map(Node::Issue),
            )?
        }
        _ => return Ok(None),
    }))
}

fn branch<'w>(repository: &'w Repository, name: &str) -> Option<Out<'w>> {
    match name {
        "name" => Some(Out::Leaf(json!("main"))),
        "target" => Some(Out::Node(Node::Head(repository))),
        _ => None,
    }
}

fn history<'w>(scope: &Scope<'w>, repository: &'w Repository, arguments: &Arguments) -> Result<Out<'w>, Failed> {
    let since = parse(text(arguments, "since")).unwrap_or(i64::MIN);
    let until = parse(text(arguments, "until")).unwrap_or(i64::MAX);
    let author = arguments.get("author").and_then(|author| author.get("id")).and_then(Value::as_str);
    let author = author.map(|id| scope.world.users.values().find(|user| format!("U_sim{}", user.id) == id).map(|user| user.login.clone()));
    let fits = |commit: &&Commit| {
        commit.committed_at >= since
            && commit.committed_at <= until
            && author.as_ref().is_none_or(|login| login.is_some() && commit.login == *login)
    };
    Out::page("CommitHistoryConnection", arguments, repository.commits.iter().filter(fits).map(Node::Commit))
}

fn commit<'w>(scope: &Scope<'w>, commit: &'w Commit, name: &str) -> Option<Out<'w>> {
    Some(match name {
        "oid" => Out::Leaf(json!(commit.sha)),
        "id" => Out::Leaf(json!(format!("C_sim{}", commit.sha))),
        "authoredDate" => Out::Leaf(json!(iso(commit.authored_at))),
        "committedDate" => Out::Leaf(json!(iso(commit.committed_at))),
        "message" | "messageHeadline" => Out::Leaf(json!(commit.message)),
        "author" | "committer" => {
            let account = commit
                .login
                .as_deref()
                .and_then(|login| scope.world.user(login))
                .map(|user| json!({"login": user.login, "databaseId": user.id}));
            Out::json("GitActor", json!({"name": commit.name, "email": commit.email, "date": iso(commit.authored_at), "user": account}))
        }
        _ => return None,
    })
}

fn issue<'w>(scope: &Scope<'w>, issue: &'w Issue, name: &str) -> Option<Out<'w>> {
    Some(match name {
        "id" => Out::Leaf(json!(format!("I_sim{}", issue.id))),
        "databaseId" | "fullDatabaseId" => Out::Leaf(json!(issue.id)),
        "number" => Out::Leaf(json!(issue.number)),
        "title" => Out::Leaf(json!(issue.title)),
        "state" => Out::Leaf(json!(state(issue))),
        "createdAt" => Out::Leaf(json!(iso(issue.created_at))),
        "updatedAt" => Out::Leaf(json!(iso(issue.closed_at.unwrap_or(issue.created_at)))),
        "closedAt" => Out::Leaf(json!(issue.closed_at.map(iso))),
        "mergedAt" if issue.pull_request => Out::Leaf(json!(issue.merged_at.map(iso))),
        "merged" if issue.pull_request => Out::Leaf(json!(issue.merged_at.is_some())),
        "author" => Out::of(scope.world.user(&issue.author).map(Node::User)),
        "repository" => Out::of(scope.world.repositories.get(&issue.repository).map(Node::Repository)),
        _ => return None,
    })
}
