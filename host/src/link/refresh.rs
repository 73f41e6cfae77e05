//! Renewing a key that ends, so that no instant of dying loses it.
//!
//! The problem: a provider that rotates refresh tokens takes the old one back the moment it answers. Two callers that refresh at once kill each
//! other's token (some providers revoke the whole family); an answer that is not on the disk before it is used is lost with the process.
//!
//! The contract:
//! - One refresh at a time for each (connector, profile, app, account). Those who waited find the new key in the store and send nothing. The data
//!   folder's lock keeps other processes out, the credential's version whatever else may have changed it.
//! - The intent is on the disk before the request goes out; the new pair is on the disk before anybody sees it. A refresh goes on when its caller
//!   goes away: it runs in a task of its own.
//! - A lost answer (silence, a reset, half a body) keeps the old token and the intent, and the next run asks once more: a minute or two later, since
//!   some providers answer a repetition for that long, and trouble on the way is often over by then. A second lost answer for the same version of
//!   the key ends in a sign-in: whether it was used up nobody here can know, and whoever repeats it for ever is taken for a thief.
//! - An answer that is whole is not lost, whatever it says: a provider that refuses to serve (429, 5xx), or that cannot be reached at all, has not
//!   used anything up. The intent is taken back, and the token is tried for as long as that lasts.
//! - The request has 30 seconds, a run's lease minutes: nobody takes the connection over meanwhile.

use super::error::LinkError;
use super::exchange::{self, ExchangeError};
use super::keyring::{Keyring, REFRESH, renewable};
use super::misconfigured;
use super::registration::app_fields;
use super::token_answer::{Refusal, TokenError};
use super::token_request::{self, TokenRequestError};
use super::wire::CallError;
use crate::{app::App, modules::Connector};
use sluice_gate::Keys;
use sluice_model::manifest::{Auth, AuthKind, ExchangeWhen};
use sluice_model::{ConnectionId, Failure, FailureKind};
use sluice_store::{Connection, Credential, StoreError};
use sluice_vault::{DataKey, SealError, WrappedKey};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A key is renewed when it ends within this time: the longest a run may take to its first request, with room for clocks that differ.
pub const BEFORE_END_MS: i64 = 5 * 60_000;
/// How often a version that moved under us is looked at again before we say that something else is wrong.
const LOOKS: usize = 3;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// The connector cannot run at the moment.
    #[error("the connector {0} is not loaded")]
    NoConnector(String),
    /// Only the person can help: the refresh token is no longer good, or there is none.
    #[error("the key can't be renewed: {0}")]
    NeedsSignIn(String),
    /// Only the person can help: two renewals of the same key went out, and the answers of both were lost.
    #[error("the answers to two renewals of this key were lost, so that nobody knows whether it is still good: {0}")]
    Unanswered(String),
    /// Only the operator can help.
    #[error("the app is misconfigured: {0}")]
    Misconfigured(String),
    /// Later.
    #[error("the key was not renewed: {why}")]
    Transient {
        /// What happened.
        why: String,
        /// When to come again, ms from now, where the provider said.
        retry_after_ms: Option<u64>,
    },
    /// It went out, and the answer was lost: it is asked once more.
    #[error("the answer to a renewal of the key was lost; the old key is tried once more with the next run: {0}")]
    Lost(String),
    /// The answer makes no sense.
    #[error("the key was not renewed: {0}")]
    Unexpected(String),
    /// What is stored does not open.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RefreshError {
    /// The same in the scheduler's words.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let (kind, code, message) = match self {
            Self::NeedsSignIn(_) => (
                FailureKind::Unauthorized,
                "SIGN_IN_AGAIN",
                "The provider no longer accepts the stored key of this account; sign in again.",
            ),
            Self::Unanswered(_) => (
                FailureKind::Unauthorized,
                "RENEWAL_UNANSWERED",
                "The provider was asked twice to renew the key of this account, and both answers were lost on the way: the key may have been \
                 replaced without this host learning the new one. Sign in again.",
            ),
            Self::Lost(_) => (
                FailureKind::Transient,
                "RENEWAL_LOST",
                "The provider's answer to a renewal of the key was lost on the way; the key is renewed once more with the next run.",
            ),
            Self::Sealed(_) => {
                (FailureKind::Unauthorized, "KEY_UNREADABLE", "The stored key of this account cannot be opened; sign in again.")
            }
            Self::Misconfigured(_) => {
                (FailureKind::Misconfigured, "APP_REFUSED", "The provider does not accept this host's app; its operator has to look at it.")
            }
            Self::Transient { .. } => {
                (FailureKind::Transient, "REFRESH_FAILED", "The provider could not renew the key just now; it is tried again.")
            }
            Self::Unexpected(_) => (
                FailureKind::UnexpectedResponse,
                "REFRESH_ODD",
                "The provider answered a renewal of the key with something that is no key.",
            ),
            Self::NoConnector(_) | Self::Store(_) => {
                (FailureKind::Transient, "HOST_FAILED", "This host could not renew the key; it tries again.")
            }
        };
        let mut failure = Failure::new(kind, code, message);
        if let Self::Transient { retry_after_ms, .. } = self {
            failure.retry_after_ms = *retry_after_ms;
        }
        failure
    }
}

