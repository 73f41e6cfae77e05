//! One run: from its claim to its last commit.
//!
//! Keys first (refreshed where they end within minutes), then a fresh sandbox, then the failure table, then one commit that carries the tail of
//! the entries, the outcome, the quotas, the next time and the release of the lease. A key that the provider refused is refreshed by force once,
//! and the run repeated once, before anybody is bothered.

use super::{
    apps::note_misconfigured,
    events::RunEvent,
    host::{GuestKeys, RunHost, Sink},
    outcome::{self, AppAction, Decision, End, Facts},
};
use crate::{
    app::App,
    link,
    modules::{self, Connector},
};
use sluice_gate::{Keys, SessionOptions};
use sluice_model::{Failure, FailureKind, Moment, Outcome, task::Reason, task::Task};
use sluice_sandbox::{CallError, KeyInfo, LogLine};
use sluice_store::{Claim, CommitError, ConnectionState, Counts, Finish, Ingest, NO_CONNECTOR, QuotaRow, RunOutcome, RunStart, Used};
use sluice_vault::Identity;
use std::{any::Any, collections::BTreeMap, sync::Arc, time::Instant};
use tokio_util::sync::CancellationToken;

/// A connection whose connector is not there is looked at again after this long.
const ABSENT_MS: i64 = 15 * 60_000;

/// What a run leaves behind.
pub enum Left {
    /// Nothing: it is written down, or the lease is no longer its own.
    Nothing,
    /// Its lease, since it could not be written down: why.
    Lease(String),
}

/// What stops a run: a hand that stops this one, or the host that stops all.
pub struct Cancel {
    /// Cancelled in either case.
    pub run: CancellationToken,
    /// Cancelled when the host stops.
    pub all: CancellationToken,
}

impl Cancel {
    fn by_hand(&self) -> bool {
        self.run.is_cancelled() && !self.all.is_cancelled()
    }
}

/// Runs a claim to its end. What the store does not take is the scheduler's to write off.
pub async fn execute(app: &Arc<App>, claim: Claim, cancel: Cancel) -> Left {
    let connection = claim.connection.id;
    let started_at = app.now();
    app.events.send(RunEvent::Started { connection });
    let clock = Instant::now();
    let name = claim.connection.connector.clone();
    let written = match app.modules.get(&name) {
        Some(connector) => run(app, &connector, claim, cancel, started_at).await,
        None => absent(app, claim, started_at).await,
    };
    let took_ms = i64::try_from(clock.elapsed().as_millis()).unwrap_or(i64::MAX);
    match written {
        Ok(done) => {
            app.events.send(RunEvent::Finished {
                connection,
                outcome: done.outcome,
                message: done.message,
                counts: done.counts,
                took_ms,
                more: done.more,
            });
            Left::Nothing
        }
        // Linked again, paused or left while it ran: the lease went with that, and what comes next is already planned.
        Err(error @ CommitError::Fenced) => {
            tracing::info!(connector = %name, %connection, "{error}");
            app.events.send(RunEvent::Finished {
                connection,
                outcome: "taken-back".to_owned(),
                message: Some(
                    "The account was linked again, paused or disconnected during this run; nothing of its end was kept.".to_owned(),
                ),
                counts: Counts::default(),
                took_ms,
                more: false,
            });
            Left::Nothing
        }
        Err(error) => {
            tracing::error!(connector = %name, %connection, "a run could not be written down: {error}");
            Left::Lease(error.to_string())
        }
    }
}

/// What listeners are told of a run that was written down.
struct Done {
    outcome: String,
    message: Option<String>,
    counts: Counts,
    more: bool,
}

/// The connector is not loaded: its connections wait, everybody else's go on.
async fn absent(app: &Arc<App>, claim: Claim, started_at: i64) -> Result<Done, CommitError> {
    let name = &claim.connection.connector;
    let line = app.modules.listed(name).map_or_else(|| "its file is not in the modules folder".to_owned(), |l| l.line);
    let message = format!("The connector {name} cannot run at the moment: {line}");
    let end = End {
        outcome: RunOutcome::Failed(FailureKind::Other),
        failure: Some(Failure::new(FailureKind::Other, NO_CONNECTOR, message.clone())),
        state: ConnectionState::BackingOff,
        message: Some(message),
        url: None,
        next_due: Some(started_at + ABSENT_MS),
        next_reason: "looks for its connector again".to_owned(),
        attempts: claim.attempts,
        flag: None,
        app: None,
    };
    let run = RunStart { reason: claim.reason, started_at, connector_version: String::new() };
    let batch = sluice_store::Batch {
        fence: claim.fence,
        ops: Vec::new(),
        as_of: started_at,
        cursor: None,
        state: Vec::new(),
        guest_keys: Vec::new(),
        run,
        requests: 0,
        finish: Some(finish(app, &end, Vec::new(), Vec::new(), Vec::new())),
    };
    let done = app.store.commit(batch).await?;
    // It came while this was written down: whoever told those that wait has told all but this one.
    if app.modules.get(name).is_some() {
        modules::wake(&app.store, vec![name.clone()]).await;
        app.wake.notify_one();
    }
    Ok(told(app, &end, done.counts))
}

