//! What a host says about itself: status, modules, the gate's view of a request, the owner's link.

use super::{ControlError, api};
use crate::{
    app::App,
    modules::{self, Listing, Report},
    web,
};
use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::Value;
use sluice_store::AppState;
use std::sync::Arc;

pub async fn status(State(app): State<Arc<App>>) -> Result<Json<api::Status>, ControlError> {
    let owner = app.store.owner().await?.is_some();
    let connections = app.store.connection_count().await?;
    let mut paused_apps = app_rows(&app).await?;
    paused_apps.retain(|row| row.state == "paused");
    Ok(Json(api::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        public_url: app.config.public_url.to_string(),
        owner,
        connections,
        paused_apps,
    }))
}

async fn app_rows(app: &App) -> Result<Vec<api::AppRow>, ControlError> {
    let now = app.now();
    let row = |a: sluice_store::App| {
        let blocked_until = a.blocked_until.filter(|until| *until > now);
        let state = match (a.state, blocked_until) {
            (AppState::Paused, _) => "paused",
            (AppState::Open, Some(_)) => "blocked",
            (AppState::Open, None) => "open",
        };
        let reason = a.reason.filter(|_| state != "open");
        api::AppRow { connector: a.connector, registration: a.registration, state: state.to_owned(), reason, blocked_until }
    };
    Ok(app.store.apps().await?.into_iter().map(row).collect())
}

pub async fn apps(State(app): State<Arc<App>>) -> Result<Json<Vec<api::AppRow>>, ControlError> {
    Ok(Json(app_rows(&app).await?))
}

pub async fn resume_apps(State(app): State<Arc<App>>, Json(asked): Json<api::ResumeApps>) -> Result<Json<api::Resumed>, ControlError> {
    let rows = app_rows(&app).await?;
    if !rows.iter().any(|row| row.connector == asked.connector) {
        let mut known: Vec<&str> = rows.iter().map(|row| row.connector.as_str()).collect();
        known.dedup();
        let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
        return Err(ControlError::unknown(format!("{} has no app here; known: {known}", asked.connector)));
    }
    let opened = crate::runs::resume(&app, Some(&asked.connector)).await?;
    Ok(Json(api::Resumed { opened }))
}

/// Every module in short: what each may do, and how a new version differs, is told of one at a time. A folder may have a thousand.
pub async fn modules(State(app): State<Arc<App>>) -> Result<Json<Vec<Value>>, ControlError> {
    let short = |listing: &Listing| {
        let mut row = serde_json::to_value(listing)?;
        leave_out(&mut row, "authority");
        if let Some(waiting) = row.get_mut("waiting") {
            leave_out(waiting, "authority");
            leave_out(waiting, "difference");
        }
        Ok(row)
    };
    let rows: Result<Vec<Value>, serde_json::Error> = app.modules.listing().iter().map(short).collect();
    rows.map(Json).map_err(|error| ControlError { status: 500, error: format!("the modules cannot be listed: {error}") })
}

fn leave_out(from: &mut Value, key: &str) {
    if let Some(object) = from.as_object_mut() {
        object.remove(key);
    }
}

/// Everything about one module.
#[derive(serde::Serialize)]
pub struct Shown {
    #[serde(flatten)]
    report: Report,
    /// Its registrations at the provider, where one is not open.
    apps: Vec<api::AppRow>,
}

pub async fn module(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<Shown>, ControlError> {
    let Some(report) = modules::report(&app, &name).await? else {
        return Err(no_module(&app, &name));
    };
    let mut apps = app_rows(&app).await?;
    apps.retain(|row| row.connector == name && row.state != "open");
    Ok(Json(Shown { report, apps }))
}

/// Says why it does not run, or names what there is instead.
pub fn no_module(app: &App, name: &str) -> ControlError {
    if let Some(there) = app.modules.listed(name) {
        return ControlError::refused(format!("{name} cannot run: {}", there.line));
    }
    let known = modules::known(&app.modules.listing());
    let known = known.unwrap_or_else(|| format!("the folder {} is empty", app.config.modules.display()));
    ControlError::unknown(format!("there is no connector {name}; known: {known}"))
}

pub async fn explain(State(app): State<Arc<App>>, Json(asked): Json<api::Explain>) -> Result<Json<api::Explained>, ControlError> {
    let connector = app.modules.get(&asked.connector).ok_or_else(|| no_module(&app, &asked.connector))?;
    let answer = connector.egress.explain(&asked.method, &asked.url);
    Ok(Json(api::Explained { allowed: answer.allowed, text: answer.text }))
}

pub async fn owner_link(State(app): State<Arc<App>>) -> Result<Json<api::OwnerLink>, ControlError> {
    let link = web::make_owner_link(&app).await.map_err(|e| ControlError::refused(e.to_string()))?;
    Ok(Json(api::OwnerLink { url: link.url.to_string(), expires_at: link.expires_at }))
}
