//! How commands reach a host: a small JSON API, served on a Unix socket of mode 0600 in the data folder.
//!
//! One writer, one process: while a host runs, commands act through it; when none does, a command opens the data folder itself and calls the very
//! same router in its own process ([`Client`] hides which). Long work answers with one JSON object a line, as it happens.

pub mod api;
mod audit;
mod client;
mod connect;
mod entries;
mod errors;
mod host;
mod knock;
mod modules;
mod runs;
mod socket;

pub use client::{Answer, Client, ClientError, Lines};
pub use errors::ControlError;
pub use knock::{Silence, Stuck};
pub use socket::{SocketError, serve};

use crate::app::App;
use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use std::sync::Arc;

/// The whole API. Every route is for whoever may open the socket: the operator.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        // Answered from memory: that is what it is asked for.
        .route(knock::ALIVE, get(async || StatusCode::NO_CONTENT))
        .route("/v1/status", get(host::status))
        .route("/v1/modules", get(host::modules))
        .route("/v1/modules/{name}", get(host::module))
        .route("/v1/modules/decision", post(modules::decision))
        .route("/v1/apps", get(host::apps))
        .route("/v1/apps/resume", post(host::resume_apps))
        .route("/v1/gate/explain", post(host::explain))
        .route("/v1/owner-link", post(host::owner_link))
        .route("/v1/connections", get(connect::connections))
        .route("/v1/connect/plan", post(connect::plan))
        .route("/v1/connect/fields", post(connect::fields))
        .route("/v1/connect/begin", post(connect::begin))
        .route("/v1/connect/finish", post(connect::finish))
        .route("/v1/disconnect", post(connect::disconnect))
        .route("/v1/run", post(runs::run))
        .route("/v1/runs", post(runs::list))
        .route("/v1/stop", post(runs::stop))
        .route("/v1/audit", post(audit::audit))
        .route("/v1/entries", post(entries::entries))
        .layer(axum::extract::DefaultBodyLimit::max(256 << 10))
        .with_state(app)
}