fn told(app: &App, end: &End, counts: Counts) -> Done {
    let unfinished = end.outcome == RunOutcome::More;
    // Whoever waits for the end of a long history does not wait for hours.
    let more = unfinished && end.next_due.is_some_and(|due| due <= app.now());
    let later = (unfinished && !more).then(|| format!("There is more to fetch, and it follows by itself: {}.", end.next_reason));
    Done { outcome: outcome::word(end.outcome).to_owned(), message: end.message.clone().or(later), counts, more }
}

fn finish(app: &App, end: &End, log: Vec<LogLine>, problems: Vec<(Failure, Option<String>)>, quotas: Vec<QuotaRow>) -> Finish {
    let log = log.into_iter().map(|l| sluice_store::LogLine { at: l.at, level: l.level.as_str().to_owned(), text: l.text }).collect();
    Finish {
        ended_at: app.now(),
        outcome: end.outcome,
        failure: end.failure.clone(),
        log,
        problems,
        state: end.state,
        message: end.message.clone(),
        url: end.url.clone(),
        next_due: end.next_due,
        next_reason: Some(end.next_reason.clone()),
        attempts: end.attempts,
        quotas,
        used: Used::default(),
    }
}

/// Keys for this run: refreshed when they end soon, or when `force` says so.
async fn keys(app: &Arc<App>, connector: &Connector, claim: &Claim, force: bool) -> Result<Keys, Failure> {
    if force || link::needs_refresh(connector, &claim.connection, &claim.credentials, app.now()) {
        return link::refresh(app, &claim.connection, force).await.map_err(|e| e.failure());
    }
    link::keys(app, connector, &claim.connection, &claim.credentials).map_err(|e| {
        tracing::error!(connector = %connector.name, connection = %claim.connection.id, "{e}");
        // An app field that the operator forgot is not the person's to mend: the error knows which is which.
        e.failure()
    })
}

async fn run(app: &Arc<App>, connector: &Arc<Connector>, claim: Claim, cancel: Cancel, started_at: i64) -> Result<Done, CommitError> {
    let mut host = match keys(app, connector, &claim, false).await {
        Ok(keys) => build(app, connector, &claim, keys, &cancel.run, started_at)?,
        Err(failure) => {
            let mut host = build(app, connector, &claim, Keys::default(), &cancel.run, started_at)?;
            let end = refused(app, connector, &claim, &host, failure);
            return conclude(app, connector, &claim, &mut host, false, end, Vec::new()).await;
        }
    };
    let mut forced = false;
    let mut log = Vec::new();
    loop {
        let report = connector.module.sync(Box::new(host), &connector.config.limits).await;
        let Some(mut back) = (report.host as Box<dyn Any>).downcast::<RunHost>().ok() else {
            return Err(CommitError::Fatal("the sandbox gave back another host than it was given".to_owned()));
        };
        back.used.cpu_us += report.usage.cpu_us;
        back.used.memory_bytes = back.used.memory_bytes.max(report.usage.memory_bytes);
        // Asked to stop, a connector fails in its own words (a request came to nothing, mostly): what happened is the stop, and no failure.
        // Stopped by hand, “there is more” would begin it again at once.
        let by_hand = cancel.by_hand();
        let well = matches!(report.result, Ok(Ok(Outcome::Complete))) || (matches!(report.result, Ok(Ok(_))) && !by_hand);
        let ended = if cancel.run.is_cancelled() && !well { Err(CallError::Cancelled) } else { report.result };
        log.extend(report.log);
        log.extend(report.closing);
        let facts = Facts { by_hand, ..facts(app, connector, &claim, &back, !forced) };
        match outcome::decide(&ended, &facts, app.random.as_ref()) {
            Decision::RefreshAndRetry => {
                forced = true;
                let text = "the provider refused the key: it is renewed, and the run repeated".to_owned();
                log.push(LogLine { at: app.now(), level: sluice_sandbox::Level::Info, text });
                back.drop_tail();
                match keys(app, connector, &claim, true).await {
                    Ok(keys) => {
                        for (name, _) in keys.names() {
                            if let Some(key) = keys.get(name) {
                                back.session.replace_key(name, key.duplicate());
                            }
                        }
                        host = *back;
                    }
                    Err(failure) => {
                        let end = refused(app, connector, &claim, &back, failure);
                        return conclude(app, connector, &claim, &mut back, false, end, log).await;
                    }
                }
            }
            Decision::Finish(end) => {
                // Time on the wall is mostly the provider's.
                let crash = match &ended {
                    Err(CallError::Limit { name: "wall-ms", .. }) => None,
                    Err(error @ (CallError::Trap { .. } | CallError::Limit { .. })) => Some(back.session.scrub(&error.to_string())),
                    _ => None,
                };
                let how = match (&ended, &crash) {
                    (Ok(Ok(_)), _) => modules::Ended::Well,
                    (_, Some(why)) => modules::Ended::Crashed(why),
                    _ => modules::Ended::Otherwise,
                };
                let kept = matches!(ended, Ok(Ok(_)));
                let done = conclude(app, connector, &claim, &mut back, kept, *end, log).await;
                // What it means for the version goes on by itself: the run is over.
                modules::ended(app, connector, how);
                return done;
            }
        }
    }
}

