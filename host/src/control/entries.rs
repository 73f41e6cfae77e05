//! Entries, a page at a time.

use super::{ControlError, api};
use crate::app::App;
use axum::{Json, extract::State};
use sluice_model::Moment;
use sluice_store::EntryQuery;
use std::sync::Arc;

/// Rows of one page: a reader never holds the database for long.
const PAGE: usize = 5_000;

pub async fn entries(State(app): State<Arc<App>>, Json(asked): Json<api::EntriesRequest>) -> Result<Json<api::EntriesPage>, ControlError> {
    let since = asked.since.as_deref().map(|text| since(text, app.now())).transpose()?;
    if let Some(name) = &asked.connector {
        let known = app.modules.get(name).is_some()
            || !app.store.connections(sluice_store::ConnectionFilter { connector: Some(name.clone()), user: None }).await?.is_empty();
        if !known {
            return Err(super::host::no_module(&app, name));
        }
    }
    let query = EntryQuery {
        user: None,
        connection: None,
        connector: asked.connector,
        metric: asked.metric,
        since,
        after: asked.after,
        limit: PAGE,
        newest_first: false,
    };
    let page = app.store.entries(query).await?;
    Ok(Json(api::EntriesPage { rows: page.rows.into_iter().map(Into::into).collect(), next: page.next }))
}

/// A day, an instant, or so long ago.
pub fn since(text: &str, now: i64) -> Result<Moment, ControlError> {
    if let Ok(day) = text.parse() {
        return Ok(Moment::Day(day));
    }
    if let Some(ms) = sluice_model::manifest::parse_duration(text) {
        return Ok(Moment::Instant(now.saturating_sub(ms)));
    }
    text.parse::<jiff::Timestamp>().map(|t| Moment::Instant(t.as_millisecond())).map_err(|_| {
        ControlError::refused(format!("--since {text}: write a day (2026-11-21), an instant (2026-11-21T08:00:00Z) or a span (7d, 12h)"))
    })
}
