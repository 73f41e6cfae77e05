//! The end of every way in: whose account is it, and which connection is that?
//!
//! The connector says whose account the keys open; the host believes it for this one question and nothing else (who is signed in to this host is
//! never its business). Then:
//! - signing in again to a connection must come back with the same account, or one person's data would be mixed with another's;
//! - an account that this person linked before, by whatever profile, is that connection with new keys, never a second one;
//! - anything else is a new connection.
//!
//! Each link has a data key of its own, also when the connection stays: what was sealed before is worthless afterwards.

use super::begin::{check_relink, find};
use super::error::{LinkError, LinkErrorKind, identify_failed, quote};
use super::finish::run_linked;
use super::keyring::Keyring;
use super::registration::{app_fields, fingerprint};
use crate::{app::App, modules::Connector};
use sluice_model::manifest::{Auth, AuthKind, Field, MAX_FIELD_BYTES};
use sluice_model::{Account, AppId, ConnectionId, UserId};
use sluice_store::{Audit, Connection, NewLink, StoreError};
use sluice_vault::Secret;
use std::sync::Arc;

/// Longer ids and labels are no account's.
const MAX_ACCOUNT_TEXT: usize = 512;
const MAX_ROUTE_KEYS: usize = 32;

/// A sign-in whose keys are there.
pub(super) struct Arrived {
    pub user: UserId,
    pub connector: Arc<Connector>,
    pub auth: Auth,
    pub relink: Option<ConnectionId>,
    pub ring: Keyring,
    pub scopes: Vec<String>,
}

/// An account that is linked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The connection.
    pub connection: ConnectionId,
    /// The account, for people.
    pub label: String,
    /// It was linked before: its keys were replaced, its data is where it was.
    pub again: bool,
}

/// Links by a form of fields, or by nothing at all (`kind = "none"`).
///
/// # Errors
/// A field that is missing, unknown or does not fit; whatever the exchanges, the connector and the account say.
pub async fn link_fields(
    app: &Arc<App>,
    user: UserId,
    connector: &str,
    profile: &str,
    fields: Vec<(String, Secret)>,
    relink: Option<ConnectionId>,
) -> Result<Linked, LinkError> {
    let (connector, auth) = find(app, connector, profile)?;
    check_relink(app, user, &connector, relink).await?;
    let wanted: &[Field] = match &auth.kind {
        AuthKind::Fields(wanted) => wanted,
        AuthKind::None => &[],
        AuthKind::Oauth2(_) | AuthKind::Redirect(_) => {
            let text = format!("“{}” has no form: you sign in on {}'s own page", auth.title, connector.manifest.title);
            return Err(LinkError::plain(LinkErrorKind::Invalid, text));
        }
    };
    let mut ring = Keyring::new(app_fields(app, &connector, &auth)?);
    for (field, value) in checked(wanted, fields)? {
        ring.put(&field.name, value, field.secret, None);
    }
    run_linked(app, &connector, &auth, &mut ring).await?;
    settle(app, Arrived { user, connector, auth, relink, ring, scopes: Vec::new() }).await
}

/// Every wanted field once, without the blanks that copying leaves around it.
fn checked(wanted: &[Field], given: Vec<(String, Secret)>) -> Result<Vec<(&Field, Secret)>, LinkError> {
    let invalid = |text: String| Err(LinkError::plain(LinkErrorKind::Invalid, text));
    if let Some((name, _)) = given.iter().find(|(name, _)| !wanted.iter().any(|field| field.name == *name)) {
        let known: Vec<&str> = wanted.iter().map(|field| field.name.as_str()).collect();
        return invalid(format!(
            "there is no field “{}” here; the form has {}",
            quote(name),
            if known.is_empty() { "none".into() } else { known.join(", ") }
        ));
    }
    let mut out = Vec::new();
    for field in wanted {
        let mut values = given.iter().filter(|(name, _)| *name == field.name).map(|(_, value)| value);
        let (value, more) = (values.next(), values.next());
        if more.is_some() {
            return invalid(format!("{} is given twice", field.label));
        }
        let text = match value.map(Secret::expose_str) {
            Some(Some(text)) => text.trim(),
            Some(None) => return invalid(format!("{} is no text", field.label)),
            None => "",
        };
        if text.is_empty() {
            return invalid(format!("{} is missing", field.label));
        }
        if text.len() > MAX_FIELD_BYTES {
            return invalid(format!("{} has {} bytes, and at most {MAX_FIELD_BYTES} are taken", field.label, text.len()));
        }
        if text.chars().any(char::is_control) {
            return invalid(format!("{} has a line break or another control character in it; copy it once more", field.label));
        }
        if !field.matches(text) {
            let help = field.help.as_deref().map(|help| format!(": {help}")).unwrap_or_default();
            return invalid(format!("{} does not look like one{help}", field.label));
        }
        out.push((field, Secret::text(text.to_owned())));
    }
    Ok(out)
}

