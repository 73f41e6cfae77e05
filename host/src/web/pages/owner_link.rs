//! `/owner-link/{token}`: a new password for an owner who is locked out, or who never had one because the terminal made them.

use super::Shell;
use crate::web::{
    Shared,
    form::Form,
    links::{self, LinkKind},
    password,
    reply::{self, Reply, WebError},
    session::{self, Visitor},
};
use askama::Template;
use axum::extract::{Path, State};
use http::{StatusCode, header};
use sluice_store::{Audit, Ticket, User};

#[derive(Template)]
#[template(path = "owner_link.html")]
struct OwnerLinkPage {
    shell: Shell,
    token: String,
    name: String,
    error: Option<&'static str>,
}

pub async fn show(State(web): State<Shared>, visitor: Visitor, Path(token): Path<String>) -> Reply {
    let ticket = links::peek(&web.app, LinkKind::Owner, &token).await?;
    let user = whose(&web, &ticket).await?;
    reply::page(&OwnerLinkPage { shell: Shell::new(&web, &visitor, "Set your password"), token, name: user.name, error: None })
}

pub async fn submit(State(web): State<Shared>, visitor: Visitor, Path(token): Path<String>, form: Form) -> Reply {
    let ticket = links::peek(&web.app, LinkKind::Owner, &token).await?;
    let user = whose(&web, &ticket).await?;
    if let Err(error) = password::acceptable(form.text("password"), form.text("again"), &user.name) {
        let page = OwnerLinkPage { shell: Shell::new(&web, &visitor, "Set your password"), token, name: user.name, error: Some(error) };
        let mut answer = reply::page(&page)?;
        *answer.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(answer);
    }
    let hash = web.passwords.hash(form.text("password")).await?;
    links::take(&web.app, LinkKind::Owner, &token).await?;
    web.app.store.set_password(user.id, hash).await?;
    web.throttle.succeeded(&user.name, None);
    web.app
        .store
        .audit(Audit {
            at: web.app.now(),
            user: Some(user.id),
            kind: "password-set".to_owned(),
            connection: None,
            detail: "by the owner's link".to_owned(),
        })
        .await?;
    let cookie = session::begin(&web, user.id, visitor.cookie()).await?;
    let mut answer = reply::see_other(&web.site.path("/?note=password"));
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(answer)
}

async fn whose(web: &Shared, ticket: &Ticket) -> Result<User, WebError> {
    let id = ticket.user.ok_or_else(|| WebError::internal("an owner's link that is nobody's"))?;
    web.app.store.user(id).await?.ok_or(WebError::NotFound)
}
