//! What an operator decides about modules, by command.

use super::{ControlError, api};
use crate::{
    app::App,
    modules::{Decision, DecisionError, Listing, decide},
};
use axum::{Json, extract::State};
use sluice_store::Decided;
use std::sync::Arc;

impl From<DecisionError> for ControlError {
    fn from(error: DecisionError) -> Self {
        match error {
            DecisionError::Unknown(_) => Self::unknown(error.to_string()),
            DecisionError::Refused(_) => Self::refused(error.to_string()),
            DecisionError::Store(error) => error.into(),
        }
    }
}

pub async fn decision(State(app): State<Arc<App>>, Json(asked): Json<api::ModuleDecision>) -> Result<Json<Listing>, ControlError> {
    let who = Decided { by: "the operator".to_owned(), user: None, reason: Some("by command".to_owned()) };
    let decision = Decision { verb: asked.verb, name: asked.name, hash: asked.hash, who };
    Ok(Json(decide(&app, decision).await?))
}
