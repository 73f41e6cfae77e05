//! From the provider's redirect to a connection.
//!
//! The order is the safety: the flow is taken (and so burnt) before anything else is looked at; [`flow::judge`] compares place, session and age;
//! then `iss`, on errors too; then the provider's own error; and only then a request goes out, to the token endpoint of the very profile that the
//! flow and the path name.

use super::begin::find;
use super::error::{self, LinkError, LinkErrorKind, not_answered, token_refused};
use super::exchange::{self, ExchangeError};
use super::flow::{self, Arrival, Pending};
use super::keyring::{Keyring, is_secret};
use super::registration::app_fields;
use super::settle::{self, Arrived, Linked};
use super::token_answer::{self, Refusal};
use super::token_request::{self, TokenRequestError};
use super::{issuer, misconfigured, pkce, wire};
use crate::{app::App, modules::Connector};
use sluice_model::UserId;
use sluice_model::manifest::{Auth, AuthKind, ExchangeWhen, Oauth2, Redirect};
use sluice_store::{Audit, Flow};
use sluice_vault::Secret;
use std::sync::Arc;
use url::Url;

/// Longer values in a callback are refused: browsers and servers cut addresses at 8 KiB.
const MAX_VALUE_BYTES: usize = 8 << 10;

/// What arrived at `/connect/{connector}/{profile}/callback[/{nonce}]`.
pub struct Callback {
    /// From the path.
    pub connector: String,
    /// From the path.
    pub profile: String,
    /// From the path, where there is one.
    pub nonce: Option<String>,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// SHA-256 of the session's cookie, where there is one.
    pub session: Option<[u8; 32]>,
    /// Whose session that is, where it is still good.
    pub user: Option<UserId>,
}

impl Callback {
    /// A parameter that is there exactly once.
    fn only(&self, name: &str) -> Option<&str> {
        let mut all = self.query.iter().filter(|(key, _)| key == name);
        let (_, value) = all.next()?;
        (all.next().is_none() && !value.is_empty() && value.len() <= MAX_VALUE_BYTES).then_some(value)
    }

    fn has(&self, name: &str) -> bool {
        self.query.iter().any(|(key, _)| key == name)
    }
}

/// Finishes a sign-in.
///
/// # Errors
/// Whatever does not fit, with the flow gone; see [`LinkErrorKind`].
pub async fn finish(app: &Arc<App>, callback: Callback) -> Result<Linked, LinkError> {
    let flow = take(app, &callback).await?;
    let arrival = Arrival {
        connector: &callback.connector,
        profile: &callback.profile,
        session: callback.session,
        user: callback.user,
        now: app.now(),
    };
    if let Err(refused) = flow::judge(&flow, &arrival) {
        note(app, &flow, "link-refused", refused.to_string()).await;
        return Err(refused);
    }
    let (connector, auth) = find(app, &flow.connector, &flow.profile)?;
    let pending = Pending::open(&app.vault, &flow).map_err(LinkError::internal)?;
    let ring = Keyring::new(app_fields(app, &connector, &auth)?);
    let arrived = Arrived { user: flow.user, connector, auth, relink: flow.relink, ring, scopes: Vec::new() };
    let result = match arrived.auth.kind.clone() {
        AuthKind::Oauth2(oauth) => finish_oauth2(app, &callback, arrived, &oauth, pending).await,
        AuthKind::Redirect(kind) => finish_redirect(app, &callback, arrived, &kind).await,
        AuthKind::Fields(_) | AuthKind::None => Err(LinkError::internal("a flow of a profile that has no redirect")),
    };
    if let Err(error) = &result {
        note(app, &flow, "link-failed", error.to_string()).await;
    }
    result
}

/// Finds the flow by what the callback carries, and removes it.
async fn take(app: &App, callback: &Callback) -> Result<Flow, LinkError> {
    let carried = callback.nonce.as_deref().or_else(|| callback.only("state"));
    let Some(hash) = carried.and_then(pkce::state_hash) else {
        return Err(LinkError::new(
            LinkErrorKind::NotYours,
            "this address is no answer to a sign-in; nothing was linked, start from the page of the provider you want",
            format!("callback of {}/{} without one readable state", error::quote(&callback.connector), error::quote(&callback.profile)),
        ));
    };
    match app.store.take_flow(&hash).await.map_err(LinkError::internal)? {
        Some(flow) => Ok(flow),
        None => Err(LinkError::new(
            LinkErrorKind::NotYours,
            "this answer was used already, or belongs to no sign-in of this host; nothing was linked, start it again",
            format!("callback of {}/{} with a state that is not known", error::quote(&callback.connector), error::quote(&callback.profile)),
        )),
    }
}

