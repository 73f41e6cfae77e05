//! `/connections/{id}/entries`: what was recorded, filtered, a page at a time.

use super::{
    Shell,
    connection::{moment, unit_words},
    own_connection, title_of,
};
use crate::web::{
    Shared,
    form::Query,
    markup::inert,
    reply::{self, Reply, WebError},
    session::{Member, Visitor},
    when::When,
    words::{grouped, value_words},
};
use askama::Template;
use axum::extract::{Path, State};
use http::StatusCode;
use sluice_model::{ConnectionId, Day, Moment, UserId};
use sluice_store::{EntryQuery, EntryView, StoreError};

/// Rows of a page.
const ROWS: usize = 100;
/// Characters of a detail on the page; downloads have all of it.
const DETAIL: usize = 200;

#[derive(Template)]
#[template(path = "entries.html")]
struct EntriesPage {
    shell: Shell,
    id: String,
    title: String,
    label: String,
    zone: String,
    metrics: Vec<(String, String, bool)>,
    since: String,
    since_wrong: bool,
    rows: Vec<Row>,
    series: bool,
    details: bool,
    filter: String,
    next: Option<String>,
    first_page: bool,
}

struct Row {
    when: When,
    day: String,
    metric: String,
    value: String,
    unit: String,
    series: Option<String>,
    detail: Option<String>,
}

/// What the query asks for.
pub struct Filter {
    /// Only this metric.
    pub metric: Option<String>,
    /// Not before this day.
    pub since: Option<Day>,
    /// What was written there.
    pub since_text: String,
    /// It was no day.
    pub since_wrong: bool,
}

impl Filter {
    /// Reads a query.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        let metric = query.get("metric").filter(|m| m.len() <= 200).map(str::to_owned);
        let since_text: String = query.get("since").unwrap_or_default().chars().take(20).collect();
        let since: Option<Day> = since_text.parse().ok();
        Self { metric, since_wrong: since.is_none() && !since_text.is_empty(), since, since_text }
    }

    /// The store's question.
    #[must_use]
    pub fn ask(&self, user: UserId, connection: ConnectionId, after: Option<String>, limit: usize, newest_first: bool) -> EntryQuery {
        EntryQuery {
            user: Some(user),
            connection: Some(connection),
            connector: None,
            metric: self.metric.clone(),
            since: self.since.map(Moment::Day),
            after,
            limit,
            newest_first,
        }
    }

    /// The same filter in an address, without `?`.
    #[must_use]
    pub fn to_query(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(metric) = &self.metric {
            query.append_pair("metric", metric);
        }
        if let Some(since) = self.since {
            query.append_pair("since", &since.to_string());
        }
        query.finish()
    }
}

pub async fn show(State(web): State<Shared>, visitor: Visitor, member: Member, Path(id): Path<String>, query: Query) -> Reply {
    let connection = own_connection(&web, &member, &id).await?;
    let reader = member.reader(web.app.now());
    let filter = Filter::read(&query);
    let after = query.get("after").filter(|a| a.len() <= 2048).map(str::to_owned);
    let first_page = after.is_none();
    let page = match web.app.store.entries(filter.ask(member.user.id, connection.id, after, ROWS, true)).await {
        Ok(page) => page,
        Err(StoreError::Invalid(_)) => {
            return Err(WebError::told(StatusCode::BAD_REQUEST, "That page is not there", "Start again from the first page.")
                .onward(format!("/connections/{id}/entries"), "To the first page"));
        }
        Err(why) => return Err(why.into()),
    };
    let summaries = web.app.store.summaries(connection.id).await?;
    let metrics = summaries
        .into_iter()
        .map(|s| {
            let chosen = filter.metric.as_deref() == Some(s.metric.as_str());
            let label = format!("{} ({})", s.metric, grouped(s.count));
            (s.metric, label, chosen)
        })
        .collect();
    let title = title_of(&web, &connection.connector);
    let label = inert(&connection.account.label);
    let rows: Vec<Row> = page.rows.into_iter().map(|entry| row(&reader, entry)).collect();
    let page = EntriesPage {
        shell: Shell::new(&web, &visitor, format!("Entries · {title} · {label}")),
        id,
        title,
        label,
        zone: member.user.time_zone.clone(),
        metrics,
        filter: filter.to_query(),
        since: filter.since_text,
        since_wrong: filter.since_wrong,
        series: rows.iter().any(|row| row.series.is_some()),
        details: rows.iter().any(|row| row.detail.is_some()),
        rows,
        next: page.next.map(|next| url::form_urlencoded::byte_serialize(next.as_bytes()).collect()),
        first_page,
    };
    reply::page(&page)
}

fn row(reader: &crate::web::when::Reader, entry: EntryView) -> Row {
    let when = entry.start.map_or_else(|| moment(reader, Moment::Day(entry.day)), |at| reader.dated(at));
    let detail = entry.detail.as_deref().map(|detail| {
        let mut short: String = detail.chars().take(DETAIL).collect();
        if short.len() < detail.len() {
            short.push('…');
        }
        inert(&short)
    });
    Row {
        when,
        day: entry.day.to_string(),
        metric: entry.metric,
        value: value_words(entry.value),
        unit: unit_words(&entry.unit),
        series: entry.series_label.or(entry.series).as_deref().map(inert),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_survives_its_way_through_an_address() {
        let filter = Filter::read(&Query::parse("metric=a%26b&since=2026-11-21&after=x"));
        assert_eq!(filter.to_query(), "metric=a%26b&since=2026-11-21");
        assert!(!filter.since_wrong);
        let wrong = Filter::read(&Query::parse("since=yesterday"));
        assert!(wrong.since_wrong && wrong.since.is_none());
        assert_eq!(wrong.to_query(), "");
    }
}