fn facts(app: &App, connector: &Connector, claim: &Claim, host: &RunHost, may_refresh: bool) -> Facts {
    let seen = host.session.seen();
    Facts {
        now: app.now(),
        attempts: claim.attempts,
        every_ms: connector.every_ms(),
        unauthorized_seen: seen.unauthorized_on_attached,
        can_refresh: may_refresh && link::can_refresh(connector, &claim.connection, &claim.credentials),
        limited_until: seen.rate_limited_until,
        quota_until: host.session.quotas().iter().filter(|q| q.remaining == Some(0)).map(|q| q.reset_at).max(),
        stuck: stuck(claim, host),
        by_hand: false,
        connector: format!("{} {}", connector.name, connector.manifest.version),
    }
}

/// Whether nothing came of the run so far: no cursor, no entry, no state.
fn stuck(claim: &Claim, host: &RunHost) -> bool {
    let Counts { inserted, updated, deleted, .. } = host.counts;
    let recorded = host.sink.as_ref().is_some_and(|s| !s.ingest.is_empty()) || host.pending.is_some() || host.held.is_some();
    host.task.cursor == claim.cursor
        && inserted + updated + deleted == 0
        && !recorded
        && host.undo_state.is_empty()
        && host.undo_keys.is_empty()
}

/// No key for this run: what the table says of that.
fn refused(app: &App, connector: &Connector, claim: &Claim, host: &RunHost, failure: Failure) -> End {
    outcome::settle(&Ok(Err(failure)), &facts(app, connector, claim, host, false), app.random.as_ref())
}

/// Characters of a line of the gate's that a run's log shows: the URL in it is the connector's, and as long as it likes.
const LONGEST_REASON: usize = 500;

/// Commits the end (with what was recorded since the last checkpoint when `kept`), and acts on the app where the table says so.
async fn conclude(
    app: &Arc<App>,
    connector: &Connector,
    claim: &Claim,
    host: &mut RunHost,
    kept: bool,
    mut end: End,
    mut log: Vec<LogLine>,
) -> Result<Done, CommitError> {
    // A connector may have come by a key in a form that the gate did not know for one: where it repeats it in plain, nobody is to read it.
    for text in log.iter_mut().map(|line| &mut line.text).chain(&mut end.message).chain(&mut end.flag) {
        *text = host.session.scrub(text);
    }
    if let Some(failure) = &mut end.failure {
        host.scrub_failure(failure);
    }
    if let Some(flag) = &end.flag {
        tracing::warn!(connection = %claim.connection.public_id, excerpt = host.session.excerpt(), "{flag}");
    }
    let quotas = host
        .session
        .quotas()
        .into_iter()
        .map(|q| QuotaRow {
            app: claim.app.id,
            connection: q.connection_scope.then_some(claim.connection.id),
            name: q.name,
            used: q.used,
            remaining: q.remaining,
            reset_at: q.reset_at,
        })
        .collect();
    // The contract's `tls` says nothing more, so the connector cannot; and one that fails over a refusal seldom passes its words on.
    let seen = host.session.seen();
    if !kept {
        for why in [seen.tls, seen.refusal].iter().flatten() {
            let lines = why.lines().map(|line| line.chars().take(LONGEST_REASON).collect());
            log.extend(lines.map(|text| LogLine { at: app.now(), level: sluice_sandbox::Level::Warn, text }));
        }
    }
    if !kept && let Some(excerpt) = host.session.excerpt() {
        log.push(LogLine { at: app.now(), level: sluice_sandbox::Level::Info, text: format!("last answer: {excerpt}") });
    }
    let mut problems = std::mem::take(&mut host.problems);
    for (problem, _) in &mut problems {
        host.scrub_failure(problem);
    }
    let used = Used { denied: seen.denied, ..host.used };
    let counts = host.finish(kept, Finish { used, ..finish(app, &end, log, problems, quotas) }).await?;
    match &end.app {
        Some(AppAction::BlockUntil(until)) => {
            app.store.block_app(claim.app.id, *until, end.message.clone()).await.unwrap_or_else(report);
        }
        Some(AppAction::NoteMisconfigured(why)) => {
            note_misconfigured(app, claim.app.id, &connector.name, claim.connection.id, why).await;
        }
        None => {}
    }
    Ok(told(app, &end, counts))
}

