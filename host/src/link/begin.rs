//! From a press of a button to the provider's page.

use super::error::{LinkError, LinkErrorKind};
use super::flow::{LIFETIME_MS, Pending};
use super::keyring::Keyring;
use super::registration::{app_fields, callback_at, callback_url};
use super::{pkce, template, wire};
use crate::{app::App, modules::Connector};
use sluice_model::manifest::{Auth, AuthKind, Oauth2, Pkce, Redirect};
use sluice_model::{ConnectionId, UserId};
use sluice_store::Flow;
use sluice_vault::Secret;
use std::sync::Arc;
use url::Url;

/// Who wants to link what.
pub struct Begin<'a> {
    /// The signed-in person.
    pub user: UserId,
    /// SHA-256 of their session's cookie. `None` makes a session for this one sign-in: see [`Started::session`].
    pub session: Option<[u8; 32]>,
    /// The connector's name.
    pub connector: &'a str,
    /// The profile's id.
    pub profile: &'a str,
    /// The connection to sign in to again, if it is not a new one.
    pub relink: Option<ConnectionId>,
    /// For a command that listens on this machine: `http://127.0.0.1:PORT`. Only for profiles that say `loopback`; the callback's usual path
    /// follows.
    pub loopback: Option<&'a str>,
}

/// Where the person goes now.
#[derive(Debug)]
pub struct Started {
    /// At the provider.
    pub redirect: Url,
    /// What the callback must come with: the session given, or the one made.
    pub session: [u8; 32],
}

/// Begins a sign-in of an `oauth2` or `redirect` profile.
///
/// # Errors
/// No such connector or profile, a profile that has a form instead, something the operator has yet to set, or a connection that is not theirs.
pub async fn begin(app: &Arc<App>, who: Begin<'_>) -> Result<Started, LinkError> {
    let (connector, auth) = find(app, who.connector, who.profile)?;
    check_relink(app, who.user, &connector, who.relink).await?;
    let ring = Keyring::new(app_fields(app, &connector, &auth)?);
    let state = pkce::random_text(app.random.as_ref());
    let state_hash = pkce::state_hash(&state).ok_or_else(|| LinkError::internal("a state of our own making has no hash"))?;
    let (redirect, pending) = match &auth.kind {
        AuthKind::Oauth2(oauth) => {
            let callback = oauth2_callback(app, &connector, &auth, oauth, who.loopback)?;
            oauth2(app, &connector, oauth, &ring, &state, callback)?
        }
        AuthKind::Redirect(kind) => {
            if who.loopback.is_some() {
                return Err(no_loopback(&connector, &auth));
            }
            let callback = callback_url(app, &connector.name, &auth.id, Some(&state));
            redirect_pages(&connector, kind, &ring, callback)?
        }
        AuthKind::Fields(_) | AuthKind::None => {
            return Err(LinkError::plain(
                LinkErrorKind::Invalid,
                format!("“{}” has a form to fill in, and no page to be sent to", auth.title),
            ));
        }
    };
    let session = who.session.unwrap_or_else(|| app.random_bytes());
    let now = app.now();
    let flow = Flow {
        state_hash,
        session: Some(session),
        user: who.user,
        connector: connector.name.clone(),
        profile: auth.id.clone(),
        relink: who.relink,
        sealed: pending.seal(&app.vault, &connector.name, &auth.id, &state_hash),
        created_at: now,
        expires_at: now + LIFETIME_MS,
    };
    app.store.start_flow(flow).await.map_err(LinkError::internal)?;
    Ok(Started { redirect, session })
}

/// The origin that a person will be sent to, for a page's `form-action`: browsers apply it to the redirect as well.
#[must_use]
pub fn authorize_origin(connector: &Connector, profile: &str) -> Option<String> {
    let url = match &connector.manifest.profile(profile)?.kind {
        AuthKind::Oauth2(oauth) => &oauth.authorize_url,
        AuthKind::Redirect(kind) => &kind.authorize_url,
        AuthKind::Fields(_) | AuthKind::None => return None,
    };
    Some(wire::upstream(connector, &url.parse().ok()?).origin().ascii_serialization())
}

/// The connector and a profile of it.
pub(super) fn find(app: &App, connector: &str, profile: &str) -> Result<(Arc<Connector>, Auth), LinkError> {
    let Some(found) = app.modules.get(connector) else {
        let line = app.modules.listing().iter().find(|l| l.name == connector).map(|l| l.line.clone());
        let why = line.unwrap_or_else(|| "there is no such connector; `sluice modules list` shows those there are".to_owned());
        return Err(LinkError::plain(LinkErrorKind::NotFound, format!("{}: {why}", super::error::quote(connector))));
    };
    let Some(auth) = found.manifest.profile(profile).cloned() else {
        let known: Vec<&str> = found.manifest.auth.iter().map(|auth| auth.id.as_str()).collect();
        let text = format!("{connector} has no way to sign in called “{}”; it has {}", super::error::quote(profile), known.join(", "));
        return Err(LinkError::plain(LinkErrorKind::NotFound, text));
    };
    Ok((found, auth))
}