/// Asks the connector whose account it is, and stores the connection.
pub(super) async fn settle(app: &Arc<App>, mut arrived: Arrived) -> Result<Linked, LinkError> {
    let connector = arrived.connector.clone();
    let title = &connector.manifest.title;
    arrived.ring.end_as_declared(arrived.auth.expires_ms, app.now());
    let registered = app.store.app(&connector.name, &fingerprint(&arrived.ring.app)).await.map_err(LinkError::internal)?;
    app.fail_point("link:before-identify");
    let said =
        crate::runs::identify(app, &connector, registered.id, &arrived.auth.id, arrived.ring.to_gate(), arrived.scopes.clone()).await;
    let account = match said {
        Ok(Ok(account)) => bounded(account).map_err(|why| {
            LinkError::new(
                LinkErrorKind::Failed,
                format!("the connector for {title} did not say whose account this is; its author has to mend it"),
                format!("{}: identify: {why}", connector.name),
            )
        })?,
        Ok(Err(failure)) => return Err(identify_failed(title, &connector.name, &arrived.auth.id, &failure)),
        Err(failed) => {
            return Err(LinkError::new(
                LinkErrorKind::Failed,
                format!(
                    "the connector for {title} stopped before it could say whose account this is; try again, and if it stays, look into the host's log"
                ),
                failed.to_string(),
            ));
        }
    };
    let target = target(app, &arrived, &account).await?;
    // Not between the request and the commit of a renewal: its answer is about the keys of before.
    let grant = target.as_ref().map(|connection| app.grants.of(connection));
    let _turn = match &grant {
        Some(grant) => Some(grant.turn.lock().await),
        None => None,
    };
    match store(app, &arrived, registered.id, &account, target.as_ref()).await {
        // Two browsers at once: the other one was first, so this is linking again.
        Err(StoreError::AlreadyLinked(id)) if target.is_none() => {
            let first = app.store.connection(id).await.map_err(LinkError::internal)?;
            store(app, &arrived, registered.id, &account, first.as_ref()).await.map_err(LinkError::internal)
        }
        other => other.map_err(LinkError::internal),
    }
}

/// The connection that this account is, if there is one.
async fn target(app: &App, arrived: &Arrived, account: &Account) -> Result<Option<Connection>, LinkError> {
    let known = match &account.id {
        Some(id) => app.store.connection_by_account(arrived.user, &arrived.connector.name, id).await.map_err(LinkError::internal)?,
        None => None,
    };
    let Some(relink) = arrived.relink else { return Ok(known) };
    let Some(asked) = app.store.connection(relink).await.map_err(LinkError::internal)?.filter(|c| c.user == arrived.user) else {
        return Err(LinkError::plain(LinkErrorKind::NotFound, "the connection was deleted while you signed in; link the account anew"));
    };
    if !same_account(&asked.account, account) || known.as_ref().is_some_and(|known| known.id != asked.id) {
        return Err(other_account(&arrived.connector.manifest.title, &asked.account, account));
    }
    Ok(Some(asked))
}

/// By id where both have one. Where the provider tells nobody who they are, the page says that it cannot be checked; where it used to tell and no
/// longer does, the label has to do.
fn same_account(before: &Account, now: &Account) -> bool {
    match (&before.id, &now.id) {
        (Some(before), Some(now)) => before == now,
        (None, _) => true,
        (Some(_), None) => before.label == now.label,
    }
}

fn other_account(title: &str, before: &Account, now: &Account) -> LinkError {
    let (was, is) = (quote(&before.label), quote(&now.label));
    LinkError::new(
        LinkErrorKind::OtherAccount,
        format!(
            "this connection belongs to the {title} account {was}, and you signed in there as {is}: nothing was changed\n  sign out at {title}, sign \
             in there as {was} and start once more; or link {is} as an account of its own"
        ),
        format!("relink with account {is} instead of {was}"),
    )
}

async fn store(
    app: &App,
    arrived: &Arrived,
    registered: AppId,
    account: &Account,
    target: Option<&Connection>,
) -> Result<Linked, StoreError> {
    let public_id = target.map_or_else(|| app.store.new_public_id(), |connection| connection.public_id.clone());
    let (data_key, wrapped) = app.vault.new_data_key(&public_id);
    let credentials = arrived.ring.seal(&arrived.connector.name, &public_id, &data_key);
    let now = app.now();
    let link = NewLink {
        public_id,
        user: arrived.user,
        app: registered,
        connector: arrived.connector.name.clone(),
        profile: arrived.auth.id.clone(),
        account: account.clone(),
        scopes: arrived.scopes.clone(),
        settings: target.map(|connection| connection.settings.clone()).unwrap_or_default(),
        data_key: (wrapped.key_id, wrapped.bytes),
        credentials,
        relink: target.map(|connection| connection.id),
        due: now,
    };
    app.fail_point("link:before-store");
    let connection = app.store.link(link).await?;
    app.fail_point("link:after-store");
    app.wake.notify_one();
    let again = target.is_some();
    let entry = Audit {
        at: now,
        user: Some(arrived.user),
        kind: if again { "linked-again" } else { "linked" }.to_owned(),
        connection: Some(connection),
        detail: format!("{} by {}: {}", arrived.connector.name, arrived.auth.id, quote(&account.label)),
    };
    if let Err(error) = app.store.audit(entry).await {
        tracing::error!("an audit entry (linked) was not written: {error}");
    }
    Ok(Linked { connection, label: account.label.clone(), again })
}

