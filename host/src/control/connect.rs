//! Linking and leaving accounts, from a terminal.

use super::{ControlError, api, host::no_module};
use crate::{
    app::App,
    link::{self, Begin, Callback},
    modules::Connector,
};
use axum::{Json, extract::State};
use sluice_model::{UserId, manifest::AuthKind};
use sluice_store::{AppState, ConnectionFilter, DataChoice, NewUser};
use sluice_vault::Secret;
use std::{collections::HashMap, sync::Arc};

type Done<T> = Result<Json<T>, ControlError>;

pub async fn connections(State(app): State<Arc<App>>) -> Done<Vec<api::ConnectionRow>> {
    let all = app.store.connections(ConnectionFilter::default()).await?;
    let apps: HashMap<_, _> = app.store.apps().await?.into_iter().map(|a| (a.id, a)).collect();
    Ok(Json(all.iter().map(|c| row(c, apps.get(&c.app))).collect()))
}

/// A connection whose app is paused says so, since nothing else about it matters until somebody mends that; what it waits for itself comes first.
fn row(c: &sluice_store::Connection, app: Option<&sluice_store::App>) -> api::ConnectionRow {
    let mut row = plain_row(c);
    if let Some(app) = app.filter(|a| a.state == AppState::Paused && !c.state.stops()) {
        row.state = "app-paused".to_owned();
        row.message = app.reason.clone();
        (row.next_due, row.next_reason) = (None, None);
    }
    row
}

fn plain_row(c: &sluice_store::Connection) -> api::ConnectionRow {
    api::ConnectionRow {
        id: c.public_id.clone(),
        connector: c.connector.clone(),
        account: c.account.label.clone(),
        profile: c.profile.clone(),
        state: c.state.as_str().to_owned(),
        message: c.message.clone(),
        next_due: c.next_due,
        next_reason: c.next_reason.clone(),
        last_data: c.last_data,
        linked_at: c.linked_at,
    }
}

fn connector(app: &App, name: &str) -> Result<Arc<Connector>, ControlError> {
    app.modules.get(name).ok_or_else(|| no_module(app, name))
}

/// The way in that was asked for, or the first whose app fields are all set.
pub async fn plan(State(app): State<Arc<App>>, Json(asked): Json<api::PlanRequest>) -> Done<api::Plan> {
    let connector = connector(&app, &asked.connector)?;
    let auths = &connector.manifest.auth;
    let names = || auths.iter().map(|a| a.id.clone()).collect::<Vec<_>>();
    let usable = |a: &&sluice_model::manifest::Auth| a.app_fields.iter().all(|f| connector.config.app.contains_key(&f.name));
    let auth = match &asked.profile {
        Some(id) => auths
            .iter()
            .find(|a| a.id == *id)
            .ok_or_else(|| ControlError::unknown(format!("{} has no profile {id}; it has {}", asked.connector, names().join(", "))))?,
        None => match auths.iter().find(usable).or(auths.first()) {
            Some(auth) => auth,
            None => return Err(ControlError::refused(format!("{} declares no way to sign in", asked.connector))),
        },
    };
    let (fields, browser, loopback) = match &auth.kind {
        AuthKind::Fields(fields) => (fields.as_slice(), false, false),
        AuthKind::Oauth2(o) => (&[][..], true, o.loopback),
        AuthKind::Redirect(_) => (&[][..], true, false),
        AuthKind::None => (&[][..], false, false),
    };
    Ok(Json(api::Plan {
        title: connector.manifest.title.clone(),
        profile: auth.id.clone(),
        profile_title: auth.title.clone(),
        help: auth.help.clone(),
        fields: fields
            .iter()
            .map(|f| api::PlanField { name: f.name.clone(), label: f.label.clone(), help: f.help.clone(), secret: f.secret })
            .collect(),
        browser,
        loopback,
        page: format!("{}/link/{}", app.config.public_url.as_str().trim_end_matches('/'), asked.connector),
        profiles: names(),
    }))
}