impl From<LinkError> for RefreshError {
    fn from(error: LinkError) -> Self {
        Self::Misconfigured(error.to_string())
    }
}

/// What refreshes and revocations share within a process: who is at it.
#[derive(Default)]
pub struct Grants {
    all: Mutex<HashMap<String, Arc<Grant>>>,
}

/// One grant: an account's consent to one app by one profile.
#[derive(Default)]
pub(super) struct Grant {
    /// Whoever holds it talks to the provider.
    pub turn: tokio::sync::Mutex<()>,
    /// How often each connection's keys were renewed, while anybody looks.
    renewals: Mutex<HashMap<ConnectionId, u64>>,
}

impl Grant {
    fn renewals(&self, connection: ConnectionId) -> u64 {
        lock(&self.renewals).get(&connection).copied().unwrap_or_default()
    }

    fn renewed(&self, connection: ConnectionId) {
        *lock(&self.renewals).entry(connection).or_default() += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Grants {
    pub(super) fn of(&self, connection: &Connection) -> Arc<Grant> {
        let mut all = lock(&self.all);
        // Those that nobody holds are forgotten, so that the map has the size of what goes on now.
        all.retain(|_, grant| Arc::strong_count(grant) > 1);
        all.entry(grant_name(connection)).or_default().clone()
    }
}

/// (connector, profile, app, account); where the provider tells nobody who they are, each connection is a grant of its own.
fn grant_name(connection: &Connection) -> String {
    let account = connection.account.id.as_deref().map_or_else(|| format!("?{}", connection.public_id), |id| format!("={id}"));
    format!("{}\0{}\0{}\0{account}", connection.connector, connection.profile, connection.app)
}

/// Whether a key of this connection ends within five minutes and can be renewed, or a renewal under way was cut off.
#[must_use]
pub fn needs_refresh(connector: &Connector, connection: &Connection, credentials: &[Credential], now: i64) -> bool {
    renewable(connector, &connection.profile, credentials) && due(credentials, now)
}

/// Whether the host can renew this connection's keys without the person.
#[must_use]
pub fn can_refresh(connector: &Connector, connection: &Connection, credentials: &[Credential]) -> bool {
    renewable(connector, &connection.profile, credentials)
}

fn due(credentials: &[Credential], now: i64) -> bool {
    credentials.iter().filter(|row| !row.guest).any(|row| {
        // A refresh token's own end makes no difference: using it is what renews it.
        let ends = row.name != REFRESH && row.expires_at.is_some_and(|at| at.saturating_sub(BEFORE_END_MS) <= now);
        ends || row.intent_at.is_some()
    })
}

/// Fresh keys: renewed where they end soon or `force` says so, else as they are.
///
/// Of callers that come while one is at it, none asks the provider again, `force` or not.
///
/// # Errors
/// See [`RefreshError`]; [`RefreshError::failure`] says it in the scheduler's words.
pub async fn refresh(app: &Arc<App>, connection: &Connection, force: bool) -> Result<Keys, RefreshError> {
    // Read before waiting: whoever is renewed while we wait is renewed for us too.
    let seen = app.grants.of(connection);
    let before = seen.renewals(connection.id);
    let (app, connection) = (app.clone(), connection.clone());
    // In a task of its own: a caller that is cancelled between the provider's answer and the commit must not take the new pair with it.
    let going = tokio::spawn(async move {
        let renewed = in_turn(&app, connection.clone(), force, &seen, before).await;
        if let Err(error) = &renewed {
            tracing::info!(connector = %connection.connector, connection = %connection.public_id, "{error}");
        }
        renewed
    });
    going.await.unwrap_or_else(|error| Err(RefreshError::Unexpected(format!("the renewal stopped: {error}"))))
}

async fn in_turn(app: &Arc<App>, mut connection: Connection, force: bool, seen: &Arc<Grant>, before: u64) -> Result<Keys, RefreshError> {
    let connector = app.modules.get(&connection.connector).ok_or_else(|| RefreshError::NoConnector(connection.connector.clone()))?;
    for _ in 0..LOOKS {
        let grant = app.grants.of(&connection);
        let _turn = grant.turn.lock().await;
        let at = Here::read(app, &connector, connection.id).await?;
        if grant_name(&at.connection) != grant_name(&connection) {
            // Signed in to again by another profile or app while we waited: another grant, another turn.
            connection = at.connection;
            continue;
        }
        let force = force && seen.renewals(connection.id) == before;
        let can = renewable(&connector, &at.connection.profile, &at.stored);
        if force && !can {
            return Err(RefreshError::NeedsSignIn("this kind of key cannot be renewed without the person".into()));
        }
        if !can || !(force || due(&at.stored, app.now())) {
            return Ok(at.ring.into_gate());
        }
        if let Some(ring) = at.renew(app).await? {
            grant.renewed(connection.id);
            return Ok(ring.into_gate());
        }
        // Somebody else changed the keys meanwhile: look again.
    }
    Err(RefreshError::Transient { why: "the stored keys kept changing".into(), retry_after_ms: None })
}

/// A connection's keys as they are in the store now.
struct Here<'a> {
    connector: &'a Connector,
    auth: &'a Auth,
    connection: Connection,
    data_key: DataKey,
    stored: Vec<Credential>,
    ring: Keyring,
}

impl<'a> Here<'a> {
    async fn read(app: &App, connector: &'a Connector, id: ConnectionId) -> Result<Self, RefreshError> {
        // Read anew: a sign-in may have changed profile and data key since the caller looked.
        let gone = || RefreshError::NeedsSignIn("the connection has no keys any more".into());
        let connection = app.store.connection(id).await?.ok_or_else(gone)?;
        let (wrapped, stored) = app.store.credentials(id).await?;
        let (key_id, bytes) = wrapped.ok_or_else(gone)?;
        let data_key = app.vault.unwrap(&connection.public_id, &WrappedKey { key_id, bytes })?;
        let auth = connector
            .manifest
            .profile(&connection.profile)
            .ok_or_else(|| RefreshError::NeedsSignIn(format!("the connector no longer has the profile {}", connection.profile)))?;
        let fields = app_fields(app, connector, auth)?;
        let ring = Keyring::open(fields, &connector.name, &connection.public_id, &data_key, &stored)?;
        Ok(Self { connector, auth, connection, data_key, stored, ring })
    }