/// A connection to be signed in to again must be this person's, and of this connector.
pub(super) async fn check_relink(app: &App, user: UserId, connector: &Connector, relink: Option<ConnectionId>) -> Result<(), LinkError> {
    let Some(id) = relink else { return Ok(()) };
    match app.store.connection(id).await.map_err(LinkError::internal)? {
        Some(connection) if connection.user == user && connection.connector == connector.name => Ok(()),
        _ => Err(LinkError::new(
            LinkErrorKind::NotFound,
            "there is no such connection; it may have been deleted meanwhile",
            format!("relink of connection {id}, which is not user {user}'s connection of {}", connector.name),
        )),
    }
}

fn oauth2(
    app: &App,
    connector: &Connector,
    oauth: &Oauth2,
    ring: &Keyring,
    state: &str,
    callback: Url,
) -> Result<(Url, Pending), LinkError> {
    let client_id = ring.app_field("client-id").and_then(Secret::expose_str);
    let client_id = client_id.ok_or_else(|| LinkError::internal("an oauth2 profile without client-id among its app-fields"))?;
    let mut url = authorize_url(connector, &oauth.authorize_url)?;
    let verifier = (oauth.pkce != Pkce::Off).then(|| Secret::text(pkce::random_text(app.random.as_ref())));
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("response_type", "code").append_pair("client_id", client_id).append_pair("redirect_uri", callback.as_str());
        if !oauth.scopes.is_empty() {
            query.append_pair("scope", &oauth.scopes.join(&oauth.scope_separator));
        }
        query.append_pair("state", state);
        if let Some(verifier) = &verifier {
            query.append_pair("code_challenge", &pkce::challenge(verifier)).append_pair("code_challenge_method", "S256");
        }
        // A manifest adds what its provider wants; what is ours it cannot take over.
        let ours = ["response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"];
        query.extend_pairs(oauth.authorize_params.iter().filter(|(name, _)| !ours.contains(&name.as_str())));
    }
    Ok((url, Pending { redirect_uri: callback.to_string(), verifier }))
}

fn redirect_pages(connector: &Connector, kind: &Redirect, ring: &Keyring, callback: Url) -> Result<(Url, Pending), LinkError> {
    let mut url = authorize_url(connector, &kind.authorize_url)?;
    for (name, template) in &kind.authorize_query {
        let value =
            template::fill(template, |key| if key == "callback" { Some(Secret::text(callback.to_string())) } else { ring.look_up(key) });
        let value = value.map_err(|e| LinkError::internal(format!("{}: authorize-query {name}: {e}", connector.name)))?;
        url.query_pairs_mut().append_pair(name, value.expose_str().unwrap_or_default());
    }
    Ok((url, Pending { redirect_uri: callback.to_string(), verifier: None }))
}

fn authorize_url(connector: &Connector, text: &str) -> Result<Url, LinkError> {
    let url: Url = text.parse().map_err(|_| LinkError::internal(format!("{}: authorize-url is no URL", connector.name)))?;
    Ok(wire::upstream(connector, &url))
}

fn oauth2_callback(app: &App, connector: &Connector, auth: &Auth, oauth: &Oauth2, loopback: Option<&str>) -> Result<Url, LinkError> {
    let Some(text) = loopback else { return Ok(callback_url(app, &connector.name, &auth.id, None)) };
    if !oauth.loopback {
        return Err(no_loopback(connector, auth));
    }
    loopback_callback(text, &connector.name, &auth.id)
        .ok_or_else(|| LinkError::plain(LinkErrorKind::Invalid, "a terminal's address is http://127.0.0.1:PORT, and nothing else"))
}

/// RFC 8252 §7.3: the literal address, any port, and our path, so that no two profiles share a redirect.
fn loopback_callback(text: &str, connector: &str, profile: &str) -> Option<Url> {
    let given: Url = text.parse().ok()?;
    let literal = matches!(given.host_str(), Some("127.0.0.1" | "[::1]"));
    let plain = given.scheme() == "http" && given.username().is_empty() && given.password().is_none();
    if !literal || !plain || given.port().is_none() {
        return None;
    }
    let base: Url = given.origin().ascii_serialization().parse().ok()?;
    Some(callback_at(&base, connector, profile, None))
}

fn no_loopback(connector: &Connector, auth: &Auth) -> LinkError {
    LinkError::plain(
        LinkErrorKind::NotSetUp,
        format!(
            "{} does not send people back to a terminal for “{}”; open this host's page for it instead",
            connector.manifest.title, auth.title
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_reached_at_a_literal_loopback_address_only() {
        for (given, wanted) in [
            ("http://127.0.0.1:4711", Some("http://127.0.0.1:4711/connect/a/b/callback")),
            ("http://127.0.0.1:4711/whatever?x=1", Some("http://127.0.0.1:4711/connect/a/b/callback")),
            ("http://[::1]:4711/", Some("http://[::1]:4711/connect/a/b/callback")),
            ("http://localhost:4711/", None),
            ("https://127.0.0.1:4711/", None),
            ("http://127.0.0.1/", None),
            ("http://127.0.0.1.evil.example:4711/", None),
            ("http://u@127.0.0.1:4711/", None),
            ("http://10.0.0.1:4711/", None),
            ("", None),
        ] {
            assert_eq!(loopback_callback(given, "a", "b").map(String::from).as_deref(), wanted, "{given}");
        }
    }
}