async fn finish_oauth2(
    app: &Arc<App>,
    callback: &Callback,
    mut arrived: Arrived,
    oauth: &Oauth2,
    pending: Pending,
) -> Result<Linked, LinkError> {
    let (connector, auth) = (arrived.connector.clone(), arrived.auth.clone());
    let (title, name, profile) = (&connector.manifest.title, &connector.name, &auth.id);
    if callback.nonce.is_some() {
        return Err(LinkError::new(
            LinkErrorKind::NotYours,
            "this address is no answer of this provider",
            "a nonce in the path of an oauth2 callback",
        ));
    }
    check_issuer(callback, &connector, oauth)?;
    if callback.has("error") {
        return Err(declined(callback, title, name, profile));
    }
    let Some(code) = callback.only("code") else {
        return Err(LinkError::new(
            LinkErrorKind::Failed,
            format!("{title} sent you back without an answer; start once more"),
            format!("{name}/{profile}: callback without exactly one code"),
        ));
    };
    let code = Secret::text(code.to_owned());
    app.fail_point("link:before-code");
    let asked = token_request::by_code(&connector.egress, oauth, &arrived.ring, code, &pending.redirect_uri, pending.verifier).await;
    app.fail_point("link:after-code");
    let answer = match asked {
        Ok(answer) => answer,
        Err(failed) => {
            if failed.is_invalid_client() {
                misconfigured::pause(app, &connector, &arrived.ring).await;
            }
            return Err(match failed {
                TokenRequestError::Call(call) => not_answered(title, name, profile, &call),
                TokenRequestError::Token { error, .. } => token_refused(title, name, profile, &error),
            });
        }
    };
    // Fewer scopes than asked for is the person's right; the connector says what it misses.
    arrived.scopes = token_request::keep(&mut arrived.ring, answer, app.now()).unwrap_or_else(|| oauth.scopes.clone());
    run_linked(app, &connector, &auth, &mut arrived.ring).await?;
    misconfigured::reopen(app, &connector, &arrived.ring).await;
    settle::settle(app, arrived).await
}

async fn finish_redirect(app: &Arc<App>, callback: &Callback, mut arrived: Arrived, kind: &Redirect) -> Result<Linked, LinkError> {
    let (connector, auth) = (arrived.connector.clone(), arrived.auth.clone());
    let (title, name, profile) = (&connector.manifest.title, &connector.name, &auth.id);
    if callback.nonce.is_none() {
        return Err(LinkError::new(
            LinkErrorKind::NotYours,
            "this address is no answer of this provider",
            "no nonce in the path of a redirect callback",
        ));
    }
    if callback.has("error") {
        return Err(declined(callback, title, name, profile));
    }
    let mut taken = Vec::new();
    for (key, source) in &kind.take {
        let parameter = source.strip_prefix("query:").unwrap_or(source);
        let Some(value) = callback.only(parameter) else {
            return Err(LinkError::new(
                LinkErrorKind::Declined,
                format!("{title} sent you back without an answer, as it does when you do not allow it; start once more"),
                format!("{name}/{profile}: callback without exactly one {parameter}"),
            ));
        };
        arrived.ring.put(key, Secret::text(value.to_owned()), is_secret(&connector.manifest, key), None);
        taken.push(key.clone());
    }
    let exchanged = auth.exchanges.iter().any(|step| step.when == ExchangeWhen::Linked);
    run_linked(app, &connector, &auth, &mut arrived.ring).await?;
    if exchanged {
        // What came through the browser's address bar was for the exchange, and is worth nothing after it; what the exchange kept under the
        // same name stays.
        let kept: Vec<&String> = auth.exchanges.iter().flat_map(|step| step.keep.iter().map(|(name, _)| name)).collect();
        taken.iter().filter(|key| !kept.contains(key)).for_each(|key| {
            arrived.ring.keys.remove(key);
        });
        misconfigured::reopen(app, &connector, &arrived.ring).await;
    }
    settle::settle(app, arrived).await
}

/// The profile's `linked` steps, with what goes wrong in words for the person.
pub(super) async fn run_linked(app: &Arc<App>, connector: &Connector, auth: &Auth, ring: &mut Keyring) -> Result<(), LinkError> {
    let Err(failed) = exchange::run(&connector.egress, &connector.manifest, auth, ExchangeWhen::Linked, ring, app.now()).await else {
        return Ok(());
    };
    let title = &connector.manifest.title;
    if failed.class() == Refusal::InvalidClient {
        misconfigured::pause(app, connector, ring).await;
    }
    let internal = format!("{}/{}: {failed}", connector.name, auth.id);
    Err(match &failed {
        ExchangeError::Call(call) => not_answered(title, &connector.name, &auth.id, call),
        ExchangeError::Refused { class: Refusal::Transient, .. } => LinkError::new(
            LinkErrorKind::Transient,
            format!("{title} cannot be reached properly just now; try again in a few minutes"),
            internal,
        ),
        ExchangeError::Refused { code, .. } => LinkError::new(
            LinkErrorKind::Declined,
            format!(
                "{title} did not accept the sign-in ({code}); start once more, and if it stays, whoever runs this host compares the app's keys with \
                 what `sluice modules show {}` prints",
                connector.name
            ),
            internal,
        ),
        _ => LinkError::new(
            LinkErrorKind::Failed,
            format!("{title} answered the sign-in with something else than expected; try again, and if it stays, look into the host's log"),
            internal,
        ),
    })
}

