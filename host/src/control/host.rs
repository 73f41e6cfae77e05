//! What a host says about itself: status, modules, the gate's view of a request, the owner's link.

use super::{ControlError, api};
use crate::{app::App, modules::Listing, web};
use axum::{
    Json,
    extract::{Path, State},
};
use std::sync::Arc;

pub async fn status(State(app): State<Arc<App>>) -> Result<Json<api::Status>, ControlError> {
    let owner = app.store.owner().await?.is_some();
    let connections = app.store.connections(sluice_store::ConnectionFilter::default()).await?.len();
    Ok(Json(api::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        public_url: app.config.public_url.to_string(),
        owner,
        connections,
    }))
}

pub async fn modules(State(app): State<Arc<App>>) -> Json<Vec<Listing>> {
    Json(app.modules.listing().to_vec())
}

/// A listing with what only a person who asks for it wants to see.
#[derive(serde::Serialize)]
pub struct Shown {
    #[serde(flatten)]
    listing: Listing,
    /// What an operator registers at the provider, with the exact redirect URL.
    setup: Option<String>,
    compile_ms: Option<u64>,
    metrics: Vec<String>,
}

pub async fn module(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<Shown>, ControlError> {
    let Some(listing) = app.modules.listing().iter().find(|l| l.name == name).cloned() else {
        return Err(no_module(&app, &name));
    };
    let connector = app.modules.get(&name);
    let setup = connector.as_ref().map(|c| crate::link::setup_text(&app, c));
    let metrics = connector.iter().flat_map(|c| &c.manifest.metrics).map(|m| format!("{} ({})", m.name, m.unit)).collect();
    let compile_ms = connector.as_ref().map(|c| u64::try_from(c.module.compile_time().as_millis()).unwrap_or(u64::MAX));
    Ok(Json(Shown { listing, setup, compile_ms, metrics }))
}

/// Names what there is instead.
pub fn no_module(app: &App, name: &str) -> ControlError {
    let known: Vec<&str> = app.modules.listing().iter().map(|l| l.name.as_str()).collect();
    let known = if known.is_empty() { format!("the folder {} is empty", app.config.modules.display()) } else { known.join(", ") };
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
