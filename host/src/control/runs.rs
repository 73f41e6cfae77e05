//! Running now, and telling how it goes.

use super::{
    ControlError,
    api::{RunLine, RunLog, RunRequest, RunRow, RunSummary, RunsRequest, Stopped},
    host::no_module,
};
use crate::{
    app::App,
    runs::{events::RunEvent, outcome::word},
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use sluice_model::{ConnectionId, task::Reason};
use sluice_store::{AppState, Connection, ConnectionFilter, ConnectionState, Counts, Requested, RunOutcome};
use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::{broadcast, mpsc};

/// Runs of one connection that are listed.
const LISTED: usize = 50;
/// Between two looks at what nobody tells.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Makes the chosen connections due and answers a line for all that happens to them, until each has taken in everything, failed, or turned out to be
/// one that cannot run now.
pub async fn run(State(app): State<Arc<App>>, Json(asked): Json<RunRequest>) -> Result<Response, ControlError> {
    // Listening starts before anything is looked at: what happens after the look is heard.
    let events = app.events.subscribe();
    let chosen = choose(&app, asked.which.as_deref()).await?;
    let (send, receive) = mpsc::channel::<Result<Bytes, Infallible>>(64);
    let mut follower = Follower { app: app.clone(), open: HashMap::new(), since: asked.since, send };
    tokio::spawn(async move {
        follower.begin(chosen).await;
        follower.follow(events).await;
    });
    let stream = futures_util::stream::unfold(receive, |mut r| async move { r.recv().await.map(|line| (line, r)) });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

/// Accounts that were left are meant only when they are named.
async fn choose(app: &App, which: Option<&str>) -> Result<Vec<Connection>, ControlError> {
    let all = app.store.connections(ConnectionFilter::default()).await?;
    let linked = |c: &Connection| c.state != ConnectionState::Disconnected;
    let chosen: Vec<Connection> = match which {
        None => all.into_iter().filter(linked).collect(),
        Some(which) => all.into_iter().filter(|c| (c.connector == which && linked(c)) || c.public_id == which).collect(),
    };
    match (chosen.is_empty(), which) {
        (false, _) => Ok(chosen),
        (true, None) => Err(ControlError::refused("no account is linked yet: sluice connect github --key token=-")),
        (true, Some(name)) if app.modules.get(name).is_some() => {
            Err(ControlError::refused(format!("no {name} account is linked yet: sluice connect {name}")))
        }
        (true, Some(name)) => Err(no_module(app, name)),
    }
}

/// Asks the chosen connections' runs to stop.
pub async fn stop(State(app): State<Arc<App>>, Json(asked): Json<RunRequest>) -> Result<Json<Stopped>, ControlError> {
    let chosen = choose(&app, asked.which.as_deref()).await?;
    let stopped = chosen.iter().filter(|c| app.stops.stop(c.id)).map(|c| format!("{} ({})", c.connector, c.account.label)).collect();
    Ok(Json(Stopped { stopped }))
}

/// The latest runs, newest first.
pub async fn list(State(app): State<Arc<App>>, Json(asked): Json<RunsRequest>) -> Result<Json<Vec<RunRow>>, ControlError> {
    let mut rows = Vec::new();
    for connection in choose(&app, asked.which.as_deref()).await? {
        for run in app.store.runs(connection.id, LISTED).await? {
            let log = if asked.log { app.store.run_log(run.id).await? } else { Vec::new() };
            let log = log.into_iter().map(|l| RunLog { at: l.at, level: l.level, text: l.text }).collect();
            rows.push(RunRow {
                summary: RunSummary {
                    connection: connection.public_id.clone(),
                    connector: connection.connector.clone(),
                    account: connection.account.label.clone(),
                    outcome: word(run.outcome).to_owned(),
                    message: run.message,
                    inserted: run.counts.inserted,
                    updated: run.counts.updated,
                    unchanged: run.counts.unchanged,
                    deleted: run.counts.deleted,
                    older: run.counts.older,
                    took_ms: run.ended_at.map_or(0, |end| end - run.started_at),
                },
                reason: run.reason.as_str().to_owned(),
                version: run.connector_version,
                started_at: run.started_at,
                requests: run.requests,
                repeats: run.repeats,
                cpu_us: run.used.cpu_us,
                memory_bytes: run.used.memory_bytes,
                denied: run.used.denied,
                log,
            });
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.started_at));
    Ok(Json(rows))
}

/// Several runs of one connection (a long history takes more than one) are one line for a person.
struct Follower {
    app: Arc<App>,
    open: HashMap<ConnectionId, Followed>,
    since: Option<i64>,
    send: mpsc::Sender<Result<Bytes, Infallible>>,
}

struct Followed {
    connection: Connection,
    /// Our run has begun: the next end that is told is its own, and not that of the run before.
    begun: bool,
    counts: Counts,
    took_ms: i64,
}

/// Why a connection is not going to run in a moment.
struct Hindered {
    outcome: String,
    message: String,
}

impl Follower {
    async fn begin(&mut self, chosen: Vec<Connection>) {
        let apps = match self.app.store.apps().await {
            Ok(apps) => apps,
            Err(error) => {
                tracing::error!("{error}");
                Vec::new()
            }
        };
        for connection in chosen {
            self.line(&RunLine::Started {
                connection: connection.public_id.clone(),
                connector: connection.connector.clone(),
                account: connection.account.label.clone(),
            })
            .await;
            match self.request(&connection, &apps).await {
                Ok(begun) => {
                    self.open.insert(connection.id, Followed { connection, begun, counts: Counts::default(), took_ms: 0 });
                }
                Err(None) => self.finished_since(&connection).await,
                Err(Some(why)) => self.finished(&connection, why.outcome, Some(why.message), Counts::default(), 0).await,
            }
        }
        self.app.wake.notify_one();
    }

    /// Makes it due; true when it runs already. `Err(None)`: nothing is to be done, it has run.
    async fn request(&self, connection: &Connection, apps: &[sluice_store::App]) -> Result<bool, Option<Hindered>> {
        let now = self.app.now();
        if let Some(since) = self.since {
            let due = connection.next_due.is_some_and(|due| due <= now);
            let ended = connection.last_run.as_ref().and_then(|run| run.last_ended_at).is_some_and(|at| at >= since);
            match (connection.running, due, ended) {
                (true, ..) => return Ok(true),
                (false, false, true) => return Err(None),
                // The run after linking is on its way already, and its reason is a better one than ours.
                (false, true, _) => return hindered_by_app(connection, apps, now).map_or(Ok(false), |why| Err(Some(why))),
                (false, false, false) => {}
            }
        }
        if let Some(why) = hindered_by_app(connection, apps, now).filter(|_| !connection.running) {
            return Err(Some(why));
        }
        match self.app.store.request_run(connection.id, Reason::Manual, now).await {
            Ok(Requested::Queued) => Ok(false),
            Ok(Requested::Running) => Ok(true),
            Ok(Requested::Paused(state)) => Err(Some(hindered_by_itself(connection, state))),
            Err(error) => Err(Some(Hindered { outcome: "lost".to_owned(), message: error.to_string() })),
        }
    }

    async fn follow(&mut self, mut events: broadcast::Receiver<RunEvent>) {
        let (stopped, send) = (self.app.stopped.clone(), self.send.clone());
        while !self.open.is_empty() {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => self.hear(event).await,
                    // Events were missed: the store knows what became of the runs.
                    Err(broadcast::error::RecvError::Lagged(_)) => self.look().await,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                // What nobody tells: an app that was paused meanwhile, an account that was left.
                () = tokio::time::sleep(LOOK_EVERY) => self.look().await,
                () = stopped.cancelled() => return self.stopped(&mut events).await,
                // The command went away: its runs go on.
                () = send.closed() => return,
            }
        }
    }

    async fn hear(&mut self, event: RunEvent) {
        let Some(followed) = self.open.get_mut(&event.connection()) else { return };
        match event {
            RunEvent::Started { .. } => followed.begun = true,
            RunEvent::Progress { done, total, .. } => {
                let line = RunLine::Progress { connection: followed.connection.public_id.clone(), done, total };
                self.line(&line).await;
            }
            RunEvent::Finished { more, outcome, message, counts, took_ms, connection } if followed.begun => {
                crate::runs::add(&mut followed.counts, counts);
                followed.took_ms += took_ms;
                if !more && let Some(done) = self.open.remove(&connection) {
                    match self.since {
                        Some(_) => self.finished_since(&done.connection).await,
                        None => self.finished(&done.connection, outcome, message, done.counts, done.took_ms).await,
                    }
                }
            }
            // The run before ours.
            RunEvent::Finished { .. } => {}
        }
    }

    /// Asks the store about everything that is still open.
    async fn look(&mut self) {
        let Ok(apps) = self.app.store.apps().await else { return };
        let ids: Vec<ConnectionId> = self.open.keys().copied().collect();
        for id in ids {
            let now = self.app.now();
            let found = match self.app.store.connection(id).await {
                Ok(found) => found,
                Err(_) => continue,
            };
            let Some(connection) = found else {
                if let Some(gone) = self.open.remove(&id) {
                    let message = "The account and its data were removed meanwhile.".to_owned();
                    self.finished(&gone.connection, "disconnected".to_owned(), Some(message), gone.counts, gone.took_ms).await;
                }
                continue;
            };
            if connection.running {
                continue;
            }
            if connection.next_due.is_some_and(|due| due <= now) {
                if let Some(why) = hindered_by_app(&connection, &apps, now)
                    && let Some(open) = self.open.remove(&id)
                {
                    self.finished(&connection, why.outcome, Some(why.message), open.counts, open.took_ms).await;
                }
                continue;
            }
            // Neither due nor running: it has run, or somebody paused it.
            let Some(open) = self.open.remove(&id) else { continue };
            match connection.last_run.clone() {
                Some(last) if !connection.state.stops() => {
                    let counts = if open.counts == Counts::default() { last.counts } else { open.counts };
                    self.finished(&connection, word(last.outcome).to_owned(), last.message, counts, open.took_ms).await;
                }
                _ => {
                    let why = hindered_by_itself(&connection, connection.state);
                    self.finished(&connection, why.outcome, Some(why.message), open.counts, open.took_ms).await;
                }
            }
        }
    }

    /// Nothing runs any more: what has ended is told, the rest goes on another time.
    async fn stopped(&mut self, events: &mut broadcast::Receiver<RunEvent>) {
        while let Ok(event) = events.try_recv() {
            self.hear(event).await;
        }
        for (_, open) in std::mem::take(&mut self.open) {
            let message = "The host stopped; this goes on by itself when it runs again.".to_owned();
            self.finished(&open.connection, "interrupted".to_owned(), Some(message), open.counts, open.took_ms).await;
        }
    }

    /// What the runs since then came to, as the store has it.
    async fn finished_since(&self, connection: &Connection) {
        let since = self.since.unwrap_or(i64::MIN);
        let runs = match self.app.store.runs(connection.id, LISTED).await {
            Ok(runs) => runs,
            Err(error) => return self.finished(connection, "lost".to_owned(), Some(error.to_string()), Counts::default(), 0).await,
        };
        let ours: Vec<_> = runs.into_iter().filter(|run| run.last_ended_at.is_some_and(|at| at >= since)).collect();
        let mut counts = Counts::default();
        ours.iter().for_each(|run| crate::runs::add(&mut counts, run.counts));
        let took_ms = ours.iter().filter_map(|run| Some(run.ended_at? - run.started_at)).sum();
        // Newest first.
        let (outcome, message) = ours.first().map_or((RunOutcome::Interrupted, None), |run| (run.outcome, run.message.clone()));
        self.finished(connection, word(outcome).to_owned(), message, counts, took_ms).await;
    }

    async fn finished(&self, connection: &Connection, outcome: String, message: Option<String>, counts: Counts, took_ms: i64) {
        self.line(&RunLine::Finished(RunSummary {
            connection: connection.public_id.clone(),
            connector: connection.connector.clone(),
            account: connection.account.label.clone(),
            outcome,
            message,
            inserted: counts.inserted,
            updated: counts.updated,
            unchanged: counts.unchanged,
            deleted: counts.deleted,
            older: counts.older,
            took_ms,
        }))
        .await;
    }

    async fn line(&self, line: &RunLine) {
        if let Ok(mut bytes) = serde_json::to_vec(line) {
            bytes.push(b'\n');
            // The command went away: its runs go on.
            let _ = self.send.send(Ok(Bytes::from(bytes))).await;
        }
    }
}

/// Its app is paused or blocked: nothing of it runs.
fn hindered_by_app(connection: &Connection, apps: &[sluice_store::App], now: i64) -> Option<Hindered> {
    let app = apps.iter().find(|app| app.id == connection.app)?;
    let reason = app.reason.clone().unwrap_or_else(|| "no reason is noted".to_owned());
    if app.state == AppState::Paused {
        let message = format!("Nothing of {} runs until its app is mended: {reason}", connection.connector);
        return Some(Hindered { outcome: "app-paused".to_owned(), message });
    }
    let until = app.blocked_until.filter(|until| *until > now)?;
    let message = format!("All of {} waits until {}, and then goes on by itself: {reason}", connection.connector, clock(until));
    Some(Hindered { outcome: ConnectionState::RateLimited.as_str().to_owned(), message })
}

/// Why a connection does not run although it was asked for, and the next step.
fn hindered_by_itself(connection: &Connection, state: ConnectionState) -> Hindered {
    let step = match state {
        ConnectionState::RateLimited => {
            let until = connection.next_due.map_or_else(|| "its time".to_owned(), clock);
            format!("It runs by itself at {until}.")
        }
        state if state.needs_link() => format!("Sign in again: sluice connect {}", connection.connector),
        _ => "`sluice connections` says what it waits for.".to_owned(),
    };
    let message = match &connection.message {
        // A connector's words are without a full stop as often as not.
        Some(message) if message.ends_with(['.', '!', '?', '…']) => format!("{message} {step}"),
        Some(message) => format!("{message}. {step}"),
        None => step,
    };
    Hindered { outcome: state.as_str().to_owned(), message }
}

/// An instant in this machine's zone.
fn clock(ms: i64) -> String {
    let zoned = jiff::Timestamp::from_millisecond(ms).map(|t| t.to_zoned(jiff::tz::TimeZone::system()));
    zoned.map_or_else(|_| "some time".to_owned(), |z| z.strftime("%Y-%m-%d %H:%M").to_string())
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