    /// The token first, then the manifest's `renew` steps, each committed before the next. `None`: the stored keys moved on under us.
    async fn renew(mut self, app: &App) -> Result<Option<Keyring>, RefreshError> {
        if let (AuthKind::Oauth2(oauth), Some(refresh)) = (&self.auth.kind, self.ring.look_up(REFRESH)) {
            let Some(question) = self.intend(app, REFRESH).await? else { return Ok(None) };
            let asked = token_request::by_refresh_token(&self.connector.egress, oauth, &self.ring, refresh).await;
            app.fail_point("refresh:after-answer");
            match asked {
                Ok(answer) => {
                    token_request::keep(&mut self.ring, answer, app.now());
                }
                Err(failed) => return self.judge_token(app, question, failed).await,
            }
            if !self.commit(app, question).await? {
                return Ok(None);
            }
        }
        if self.auth.exchanges.iter().any(|step| step.when == ExchangeWhen::Renew) {
            // Any host-held key will do to carry the version: they are all replaced together.
            let Some(name) = self.stored.iter().find(|row| !row.guest).map(|row| row.name.clone()) else { return Ok(None) };
            self.stored = app.store.credentials(self.connection.id).await?.1;
            let Some(question) = self.intend(app, &name).await? else { return Ok(None) };
            let ran =
                exchange::run(&self.connector.egress, &self.connector.manifest, self.auth, ExchangeWhen::Renew, &mut self.ring, app.now())
                    .await;
            app.fail_point("refresh:after-answer");
            if let Err(failed) = ran {
                return self.judge_exchange(app, question, failed).await;
            }
            if !self.commit(app, question).await? {
                return Ok(None);
            }
        }
        Ok(Some(self.ring))
    }

