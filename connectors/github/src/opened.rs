//! Pull requests and issues that the person opened, by search.
//!
//! Each is an event with GitHub's id, at the instant it was opened; the host makes days of them. A stretch of time is asked for as a whole,
//! oldest first, with its end pinned, so that nothing new shifts the pages. Search gives a thousand results and no more: a stretch that has
//! more is cut in half. A stretch is replaced only if as many rows came as GitHub counted; otherwise the rows are added and nothing is
//! taken away.

use crate::{Run, api};
use serde::{Deserialize, Serialize};
use sluice_sdk::day::{DAY, parse_rfc3339, rfc3339};
use sluice_sdk::walk::{Span, Walk, upper_half};
use sluice_sdk::{Entry, Failure, Moment, paging};

/// What search gives at most.
const MAX_RESULTS: u64 = 1_000;
/// Pages of one stretch: the above at 100 a page.
const MAX_PAGES: usize = 10;

#[derive(Deserialize)]
struct Found {
    total_count: u64,
    incomplete_results: bool,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    id: u64,
    number: u64,
    title: Option<String>,
    created_at: String,
    repository_url: String,
}

/// What is kept of each beside its time.
#[derive(Serialize)]
struct Detail<'a> {
    repository: &'a str,
    number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
}

#[derive(Clone, Copy)]
enum Kind {
    PullRequests,
    Issues,
}

impl Kind {
    fn metric(self) -> &'static str {
        match self {
            Self::PullRequests => "pull_requests",
            Self::Issues => "issues",
        }
    }

    fn qualifier(self) -> &'static str {
        match self {
            Self::PullRequests => "type:pr",
            Self::Issues => "type:issue",
        }
    }

    fn walk<'c>(self, run: &'c mut Run<'_, '_>) -> &'c mut Walk {
        match self {
            Self::PullRequests => &mut run.cursor.pull_requests,
            Self::Issues => &mut run.cursor.issues,
        }
    }
}

/// Reads what is left of both.
///
/// # Errors
/// What ends a run.
pub fn read(run: &mut Run<'_, '_>) -> Result<(), Failure> {
    one(run, Kind::PullRequests)?;
    one(run, Kind::Issues)
}

fn one(run: &mut Run<'_, '_>, kind: Kind) -> Result<(), Failure> {
    while let Some(mut span) = kind.walk(run).next(|_| i64::MIN) {
        if run.is_spent() {
            return Ok(());
        }
        loop {
            match stretch(run, kind, span) {
                Ok(Read::TooMany) => match upper_half(span, DAY) {
                    Some(half) => span = half,
                    None => {
                        return Err(Failure::other(
                            "search-too-many",
                            "more than 1,000 opened within two days: search cannot tell them all",
                        ));
                    }
                },
                Ok(Read::Done) => break,
                Err(failure) => {
                    run.tolerate(failure, kind.metric())?;
                    *kind.walk(run) = Walk::new();
                    return run.checkpoint();
                }
            }
        }
        run.note_worked();
        kind.walk(run).finish(span.from);
        run.checkpoint()?;
    }
    Ok(())
}

enum Read {
    Done,
    TooMany,
}

fn stretch(run: &mut Run<'_, '_>, kind: Kind, span: Span) -> Result<Read, Failure> {
    // Both ends of a search are part of it, to the second.
    let range = format!("{}..{}", rfc3339(span.from), rfc3339(span.to - 1));
    let query = format!("{} author:{} created:{range}", kind.qualifier(), run.user.login);
    let mut next = Some(
        api::get(format!("{}/search/issues", api::API))
            .query("q", query)
            .query("sort", "created")
            .query("order", "asc")
            .query("per_page", 100)
            .url,
    );
    let mut found: Vec<(u64, Entry)> = Vec::new();
    let mut total = 0;
    for _ in 0..MAX_PAGES {
        let Some(url) = next.take() else { break };
        let response = run.host.fetch(&api::get(url))?;
        api::check(&response, "the search for what was opened", run.now)?;
        let page: Found = response.json("the search for what was opened")?;
        if page.incomplete_results {
            return Err(Failure::transient(
                "search-incomplete",
                "GitHub's search ran out of time and found only a part; nothing of it was stored",
            ));
        }
        if page.total_count > MAX_RESULTS {
            return Ok(Read::TooMany);
        }
        total = page.total_count;
        for item in page.items {
            let (id, entry) = entry(kind, &item)?;
            if matches!(entry.when, Moment::Instant(ms) if ms >= span.from && ms < span.to) {
                found.push((id, entry));
            }
        }
        next = paging::next(&response).map(str::to_owned);
    }
    found.sort_unstable_by_key(|(id, _)| *id);
    found.dedup_by_key(|(id, _)| *id);
    let whole = found.len() as u64 == total;
    let entries: Vec<Entry> = found.into_iter().map(|(_, entry)| entry).collect();
    if whole {
        run.host.replace_window(kind.metric(), None, Moment::Instant(span.from), Moment::Instant(span.to), entries)?;
    } else {
        run.host.warn(&format!("search counted {total} {} and gave {}: added without taking any away", kind.metric(), entries.len()));
        run.host.record(entries)?;
    }
    Ok(Read::Done)
}

fn entry(kind: Kind, item: &Item) -> Result<(u64, Entry), Failure> {
    let Some(when) = parse_rfc3339(&item.created_at) else {
        return Err(Failure::unexpected("wrong-shape", "GitHub's search answered with a date that is none; nothing of it was stored"));
    };
    let repository = item.repository_url.split_once("/repos/").map_or("", |(_, name)| name);
    let title = item.title.as_deref().map(|title| sluice_sdk::types::clip(title, 300));
    let detail = Detail { repository, number: item.number, title: title.as_deref() };
    Ok((item.id, Entry::at(kind.metric(), when, 1.0).id(item.id.to_string()).detail(&detail)))
}
