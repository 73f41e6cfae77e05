//! Leaving: what a disconnect removes, said before and counted after.

use super::{Shell, link::told, own_connection, title_of};
use crate::{
    link,
    web::{
        Shared,
        form::Form,
        markup::inert,
        reply::{self, Reply, WebError},
        session::{Member, Visitor},
        words::{entries_words, grouped},
    },
};
use askama::Template;
use axum::extract::{Path, State};
use http::StatusCode;
use sluice_store::{ConnectionState, DataChoice};

#[derive(Template)]
#[template(path = "disconnect.html")]
struct DisconnectPage {
    shell: Shell,
    id: String,
    title: String,
    label: String,
    entries: String,
    disconnected: bool,
}

#[derive(Template)]
#[template(path = "disconnected.html")]
struct DisconnectedPage {
    shell: Shell,
    id: Option<String>,
    title: String,
    label: String,
    entries: String,
    keys: String,
    runs: String,
    log_lines: String,
    wal_emptied: bool,
    revoked: String,
}

pub async fn show(State(web): State<Shared>, visitor: Visitor, member: Member, Path(id): Path<String>) -> Reply {
    let connection = own_connection(&web, &member, &id).await?;
    let entries = entries_words(web.app.store.summaries(connection.id).await?.iter().map(|s| s.count).sum());
    let title = title_of(&web, &connection.connector);
    let page = DisconnectPage {
        shell: Shell::new(&web, &visitor, format!("Disconnect {title}")),
        id,
        title,
        label: inert(&connection.account.label),
        entries,
        disconnected: connection.state == ConnectionState::Disconnected,
    };
    reply::page(&page)
}

pub async fn submit(State(web): State<Shared>, visitor: Visitor, member: Member, Path(id): Path<String>, form: Form) -> Reply {
    let connection = own_connection(&web, &member, &id).await?;
    let choice = match form.text("data") {
        "keep" => DataChoice::Keep,
        "delete" => DataChoice::Delete,
        _ => {
            return Err(WebError::told(StatusCode::UNPROCESSABLE_ENTITY, "Choose", "Choose whether the data stays or goes.")
                .onward(format!("/connections/{id}/disconnect"), "Back"));
        }
    };
    let title = title_of(&web, &connection.connector);
    let label = inert(&connection.account.label);
    let report = link::disconnect(&web.app, &connection, choice).await.map_err(|why| told(&connection.connector, &why))?;
    let page = DisconnectedPage {
        shell: Shell::new(&web, &visitor, "Disconnected"),
        id: (choice == DataChoice::Keep).then_some(id),
        title,
        label,
        entries: entries_words(report.erased.entries),
        keys: grouped(report.erased.credentials),
        runs: grouped(report.erased.runs),
        log_lines: grouped(report.erased.log_lines),
        wal_emptied: report.erased.wal_emptied,
        revoked: inert(&report.revoked.to_string()),
    };
    reply::page(&page)
}
