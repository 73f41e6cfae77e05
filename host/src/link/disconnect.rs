//! Leaving: the local secret goes at once, the provider's grant as soon as the provider lets it.
//!
//! The order is durable at each step. First, where this is the last connection of its grant, what revoking needs is put aside, sealed by the host key
//! for that one purpose; then the connection's keys and wrapped data key are destroyed; then the provider is asked. Killed in between, or refused
//! with a 503, the put-aside row is tried again by [`revocations`] until the provider says yes or a week has passed, and then destroyed as well. The
//! store hands a row out only while its connection is really gone, so that a crash before the second step revokes nothing that is in use.
//!
//! A grant is (connector, profile, app, account): GitHub's call takes back every token that an account gave an app, so as long as another connection
//! stands on the same grant nothing is revoked, and the report says so.

use super::error::LinkError;
use super::keyring::{ACCESS, Keyring, REFRESH};
use super::registration::{app_fields, fingerprint};
use super::revoke::{self, Tokens, Verdict};
use crate::{app::App, modules::Connector};
use serde::{Deserialize, Serialize};
use sluice_model::manifest::{Auth, AuthKind, Oauth2};
use sluice_store::{Audit, Connection, DataChoice, NewRevocation, Revocation};
use sluice_vault::WrappedKey;
use std::{fmt, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// The first repetition; our own first try is over by then (the gate gives it less).
const FIRST_RETRY_MS: i64 = 60_000;
/// Between later ones, doubling up to this.
const LONGEST_RETRY_MS: i64 = 6 * 3_600_000;
/// After a week the token is destroyed here too, and the audit log says that the provider never answered.
const GIVE_UP_MS: i64 = 7 * 24 * 3_600_000;
/// How many rows are taken at once.
const BATCH: usize = 32;
/// How long the task sleeps when it knows of nothing; a row is made with a due time of its own.
const IDLE: Duration = Duration::from_secs(60);

/// What became of the grant at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Revoked {
    /// The provider no longer honours it.
    Done,
    /// The provider did not answer; it is asked again.
    Queued,
    /// So many other connections stand on the same grant.
    Shared(u64),
    /// This way in has no revocation; where the person can do it, if known.
    ByHand(Option<String>),
    /// There was nothing to revoke.
    Nothing,
    /// It could not be tried.
    Failed(String),
}

/// What a disconnect did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnected {
    /// The connector.
    pub connector: String,
    /// The account, for people.
    pub account: String,
    /// Whether its data went too.
    pub data_deleted: bool,
    /// What was removed here.
    pub erased: Removed,
    /// What became of the grant at the provider, for programs.
    pub grant: Revoked,
    /// The same for people.
    pub revoked: String,
}

/// What was removed here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Keys destroyed.
    pub credentials: u64,
    /// Entries.
    pub entries: u64,
    /// Runs.
    pub runs: u64,
    /// Log lines.
    pub log_lines: u64,
    /// Whether the database's log was emptied too; when not, the next start does it.
    pub wal_emptied: bool,
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => write!(f, "the provider has taken the access back"),
            Self::Queued => write!(f, "the provider did not answer; it is asked again until it takes the access back"),
            Self::Shared(1) => write!(f, "the access at the provider stays: another connection uses it"),
            Self::Shared(others) => write!(f, "the access at the provider stays: {others} other connections use it"),
            Self::ByHand(Some(page)) => write!(f, "take the access back at the provider: {page}"),
            Self::ByHand(None) => write!(f, "take the access back in your account's settings at the provider"),
            Self::Nothing => write!(f, "there was nothing to take back at the provider"),
            Self::Failed(why) => write!(f, "the access was not taken back at the provider ({why}); do it in your account's settings there"),
        }
    }
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Removed { credentials, entries, runs, log_lines, .. } = &self.erased;
        writeln!(f, "disconnected {} ({}): {credentials} keys destroyed", self.connector, self.account)?;
        if self.data_deleted {
            writeln!(f, "  removed {entries} entries, {runs} runs and {log_lines} log lines")?;
        } else {
            writeln!(f, "  its entries stay")?;
        }
        write!(f, "  {}", self.revoked)
    }
}

