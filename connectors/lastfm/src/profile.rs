//! Who it is, and the totals: plays, loved tracks, different artists, albums and tracks.
//!
//! Totals move slowly and every request is taken from an allowance that all people here share, so they are read every [`EVERY`] unless a
//! person asks. They count for the UTC day on which they were read.

use crate::Cursor;
use crate::api::Api;
use crate::shapes::{Info, Loved, User};
use sluice_sdk::day::HOUR;
use sluice_sdk::{Day, Entry, Failure, FailureKind, Host};

/// How often the totals are read.
const EVERY: i64 = 6 * HOUR;

/// Asks who the account is.
///
/// # Errors
/// No answer, or not the expected one.
pub fn fetch(host: &mut Host<'_>, api: &Api) -> Result<User, Failure> {
    let info: Info = api.ask(host, &api.method("user.getInfo"), "the account")?;
    Ok(info.user)
}

/// Reads the totals where it is time for them.
///
/// # Errors
/// No answer, or not the expected one; *gone* for an account that was there before and is no more.
pub fn read(host: &mut Host<'_>, api: &Api, cursor: &mut Cursor, now: i64) -> Result<(), Failure> {
    let asked = matches!(host.reason().as_str(), "manual" | "linked");
    let fresh = cursor.totals.is_some_and(|at| now - at < EVERY);
    if fresh && (cursor.open || !asked) {
        return Ok(());
    }
    let user = match fetch(host, api) {
        // Said of an account whose data we have, and said of the account itself: it is gone.
        Err(failure) if failure.code == "lastfm-6" && failure.kind == FailureKind::NeedsAction && cursor.totals.is_some() => {
            return Err(Failure { kind: FailureKind::Gone, ..failure });
        }
        other => other?,
    };
    let loved: Loved = api.ask(host, &api.method("user.getLovedTracks").query("limit", 1), "the loved tracks")?;
    let Some(loved) = loved.lovedtracks.total() else {
        return Err(Failure::unexpected(
            "wrong-shape",
            "asked for the loved tracks, Last.fm answered without their number; nothing of it was stored",
        ));
    };
    let today = Day::of_ms(now);
    let counts = [
        ("playcount", Some(user.playcount)),
        ("artists", user.artist_count),
        ("albums", user.album_count),
        ("tracks_distinct", user.track_count),
    ];
    let mut entries: Vec<Entry> = counts.iter().filter_map(|(metric, n)| n.map(|n| Entry::on(metric, today, n.0 as f64))).collect();
    entries.push(Entry::on("loved_tracks", today, loved as f64));
    host.record(entries)?;
    cursor.totals = Some(now);
    cursor.registered = user.registered().unwrap_or_default().saturating_mul(1_000);
    host.checkpoint(cursor)
}
