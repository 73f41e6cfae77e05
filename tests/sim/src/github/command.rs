//! Changes of the world while a client reads it: as a library call, or as JSON at `/_control/do`.

use super::auth::{Token, TokenKind};
use super::data::{Commit, Issue, Repository, Star};
use super::limits::known;
use super::world::{Demand, World};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One change. Times are seconds since 1970; repositories go by id.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
#[non_exhaustive]
pub enum Command {
    /// A commit by the account `login` (nobody's where null); the committer date is the author date unless said. Answers its sha.
    AddCommit {
        repository: u64,
        login: Option<String>,
        authored_at: i64,
        #[serde(default)]
        committed_at: Option<i64>,
    },
    /// Takes a commit out of history.
    DeleteCommit { repository: u64, sha: String },
    /// Gives a repository another name; the old one leads to it by a redirect.
    RenameRepository { repository: u64, name: String },
    /// A new, empty repository. Answers its id.
    AddRepository {
        login: String,
        name: String,
        #[serde(default)]
        private: bool,
        created_at: i64,
    },
    /// Takes a repository away.
    DeleteRepository { repository: u64 },
    /// Hides or shows a repository.
    SetPrivate { repository: u64, private: bool },
    /// Puts a repository behind an organisation's own sign-in, or takes it out.
    SetSso { repository: u64, organization: Option<String> },
    /// Sets a repository's stars.
    SetStars { repository: u64, stars: u64 },
    /// Sets a user's followers.
    SetFollowers { login: String, followers: u64 },
    /// Gives an account another login.
    RenameUser { login: String, to: String },
    /// The user stars a repository.
    AddStar { login: String, repository: u64, at: i64 },
    /// An issue or pull request that the user opens. Answers its id.
    AddIssue {
        login: String,
        repository: u64,
        #[serde(default)]
        pull_request: bool,
        created_at: i64,
    },
    /// Closes an issue, or merges a pull request.
    CloseIssue { id: u64, at: i64 },
    /// A review by the user.
    AddReview { login: String, at: i64 },
    /// A personal token: classic with these scopes, or fine-grained with these permissions. Answers its value.
    IssueToken {
        login: String,
        #[serde(default)]
        scopes: Option<Vec<String>>,
        #[serde(default)]
        permissions: Option<Vec<String>>,
        #[serde(default)]
        expires_at: Option<i64>,
    },
    /// Ends one token.
    RevokeToken { token: String },
    /// The person takes an application's access back.
    RevokeGrant { login: String, client_id: String },
    /// Access tokens of applications end now (their refresh tokens live on); all users' where no login is said.
    ExpireTokens {
        #[serde(default)]
        login: Option<String>,
    },
    /// Refresh tokens end now.
    ExpireRefreshTokens {
        #[serde(default)]
        login: Option<String>,
    },
    /// The person authorises a token for organisations with their own sign-in.
    AuthorizeSso { token: String },
    /// Another limit for `core`, `search`, `graphql`, or `points` a minute (the secondary limit).
    SetLimit { resource: String, limit: u64 },
    /// Leaves a user so many requests of a resource until its reset.
    Leave { login: String, resource: String, remaining: u64 },
    /// Requests whose path has this in it need that scope or permission.
    Demand {
        path: String,
        #[serde(default)]
        scope: Option<String>,
        #[serde(default)]
        permission: Option<String>,
    },
    /// Whom the sign-in page signs in at once; null shows the page.
    AutoApprove { login: Option<String> },
    /// Only these scopes are granted, whatever is asked for; null grants all.
    GrantOnly { scopes: Option<Vec<String>> },
    /// Whether authorizations need a code challenge.
    RequirePkce { required: bool },
    /// Another secret for an application.
    SetClientSecret { client_id: String, secret: String },
    /// Another life in seconds for access tokens issued from now on.
    SetAccessLife { client_id: String, seconds: i64 },
    /// Registers redirect addresses in place of those known.
    SetRedirectUris { client_id: String, redirect_uris: Vec<String> },
}

