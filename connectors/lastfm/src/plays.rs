//! Every play, in windows of a month.
//!
//! **What makes a play the same one**: second, artist and name; nothing else is certain. The id is the second and a hash of the two names,
//! so two tracks scrobbled in the same second stay apart, and the same row seen on two pages is one.
//!
//! **Windows.** Whether Last.fm's `from` and `to` are part of a window is not known, so each is asked for one second wider on both sides
//! and cut by us. `to` is pinned for all pages: what is being played meanwhile shifts nothing. Where rows shift all the same (a play was
//! deleted or came in late) the total moves, or fewer rows come than it promises; then the window is read again, at most [`MOST_READINGS`]
//! times. Only a window that was read to its end is replaced.
//!
//! **Late plays.** Offline players hand in plays of two weeks ago, and people correct theirs: each round replaces the last fortnight. Plays
//! from before 2002 (a player whose clock stood at zero) are kept at the beginning of 2002, so that the count stays true; plays from the
//! future wait until it has come.

use crate::api::{self, Api};
use crate::shapes::{Page, Play, Recent};
use crate::{Cursor, is_spent};
use serde::Serialize;
use sluice_sdk::day::{DAY, HOUR};
use sluice_sdk::paging::PageNumbers;
use sluice_sdk::types::clip;
use sluice_sdk::walk::{Span, month_of, upper_half};
use sluice_sdk::{Entry, Failure, Host, Moment, cache};
use std::collections::BTreeMap;

const METRIC: &str = "tracks";
const WHAT: &str = "the plays";

/// Nothing was scrobbled before 2002-01-01T00:00:00Z.
pub const FIRST: i64 = 1_009_843_200_000;
/// Rows a page; Last.fm gives no more.
const PAGE_ROWS: u64 = 200;
/// Plays that one window may hold. A checkpoint takes 20,000 entries; 6,000 are 30 pages, which is what an end in the middle costs at most.
const WINDOW_PLAYS: u64 = 6_000;
/// The shortest window. In an hour nobody plays 6,000 tracks, but a client that repeats itself may: then the window is taken as it is.
const LEAST_WINDOW: i64 = HOUR;
/// Pages of one window, whatever it promises.
const MAX_PAGES: u64 = 100;
/// How often a window is read whose rows shift; then it is taken as it is, since the next fortnight's rounds read it again.
const MOST_READINGS: u32 = 3;
/// How long a round may take before the newest plays are looked at again.
const STALE: i64 = HOUR;
/// How far back each round looks.
const OVERLAP: i64 = 14 * DAY;

#[derive(Serialize)]
struct Detail<'a> {
    artist: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    album: &'a str,
}

/// Puts the present on top of what is left, unless that was done a moment ago.
pub fn open_round(host: &mut Host<'_>, cursor: &mut Cursor, now: i64) {
    if cursor.open && cursor.seen.is_some_and(|seen| now - seen < STALE) {
        return;
    }
    let overlap = host.window_ms().map(|(first, _)| first);
    let from = match cursor.seen {
        None => FIRST,
        Some(seen) => overlap.unwrap_or(seen).min(seen - OVERLAP).max(FIRST),
    };
    // Clocks run ahead; a day is as far as a play may be from now.
    cursor.plays.push(from / 1_000 * 1_000, now + DAY);
    cursor.seen = Some(now);
    cursor.open = true;
}

/// Reads what is left, until all of it is read (`true`) or the run has done its share (`false`).
///
/// # Errors
/// What ends a run.
pub fn read(host: &mut Host<'_>, api: &Api, cursor: &mut Cursor) -> Result<bool, Failure> {
    let beginning = cursor.registered;
    // Below the month in which the account began there is next to nothing: one window takes it all.
    let start_of = |end: i64| if end <= month_of(beginning.max(FIRST) + 1) { i64::MIN } else { month_of(end) };
    while let Some(mut span) = cursor.plays.next(start_of) {
        if is_spent(host) {
            return Ok(false);
        }
        let entries = loop {
            match window(host, api, span)? {
                Window::Plays(plays) => break plays,
                Window::TooMany => match upper_half(span, LEAST_WINDOW) {
                    Some(half) => span = Span { from: half.from / 1_000 * 1_000, to: half.to },
                    None => {
                        return Err(Failure::unexpected(
                            "too-many-plays",
                            "Last.fm counts more plays within an hour than can be; nothing of it was stored",
                        ));
                    }
                },
            }
        };
        host.replace_window(METRIC, None, Moment::Instant(span.from), Moment::Instant(span.to), entries)?;
        cursor.plays.finish(span.from);
        host.checkpoint(cursor)?;
    }
    Ok(true)
}

enum Window {
    Plays(Vec<Entry>),
    TooMany,
}

/// One window, read to its end.
fn window(host: &mut Host<'_>, api: &Api, span: Span) -> Result<Window, Failure> {
    for reading in 1..=MOST_READINGS {
        let mut pages = PageNumbers::new();
        let mut found: BTreeMap<String, Entry> = BTreeMap::new();
        let mut unreadable = 0;
        loop {
            let page = match page(host, api, span, pages.page()) {
                // Rows went away, and with them the page that the one before promised.
                Err(failure) if pages.page() > 1 && api::is_no_such_page(&failure) => {
                    pages.shifted();
                    break;
                }
                other => other?,
            };
            if page.total > WINDOW_PLAYS && span.to - span.from >= 2 * LEAST_WINDOW {
                return Ok(Window::TooMany);
            }
            unreadable += page.unreadable;
            let rows = page.plays.len() as u64 + page.unreadable;
            for play in &page.plays {
                if let Some(entry) = entry(play, span) {
                    found.insert(entry.id.clone().unwrap_or_default(), entry);
                }
            }
            if !pages.advance(rows, page.pages.min(MAX_PAGES), page.total) {
                break;
            }
        }
        if pages.is_whole() || reading == MOST_READINGS {
            if !pages.is_whole() {
                host.warn("Last.fm's pages kept shifting while a window was read: taken as they came");
            }
            if unreadable > 0 {
                let message = format!("{unreadable} rows that are no plays were left out");
                host.problem(&Failure::other("unreadable-rows", message), Some(METRIC));
            }
            return Ok(Window::Plays(found.into_values().collect()));
        }
    }
    Ok(Window::Plays(Vec::new()))
}

fn page(host: &mut Host<'_>, api: &Api, span: Span, number: u64) -> Result<Page, Failure> {
    let floor = if span.from <= FIRST { 0 } else { span.from / 1_000 - 1 };
    let request = api
        .method("user.getRecentTracks")
        .query("limit", PAGE_ROWS)
        .query("from", floor)
        .query("to", span.to / 1_000 + 1)
        .query("page", number);
    let recent: Recent = api.ask(host, &request, WHAT)?;
    recent.recenttracks.page().ok_or_else(|| {
        Failure::unexpected(
            "wrong-shape",
            "asked for the plays, Last.fm answered with something that is no list of tracks; nothing of it was stored",
        )
    })
}

/// The entry of a play, if it lies in the window.
fn entry(play: &Play, span: Span) -> Option<Entry> {
    let when = play.uts.checked_mul(1_000)?.max(FIRST);
    if when < span.from || when >= span.to {
        return None;
    }
    let names = format!("{}\n{}", play.artist, play.name);
    let id = format!("{}-{:016x}", play.uts, cache::hash(names.as_bytes()));
    let (artist, name, album) = (clip(&play.artist, 500), clip(&play.name, 500), clip(&play.album, 500));
    Some(Entry::at(METRIC, when, 1.0).id(id).detail(&Detail { artist: &artist, name: &name, album: &album }))
}
