//! The first runs of a version that took over from another.
//!
//! Loading and describing itself prove little: what a new version does with real data shows in its first run. If that ends in a crash or at a bound
//! of the sandbox, the version before takes over again by itself, and the new one is refused until somebody approves it anew. A first run that fails
//! for the provider's reasons says nothing, and the next one is looked at. Pinned bytes are on no trial: the settings say which run, and nothing goes
//! back behind them.

use super::{
    Connector,
    back::{Why, go_back},
    store_copy::hex,
};
use crate::app::App;
use sluice_store::Decided;
use std::sync::{Arc, atomic::Ordering};
use tokio::task::JoinHandle;

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

/// Notes the end of a run. Costs nothing for connectors that are not on trial, and nobody waits for what follows from it: going back may take a
/// compilation, and the run holds a slot and its account's lease until it is over.
pub fn ended(app: &Arc<App>, connector: &Arc<Connector>, how: Ended<'_>) -> Option<JoinHandle<()>> {
    // Of several runs at a time, one speaks.
    if how == Ended::Otherwise || !connector.on_trial.swap(false, Ordering::AcqRel) {
        return None;
    }
    let why = match how {
        Ended::Crashed(why) => Some(super::one_line(why)),
        Ended::Well | Ended::Otherwise => None,
    };
    let (app, connector) = (app.clone(), connector.clone());
    Some(tokio::spawn(async move {
        match why {
            Some(why) => failed(&app, &connector, &why).await,
            None => passed(&app, &connector).await,
        }
    }))
}

async fn passed(app: &App, connector: &Connector) {
    if let Err(error) = app.store.end_trial(&connector.name, &hex(&connector.module.hash())).await {
        tracing::warn!("{}: that its new version runs well could not be written down: {error}", connector.name);
    }
}

async fn failed(app: &App, connector: &Connector, why: &str) {
    let (name, hash) = (&connector.name, hex(&connector.module.hash()));
    let who = Decided { by: "a rule".to_owned(), user: None, reason: Some(format!("its first run failed: {why}")) };
    match go_back(app, name, &hash, who, Why::Failed).await {
        Ok(Some(before)) => {
            let (new, old) = (&connector.manifest.version, &before.candidate.version);
            tracing::warn!("{name}: back from version {new} to {old}: the first run of the new one failed: {why}");
        }
        // Somebody decided otherwise meanwhile, or another run of it has ended well.
        Ok(None) => {}
        Err(error) => {
            tracing::error!("{name}: the first run of {} failed, and the version before is not back: {error}", connector.manifest.version)
        }
    }
}