/// What to do at the provider.
enum Plan {
    /// Ask it, with this.
    Ask(Box<Asking>),
    /// Nothing, and why.
    Leave(Revoked),
}

struct Asking {
    connector: Arc<Connector>,
    oauth: Oauth2,
    revoke_url: String,
    ring: Keyring,
    tokens: Tokens,
}

impl Asking {
    async fn ask(&self) -> Verdict {
        revoke::revoke(&self.connector.egress, &self.oauth, &self.revoke_url, &self.ring, &self.tokens).await
    }
}

/// Ends a connection: its keys are gone when this returns, whatever the provider says.
///
/// # Errors
/// The store failed, and nothing was destroyed.
pub async fn disconnect(app: &Arc<App>, connection: &Connection, choice: DataChoice) -> Result<Disconnected, LinkError> {
    let (app, connection) = (app.clone(), connection.clone());
    // In a task of its own: a browser that goes away must not leave it half done.
    let going = tokio::spawn(async move {
        let grant = app.grants.of(&connection);
        // After a refresh that is under way, so that what is revoked is what is current.
        let _turn = grant.turn.lock().await;
        with_turn(&app, &connection, choice).await
    });
    going.await.unwrap_or_else(|error| Err(LinkError::internal(format!("disconnecting stopped: {error}"))))
}

async fn with_turn(app: &Arc<App>, connection: &Connection, choice: DataChoice) -> Result<Disconnected, LinkError> {
    let now = app.now();
    let plan = plan(app, connection).await?;
    let mut waiting = None;
    if let Plan::Ask(asking) = &plan {
        let row = NewRevocation {
            connection: connection.id,
            app: connection.app,
            connector: connection.connector.clone(),
            profile: connection.profile.clone(),
            account: connection.account.id.clone(),
            sealed: app.vault.seal(&context(&connection.connector, &connection.profile, connection.id.0), &asking.tokens.to_bytes()),
            created_at: now,
            due: now + FIRST_RETRY_MS,
        };
        waiting = Some(app.store.put_revocation(row).await.map_err(LinkError::internal)?);
    }
    app.fail_point("disconnect:before-wipe");
    let erased = app.store.disconnect(connection.id, choice).await.map_err(LinkError::internal)?;
    // Its commits are fenced off from here on; there is no sense in fetching any more.
    app.stops.stop(connection.id);
    app.fail_point("disconnect:after-wipe");
    let grant = match (plan, waiting) {
        (Plan::Leave(why), _) => why,
        (Plan::Ask(asking), Some(row)) => match asking.ask().await {
            Verdict::Done => forget(app, row, Revoked::Done).await,
            Verdict::Never(why) => forget(app, row, Revoked::Failed(why)).await,
            Verdict::Later(why) => {
                tracing::warn!(connector = %connection.connector, "the access was not revoked yet and is tried again: {why}");
                Revoked::Queued
            }
        },
        (Plan::Ask(_), None) => Revoked::Failed("it was not put aside".into()),
    };
    let report = Disconnected {
        connector: connection.connector.clone(),
        account: connection.account.label.clone(),
        data_deleted: choice == DataChoice::Delete,
        erased: Removed {
            credentials: erased.credentials,
            entries: erased.entries,
            runs: erased.runs,
            log_lines: erased.log_lines,
            wal_emptied: erased.wal_emptied,
        },
        revoked: grant.to_string(),
        grant,
    };
    let kind = if report.data_deleted { "disconnected-and-deleted" } else { "disconnected" };
    let detail = format!("{} {}: {:?}", connection.connector, super::error::quote(&connection.account.label), report.grant);
    note(app, Audit { at: now, user: Some(connection.user), kind: kind.into(), connection: Some(connection.id), detail }).await;
    Ok(report)
}

async fn note(app: &App, entry: Audit) {
    if let Err(error) = app.store.audit(entry).await {
        tracing::error!("an audit entry was not written: {error}");
    }
}