/// A guest's account, within bounds.
fn bounded(mut account: Account) -> Result<Account, &'static str> {
    let fits = |text: &str| !text.is_empty() && text.len() <= MAX_ACCOUNT_TEXT && !text.contains('\0');
    if account.id.as_deref().is_some_and(|id| !fits(id)) {
        return Err("the account's id is empty or longer than 512 bytes");
    }
    if account.route_keys.len() > MAX_ROUTE_KEYS || account.route_keys.iter().any(|key| !fits(key)) {
        return Err("the account has more than 32 route keys, or one that is empty or longer than 512 bytes");
    }
    account.label = quote(&account.label);
    if account.label.is_empty() {
        account.label = account.id.clone().map_or_else(|| "unnamed account".to_owned(), |id| quote(&id));
    }
    Ok(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: Option<&str>, label: &str) -> Account {
        Account { id: id.map(str::to_owned), label: label.into(), route_keys: Vec::new() }
    }

    fn field(name: &str, pattern: Option<&str>) -> Field {
        Field {
            name: name.into(),
            label: format!("The {name}"),
            help: Some("40 letters".into()),
            secret: true,
            pattern: pattern.map(str::to_owned),
        }
    }

    fn check(given: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let wanted = [field("token", None), field("user", None)];
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), Secret::text((*value).to_owned()))).collect();
        match checked(&wanted, given) {
            Ok(all) => Ok(all.iter().map(|(f, v)| format!("{}={}", f.name, v.expose_str().unwrap_or_default())).collect()),
            Err(error) => Err(error.public().to_owned()),
        }
    }

    #[test]
    fn a_form_is_taken_whole_and_without_the_blanks_around_it() {
        assert_eq!(check(&[("user", "x"), ("token", " ghp_1\n")]).unwrap(), ["token=ghp_1", "user=x"]);
    }

    #[test]
    fn a_form_that_does_not_fit_says_which_field_and_shows_no_value() {
        let long = "CANARY".repeat(10_000);
        for (given, wants) in [
            (&[("token", "CANARY")][..], "The user is missing"),
            (&[("token", ""), ("user", "x")], "The token is missing"),
            (&[("token", "  \n"), ("user", "x")], "The token is missing"),
            (&[("token", "CANARY\nCANARY"), ("user", "x")], "line break"),
            (&[("token", &long), ("user", "x")], "at most 4096"),
            (&[("token", "CANARY"), ("token", "CANARY"), ("user", "x")], "given twice"),
            (&[("token", "CANARY"), ("user", "x"), ("more", "CANARY")], "there is no field “more” here; the form has token, user"),
        ] {
            let error = check(given).unwrap_err();
            assert!(error.contains(wants), "{error}");
            assert!(!error.contains("CANARY"), "{error}");
        }
    }

    #[test]
    fn signing_in_again_must_bring_back_the_same_account() {
        for (before, now, same) in [
            (account(Some("1"), "ann"), account(Some("1"), "ann-renamed"), true),
            (account(Some("1"), "ann"), account(Some("2"), "ann"), false),
            (account(None, "RescueTime"), account(None, "RescueTime"), true),
            (account(None, "RescueTime"), account(Some("2"), "bob"), true),
            (account(Some("1"), "ann"), account(None, "ann"), true),
            (account(Some("1"), "ann"), account(None, "bob"), false),
        ] {
            assert_eq!(same_account(&before, &now), same, "{before:?} {now:?}");
        }
        let error = other_account("GitHub", &account(Some("1"), "ann"), &account(Some("2"), "b\u{202e}ob"));
        assert!(error.public().contains("account ann") && error.public().contains("as b ob"), "{}", error.public());
        assert_eq!(error.kind(), LinkErrorKind::OtherAccount);
    }

    #[test]
    fn an_account_is_bounded_and_always_has_a_label() {
        assert_eq!(bounded(account(Some("7"), " \u{1b}x ")).unwrap().label, "x");
        assert_eq!(bounded(account(Some("7"), "")).unwrap().label, "7");
        assert_eq!(bounded(account(None, "\n")).unwrap().label, "unnamed account");
        assert!(bounded(account(Some(""), "x")).is_err());
        assert!(bounded(account(Some(&"x".repeat(513)), "x")).is_err());
        let mut many = account(None, "x");
        many.route_keys = vec!["k".into(); 33];
        assert!(bounded(many).is_err());
    }
}
