//! Apps as a whole: what pauses one, and what opens it again.
//!
//! Two things pause an app: a provider that told the host itself `invalid_client` (`link/misconfigured.rs`), and three different connections that
//! say *misconfigured* within an hour. The operator reads one line of it, on the page and in `sluice apps`, not one for each connection. It opens
//! again when whoever can mend it has done something: `sluice apps resume`, a change of the connector's `app` in the settings, a sign-in through it
//! that works, or a restart. If it was not mended, it pauses again, and costs a few requests.

use super::outcome::MISCONFIGURED_CONNECTIONS;
use crate::app::App;
use sluice_model::ConnectionId;
use sluice_store::{AppState, StoreError};

/// Characters of a connector's own words that an operator is shown.
const MAX_WORDS: usize = 300;

/// Remembers that a connection said *misconfigured*; the third within an hour pauses the app.
pub(super) async fn note_misconfigured(app: &App, id: sluice_model::AppId, connector: &str, connection: ConnectionId, why: &str) {
    let noted = async {
        let count = app.store.note_misconfigured(id, connection, app.now()).await?;
        let open = app.store.apps().await?.iter().any(|a| a.id == id && a.state == AppState::Open);
        if count >= MISCONFIGURED_CONNECTIONS && open {
            let why: String = why.chars().take(MAX_WORDS).collect();
            let reason = format!(
                "{count} accounts say within an hour that this app is misconfigured ({why}): check [connectors.{connector}.app], then: sluice apps resume {connector}"
            );
            tracing::error!(%connector, "paused: {reason}");
            app.store.set_app(id, AppState::Paused, Some(reason), None).await?;
        }
        Ok::<_, StoreError>(())
    };
    if let Err(error) = noted.await {
        tracing::warn!(%connector, "an app's state could not be changed: {error}");
    }
}

/// Opens the apps that are paused or blocked, of one connector or of all; says how many.
///
/// # Errors
/// The store failed.
pub async fn resume(app: &App, connector: Option<&str>) -> Result<usize, StoreError> {
    let mut opened = 0;
    for paused in app.store.apps().await? {
        let meant = connector.is_none_or(|name| name == paused.connector);
        // At a start, or when all are meant, what a provider asked to wait for goes on waiting.
        let closed = paused.state == AppState::Paused || (connector.is_some() && paused.blocked_until.is_some());
        if meant && closed && app.store.resume_app(paused.id).await? {
            tracing::info!(connector = %paused.connector, "its app is open again");
            opened += 1;
        }
    }
    if opened > 0 {
        app.wake.notify_one();
    }
    Ok(opened)
}
