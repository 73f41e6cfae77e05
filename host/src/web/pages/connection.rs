//! `/connections/{id}`: one connection: what it has, metric by metric; what its runs did; what comes next.

use super::{
    Shell,
    home::{Card, Fix, card},
    own_connection,
};
use crate::{
    link::setup_text,
    web::{
        Shared,
        form::{Form, Query},
        headers,
        markup::inert,
        reply::{self, Reply},
        session::{Member, Visitor},
        when::{Reader, When, duration},
        words::{counts_words, entries_words, grouped, outcome_words, value_words},
    },
};
use askama::Template;
use axum::extract::{Path, State};
use sluice_model::{Moment, task::Reason};
use sluice_store::{ConnectionState, LogLine, MetricSummary, Requested, RunOutcome, RunView};

/// Runs on the page.
const RUNS: usize = 20;
/// Of these, how many show their log.
const LOGS: usize = 10;
/// Lines of a log on the page; the end of a log is what tells.
const LOG_LINES: usize = 30;

#[derive(Template)]
#[template(path = "connection.html")]
struct ConnectionPage {
    shell: Shell,
    card: Card,
    linked: When,
    way: String,
    scopes: Vec<String>,
    metrics: Vec<MetricRow>,
    total: String,
    runs: Vec<RunRow>,
    /// What the operator has to set right.
    setup: Option<String>,
    disconnected: bool,
}

struct MetricRow {
    name: String,
    unit: String,
    count: String,
    first: Option<When>,
    last: Option<When>,
    latest: Option<String>,
}

struct RunRow {
    started: When,
    reason: &'static str,
    outcome: &'static str,
    tone: &'static str,
    counts: String,
    requests: String,
    took: String,
    repeats: u32,
    problems: u32,
    message: Option<String>,
    code: Option<String>,
    version: String,
    log: Vec<(String, String)>,
    cut: usize,
}

pub async fn show(State(web): State<Shared>, visitor: Visitor, member: Member, Path(id): Path<String>, query: Query) -> Reply {
    let connection = own_connection(&web, &member, &id).await?;
    let reader = member.reader(web.app.now());
    let mut origins = Vec::new();
    let card = card(&web, &connection, &reader, &mut origins).await?;
    let summaries = web.app.store.summaries(connection.id).await?;
    let total = entries_words(summaries.iter().map(|s| s.count).sum());
    let mut runs = Vec::new();
    for (n, run) in web.app.store.runs(connection.id, RUNS).await?.into_iter().enumerate() {
        let log = if n < LOGS { web.app.store.run_log(run.id).await? } else { Vec::new() };
        runs.push(run_row(&reader, run, log));
    }
    let connector = web.app.modules.get(&connection.connector);
    let setup = connector.as_ref().filter(|_| connection.state == ConnectionState::Misconfigured).map(|c| setup_text(&web.app, c));
    let way = connector
        .as_ref()
        .and_then(|c| c.manifest.profile(&connection.profile))
        .map_or_else(|| connection.profile.clone(), |auth| inert(&auth.title));
    let mut shell = Shell::new(&web, &visitor, format!("{} · {}", card.title, card.label)).noting(&query);
    // The first run starts a moment after linking: the page follows it from the beginning.
    let just_linked = connection.last_run.is_none() && connection.next_due.is_some_and(|due| due <= reader.now);
    shell.refresh = connection.running || just_linked;
    let page = ConnectionPage {
        shell,
        card,
        linked: reader.when(connection.linked_at),
        way,
        scopes: connection.scopes.iter().map(|scope| inert(scope)).collect(),
        metrics: summaries.into_iter().map(|summary| metric_row(&reader, summary)).collect(),
        total,
        runs,
        setup,
        disconnected: connection.state == ConnectionState::Disconnected,
    };
    Ok(headers::allow_forms_to(reply::page(&page)?, origins))
}

pub async fn sync(State(web): State<Shared>, member: Member, Path(id): Path<String>, _form: Form) -> Reply {
    let connection = own_connection(&web, &member, &id).await?;
    // “Do it there, then press Sync now”: pressing is the person's word that it is done.
    if connection.state == ConnectionState::NeedsAction {
        web.app.store.set_state(connection.id, ConnectionState::Ok, None, None).await?;
    }
    let note = match web.app.store.request_run(connection.id, Reason::Manual, web.app.now()).await? {
        Requested::Queued => "sync",
        Requested::Running => "already",
        Requested::Paused(_) => "paused",
    };
    web.app.wake.notify_one();
    Ok(reply::see_other(&web.site.path(&format!("/connections/{id}?note={note}"))))
}

pub async fn stop(State(web): State<Shared>, member: Member, Path(id): Path<String>, _form: Form) -> Reply {
    let connection = own_connection(&web, &member, &id).await?;
    let note = if web.app.stops.stop(connection.id) { "stopping" } else { "over" };
    Ok(reply::see_other(&web.site.path(&format!("/connections/{id}?note={note}"))))
}

/// A moment as a page shows it: a civil day has no time and no zone.
pub fn moment(reader: &Reader, moment: Moment) -> When {
    match moment {
        Moment::Instant(at) => reader.dated(at),
        Moment::Day(day) => {
            let day = day.to_string();
            When { words: day.clone(), exact: day.clone(), machine: day }
        }
    }
}

fn metric_row(reader: &Reader, summary: MetricSummary) -> MetricRow {
    MetricRow {
        name: summary.metric,
        unit: unit_words(&summary.unit),
        count: grouped(summary.count),
        first: summary.first.map(|at| moment(reader, at)),
        last: summary.last.map(|at| moment(reader, at)),
        latest: summary.latest_value.map(value_words),
    }
}

/// UCUM writes a bare count as `1` or in braces (`{commit}`): the metric's name says what is counted.
pub fn unit_words(unit: &str) -> String {
    if unit == "1" || (unit.starts_with('{') && unit.ends_with('}')) { String::new() } else { unit.to_owned() }
}

fn run_row(reader: &Reader, run: RunView, log: Vec<LogLine>) -> RunRow {
    let tone = match run.outcome {
        RunOutcome::Complete | RunOutcome::More => "good",
        RunOutcome::Running => "waiting",
        _ => "wanted",
    };
    let reason = match run.reason {
        Reason::Scheduled => "on schedule",
        Reason::Manual => "asked for",
        Reason::Linked => "after linking",
    };
    let cut = log.len().saturating_sub(LOG_LINES);
    RunRow {
        started: reader.when(run.started_at),
        reason,
        outcome: outcome_words(&run.outcome, run.failure_code.as_deref()),
        tone,
        counts: counts_words(&run.counts),
        requests: grouped(run.requests),
        took: run.ended_at.map(|ended| duration(ended.saturating_sub(run.started_at))).unwrap_or_default(),
        repeats: run.repeats,
        problems: run.problems,
        message: run.message.as_deref().map(inert),
        code: run.failure_code.as_deref().map(inert),
        version: run.connector_version,
        log: log.into_iter().skip(cut).map(|line| (line.level, inert(&line.text))).collect(),
        cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_model::Day;

    #[test]
    fn a_civil_day_is_shown_as_it_is_wherever_the_reader_lives() {
        let day: Day = "2026-11-21".parse().unwrap();
        for zone in ["Pacific/Auckland", "America/Los_Angeles"] {
            assert_eq!(moment(&Reader::new(0, zone), Moment::Day(day)).words, "2026-11-21");
        }
    }

    #[test]
    fn units_read_as_people_write_them() {
        assert_eq!((unit_words("1"), unit_words("{commits}"), unit_words("km")), (String::new(), String::new(), "km".into()));
    }
}