fn report(error: sluice_store::StoreError) {
    tracing::error!("{error}");
}

/// What `task` tells the guest.
fn task(connector: &Connector, claim: &Claim, now: i64) -> Task {
    let window = claim.last_complete.map(|last| (Moment::Instant(last.saturating_sub(connector.overlap_ms())), Moment::Instant(now)));
    Task {
        reason: if claim.last_complete.is_none() && claim.reason == Reason::Scheduled { Reason::Linked } else { claim.reason },
        now,
        time_zone: claim.user_time_zone.clone(),
        cursor: claim.cursor.clone(),
        cursor_version: claim.cursor_version.clone(),
        window,
        profile: claim.connection.profile.clone(),
        account_id: claim.connection.account.id.clone(),
        scopes: claim.connection.scopes.clone(),
        settings: settings(connector, &claim.connection.settings),
    }
}

/// The connection's own settings over the operator's.
fn settings(connector: &Connector, own: &[(String, String)]) -> Vec<(String, String)> {
    let mut all: BTreeMap<String, String> = connector.settings.iter().cloned().collect();
    all.extend(own.iter().cloned());
    all.into_iter().collect()
}

fn build(
    app: &Arc<App>,
    connector: &Arc<Connector>,
    claim: &Claim,
    keys: Keys,
    cancel: &CancellationToken,
    now: i64,
) -> Result<RunHost, CommitError> {
    let ingest = Ingest::new(&connector.metrics, &claim.user_time_zone, FETCHED).map_err(|e| CommitError::Transient(e.to_string()))?;
    let quotas = claim
        .quotas
        .iter()
        .map(|q| sluice_gate::QuotaState {
            name: q.name.clone(),
            connection_scope: q.connection.is_some(),
            used: q.used,
            remaining: q.remaining,
            reset_at: q.reset_at,
        })
        .collect();
    let session = connector.egress.session(SessionOptions {
        app: claim.app.id,
        connection: Some(claim.connection.id),
        profile: claim.connection.profile.clone(),
        keys,
        response_bytes: connector.config.limits.response_bytes,
        requests: connector.config.limits.requests,
        quotas,
    });
    let listed = claim.credentials.iter().filter(|c| !c.guest);
    let listed = listed.map(|c| KeyInfo { name: c.name.clone(), held_by_host: true, expires_at: c.expires_at }).collect();
    let state: BTreeMap<String, Vec<u8>> = claim.state.iter().cloned().collect();
    Ok(RunHost {
        task: task(connector, claim, now),
        started: Instant::now(),
        session,
        manifest: connector.manifest.clone(),
        limits: connector.config.limits.clone(),
        sink: Some(Sink {
            store: app.store.clone(),
            fence: claim.fence,
            run: RunStart { reason: claim.reason, started_at: now, connector_version: connector.manifest.version.clone() },
            ingest,
            version: connector.manifest.version.clone(),
        }),
        keys: listed,
        guest_keys: guest_keys(app, connector, claim),
        state_total: state.iter().map(|(k, v)| k.len() + v.len()).sum(),
        state,
        cancel: cancel.clone(),
        connection: claim.connection.id,
        app: app.clone(),
        problems: Vec::new(),
        counts: Counts::default(),
        used: Used::default(),
        undo_state: BTreeMap::new(),
        undo_keys: BTreeMap::new(),
        held: None,
        pending: None,
        as_of: now,
        reported: None,
        lost: None,
    })
}

/// The rank of what was fetched: imported and unsigned pushes rank below it.
const FETCHED: u8 = 2;

/// Opens what the connector keeps for itself; a value that cannot be opened is left out, and the log says so.
fn guest_keys(app: &App, connector: &Connector, claim: &Claim) -> Option<GuestKeys> {
    let data_key = link::data_key(app, &claim.connection).ok()?;
    let mut values = BTreeMap::new();
    for sealed in claim.credentials.iter().filter(|c| c.guest) {
        let id = Identity { connector: &connector.name, connection: &claim.connection.public_id, name: &sealed.name, guest: true };
        match data_key.open(&id, &sealed.ciphertext) {
            Ok(secret) => {
                values.insert(sealed.name.clone(), secret.expose().to_vec());
            }
            Err(error) => tracing::error!(connector = %connector.name, name = %sealed.name, "a kept key cannot be opened: {error}"),
        }
    }
    Some(GuestKeys { data_key, connector: connector.name.clone(), connection: claim.connection.public_id.clone(), values })
}
