//! `user.getRecentTracks`: plays newest first, in the shapes that this method has always had.
//!
//! What plays now comes first on the first page, without a date, whatever the range, and counts neither in `total` nor against `limit`. One row is an object,
//! none is an empty list (or, in the old form, no list at all).

use super::Bounds;
use super::service::{Problem, Request, paging, problem};
use super::user::{artist_url, images, track_url};
use super::world::{Play, Playing, World};
use crate::page::{rows, window};
use crate::time::spoken;
use serde_json::{Value, json};

impl World {
    pub(super) fn recent_tracks(&self, request: &Request<'_>) -> Result<Value, Problem> {
        let user = self.named(request)?;
        let own = request.session.as_deref() == Some(user.name.to_lowercase().as_str());
        if user.hidden && !own {
            return Err(problem(17));
        }
        let (page, limit) = paging(request)?;
        let end = |name: &str, default: i64| match request.get(name).filter(|value| !value.is_empty()) {
            Some(text) => text.parse::<i64>().map_err(|_| problem(6)),
            None => Ok(default),
        };
        let (from, to) = (end("from", i64::MIN)?, end("to", i64::MAX)?);
        let within = |play: &&Play| match self.bounds {
            Bounds::HalfOpen => play.at >= from && play.at < to,
            Bounds::Closed => play.at >= from && play.at <= to,
            Bounds::Open => play.at > from && play.at < to,
        };
        let found: Vec<&Play> = user.plays.iter().filter(within).collect();
        let window = window(found.len(), page, limit, request.call.shift);
        if page > 1 && page > window.pages {
            return Err(problem(6).saying("no such page", 400));
        }
        let extended = request.get("extended") == Some("1");
        let loved = |artist: &str, track: &str| user.loved.iter().any(|loved| loved.artist == artist && loved.track == track);
        let mut tracks: Vec<Value> = Vec::new();
        if let Some(playing) = user.playing.as_ref().filter(|_| page == 1) {
            tracks.push(now(playing, extended, loved(&playing.artist, &playing.track)));
        }
        tracks.extend(rows(&found, &window).iter().map(|play| row(play, extended, loved(&play.artist, &play.track))));
        let attributes = json!({
            "user": user.name,
            "page": page.to_string(),
            "perPage": limit.to_string(),
            "totalPages": window.pages.to_string(),
            "total": found.len().to_string(),
        });
        Ok(json!({"recenttracks": list("track", tracks, attributes, self.old_empty_form)}))
    }
}

/// A list as the service writes it: one row is an object; none is an empty list, or the old form without any.
pub(super) fn list(name: &str, mut rows: Vec<Value>, attributes: Value, old_empty_form: bool) -> Value {
    if rows.is_empty() && old_empty_form {
        let mut old = json!({"#text": "\n", "page": "0"});
        if let (Value::Object(old), Value::Object(attributes)) = (&mut old, attributes) {
            old.extend(attributes.into_iter().filter(|(name, _)| name != "page"));
        }
        return old;
    }
    let rows = if rows.len() == 1 { rows.pop().unwrap_or(Value::Null) } else { Value::Array(rows) };
    json!({name: rows, "@attr": attributes})
}

fn song(artist: &str, track: &str, album: &str, mbid: &str, extended: bool, loved: bool) -> Value {
    let mut row = json!({
        "artist": {"mbid": "", "#text": artist},
        "streamable": "0",
        "image": images(),
        "mbid": mbid,
        "album": {"mbid": "", "#text": album},
        "name": track,
        "url": track_url(artist, track),
    });
    if let (true, Value::Object(row)) = (extended, &mut row) {
        row.insert("artist".to_owned(), json!({"url": artist_url(artist), "mbid": "", "name": artist, "image": images()}));
        row.insert("loved".to_owned(), json!(if loved { "1" } else { "0" }));
    }
    row
}

fn row(play: &Play, extended: bool, loved: bool) -> Value {
    let mut row = song(&play.artist, &play.track, &play.album, &play.mbid, extended, loved);
    if let Value::Object(row) = &mut row {
        row.insert("date".to_owned(), json!({"uts": play.at.to_string(), "#text": spoken(play.at)}));
    }
    row
}

fn now(playing: &Playing, extended: bool, loved: bool) -> Value {
    let mut row = song(&playing.artist, &playing.track, "", "", extended, loved);
    if let Value::Object(row) = &mut row {
        row.insert("@attr".to_owned(), json!({"nowplaying": "true"}));
    }
    row
}
