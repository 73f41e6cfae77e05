//! One decision: asked with what will happen, made with a password.

use super::{Asks, Shell, known, view};
use crate::{
    modules::{self, Decision, DecisionError, ModuleState, Report, Verb},
    web::{
        Shared, confirm,
        form::{Form, Query},
        markup::inert,
        reply::{self, Reply, WebError},
        server::Peer,
        session::{Member, Visitor},
    },
};
use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
};
use http::{HeaderMap, StatusCode};
use sluice_store::Decided;

#[derive(Template)]
#[template(path = "module_decision.html")]
struct DecisionPage {
    shell: Shell,
    name: String,
    verb: &'static str,
    heading: String,
    /// What will happen.
    what: Vec<String>,
    asks: Option<Asks>,
    /// The bytes that are meant.
    hash: String,
    button: &'static str,
    danger: bool,
    /// For the browser's own store of passwords.
    user: String,
    password: bool,
    error: Option<String>,
}

pub async fn ask(
    State(web): State<Shared>,
    visitor: Visitor,
    member: Member,
    Path((name, verb)): Path<(String, String)>,
    query: Query,
) -> Reply {
    let verb = read(&verb)?;
    let report = known(&web, &name).await?;
    let meant = meant(verb, &report)?;
    // The link was made for these bytes.
    if query.get("hash").is_some_and(|hash| hash != meant) {
        return Err(changed(&name));
    }
    page(&web, &visitor, &member, verb, &report, meant, None)
}

pub async fn decide(
    State(web): State<Shared>,
    visitor: Visitor,
    member: Member,
    Path((name, verb)): Path<(String, String)>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    form: Form,
) -> Reply {
    let verb = read(&verb)?;
    let report = known(&web, &name).await?;
    let meant = meant(verb, &report)?;
    if form.text("hash") != meant {
        return Err(changed(&name));
    }
    let again = |error: String| {
        let mut answer = page(&web, &visitor, &member, verb, &report, meant.clone(), Some(error))?;
        *answer.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        Ok(answer)
    };
    if !web.recent.holds(&member.session, web.app.now())
        && let Err(why) = confirm::password(&web, &member, peer.as_deref(), &headers, form.text("password")).await?
    {
        return again(why);
    }
    let who = Decided { by: "the operator".to_owned(), user: Some(member.user.id), reason: Some("on the modules page".to_owned()) };
    // A name without any bytes has none to mean.
    let hash = (!meant.is_empty()).then(|| meant.clone());
    match modules::decide(&web.app, Decision { verb, name: name.clone(), hash, who }).await {
        Ok(_) => {
            let (note, to) = match verb {
                Verb::Approve => ("module-approved", format!("/modules/{name}")),
                Verb::Refuse => ("module-refused", format!("/modules/{name}")),
                Verb::Rollback => ("module-rolled-back", format!("/modules/{name}")),
                Verb::Remove => ("module-removed", "/modules".to_owned()),
            };
            Ok(reply::see_other(&web.site.path(&format!("{to}?note={note}"))))
        }
        Err(DecisionError::Store(error)) => Err(error.into()),
        Err(why) => again(inert(&why.to_string())),
    }
}

fn read(verb: &str) -> Result<Verb, WebError> {
    [Verb::Approve, Verb::Refuse, Verb::Rollback, Verb::Remove].into_iter().find(|known| word(*known) == verb).ok_or(WebError::NotFound)
}

fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Approve => "approve",
        Verb::Refuse => "refuse",
        Verb::Rollback => "rollback",
        Verb::Remove => "remove",
    }
}

fn changed(name: &str) -> WebError {
    WebError::told(
        StatusCode::CONFLICT,
        "It has changed meanwhile",
        "Other bytes lie there or serve by now than those that you were shown. Nothing was done; look at it again.",
    )
    .onward(format!("/modules/{name}"), "Look again")
}

/// The hash that a decision is about: what waits for a yes or no; what lies in the folder, where the file is to go; what serves otherwise.
fn meant(verb: Verb, report: &Report) -> Result<String, WebError> {
    let listing = &report.listing;
    let nothing = |text: &str| {
        WebError::told(StatusCode::CONFLICT, "Nothing to decide", text).onward(format!("/modules/{}", listing.name), "Look at the module")
    };
    if verb == Verb::Approve && listing.is_examined() {
        return Err(nothing("It is being examined: what it asks for is shown once that is known."));
    }
    match (verb, &listing.waiting) {
        (Verb::Approve | Verb::Refuse, Some(new)) => new.sha256.clone(),
        (Verb::Approve | Verb::Refuse, None) if listing.state == ModuleState::Running => None,
        (Verb::Approve | Verb::Refuse, None) => listing.sha256.clone(),
        (Verb::Rollback, _) if report.before.is_none() => return Err(nothing("There is no version before it to go back to.")),
        (Verb::Remove, Some(new)) => return Ok(new.sha256.clone().unwrap_or_default()),
        (Verb::Rollback | Verb::Remove, _) => return Ok(listing.sha256.clone().unwrap_or_default()),
    }
    .ok_or_else(|| nothing("Nothing of it waits for a yes or no."))
}

fn page(web: &Shared, visitor: &Visitor, member: &Member, verb: Verb, report: &Report, hash: String, error: Option<String>) -> Reply {
    let name = report.listing.name.clone();
    let card = view::card(&web.app, &report.listing);
    let version = inert(report.listing.version.as_deref().unwrap_or_default());
    let (heading, what, button) = match verb {
        Verb::Approve => (
            format!("Approve {name}?"),
            vec![
                format!("The bytes whose hash begins with {} run from now on, and no others under this name.", modules::short(&hash)),
                "They are copied into the data folder, and what lies in the modules folder later makes no difference to them. A later version that asks \
                 for the same or less takes over by itself; one that asks for more waits for you."
                    .to_owned(),
                "It sees the data of every account that is linked to it.".to_owned(),
            ],
            "Approve",
        ),
        Verb::Refuse => (
            format!("Refuse {name}?"),
            vec![format!(
                "The bytes whose hash begins with {} do not run. What served before serves on. A no can be taken back.",
                modules::short(&hash)
            )],
            "Refuse",
        ),
        Verb::Rollback => {
            let before = report.before.as_ref().map(|before| inert(&before.version)).unwrap_or_default();
            let what = format!(
                "Version {before} serves again, from its approved copy, and {version} is refused until you approve it anew. Runs under way end on {version}."
            );
            (format!("Take {name} back to {before}?"), vec![what], "Go back")
        }
        Verb::Remove => {
            let what = format!(
                "{} is deleted from the modules folder, with its approved copies, and what was decided about it is forgotten. Its accounts and their data \
                 stay; nothing is fetched for them until the connector is there again.",
                card.file
            );
            (format!("Remove {name}?"), vec![what], "Remove")
        }
    };
    let shown = matches!(verb, Verb::Approve | Verb::Refuse);
    reply::page(&DecisionPage {
        shell: Shell::new(web, visitor, heading.clone()),
        verb: word(verb),
        heading,
        what,
        asks: view::asks(&report.listing).filter(|_| shown),
        hash,
        button,
        danger: verb == Verb::Remove,
        user: member.user.name.clone(),
        password: !web.recent.holds(&member.session, web.app.now()),
        error,
        name,
    })
}