/// RFC 9207: where the answer says who it is from, that must be who was asked; where the provider is known to say it, it must be said.
fn check_issuer(callback: &Callback, connector: &Connector, oauth: &Oauth2) -> Result<(), LinkError> {
    let declared: Option<Url> = oauth.authorize_url.parse().ok();
    let mapped = declared.as_ref().map(|url| wire::upstream(connector, url));
    let urls: Vec<&Url> = declared.iter().chain(mapped.iter()).collect();
    let fits = match (&oauth.issuer, callback.has("iss")) {
        (None, false) => true,
        (None, true) => callback.only("iss").is_some_and(|iss| issuer::is_issuer_of(iss, &urls)),
        (Some(issuer), _) => callback.only("iss") == Some(issuer.as_str()),
    };
    if fits {
        return Ok(());
    }
    Err(LinkError::new(
        LinkErrorKind::NotYours,
        "this answer comes from another provider than the one you were sent to; nothing was linked, start again",
        format!("{}: callback whose iss is missing or another than the profile's", connector.name),
    ))
}

/// `error=` in the callback (RFC 6749 §4.1.2.1), and Last.fm-like pages that say no.
fn declined(callback: &Callback, title: &str, connector: &str, profile: &str) -> LinkError {
    let (class, code) = callback.only("error").map_or((Refusal::Other, "unlisted"), token_answer::classify);
    let internal = format!("{connector}/{profile}: the provider's page answered with error {code}");
    match class {
        Refusal::Declined => LinkError::new(
            LinkErrorKind::Declined,
            format!("you did not allow it at {title}, so nothing was linked; start once more if you want to"),
            internal,
        ),
        Refusal::Transient => {
            LinkError::new(LinkErrorKind::Transient, format!("{title} cannot do it just now; try again in a few minutes"), internal)
        }
        Refusal::InvalidClient | Refusal::Misregistered => LinkError::new(
            LinkErrorKind::NotSetUp,
            format!(
                "{title} does not accept this host's app ({code}); whoever runs this host compares it with what `sluice modules show {connector}` prints"
            ),
            internal,
        ),
        Refusal::SignInAgain | Refusal::Other => LinkError::new(
            LinkErrorKind::Failed,
            format!("{title} answered with an error ({code}), so nothing was linked; start once more"),
            internal,
        ),
    }
}

/// The audit entry of a sign-in; a store that cannot take it must not hide what happened.
async fn note(app: &App, flow: &Flow, kind: &str, detail: String) {
    let entry = Audit { at: app.now(), user: Some(flow.user), kind: kind.to_owned(), connection: flow.relink, detail };
    if let Err(error) = app.store.audit(entry).await {
        tracing::error!("an audit entry ({kind}) was not written: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(query: &[(&str, &str)]) -> Callback {
        Callback {
            connector: "github".into(),
            profile: "app".into(),
            nonce: None,
            query: query.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            session: None,
            user: None,
        }
    }

    #[test]
    fn a_parameter_counts_only_when_it_is_there_once() {
        assert_eq!(callback(&[("code", "x")]).only("code"), Some("x"));
        assert_eq!(callback(&[("code", "x"), ("code", "x")]).only("code"), None);
        assert_eq!(callback(&[("code", "")]).only("code"), None);
        assert_eq!(callback(&[("Code", "x")]).only("code"), None);
        assert_eq!(callback(&[("code", &"x".repeat(MAX_VALUE_BYTES + 1))]).only("code"), None);
    }

    #[test]
    fn a_providers_no_is_told_without_its_words() {
        for (error, kind) in [
            ("access_denied", LinkErrorKind::Declined),
            ("temporarily_unavailable", LinkErrorKind::Transient),
            ("redirect_uri_mismatch", LinkErrorKind::NotSetUp),
            ("application_suspended", LinkErrorKind::NotSetUp),
            ("CANARY", LinkErrorKind::Failed),
        ] {
            let told = declined(&callback(&[("error", error), ("error_description", "CANARY")]), "GitHub", "github", "app");
            assert_eq!(told.kind(), kind, "{error}");
            assert!(!format!("{} {told}", told.public()).contains("CANARY"));
        }
    }
}
