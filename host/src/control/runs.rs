//! Running now, and telling how it goes.

use super::{
    ControlError,
    api::{RunLine, RunRequest, RunRow, RunSummary},
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
use sluice_store::{Connection, ConnectionFilter, Counts, Requested};
use std::{collections::HashMap, convert::Infallible, sync::Arc};
use tokio::sync::{broadcast, mpsc};

/// Runs of one connection that are listed.
const LISTED: usize = 50;

/// Makes the chosen connections due and answers a line for all that happens to them, until each has taken in everything or failed.
pub async fn run(State(app): State<Arc<App>>, Json(asked): Json<RunRequest>) -> Result<Response, ControlError> {
    let chosen = choose(&app, asked.which.as_deref()).await?;
    // Listening starts before anything can happen.
    let events = app.events.subscribe();
    let (send, receive) = mpsc::channel::<Result<Bytes, Infallible>>(64);
    let mut follower = Follower { app: app.clone(), open: HashMap::new(), send };
    tokio::spawn(async move {
        follower.begin(chosen).await;
        follower.follow(events).await;
    });
    let stream = futures_util::stream::unfold(receive, |mut r| async move { r.recv().await.map(|line| (line, r)) });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

async fn choose(app: &App, which: Option<&str>) -> Result<Vec<Connection>, ControlError> {
    let all = app.store.connections(ConnectionFilter::default()).await?;
    let chosen: Vec<Connection> = match which {
        None => all,
        Some(which) => all.into_iter().filter(|c| c.connector == which || c.public_id == which).collect(),
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

/// The latest runs, newest first.
pub async fn list(State(app): State<Arc<App>>, Json(asked): Json<RunRequest>) -> Result<Json<Vec<RunRow>>, ControlError> {
    let mut rows = Vec::new();
    for connection in choose(&app, asked.which.as_deref()).await? {
        for run in app.store.runs(connection.id, LISTED).await? {
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
                started_at: run.started_at,
                requests: run.requests,
                repeats: run.repeats,
            });
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.started_at));
    Ok(Json(rows))
}

/// Several runs of one connection (a long history takes more than one) are one line for a person.
struct Follower {
    app: Arc<App>,
    open: HashMap<ConnectionId, (Connection, Counts, i64)>,
    send: mpsc::Sender<Result<Bytes, Infallible>>,
}

impl Follower {
    async fn begin(&mut self, chosen: Vec<Connection>) {
        for connection in chosen {
            let requested = self.app.store.request_run(connection.id, Reason::Manual, self.app.now()).await;
            match requested {
                Ok(Requested::Queued | Requested::Running) => {
                    self.line(&RunLine::Started {
                        connection: connection.public_id.clone(),
                        connector: connection.connector.clone(),
                        account: connection.account.label.clone(),
                    })
                    .await;
                    self.open.insert(connection.id, (connection, Counts::default(), 0));
                }
                Ok(Requested::Paused(state)) => {
                    let message = connection.message.clone().unwrap_or_else(|| format!("it waits: {}", state.as_str()));
                    self.finished(&connection, state.as_str().to_owned(), Some(message), Counts::default(), 0).await;
                }
                Err(error) => self.finished(&connection, "lost".to_owned(), Some(error.to_string()), Counts::default(), 0).await,
            }
        }
        self.app.wake.notify_one();
    }

    async fn follow(&mut self, mut events: broadcast::Receiver<RunEvent>) {
        while !self.open.is_empty() && !self.send.is_closed() {
            let event = match events.recv().await {
                Ok(event) => event,
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.catch_up().await;
                    continue;
                }
                Err(broadcast::error::RecvError::Closed) => return,
            };
            let Some((connection, counts, took)) = self.open.get_mut(&event.connection()) else { continue };
            match event {
                RunEvent::Started { .. } => {}
                RunEvent::Progress { done, total, .. } => {
                    let line = RunLine::Progress { connection: connection.public_id.clone(), done, total };
                    self.line(&line).await;
                }
                RunEvent::Finished { more, outcome, message, counts: run, took_ms, .. } => {
                    crate::runs::add(counts, run);
                    *took += took_ms;
                    let id = connection.id;
                    if !more && let Some((connection, counts, took)) = self.open.remove(&id) {
                        self.finished(&connection, outcome, message, counts, took).await;
                    }
                }
            }
        }
    }

    /// Events were missed: the store knows which of the runs have ended.
    async fn catch_up(&mut self) {
        let ids: Vec<ConnectionId> = self.open.keys().copied().collect();
        for id in ids {
            let Ok(Some(now)) = self.app.store.connection(id).await else { continue };
            let due_later = now.next_due.is_none_or(|due| due > self.app.now());
            if !now.running
                && due_later
                && let (Some(last), Some((connection, _, took))) = (now.last_run, self.open.remove(&id))
            {
                self.finished(&connection, word(last.outcome).to_owned(), last.message, last.counts, took).await;
            }
        }
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
