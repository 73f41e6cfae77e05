//! `/sign-in`: name and password. One answer, and one time, for a wrong password and for a name that nobody has.

use super::Shell;
use crate::web::{
    Shared,
    form::{Form, Query},
    guard::client,
    reply::{self, Reply, WebError},
    server::Peer,
    session::{self, Visitor},
    when,
};
use askama::Template;
use axum::{Extension, extract::State};
use http::{HeaderMap, StatusCode, header};
use sluice_store::Audit;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    shell: Shell,
    next: String,
    name: String,
    error: Option<String>,
    nobody: bool,
}

pub async fn show(State(web): State<Shared>, visitor: Visitor, query: Query) -> Reply {
    let next = query.get("next").and_then(|next| web.site.local(next)).unwrap_or_default().to_owned();
    if visitor.member().is_some() {
        let to = if next.is_empty() { web.site.path("/") } else { next };
        return Ok(reply::see_other(&to));
    }
    let nobody = web.app.store.owner().await?.is_none_or(|owner| owner.password_hash.is_none());
    let shell = Shell::new(&web, &visitor, "Sign in").noting(&query);
    reply::page(&SignInPage { shell, next, name: String::new(), error: None, nobody })
}

pub async fn submit(State(web): State<Shared>, visitor: Visitor, peer: Option<Extension<Peer>>, headers: HeaderMap, form: Form) -> Reply {
    let name = form.text("name").trim().to_owned();
    let next = web.site.local(form.text("next")).map(str::to_owned);
    let address = client(&web, peer.as_deref(), &headers);
    if let Err(wait) = web.throttle.admit(&name, address, web.app.now()) {
        let text = format!("Too many attempts. Try again in {}.", when::span(wait.unsigned_abs().max(1_000)));
        let mut answer = again(&web, &visitor, name, next, text, StatusCode::TOO_MANY_REQUESTS)?;
        answer.headers_mut().insert(header::RETRY_AFTER, (wait / 1_000 + 1).into());
        return Ok(answer);
    }
    // Bounded before it costs anything; nobody has such a name or password.
    let plausible = name.len() <= 512 && form.text("password").len() <= crate::web::password::LONGEST;
    let user = if plausible { web.app.store.user_by_name(&name).await? } else { None };
    let stored = user.as_ref().and_then(|user| user.password_hash.as_deref());
    let typed = if plausible { form.text("password") } else { "" };
    let fits = web.passwords.verify(stored, typed).await?;
    let Some(user) = user.filter(|_| fits) else {
        tracing::warn!("a sign-in failed");
        return again(
            &web,
            &visitor,
            name,
            next,
            "That name and password do not go together.".to_owned(),
            StatusCode::UNPROCESSABLE_ENTITY,
        );
    };
    web.throttle.succeeded(&name, address);
    web.app
        .store
        .audit(Audit {
            at: web.app.now(),
            user: Some(user.id),
            kind: "signed-in".to_owned(),
            connection: None,
            detail: address.map_or_else(|| "with a password".to_owned(), |from| format!("with a password, from {from}")),
        })
        .await?;
    let cookie = session::begin(&web, user.id, visitor.cookie()).await?;
    let mut answer = reply::see_other(&next.unwrap_or_else(|| web.site.path("/")));
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(answer)
}

fn again(web: &Shared, visitor: &Visitor, name: String, next: Option<String>, error: String, status: StatusCode) -> Reply {
    let shell = Shell::new(web, visitor, "Sign in");
    let mut answer = reply::page(&SignInPage { shell, next: next.unwrap_or_default(), name, error: Some(error), nobody: false })?;
    *answer.status_mut() = status;
    Ok::<_, WebError>(answer)
}
