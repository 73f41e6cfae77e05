//! `user.getInfo` and `user.getLovedTracks`.

use super::recent::list;
use super::service::{Problem, Request, paging, problem};
use super::world::World;
use crate::http::component;
use crate::page::{rows, window};
use crate::time::spoken;
use serde_json::{Value, json};
use std::collections::HashSet;

pub(super) fn artist_url(artist: &str) -> String {
    format!("https://www.last.fm/music/{}", component(artist))
}

pub(super) fn track_url(artist: &str, track: &str) -> String {
    format!("{}/_/{}", artist_url(artist), component(track))
}

pub(super) fn images() -> Value {
    let image = |size: &str, pixels: &str| json!({"size": size, "#text": format!("https://images.example/i/u/{pixels}/none.png")});
    json!([image("small", "34s"), image("medium", "64s"), image("large", "174s"), image("extralarge", "300x300")])
}

impl World {
    pub(super) fn info(&self, request: &Request<'_>) -> Result<Value, Problem> {
        let user = self.named(request)?;
        let artists: HashSet<&str> = user.plays.iter().map(|play| play.artist.as_str()).collect();
        let tracks: HashSet<(&str, &str)> = user.plays.iter().map(|play| (play.artist.as_str(), play.track.as_str())).collect();
        let albums: HashSet<(&str, &str)> =
            user.plays.iter().filter(|play| !play.album.is_empty()).map(|play| (play.artist.as_str(), play.album.as_str())).collect();
        Ok(json!({"user": {
            "name": user.name,
            "realname": user.realname,
            "age": "0",
            "subscriber": "0",
            "bootstrap": "0",
            "playcount": user.plays.len().to_string(),
            "artist_count": artists.len().to_string(),
            "track_count": tracks.len().to_string(),
            "album_count": albums.len().to_string(),
            "playlists": "0",
            "image": images(),
            "registered": {"unixtime": user.registered.to_string(), "#text": user.registered},
            "country": user.country,
            "gender": "n",
            "url": format!("https://www.last.fm/user/{}", component(&user.name)),
            "type": "user",
        }}))
    }

    pub(super) fn loved_tracks(&self, request: &Request<'_>) -> Result<Value, Problem> {
        let user = self.named(request)?;
        let (page, limit) = paging(request)?;
        let window = window(user.loved.len(), page, limit, request.call.shift);
        if page > 1 && page > window.pages {
            return Err(problem(6).saying("no such page", 400));
        }
        let row = |loved: &super::world::Loved| {
            json!({
                "artist": {"url": artist_url(&loved.artist), "name": loved.artist, "mbid": ""},
                "mbid": "",
                "name": loved.track,
                "url": track_url(&loved.artist, &loved.track),
                "image": images(),
                "streamable": {"fulltrack": "0", "#text": "0"},
                "date": {"uts": loved.at.to_string(), "#text": spoken(loved.at)},
            })
        };
        let tracks = rows(&user.loved, &window).iter().map(row).collect();
        let attributes = json!({
            "user": user.name,
            "page": page.to_string(),
            "perPage": limit.to_string(),
            "totalPages": window.pages.to_string(),
            "total": user.loved.len().to_string(),
        });
        Ok(json!({"lovedtracks": list("track", tracks, attributes, self.old_empty_form)}))
    }
}