impl World {
    fn repository_mut(&mut self, id: u64) -> Result<&mut Repository, String> {
        self.repositories.get_mut(&id).ok_or_else(|| format!("there is no repository {id}"))
    }

    /// Makes a change and answers what it made.
    pub fn apply(&mut self, command: Command) -> Result<Value, String> {
        match command {
            Command::AddCommit { repository, login, authored_at, committed_at } => {
                return self.add_commit(repository, login, authored_at, committed_at.unwrap_or(authored_at));
            }
            Command::DeleteCommit { repository, sha } => self.repository_mut(repository)?.commits.retain(|commit| commit.sha != sha),
            Command::RenameRepository { repository, name } => {
                let old = self.repositories.get(&repository).map(|found| self.full_name(found).to_lowercase());
                let found = self.repository_mut(repository)?;
                found.former.extend(old);
                found.name = name;
            }
            Command::AddRepository { login, name, private, created_at } => {
                let owner = self.user_mut(&login)?.id;
                let id = self.repositories.keys().max().copied().unwrap_or(200_000_000) + 1;
                let repository = Repository {
                    id,
                    owner,
                    name,
                    former: Vec::new(),
                    private,
                    fork: false,
                    stars: 0,
                    created_at,
                    sso: None,
                    commits: Vec::new(),
                };
                self.repositories.insert(id, repository);
                return Ok(json!(id));
            }
            Command::DeleteRepository { repository } => drop(self.repositories.remove(&repository)),
            Command::SetPrivate { repository, private } => self.repository_mut(repository)?.private = private,
            Command::SetSso { repository, organization } => self.repository_mut(repository)?.sso = organization,
            Command::SetStars { repository, stars } => self.repository_mut(repository)?.stars = stars,
            Command::SetFollowers { login, followers } => self.user_mut(&login)?.followers = followers,
            Command::RenameUser { login, to } => self.rename_user(&login, &to)?,
            Command::AddStar { login, repository, at } => self.user_mut(&login)?.stars.insert(0, Star { repository, at }),
            Command::AddIssue { login, repository, pull_request, created_at } => {
                let id = self.issues.iter().map(|issue| issue.id).max().unwrap_or(0) + 1;
                let number =
                    self.issues.iter().filter(|issue| issue.repository == repository).map(|issue| issue.number).max().unwrap_or(0) + 1;
                let author = self.user_mut(&login)?.login.clone();
                self.issues.push(Issue {
                    id,
                    number,
                    repository,
                    author,
                    title: "Opened while you read".to_owned(),
                    pull_request,
                    created_at,
                    closed_at: None,
                    merged_at: None,
                });
                return Ok(json!(id));
            }
            Command::CloseIssue { id, at } => {
                let issue = self.issues.iter_mut().find(|issue| issue.id == id).ok_or_else(|| format!("there is no issue {id}"))?;
                issue.closed_at = Some(at);
                issue.merged_at = issue.pull_request.then_some(at);
            }
            Command::AddReview { login, at } => self.user_mut(&login)?.reviews.push(at),
            other => return self.apply_to_access(other),
        }
        Ok(json!({}))
    }

    fn add_commit(&mut self, repository: u64, login: Option<String>, authored_at: i64, committed_at: i64) -> Result<Value, String> {
        let (name, email) = match &login {
            Some(login) => self
                .user_mut(login)
                .map(|user| (user.name.clone(), user.email.clone()))
                .unwrap_or_else(|_| (login.clone(), format!("{login}@mail.example"))),
            None => ("Nobody".to_owned(), "nobody@elsewhere.invalid".to_owned()),
        };
        let sha: String = self.auth.random(40).bytes().map(|byte| char::from_digit(u32::from(byte) % 16, 16).unwrap_or('0')).collect();
        let commit =
            Commit { sha: sha.clone(), login, name, email, authored_at, committed_at, message: "Written while you read".to_owned() };
        self.repository_mut(repository)?.insert(commit);
        Ok(json!(sha))
    }