/// The owner; made now, with a time zone and without a password, where there is none.
async fn owner(app: &App, time_zone: Option<&str>) -> Result<(UserId, bool), ControlError> {
    if let Some(owner) = app.store.owner().await? {
        return Ok((owner.id, false));
    }
    let zone = match time_zone {
        Some(zone) => zone.to_owned(),
        None => jiff::tz::TimeZone::system().iana_name().unwrap_or("UTC").to_owned(),
    };
    if !sluice_model::day::is_time_zone(&zone) {
        return Err(ControlError::refused(format!("“{zone}” is no time zone; write one as Europe/Berlin with --time-zone")));
    }
    let user = NewUser { name: "owner".to_owned(), time_zone: zone, password_hash: None, owner: true };
    Ok((app.store.create_user(user).await?, true))
}

pub async fn fields(State(app): State<Arc<App>>, Json(asked): Json<api::ConnectFields>) -> Done<api::Linked> {
    connector(&app, &asked.connector)?;
    let (user, made_owner) = owner(&app, asked.time_zone.as_deref()).await?;
    let since = app.now();
    let fields = asked.fields.into_iter().map(|(name, value)| (name, Secret::text(value))).collect();
    let linked = link::link_fields(&app, user, &asked.connector, &asked.profile, fields, None).await.map_err(refused)?;
    told(&app, linked, made_owner, since).await
}

pub async fn begin(State(app): State<Arc<App>>, Json(asked): Json<api::ConnectBegin>) -> Done<api::Begun> {
    connector(&app, &asked.connector)?;
    let (user, _) = owner(&app, asked.time_zone.as_deref()).await?;
    let begin =
        Begin { user, session: None, connector: &asked.connector, profile: &asked.profile, relink: None, loopback: Some(&asked.redirect) };
    let started = link::begin(&app, begin).await.map_err(refused)?;
    Ok(Json(api::Begun { url: started.redirect.to_string(), session: hex(&started.session) }))
}

pub async fn finish(State(app): State<Arc<App>>, Json(asked): Json<api::ConnectFinish>) -> Done<api::Linked> {
    let session = unhex(&asked.session).ok_or_else(|| ControlError::refused("the session is not one that `begin` gave"))?;
    let owner = app.store.owner().await?.map(|u| u.id);
    let callback = Callback {
        connector: asked.connector,
        profile: asked.profile,
        nonce: None,
        query: asked.query,
        session: Some(session),
        user: owner,
    };
    let since = app.now();
    let linked = link::finish(&app, callback).await.map_err(refused)?;
    told(&app, linked, false, since).await
}

async fn told(app: &App, linked: link::Linked, made_owner: bool, since: i64) -> Done<api::Linked> {
    app.wake.notify_one();
    let connection = app.store.connection(linked.connection).await?;
    let public_id = connection.map(|c| c.public_id).unwrap_or_default();
    Ok(Json(api::Linked { connection: public_id, account: linked.label, again: linked.again, made_owner, since }))
}

pub async fn disconnect(State(app): State<Arc<App>>, Json(asked): Json<api::Disconnect>) -> Done<link::Disconnected> {
    let Some(connection) = app.store.connection_by_public(&asked.connection).await? else {
        return Err(ControlError::unknown(format!("there is no connection {}; `sluice connections` lists them", asked.connection)));
    };
    let choice = if asked.delete { DataChoice::Delete } else { DataChoice::Keep };
    let report = link::disconnect(&app, &connection, choice).await.map_err(refused)?;
    Ok(Json(report))
}

fn refused(error: link::LinkError) -> ControlError {
    tracing::info!("linking: {error}");
    ControlError::refused(error.public())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> = (0..32).map(|i| text.get(2 * i..2 * i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect();
    bytes?.try_into().ok()
}
