//! `/healthz`: whether the host can answer from its store. No cookie, no session, nothing about anybody.

use crate::web::Shared;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt as _;
use http::StatusCode;
use std::time::Duration;

/// A store that takes longer than this is no use to anybody.
const PATIENCE: Duration = Duration::from_secs(2);

pub async fn show(State(web): State<Shared>) -> Response {
    let (status, word) = if web.app.store.fatal().now_or_never().is_some() {
        (StatusCode::SERVICE_UNAVAILABLE, "store-failed")
    } else {
        match tokio::time::timeout(PATIENCE, web.app.store.owner()).await {
            Ok(Ok(_)) if web.app.store.full_since().is_some() => (StatusCode::SERVICE_UNAVAILABLE, "disk-full"),
            Ok(Ok(_)) => (StatusCode::OK, "ok"),
            Ok(Err(why)) => {
                tracing::error!("the store does not answer: {why}");
                (StatusCode::SERVICE_UNAVAILABLE, "store-failed")
            }
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "store-slow"),
        }
    };
    (status, Json(serde_json::json!({ "status": word }))).into_response()
}
