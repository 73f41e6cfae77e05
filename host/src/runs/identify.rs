//! Asking a connector whose account a key opens, before there is a connection.

use super::host::RunHost;
use crate::{app::App, modules::Connector};
use sluice_gate::{Keys, SessionOptions};
use sluice_model::{Account, AppId, ConnectionId, Failure, task::Reason, task::Task};
use sluice_store::{Counts, Used};
use std::{any::Any, collections::BTreeMap, sync::Arc, time::Instant};
use tokio_util::sync::CancellationToken;

/// `identify` did not come to an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connector {connector} could not say whose account this is: {why}")]
pub struct IdentifyError {
    /// Which connector.
    pub connector: String,
    /// What happened to it, without the keys that the host holds.
    pub why: String,
}

/// Runs the connector's `identify` in a fresh sandbox with these keys: `Ok(Err(..))` is the provider's word, by way of the connector.
///
/// # Errors
/// The connector trapped or ran into a limit.
pub async fn identify(
    app: &Arc<App>,
    connector: &Arc<Connector>,
    app_id: AppId,
    profile: &str,
    keys: Keys,
    scopes: Vec<String>,
) -> Result<Result<Account, Failure>, IdentifyError> {
    let now = app.now();
    let session = connector.egress.session(SessionOptions {
        app: app_id,
        connection: None,
        profile: profile.to_owned(),
        keys,
        response_bytes: connector.config.limits.response_bytes,
        requests: connector.config.limits.requests,
        quotas: Vec::new(),
    });
    let host = RunHost {
        task: Task {
            reason: Reason::Linked,
            now,
            time_zone: "UTC".to_owned(),
            cursor: None,
            cursor_version: None,
            window: None,
            profile: profile.to_owned(),
            account_id: None,
            scopes,
            settings: connector.settings.clone(),
        },
        started: Instant::now(),
        session,
        manifest: connector.manifest.clone(),
        limits: connector.config.limits.clone(),
        sink: None,
        keys: Vec::new(),
        guest_keys: None,
        state: BTreeMap::new(),
        state_total: 0,
        cancel: CancellationToken::new(),
        connection: ConnectionId(0),
        app: app.clone(),
        problems: Vec::new(),
        counts: Counts::default(),
        used: Used::default(),
        undo_state: BTreeMap::new(),
        undo_keys: BTreeMap::new(),
        held: None,
        pending: None,
        as_of: now,
        reported: None,
        lost: None,
    };
    let report = connector.module.identify(Box::new(host), &connector.config.limits).await;
    let author = report.for_author();
    let failed = |why| IdentifyError { connector: connector.name.clone(), why };
    let Some(back) = (report.host as Box<dyn Any>).downcast::<RunHost>().ok() else {
        return Err(failed("the sandbox gave back another host than it was given".to_owned()));
    };
    // As after a run: a key that the connector came by in a form the gate did not know for one is nobody's to read, here or in the log.
    let scrub = |text: &str| back.session.scrub(text);
    // There is no connection yet on whose page these could stand.
    for line in author.iter().flat_map(|text| text.lines()) {
        tracing::info!(connector = %connector.name, "identify: {}", scrub(line));
    }
    match report.result {
        Ok(Ok(account)) => Ok(Ok(account)),
        Ok(Err(mut failure)) => {
            back.scrub_failure(&mut failure);
            Ok(Err(failure))
        }
        Err(error) => Err(failed(scrub(&error.to_string()))),
    }
}