async fn forget(app: &App, row: i64, outcome: Revoked) -> Revoked {
    if let Err(error) = app.store.done_revocation(row).await {
        tracing::error!("a finished revocation could not be removed and is repeated: {error}");
    }
    outcome
}

/// Whether, and with what, the provider is to be asked. Nothing here stops the local wipe: what cannot be opened or read is reported.
async fn plan(app: &App, connection: &Connection) -> Result<Plan, LinkError> {
    let leave = |revoked| Ok(Plan::Leave(revoked));
    let Some(connector) = app.modules.get(&connection.connector) else {
        return leave(Revoked::Failed("its connector is not loaded".into()));
    };
    let Some(auth) = connector.manifest.profile(&connection.profile).cloned() else { return leave(Revoked::ByHand(None)) };
    let (wrapped, stored) = app.store.credentials(connection.id).await.map_err(LinkError::internal)?;
    let Some((key_id, bytes)) = wrapped else { return leave(Revoked::Nothing) };
    let AuthKind::Oauth2(oauth) = &auth.kind else { return leave(by_hand(&auth, stored.iter().any(|row| row.secret && !row.guest))) };
    let Some(revoke_url) = oauth.revoke_url.clone() else { return leave(Revoked::ByHand(auth.help.clone())) };
    if let Some(account) = &connection.account.id {
        let others =
            app.store.grant_users(connection.app, &connection.profile, account, connection.id).await.map_err(LinkError::internal)?;
        if others > 0 {
            return leave(Revoked::Shared(others));
        }
    }
    let fields = match app_fields(app, &connector, &auth) {
        Ok(fields) => fields,
        Err(error) => return leave(Revoked::Failed(error.to_string())),
    };
    let opened = app
        .vault
        .unwrap(&connection.public_id, &WrappedKey { key_id, bytes })
        .and_then(|data_key| Keyring::open(fields, &connector.name, &connection.public_id, &data_key, &stored));
    let mut ring = match opened {
        Ok(ring) => ring,
        Err(error) => return leave(Revoked::Failed(error.to_string())),
    };
    let tokens = Tokens { access: ring.look_up(ACCESS), refresh: ring.look_up(REFRESH) };
    ring.keys.clear();
    if tokens.access.is_none() && tokens.refresh.is_none() {
        return leave(Revoked::Nothing);
    }
    let oauth = oauth.clone();
    Ok(Plan::Ask(Box::new(Asking { connector, oauth, revoke_url, ring, tokens })))
}

/// A key that the person made is the person's to delete; a public user name is nobody's.
fn by_hand(auth: &Auth, held_a_secret: bool) -> Revoked {
    if held_a_secret { Revoked::ByHand(auth.help.clone()) } else { Revoked::Nothing }
}

fn context(connector: &str, profile: &str, connection: i64) -> String {
    format!("revocation/{connector}/{profile}/{connection}")
}

/// Tries again what could not be revoked, until `stop`.
pub async fn revocations(app: Arc<App>, stop: CancellationToken) {
    loop {
        if let Err(error) = revoke_due(&app).await {
            tracing::error!("revocations: {error}");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(IDLE) => {}
        }
    }
}

/// One round: everything that is due now. Says how many were finished, one way or the other.
///
/// # Errors
/// The store failed.
pub async fn revoke_due(app: &Arc<App>) -> Result<usize, sluice_store::StoreError> {
    let mut finished = 0;
    loop {
        let now = app.now();
        // Taken with a due time beyond our own deadline: killed in the middle, they come again.
        let due = app.store.take_due_revocations(now, BATCH, now + FIRST_RETRY_MS).await?;
        let full = due.len() == BATCH;
        for row in due {
            finished += usize::from(one(app, row, now).await?);
        }
        if !full {
            return Ok(finished);
        }
    }
}

