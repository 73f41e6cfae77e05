//! `/modules`, for the owner alone: what lies in the modules folder, what each file asks for, what its runs cost, and the decisions about it.
//!
//! A decision is a page of its own, which says what will happen and about which bytes: it is theirs whose hash stood on the page, and nothing
//! happens if others lie there by now. Each wants a password that was typed within the last minutes, and leaves a line in the audit trail.
//! What a file says of itself is text, whatever it looks like.

mod decision;
mod view;

pub use decision::{ask, decide};

use super::Shell;
use crate::{
    modules::{Listing, Report, report, short},
    web::{
        Shared,
        form::Query,
        markup::inert,
        reply::{self, Reply, WebError},
        session::{Member, Visitor},
        when::{Reader, When},
    },
};
use askama::Template;
use axum::extract::{Path, State};
use view::{Asks, Card, Figures};

#[derive(Template)]
#[template(path = "modules.html")]
struct ModulesPage {
    shell: Shell,
    folder: String,
    cards: Vec<Card>,
}

#[derive(Template)]
#[template(path = "module.html")]
struct ModulePage {
    shell: Shell,
    card: Card,
    sha256: Option<String>,
    figures: Option<Figures>,
    /// Version and hash of what served before.
    before: Option<(String, String)>,
    /// How what it stores differs from then.
    stores: Option<String>,
    authority: Vec<String>,
    metrics: Vec<String>,
    setup: Option<String>,
}

pub async fn list(State(web): State<Shared>, visitor: Visitor, query: Query) -> Reply {
    let listing = web.app.modules.listing();
    let mut cards: Vec<Card> = listing.iter().map(|one| view::card(&web.app, one)).collect();
    // What runs is decided about on its own page, where there is more to see of it.
    cards.iter_mut().filter(|card| card.rank == view::RUNS).for_each(|card| card.actions.clear());
    // Those that want somebody come first; else by name, as the listing is.
    cards.sort_by_key(|card| card.rank);
    let folder = inert(&web.app.config.modules.display().to_string());
    let mut shell = Shell::new(&web, &visitor, "Modules").noting(&query);
    shell.refresh = listing.iter().any(Listing::is_examined);
    reply::page(&ModulesPage { shell, folder, cards })
}

pub async fn show(State(web): State<Shared>, visitor: Visitor, member: Member, Path(name): Path<String>, query: Query) -> Reply {
    let report = known(&web, &name).await?;
    let reader = member.reader(web.app.now());
    let mut card = view::card(&web.app, &report.listing);
    if let Some(before) = &report.before {
        card.actions.insert(card.actions.len().saturating_sub(1), view::back(&name, &before.version));
    }
    // What waits is told with what it asks for.
    let first = card.asks.as_ref().is_some_and(|asks| asks.first);
    let mut shell = Shell::new(&web, &visitor, card.title.clone()).noting(&query);
    shell.refresh = report.listing.is_examined();
    let page = ModulePage {
        shell,
        sha256: report.listing.sha256.clone().filter(|_| !first),
        figures: view::figures(&reader, &report),
        stores: report.stores.as_deref().map(inert),
        before: report.before.map(|before| (inert(&before.version), short(&before.sha256).to_owned())),
        authority: if first { Vec::new() } else { report.listing.authority },
        metrics: report.metrics.iter().map(|m| inert(m)).collect(),
        setup: report.setup.as_deref().map(inert),
        card,
    };
    reply::page(&page)
}

/// The module that a page of its own is about; names that no instance can have lead nowhere.
async fn known(web: &Shared, name: &str) -> Result<Report, WebError> {
    if !view::is_name(name) {
        return Err(WebError::NotFound);
    }
    report(&web.app, name).await?.ok_or(WebError::NotFound)
}
