//! `/setup/{token}`: the first start, when there is nobody yet. Makes the owner and signs them in.

use super::{Shell, zones};
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
use sluice_store::{Audit, NewUser};

/// The longest user name, in characters.
const LONGEST_NAME: usize = 64;

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    shell: Shell,
    token: String,
    name: String,
    zones: Vec<zones::Zone>,
    guess: String,
    error: Option<&'static str>,
}

pub async fn show(State(web): State<Shared>, visitor: Visitor, Path(token): Path<String>) -> Reply {
    nobody_yet(&web).await?;
    links::peek(&web.app, LinkKind::Setup, &token).await?;
    let guess = zones::of_this_machine();
    reply::page(&SetupPage {
        shell: Shell::new(&web, &visitor, "Set up Sluice"),
        token,
        name: String::new(),
        zones: zones::all(&guess),
        guess,
        error: None,
    })
}

pub async fn submit(State(web): State<Shared>, visitor: Visitor, Path(token): Path<String>, form: Form) -> Reply {
    nobody_yet(&web).await?;
    links::peek(&web.app, LinkKind::Setup, &token).await?;
    let name = form.text("name").trim().to_owned();
    let zone = form.text("time-zone").to_owned();
    let wrong = acceptable_name(&name)
        .and_then(|()| password::acceptable(form.text("password"), form.text("again"), &name))
        .and_then(|()| if zones::is_known(&zone) { Ok(()) } else { Err("Choose a time zone from the list.") });
    if let Err(error) = wrong {
        let shell = Shell::new(&web, &visitor, "Set up Sluice");
        let chosen = if zones::is_known(&zone) { zone } else { zones::of_this_machine() };
        let page = SetupPage { shell, token, name, zones: zones::all(&chosen), guess: zones::of_this_machine(), error: Some(error) };
        let mut answer = reply::page(&page)?;
        *answer.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(answer);
    }
    let hash = web.passwords.hash(form.text("password")).await?;
    // From here on the link is used up: everything that could be wrong with what was typed has been looked at.
    links::take(&web.app, LinkKind::Setup, &token).await?;
    let user = web.app.store.create_user(NewUser { name, time_zone: zone, password_hash: Some(hash), owner: true }).await?;
    web.app
        .store
        .audit(Audit {
            at: web.app.now(),
            user: Some(user),
            kind: "owner-set-up".to_owned(),
            connection: None,
            detail: "by the one-time link".to_owned(),
        })
        .await?;
    let cookie = session::begin(&web, user, visitor.cookie()).await?;
    let mut answer = reply::see_other(&web.site.path("/?note=welcome"));
    answer.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(answer)
}

async fn nobody_yet(web: &Shared) -> Result<(), WebError> {
    match web.app.store.owner().await? {
        None => Ok(()),
        Some(_) => Err(WebError::told(
            StatusCode::GONE,
            "Sluice is set up",
            "It has an owner already. To set a new password, run `sluice owner-link` on its machine.",
        )
        .onward("/sign-in", "To the sign-in page")),
    }
}

/// What is wrong with a user name.
fn acceptable_name(name: &str) -> Result<(), &'static str> {
    let length = name.chars().count();
    if length == 0 || length > LONGEST_NAME {
        return Err("Choose a user name of at most 64 characters.");
    }
    if name
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'))
    {
        return Err("A user name has letters, digits and signs that can be seen.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_seen_and_typed() {
        for (name, fine) in [("ada", true), ("Ada Lovelace", true), ("Jürgen", true), ("", false), ("a\u{202e}b", false), ("a\nb", false)]
        {
            assert_eq!(acceptable_name(name).is_ok(), fine, "{name:?}");
        }
        assert!(acceptable_name(&"x".repeat(65)).is_err());
    }
}