async fn one(app: &Arc<App>, row: Revocation, now: i64) -> Result<bool, sluice_store::StoreError> {
    let verdict = again(app, &row).await;
    let too_old = now.saturating_sub(row.created_at) > GIVE_UP_MS;
    let ended = match &verdict {
        Verdict::Done => "revoked".to_owned(),
        Verdict::Never(why) => format!("not revoked: {why}"),
        Verdict::Later(why) if too_old => format!("not revoked within a week, given up: {why}"),
        Verdict::Later(why) => {
            tracing::warn!(connector = %row.connector, attempts = row.attempts, "the access was not revoked yet: {why}");
            app.store.postpone_revocation(row.id, now + retry_after(row.attempts)).await?;
            return Ok(false);
        }
    };
    app.store.done_revocation(row.id).await?;
    let detail = format!("{} by {}: {ended}", row.connector, row.profile);
    note(app, Audit { at: now, user: None, kind: "revocation".into(), connection: Some(row.connection), detail }).await;
    Ok(true)
}

/// One minute, two, four, … six hours.
fn retry_after(attempts: u32) -> i64 {
    (FIRST_RETRY_MS << attempts.min(16)).min(LONGEST_RETRY_MS)
}

async fn again(app: &Arc<App>, row: &Revocation) -> Verdict {
    let Some(connector) = app.modules.get(&row.connector) else { return Verdict::Later("its connector is not loaded".into()) };
    let Some(auth) = connector.manifest.profile(&row.profile).cloned() else {
        return Verdict::Never("the connector no longer has the profile".into());
    };
    let AuthKind::Oauth2(oauth) = &auth.kind else { return Verdict::Never("the profile is no longer an oauth2 one".into()) };
    let Some(revoke_url) = oauth.revoke_url.clone() else { return Verdict::Never("the connector no longer has a revoke-url".into()) };
    let ring = match app_fields(app, &connector, &auth) {
        Ok(fields) => Keyring::new(fields),
        Err(error) => return Verdict::Later(error.to_string()),
    };
    // With another registration these tokens are unknown, and its secret is none of that provider app's business.
    match app.store.app(&row.connector, &fingerprint(&ring.app)).await {
        Ok(registered) if registered.id == row.app => {}
        Ok(_) => return Verdict::Never("the app is registered otherwise now".into()),
        Err(error) => return Verdict::Later(error.to_string()),
    }
    // Linked again meanwhile: revoking would end the new tokens with the old.
    if let Some(account) = &row.account {
        match app.store.grant_users(row.app, &row.profile, account, row.connection).await {
            Ok(0) => {}
            Ok(_) => return Verdict::Never("the account is in use again".into()),
            Err(error) => return Verdict::Later(error.to_string()),
        }
    }
    let opened = app.vault.open_sealed(&context(&row.connector, &row.profile, row.connection.0), &row.sealed);
    let Some(tokens) = opened.ok().as_ref().and_then(Tokens::from_secret) else {
        return Verdict::Never("what was put aside does not open".into());
    };
    Asking { connector, oauth: oauth.clone(), revoke_url, ring, tokens }.ask().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_spread_out_up_to_six_hours() {
        let all: Vec<i64> = [0, 1, 2, 8, 9, 60].into_iter().map(|n| retry_after(n) / 60_000).collect();
        assert_eq!(all, [1, 2, 4, 256, 360, 360]);
    }

    #[test]
    fn the_report_says_what_became_of_the_access() {
        let mut report = Disconnected {
            connector: "github".into(),
            account: "ann".into(),
            data_deleted: false,
            erased: Removed { credentials: 2, ..Removed::default() },
            revoked: Revoked::Done.to_string(),
            grant: Revoked::Done,
        };
        assert_eq!(
            report.to_string(),
            "disconnected github (ann): 2 keys destroyed\n  its entries stay\n  the provider has taken the access back"
        );
        report.data_deleted = true;
        report.erased.entries = 12;
        report.grant = Revoked::ByHand(Some("https://p.example/tokens".into()));
        report.revoked = report.grant.to_string();
        assert_eq!(
            report.to_string(),
            "disconnected github (ann): 2 keys destroyed\n  removed 12 entries, 0 runs and 0 log lines\n  take the access back at the provider: \
             https://p.example/tokens"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["grant"]["by-hand"], "https://p.example/tokens");
        assert_eq!(serde_json::from_value::<Disconnected>(json).unwrap(), report);
    }
}
