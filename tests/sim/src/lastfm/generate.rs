//! A listener's months: songs one after the other in the evenings, a few artists again and again, the odd day without music, and now and then two
//! plays in one second, as players that upload late produce them.

use super::Options;
use super::world::{Loved, Play, Playing, User};
use crate::prng::Prng;
use crate::text;
use crate::time::DAY;

struct Song {
    artist: String,
    track: String,
    album: String,
    mbid: String,
}

/// Makes the user of an index. The second user hides recent listening; a third, where there is one, plays something at this moment.
pub(super) fn user(options: &Options, index: u64, until: i64, next_play: &mut u64) -> User {
    let mut prng = Prng::of(options.seed, "lastfm", index);
    let name = if index == 0 { "demo".to_owned() } else { text::login(&mut prng, index) };
    let first = until - options.days.max(0) * DAY;
    let library = library(&mut prng);
    let mut user = User {
        name,
        realname: text::person(&mut prng),
        country: prng.pick(&["Germany", "Brazil", "Japan", "None"]).to_owned(),
        registered: first - prng.between(0, 400) * DAY,
        plays: Vec::new(),
        loved: Vec::new(),
        playing: None,
        hidden: index == 1,
    };
    let mut at = first;
    while at < until {
        evening(&mut prng, &library, options.plays_a_day.max(1), at, until, next_play, &mut user.plays);
        at += DAY;
    }
    user.plays.reverse();
    user.plays.sort_by_key(|play| std::cmp::Reverse(play.at));
    for song in &library {
        if prng.percent(12) {
            user.loved.push(Loved { at: prng.between(first, until), artist: song.artist.clone(), track: song.track.clone() });
        }
    }
    user.loved.sort_by_key(|loved| std::cmp::Reverse(loved.at));
    user.playing =
        library.first().filter(|_| index % 3 == 2).map(|song| Playing { artist: song.artist.clone(), track: song.track.clone() });
    user
}

fn library(prng: &mut Prng) -> Vec<Song> {
    let mut library = Vec::new();
    for _ in 0..20 {
        let artist = text::artist(prng);
        for _ in 0..prng.between(2, 6) {
            let track = text::song(prng);
            let album = if prng.percent(15) { String::new() } else { text::song(prng) };
            let mbid = if prng.percent(60) { String::new() } else { mbid(prng) };
            library.push(Song { artist: artist.clone(), track, album, mbid });
        }
    }
    library
}

fn mbid(prng: &mut Prng) -> String {
    [8, 4, 4, 4, 12].map(|length| prng.hex(length)).join("-")
}

fn evening(prng: &mut Prng, library: &[Song], most: i64, day: i64, until: i64, next_play: &mut u64, plays: &mut Vec<Play>) {
    if prng.percent(12) {
        return;
    }
    let mut at = day + prng.between(0, DAY / 2);
    for _ in 0..prng.between(1, most) {
        // One in forty shares its second with the play before.
        if !prng.percent(3) {
            at += prng.between(120, 420);
        }
        let index = usize::try_from(prng.below(library.len() as u64)).unwrap_or(0);
        let Some(song) = library.get(index).filter(|_| at < until) else { continue };
        let again = plays.last().is_some_and(|last| last.at == at && last.artist == song.artist && last.track == song.track);
        if !again {
            plays.push(Play {
                id: *next_play,
                at,
                artist: song.artist.clone(),
                track: song.track.clone(),
                album: song.album.clone(),
                mbid: song.mbid.clone(),
            });
            *next_play += 1;
        }
    }
}
