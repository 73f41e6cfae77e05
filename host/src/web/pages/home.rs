//! `/`: the connections, each with its state in words, what came last, what is next and why then, and one button where somebody is wanted.

use super::{Shell, title_of};
use crate::{
    link::{authorize_origin, key_ends_soon},
    modules::ModuleState,
    web::{
        Shared,
        form::Query,
        headers,
        markup::{inert, linkable},
        pages::forms,
        reply::{self, Reply},
        session::{Member, Visitor},
        when::{Reader, When},
        words::{self, StateWords, state_words},
    },
};
use askama::Template;
use axum::extract::State;
use sluice_store::{AppState, Connection, ConnectionFilter, ConnectionState, StoreError};

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    shell: Shell,
    cards: Vec<Card>,
    apps: Vec<AppCard>,
    /// Modules that wait for the owner.
    waiting: usize,
    /// Those that do not run for another reason.
    modules: Vec<(String, String)>,
    connectors: bool,
    /// Since when the disk is full, for the owner.
    full: Option<When>,
}

/// One connection, in words.
pub struct Card {
    pub id: String,
    pub connector: String,
    pub title: String,
    pub label: String,
    pub words: StateWords,
    pub message: Option<String>,
    pub fix: Option<Fix>,
    pub last_run: Option<LastRun>,
    pub next: Option<(When, String)>,
    pub last_data: Option<When>,
    pub can_sync: bool,
    pub running: bool,
    /// Its key ends soon, and only the person can give another.
    pub ends: Option<When>,
}

/// The latest run, in words.
pub struct LastRun {
    pub outcome: &'static str,
    pub counts: String,
    pub ended: Option<When>,
}

/// The one button.
pub enum Fix {
    /// A form that leads straight to the provider.
    Provider { connector: String, profile: String, words: &'static str },
    /// A page with a form.
    Page { path: String, words: &'static str },
    /// A page of the provider's.
    Elsewhere { address: String, host: String },
}

/// An app that is paused for everybody.
struct AppCard {
    title: String,
    connector: String,
    reason: String,
}

pub async fn show(State(web): State<Shared>, visitor: Visitor, member: Member, query: Query) -> Reply {
    let mut connections = web.app.store.connections(ConnectionFilter { user: Some(member.user.id), connector: None }).await?;
    // Those that want somebody come first, those that have ended last.
    connections.sort_by_key(|c| rank(state_words(c.state, "", c.running, false).tone));
    let reader = member.reader(web.app.now());
    let mut origins = Vec::new();
    let mut cards = Vec::with_capacity(connections.len());
    for connection in &connections {
        cards.push(card(&web, connection, &reader, &mut origins).await?);
    }
    let mut apps = Vec::new();
    let mut modules = Vec::new();
    let mut waiting = 0;
    if member.user.owner {
        for app in web.app.store.apps().await?.into_iter().filter(|app| app.state == AppState::Paused) {
            let reason = inert(app.reason.as_deref().unwrap_or("the provider no longer accepts how it is registered"));
            apps.push(AppCard { title: title_of(&web, &app.connector), connector: app.connector, reason });
        }
        let listing = web.app.modules.listing();
        waiting = listing.iter().filter(|m| m.waits()).count();
        let broken = listing.iter().filter(|m| !matches!(m.state, ModuleState::Running | ModuleState::Pending | ModuleState::Examining));
        modules = broken.map(|m| (inert(&m.file), inert(&m.line))).collect();
    }
    let mut shell = Shell::new(&web, &visitor, "Connections").noting(&query);
    shell.refresh = connections.iter().any(|c| c.running);
    let full = web.app.store.full_since().filter(|_| member.user.owner).map(|at| reader.when(at));
    let connectors = web.app.modules.running().next().is_some();
    let answer = reply::page(&HomePage { shell, cards, apps, waiting, modules, connectors, full })?;
    Ok(headers::allow_forms_to(answer, origins))
}

fn rank(tone: words::Tone) -> u8 {
    match tone {
        words::Tone::Wanted => 0,
        words::Tone::Waiting | words::Tone::Good => 1,
        words::Tone::Quiet => 2,
    }
}

/// Puts a connection into words; what its button needs to be allowed goes to `origins`.
pub async fn card(web: &Shared, connection: &Connection, reader: &Reader, origins: &mut Vec<String>) -> Result<Card, StoreError> {
    let title = title_of(web, &connection.connector);
    let first = connection.last_check.is_none() && connection.last_data.is_none();
    let mut words = state_words(connection.state, &title, connection.running, first);
    let runs = web.app.modules.get(&connection.connector).is_some();
    if !runs && connection.state != ConnectionState::Disconnected {
        words.tone = words::Tone::Wanted;
        if connection.state == ConnectionState::Ok {
            words.headline = "Its connector is not running".to_owned();
        }
        let why = "Nothing is fetched until its connector runs; “sluice modules list” says why it does not.";
        words.detail = format!("{} {why}", words.detail).trim_start().to_owned();
    }
    let fix = fix(web, connection, &words, origins);
    let last_run = connection.last_run.as_ref().map(|run| LastRun {
        outcome: words::outcome_words(&run.outcome, run.failure_code.as_deref()),
        counts: words::counts_words(&run.counts),
        ended: run.last_ended_at.or(run.ended_at).map(|at| reader.when(at)),
    });
    let next = connection
        .next_due
        .filter(|_| runs && !connection.running)
        .map(|due| (reader.when(due.max(reader.now)), inert(connection.next_reason.as_deref().unwrap_or_default())));
    let ends = match web.app.modules.get(&connection.connector) {
        Some(connector) if !connection.state.needs_link() => key_ends_soon(&web.app, &connector, connection).await?,
        _ => None,
    };
    Ok(Card {
        id: connection.public_id.clone(),
        connector: connection.connector.clone(),
        title,
        label: inert(&connection.account.label),
        words,
        message: connection.message.as_deref().map(inert),
        fix,
        last_run,
        next,
        last_data: connection.last_data.map(|at| reader.when(at)),
        running: connection.running,
        can_sync: !connection.running && !connection.state.needs_link() && runs,
        ends: ends.map(|at| reader.when(at)),
    })
}

fn fix(web: &Shared, connection: &Connection, words: &StateWords, origins: &mut Vec<String>) -> Option<Fix> {
    if let Some(button) = words.button {
        let connector = web.app.modules.get(&connection.connector)?;
        let ready = connector.manifest.profile(&connection.profile).is_some_and(|auth| forms::missing(&connector, auth).is_empty());
        if let Some(origin) = authorize_origin(&connector, &connection.profile).filter(|_| ready) {
            origins.push(origin);
            return Some(Fix::Provider { connector: connection.connector.clone(), profile: connection.profile.clone(), words: button });
        }
        return Some(Fix::Page { path: format!("/link/{}?relink={}", connection.connector, connection.public_id), words: button });
    }
    let address = connection.url.clone().filter(|url| linkable(url))?;
    let host = url::Url::parse(&address).ok()?.host_str()?.to_owned();
    Some(Fix::Elsewhere { address, host })
}
