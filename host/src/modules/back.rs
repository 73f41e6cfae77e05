//! Back to the version that served before: by the operator's hand, or because a first run went wrong.
//!
//! It is loaded before anything is written down, without holding anybody up: what cannot serve is nothing to go back to, and from the record to the
//! catalogue there is nothing left that takes its time.

use super::{
    Listing,
    approval::pinned,
    catalogue::{Change, Restless},
    connector,
    decide::DecisionError,
    examine::{Hand, Need},
};
use crate::app::App;
use sluice_store::{Approval, ApprovalState, Decided};

/// Why one goes back.
pub enum Why<'a> {
    /// Somebody said so, and looked at what is listed: it is looked at once more while nothing else can change.
    Asked(&'a (dyn Fn(&Listing) -> Result<(), DecisionError> + Sync)),
    /// The first run of what serves went wrong.
    Failed,
}

/// Goes back from these bytes to those that served before. None where there is nothing to go back to, or something else serves by now.
///
/// # Errors
/// What served before cannot serve; nothing was changed then, and the line says why.
pub async fn go_back(app: &App, name: &str, from: &str, who: Decided, why: Why<'_>) -> Result<Option<Approval>, DecisionError> {
    let modules = &app.modules;
    let rows = app.store.approvals(name).await?;
    let Some(before) = rows.iter().find(|row| row.state == ApprovalState::Superseded) else { return Ok(None) };
    let hand = load(app, name, before).await?;
    let _alone = modules.changing.lock().await;
    if pinned(&modules.shelf().config, name) {
        return match why {
            Why::Asked(_) => Err(DecisionError::Refused(is_pinned(name))),
            Why::Failed => Ok(None),
        };
    }
    let back = match why {
        Why::Asked(fits) => {
            fits(&modules.listed(name).ok_or_else(|| DecisionError::Unknown(format!("{name} is no longer in the folder")))?)?;
            app.fail_point("rollback:before-record");
            app.store.roll_back(name, from, who).await?
        }
        Why::Failed => app.store.fail_trial(name, from, who).await?,
    };
    if back.is_some() {
        app.fail_point("rollback:after-record");
        // Whatever is being written in the folder: what is approved by now serves, and nothing else.
        let restless = Restless::Unread(modules.restless().await);
        modules.change(app.workshop(), Change { hand, restless, ..Change::of(name) }).await;
        app.wake.notify_one();
    }
    Ok(back)
}

/// Why there is no going back by hand.
pub fn is_pinned(name: &str) -> String {
    format!("[connectors.{name}] pins sha256: to go back, pin the hash of the version before")
}

/// Loads the version before from its copy, and holds it against the settings.
async fn load(app: &App, name: &str, before: &Approval) -> Result<Hand, DecisionError> {
    let (hash, version) = (&before.candidate.hash, &before.candidate.version);
    let no = |why: &str| DecisionError::Refused(format!("{name} {version}, which served before, cannot serve: {why}; nothing was changed"));
    let file = app.modules.listed(name).map(|listing| listing.file).unwrap_or_default();
    let need = Need { name: name.to_owned(), file, hash: hash.clone(), size: 0, vouched: true };
    let outcome = app.modules.examine_now(app.workshop(), &need).await;
    let examined = outcome.ok_or_else(|| no("its approved copy is gone or was changed; put that file into the modules folder"))?;
    match &examined {
        Ok(examined) => connector::prepare(&app.modules.shelf().config, name, hash, &examined.said).map(|_| ()),
        Err(why) => Err(why.clone()),
    }
    .map_err(|why| no(&why))?;
    Ok(Hand::from([(hash.clone(), examined)]))
}
