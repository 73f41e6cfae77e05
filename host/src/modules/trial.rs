//! The first runs of a version that took over from another.
//!
//! Loading and describing itself prove little: what a new version does with real data shows in its first run. If that ends in a crash or at a bound
//! of the sandbox, the version before takes over again by itself, and the new one is refused until somebody approves it anew. A first run that fails
//! for the provider's reasons says nothing, and the next one is looked at.

use super::{Change, Connector, store_copy::hex};
use crate::app::App;
use sluice_store::Decided;
use std::sync::atomic::Ordering;

/// How a run ended, as far as it concerns the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended<'a> {
    /// It did what it should.
    Well,
    /// It failed in a way that says nothing of the module.
    Otherwise,
    /// The module crashed or did not keep within its bounds: how.
    Crashed(&'a str),
}

/// Notes the end of a run. Costs nothing for connectors that are not on trial.
pub async fn ended(app: &App, connector: &Connector, how: Ended<'_>) {
    if how == Ended::Otherwise || !connector.on_trial.load(Ordering::Acquire) {
        return;
    }
    // Of several runs at a time, one speaks.
    if !connector.on_trial.swap(false, Ordering::AcqRel) {
        return;
    }
    let (name, hash) = (&connector.name, hex(&connector.module.hash()));
    let Ended::Crashed(why) = how else {
        if let Err(error) = app.store.end_trial(name, &hash).await {
            tracing::warn!("{name}: that its new version runs well could not be written down: {error}");
        }
        return;
    };
    let _alone = app.modules.changing.lock().await;
    let who = Decided { by: "a rule".to_owned(), user: None, reason: Some(format!("its first run failed: {}", super::one_line(why))) };
    match app.store.roll_back(name, &hash, who).await {
        Ok(Some(before)) => {
            let (new, old) = (&connector.manifest.version, &before.candidate.version);
            tracing::warn!("{name}: back from version {new} to {old}: the first run of the new one failed: {}", super::one_line(why));
            app.modules.change(app.workshop(), Change::default()).await;
            app.wake.notify_one();
        }
        // Somebody decided otherwise meanwhile.
        Ok(None) => {}
        Err(error) => tracing::error!("{name}: going back to the version before could not be written down: {error}"),
    }
}
