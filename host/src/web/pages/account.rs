//! `/account`: the person's own password and time zone, and the way out.

use super::{Shell, zones};
use crate::web::{
    Shared, confirm,
    form::{Form, Query},
    password,
    reply::{self, Reply},
    server::Peer,
    session::{self, Member, Visitor},
};
use askama::Template;
use axum::{Extension, extract::State};
use http::{HeaderMap, StatusCode, header};
use sluice_store::Audit;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    name: String,
    zones: Vec<zones::Zone>,
    error: Option<String>,
}

fn page(web: &Shared, visitor: &Visitor, member: &Member, query: &Query, error: Option<String>) -> Reply {
    let zone = member.user.time_zone.clone();
    let failed = error.is_some();
    let shell = Shell::new(web, visitor, "Account").noting(query);
    let mut answer = reply::page(&AccountPage { shell, name: member.user.name.clone(), zones: zones::all(&zone), error })?;
    if failed {
        *answer.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(answer)
}

pub async fn show(State(web): State<Shared>, visitor: Visitor, member: Member, query: Query) -> Reply {
    page(&web, &visitor, &member, &query, None)
}

/// Changes the password, which ends every session of this person and begins a new one here.
pub async fn password(
    State(web): State<Shared>,
    visitor: Visitor,
    member: Member,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    form: Form,
) -> Reply {
    let refuse = |text: String| page(&web, &visitor, &member, &Query::default(), Some(text));
    if let Err(why) = confirm::password(&web, &member, peer.as_deref(), &headers, form.text("current")).await? {
        return refuse(why);
    }
    if let Err(why) = password::acceptable(form.text("password"), form.text("again"), &member.user.name) {
        return refuse(why.to_owned());
    }
    let hash = web.passwords.hash(form.text("password")).await?;
    web.app.store.set_password(member.user.id, hash).await?;
    audit(&web, &member, "password-changed", "on the account page").await?;
    let cookie = session::begin(&web, member.user.id, Some(&member.session)).await?;
    let mut answer = reply::see_other(&web.site.path("/account?note=password"));
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(answer)
}

pub async fn time_zone(State(web): State<Shared>, visitor: Visitor, member: Member, form: Form) -> Reply {
    let zone = form.text("time-zone");
    if !zones::is_known(zone) {
        return page(&web, &visitor, &member, &Query::default(), Some("Choose a time zone from the list.".to_owned()));
    }
    web.app.store.set_time_zone(member.user.id, zone.to_owned()).await?;
    audit(&web, &member, "time-zone-changed", zone).await?;
    Ok(reply::see_other(&web.site.path("/account?note=zone")))
}

pub async fn sign_out(State(web): State<Shared>, member: Member, _form: Form) -> Reply {
    web.app.store.end_session(&member.session).await?;
    let mut answer = reply::see_other(&web.site.path("/sign-in?note=signed-out"));
    if let Some(gone) = session::gone(&web.site) {
        answer.headers_mut().insert(header::SET_COOKIE, gone);
    }
    Ok(answer)
}

async fn audit(web: &Shared, member: &Member, kind: &str, detail: &str) -> Result<(), sluice_store::StoreError> {
    let note = Audit { at: web.app.now(), user: Some(member.user.id), kind: kind.to_owned(), connection: None, detail: detail.to_owned() };
    web.app.store.audit(note).await
}
