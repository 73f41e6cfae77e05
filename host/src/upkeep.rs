//! What a host does once a day for itself.

use crate::app::App;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Between rounds.
const EVERY: Duration = Duration::from_secs(24 * 3_600);
/// Log lines of runs are kept so long; the runs' own rows stay.
const LOGS_KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// Goes round until `stop`: the first time at once, since a host that is restarted every day must not keep its logs for ever.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    loop {
        match app.store.trim_logs(app.now().saturating_sub(LOGS_KEPT_MS)).await {
            Ok(0) => {}
            Ok(lines) => tracing::info!("removed {lines} log lines older than 30 days"),
            Err(error) => tracing::warn!("old log lines could not be removed: {error}"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