    fn apply_to_access(&mut self, command: Command) -> Result<Value, String> {
        match command {
            Command::IssueToken { login, scopes, permissions, expires_at } => {
                let user = self.user_mut(&login)?.id;
                let value = self.auth.personal(user, None, 0);
                let classic = scopes.is_some();
                let prefix = if classic { format!("ghp_{}", self.auth.random(36)) } else { value.clone() };
                let made = self.auth.find_mut(&value).ok_or("the token was not kept")?;
                let permissions = permissions.unwrap_or_else(|| made.permissions.clone());
                made.expires_at = expires_at;
                if !classic {
                    made.permissions = permissions;
                    return Ok(json!(value));
                }
                made.revoked = true;
                let token = Token {
                    value: prefix,
                    kind: TokenKind::Classic,
                    scopes: scopes.unwrap_or_default(),
                    permissions: Vec::new(),
                    revoked: false,
                    ..made.clone()
                };
                return Ok(json!(self.auth.add(token)));
            }
            Command::RevokeToken { token } => {
                self.auth.find_mut(&token).ok_or("there is no such token")?.revoked = true;
                self.auth.revocations += 1;
            }
            Command::RevokeGrant { login, client_id } => {
                let user = self.user_mut(&login)?.id;
                self.auth.revoke_grant(&client_id, user);
            }
            Command::ExpireTokens { login } => {
                let user = self.whose(login)?;
                let of = |token: &&mut Token| token.client_id.is_some() && user.is_none_or(|user| token.user == user);
                self.auth.tokens_mut().filter(of).for_each(|token| token.expires_at = Some(0));
            }
            Command::ExpireRefreshTokens { login } => {
                let user = self.whose(login)?;
                self.auth
                    .refresh
                    .values_mut()
                    .filter(|refresh| user.is_none_or(|user| refresh.user == user))
                    .for_each(|refresh| refresh.expires_at = 0);
            }
            Command::AuthorizeSso { token } => self.auth.find_mut(&token).ok_or("there is no such token")?.sso = true,
            Command::SetLimit { resource, limit } => match resource.as_str() {
                "core" => self.buckets.limits.core = limit,
                "search" => self.buckets.limits.search = limit,
                "graphql" => self.buckets.limits.graphql = limit,
                "points" => self.buckets.limits.points_a_minute = Some(limit),
                other => return Err(format!("there is no limit {other:?}")),
            },
            Command::Leave { login, resource, remaining } => {
                let now = self.clock.now().div_euclid(1000);
                let user = self.user_mut(&login)?.id;
                let resource = known(&resource).ok_or_else(|| format!("there is no limit {resource:?}"))?;
                self.buckets.leave(Some(user), resource, now, remaining);
            }
            Command::Demand { path, scope, permission } => self.demands.push(Demand { path, scope, permission }),
            Command::AutoApprove { login } => self.auth.auto_approve = login,
            Command::GrantOnly { scopes } => self.auth.grant_only = scopes,
            Command::RequirePkce { required } => self.auth.require_pkce = required,
            Command::SetClientSecret { client_id, secret } => self.app_mut(&client_id)?.client_secret = secret,
            Command::SetAccessLife { client_id, seconds } => self.app_mut(&client_id)?.access_life = seconds,
            Command::SetRedirectUris { client_id, redirect_uris } => self.app_mut(&client_id)?.redirect_uris = redirect_uris,
            other => return Err(format!("{other:?} is not known")),
        }
        Ok(json!({}))
    }

    fn whose(&mut self, login: Option<String>) -> Result<Option<u64>, String> {
        login.map(|login| self.user_mut(&login).map(|user| user.id)).transpose()
    }

    fn app_mut(&mut self, client_id: &str) -> Result<&mut super::App, String> {
        self.auth.apps.iter_mut().find(|app| app.client_id == client_id).ok_or_else(|| format!("there is no application {client_id:?}"))
    }
}
