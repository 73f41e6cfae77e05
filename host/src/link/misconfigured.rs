//! `invalid_client`: the one verdict that reaches a whole app, and only where the host saw it itself.
//!
//! A token endpoint that does not know the app refuses everybody alike, so asking again for each connection would only annoy it: the app pauses, and
//! the operator gets one line. It opens again by itself when a sign-in through it works, and as `runs/apps.rs` says; if it was not mended, one
//! request says so.

use super::keyring::Keyring;
use super::registration::fingerprint;
use crate::{app::App, modules::Connector};
use sluice_model::AppId;
use sluice_store::AppState;

/// What the operator reads.
const REASON: &str = "the provider does not know this app (invalid_client)";

/// Pauses the app that these app fields belong to.
pub(super) async fn pause(app: &App, connector: &Connector, ring: &Keyring) {
    match app.store.app(&connector.name, &fingerprint(&ring.app)).await {
        Ok(registered) => pause_app(app, &connector.name, registered.id).await,
        Err(error) => tracing::error!(connector = %connector.name, "the app could not be paused: {error}"),
    }
}

/// The same, for an app whose id is known.
pub(super) async fn pause_app(app: &App, connector: &str, id: AppId) {
    let reason =
        format!("{REASON}: check client-id and client-secret under [connectors.{connector}.app], then: sluice apps resume {connector}");
    tracing::error!(%connector, "{reason}");
    if let Err(error) = app.store.set_app(id, AppState::Paused, Some(reason), None).await {
        tracing::error!(%connector, "the app could not be paused: {error}");
    }
}

/// Opens it again: the provider has just accepted it.
pub(super) async fn reopen(app: &App, connector: &Connector, ring: &Keyring) {
    let opened = async {
        let registered = app.store.app(&connector.name, &fingerprint(&ring.app)).await?;
        if registered.state == AppState::Paused {
            app.store.set_app(registered.id, AppState::Open, None, None).await?;
            tracing::info!(connector = %connector.name, "the provider accepts the app again; it is open");
            app.wake.notify_one();
        }
        Ok::<_, sluice_store::StoreError>(())
    };
    if let Err(error) = opened.await {
        tracing::error!(connector = %connector.name, "the app could not be opened again: {error}");
    }
}
