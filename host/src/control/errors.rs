//! What a command gets when something cannot be done: one text, and a status that its exit code follows.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

/// A refusal, for the person at the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// 4xx: what was asked cannot be; 5xx: the host failed.
    pub status: u16,
    /// What was tried, what happened, the next step.
    pub error: String,
}

impl ControlError {
    /// What was asked cannot be done.
    pub fn refused(error: impl Into<String>) -> Self {
        Self { status: 422, error: error.into() }
    }

    /// There is no such thing.
    pub fn unknown(error: impl Into<String>) -> Self {
        Self { status: 404, error: error.into() }
    }
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for ControlError {}

impl From<sluice_store::StoreError> for ControlError {
    fn from(error: sluice_store::StoreError) -> Self {
        tracing::error!("{error}");
        Self { status: 500, error: format!("the database refused: {error}") }
    }
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self)).into_response()
    }
}
