//! Who did what, as the store has noted it.

use super::{ControlError, api};
use crate::app::App;
use axum::{Json, extract::State};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// The latest notes, newest first, with people and connections by the names they have now. Of those that are gone the note itself still tells.
pub async fn audit(State(app): State<Arc<App>>, Json(asked): Json<api::AuditRequest>) -> Result<Json<Vec<api::AuditRow>>, ControlError> {
    let notes = app.store.audit_log(asked.limit).await?;
    let mut people = HashMap::new();
    for id in notes.iter().filter_map(|note| note.user).collect::<HashSet<_>>() {
        people.extend(app.store.user(id).await?.map(|user| (id, user.name)));
    }
    let mut connections = HashMap::new();
    for id in notes.iter().filter_map(|note| note.connection).collect::<HashSet<_>>() {
        connections.extend(app.store.connection(id).await?.map(|connection| (id, connection.public_id)));
    }
    let row = |note: sluice_store::Audit| api::AuditRow {
        at: note.at,
        who: note.user.and_then(|id| people.get(&id).cloned()),
        what: note.kind,
        connection: note.connection.and_then(|id| connections.get(&id).cloned()),
        detail: note.detail,
    };
    Ok(Json(notes.into_iter().map(row).collect()))
}