    async fn intend(&self, app: &App, name: &str) -> Result<Option<Question>, RefreshError> {
        let Some(row) = self.stored.iter().find(|row| row.name == name && !row.guest) else { return Ok(None) };
        let question = Question { name: name.to_owned(), version: row.version, again: row.intent_at.is_some() };
        app.fail_point("refresh:before-intent");
        let marked = app.store.mark_intent(self.connection.id, name, row.version, app.now()).await?;
        app.fail_point("refresh:after-intent");
        Ok(marked.then_some(question))
    }

    async fn commit(&mut self, app: &App, question: Question) -> Result<bool, RefreshError> {
        self.ring.end_as_declared(self.auth.expires_ms, app.now());
        let sealed = self.ring.seal(&self.connector.name, &self.connection.public_id, &self.data_key);
        app.fail_point("refresh:before-commit");
        let stored = app.store.replace_credentials(self.connection.id, (question.name, question.version), sealed).await?;
        app.fail_point("refresh:after-commit");
        Ok(stored)
    }

    async fn moved(&self, app: &App, question: &Question) -> Result<bool, RefreshError> {
        let (_, stored) = app.store.credentials(self.connection.id).await?;
        Ok(stored.iter().find(|row| row.name == question.name).is_none_or(|row| row.version != question.version))
    }

    async fn judge_token(&self, app: &App, question: Question, failed: TokenRequestError) -> Result<Option<Keyring>, RefreshError> {
        let why = failed.to_string();
        match failed {
            TokenRequestError::Call(failed) => self.judge_call(app, question, &failed, why).await,
            TokenRequestError::Token { error, retry_after } => {
                // Providers that name their error otherwise, or not at all, still say it with these two.
                let unnamed = matches!(&error, TokenError::Refused { status: 400 | 401, code: "unlisted" | "no error code", .. });
                let class = if unnamed { Refusal::SignInAgain } else { error.class() };
                // Something that should have been the new pair: it may have been one, spoilt on the way.
                let whole = !matches!(&error, TokenError::Malformed { status: 200..=299, .. });
                self.judge(app, question, class, Said { why, retry_after, whole }).await
            }
        }
    }

    async fn judge_exchange(&self, app: &App, question: Question, failed: ExchangeError) -> Result<Option<Keyring>, RefreshError> {
        let why = failed.to_string();
        let class = match &failed {
            ExchangeError::Refused { class: Refusal::Other, status: 400 | 401 | 403, .. } => Refusal::SignInAgain,
            other => other.class(),
        };
        match failed {
            ExchangeError::Call(failed) => self.judge_call(app, question, &failed, why).await,
            ExchangeError::Refused { retry_after, .. } => self.judge(app, question, class, Said { why, retry_after, whole: true }).await,
            ExchangeError::Malformed(_) => self.judge(app, question, class, Said { why, retry_after: None, whole: false }).await,
            // Our own: nothing was sent.
            ExchangeError::Template(_) | ExchangeError::NoSigningSecret => {
                self.judge(app, question, class, Said { why, retry_after: None, whole: true }).await
            }
        }
    }

    /// No answer: what matters is whether the provider may have acted.
    async fn judge_call(&self, app: &App, question: Question, failed: &CallError, why: String) -> Result<Option<Keyring>, RefreshError> {
        let error = match failed {
            CallError::Lost(_) if !question.again => return Err(RefreshError::Lost(why)),
            CallError::Lost(_) if self.moved(app, &question).await? => return Ok(None),
            CallError::Lost(_) => return Err(RefreshError::Unanswered(why)),
            CallError::Refused(_) => RefreshError::Unexpected(why),
            CallError::NotSent(_) => RefreshError::Transient { why, retry_after_ms: None },
        };
        self.take_back(app, &question).await?;
        Err(error)
    }

    async fn judge(&self, app: &App, question: Question, class: Refusal, said: Said) -> Result<Option<Keyring>, RefreshError> {
        let Said { why, retry_after, whole } = said;
        if matches!(class, Refusal::SignInAgain | Refusal::Declined) {
            // "No" to a token that is no longer the stored one says nothing of the one that is.
            if self.moved(app, &question).await? {
                return Ok(None);
            }
            let note = if question.again { " (the answer to an earlier renewal was lost)" } else { "" };
            return Err(RefreshError::NeedsSignIn(format!("{why}{note}")));
        }
        if whole {
            self.take_back(app, &question).await?;
        }
        match class {
            Refusal::InvalidClient => {
                misconfigured::pause_app(app, &self.connector.name, self.connection.app).await;
                Err(RefreshError::Misconfigured(why))
            }
            Refusal::Misregistered => Err(RefreshError::Misconfigured(why)),
            Refusal::Transient => {
                let now = app.now();
                let until = retry_after.and_then(|value| sluice_gate::retry_after(&value, now));
                let retry_after_ms = until.map(|until| u64::try_from(until.saturating_sub(now)).unwrap_or(0));
                Err(RefreshError::Transient { why, retry_after_ms })
            }
            // Yes and no were told apart above: what is left says nothing that can be acted on.
            Refusal::SignInAgain | Refusal::Declined | Refusal::Other => Err(RefreshError::Unexpected(why)),
        }
    }

    /// This question used nothing up. One before it, whose answer was lost, may have: its mark stays.
    async fn take_back(&self, app: &App, question: &Question) -> Result<(), RefreshError> {
        if !question.again {
            app.store.take_back_intent(self.connection.id, &question.name, question.version).await?;
        }
        Ok(())
    }
}

/// What the provider is asked: to renew this version of this key.
struct Question {
    name: String,
    version: i64,
    /// The answer to an earlier one about the same version was lost, or its asker died.
    again: bool,
}

/// What came back, where it was no key.
struct Said {
    why: String,
    /// When to come again, as the provider wrote it.
    retry_after: Option<String>,
    /// Whether it is the provider's own word, and not a key that was spoilt on the way.
    whole: bool,
}

/// The data key of a connection.
///
/// # Errors
/// There is none any more, or it does not open.
pub fn data_key(app: &App, connection: &Connection) -> Result<DataKey, SealError> {
    let (key_id, bytes) = connection.data_key.clone().ok_or(SealError::Malformed)?;
    app.vault.unwrap(&connection.public_id, &WrappedKey { key_id, bytes })
}

/// The keys of a run, as they are stored: nothing is renewed.
///
/// # Errors
/// They do not open, or an app field is missing.
pub fn keys(app: &App, connector: &Connector, connection: &Connection, credentials: &[Credential]) -> Result<Keys, RefreshError> {
    let auth = connector
        .manifest
        .profile(&connection.profile)
        .ok_or_else(|| RefreshError::NeedsSignIn(format!("the connector no longer has the profile {}", connection.profile)))?;
    let fields = app_fields(app, connector, auth)?;
    let data_key = data_key(app, connection)?;
    Ok(Keyring::open(fields, &connector.name, &connection.public_id, &data_key, credentials)?.into_gate())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, expires_at: Option<i64>, intent_at: Option<i64>, guest: bool) -> Credential {
        Credential { name: name.into(), ciphertext: Vec::new(), secret: true, guest, expires_at, version: 1, intent_at }
    }

    #[test]
    fn a_key_is_renewed_five_minutes_before_its_end_and_after_a_cut_off_renewal() {
        let now = 10_000_000;
        for (rows, wanted) in [
            (vec![], false),
            (vec![row("access-token", None, None, false)], false),
            (vec![row("access-token", Some(now + BEFORE_END_MS + 1), None, false)], false),
            (vec![row("access-token", Some(now + BEFORE_END_MS), None, false)], true),
            (vec![row("access-token", Some(now - 1), None, false)], true),
            (vec![row("access-token", Some(i64::MIN), None, false)], true),
            (vec![row(REFRESH, Some(now - 1), None, false)], false),
            (vec![row(REFRESH, None, Some(1), false)], true),
            (vec![row("guests-own", Some(now - 1), None, true)], false),
        ] {
            assert_eq!(due(&rows, now), wanted, "{rows:?}");
        }
    }

    #[test]
    fn each_error_says_what_the_scheduler_needs() {
        for (error, kind) in [
            (RefreshError::NeedsSignIn("x".into()), FailureKind::Unauthorized),
            (RefreshError::Unanswered("x".into()), FailureKind::Unauthorized),
            (RefreshError::Lost("x".into()), FailureKind::Transient),
            (RefreshError::Misconfigured("x".into()), FailureKind::Misconfigured),
            (RefreshError::Transient { why: "x".into(), retry_after_ms: Some(7) }, FailureKind::Transient),
            (RefreshError::Unexpected("x".into()), FailureKind::UnexpectedResponse),
            (RefreshError::Sealed(SealError::Refused), FailureKind::Unauthorized),
            (RefreshError::Store(StoreError::Full), FailureKind::Transient),
        ] {
            let failure = error.failure();
            assert_eq!(failure.kind, kind, "{error}");
            assert_eq!(
                failure.retry_after_ms,
                if kind == FailureKind::Transient && failure.code == "REFRESH_FAILED" { Some(7) } else { None }
            );
        }
    }
}
