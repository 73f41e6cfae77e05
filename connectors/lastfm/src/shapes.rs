//! The shapes of Last.fm's answers, all of which occur.
//!
//! Its JSON is made from XML by rule, and the rule shows: one row is an object instead of a list, no row is an empty list, a missing key,
//! or an object that holds a line break and the attributes beside it; numbers are text, nearly always; the row of what is playing now
//! stands first, has no date, belongs to no window and is not counted. Rows are read one by one: one that cannot be understood is left out
//! and told of, and never costs the page.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A whole number, written as one or as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Number(pub i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.map(Self).ok_or_else(|| D::Error::custom("no whole number"))
    }
}

/// `user.getRecentTracks`.
#[derive(Debug, Deserialize)]
pub struct Recent {
    /// What is inside.
    pub recenttracks: Listing,
}

/// `user.getLovedTracks`.
#[derive(Debug, Deserialize)]
pub struct Loved {
    /// What is inside.
    pub lovedtracks: Listing,
}

/// A page of tracks.
#[derive(Debug, Deserialize)]
pub struct Listing {
    #[serde(default)]
    track: Value,
    #[serde(rename = "@attr")]
    attributes: Option<Attributes>,
    #[serde(rename = "totalPages")]
    total_pages: Option<Number>,
    total: Option<Number>,
}

#[derive(Debug, Deserialize)]
struct Attributes {
    #[serde(rename = "totalPages")]
    total_pages: Option<Number>,
    total: Option<Number>,
}

/// What a page holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The plays, without the one that is going on.
    pub plays: Vec<Play>,
    /// Rows that could not be understood.
    pub unreadable: u64,
    /// How many pages there are; one where it is not said.
    pub pages: u64,
    /// How many plays there are in all; as many as are here where it is not said.
    pub total: u64,
}

/// One play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Play {
    /// When it began, seconds since 1970.
    pub uts: i64,
    /// Who.
    pub artist: String,
    /// What.
    pub name: String,
    /// From which album; empty where that is not known.
    pub album: String,
}

impl Listing {
    /// The total, wherever it stands.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        let attributes = self.attributes.as_ref();
        attributes.and_then(|a| a.total).or(self.total).and_then(|n| u64::try_from(n.0).ok())
    }

    /// What the page holds; `None` where `track` is nothing that a page of tracks can hold.
    #[must_use]
    pub fn page(&self) -> Option<Page> {
        let one;
        let rows: &[Value] = match &self.track {
            Value::Null => &[],
            Value::Array(rows) => rows,
            Value::Object(_) => {
                one = [self.track.clone()];
                &one
            }
            Value::String(text) if text.trim().is_empty() => &[],
            _ => return None,
        };
        let mut page = Page::default();
        for row in rows {
            match play(row) {
                Row::Play(play) => page.plays.push(play),
                Row::PlayingNow => {}
                Row::Unreadable => page.unreadable += 1,
            }
        }
        let rows = page.plays.len() as u64 + page.unreadable;
        let pages = self.attributes.as_ref().and_then(|a| a.total_pages).or(self.total_pages);
        page.pages = pages.and_then(|n| u64::try_from(n.0).ok()).unwrap_or(1);
        page.total = self.total().unwrap_or(rows);
        Some(page)
    }
}

enum Row {
    Play(Play),
    PlayingNow,
    Unreadable,
}

fn play(row: &Value) -> Row {
    let playing = row.get("@attr").and_then(|a| a.get("nowplaying")).and_then(Value::as_str) == Some("true");
    let Some(date) = row.get("date").filter(|date| !date.is_null()) else {
        return if playing { Row::PlayingNow } else { Row::Unreadable };
    };
    let uts = date.get("uts").and_then(|uts| serde_json::from_value::<Number>(uts.clone()).ok());
    let (Some(uts), Some(name)) = (uts, row.get("name").and_then(Value::as_str)) else { return Row::Unreadable };
    // Extended rows have a name where plain ones have text.
    let text = |key: &str| {
        let of = row.get(key)?;
        of.get("#text").or_else(|| of.get("name")).or(Some(of)).and_then(Value::as_str)
    };
    let Some(artist) = text("artist") else { return Row::Unreadable };
    Row::Play(Play { uts: uts.0, artist: artist.to_owned(), name: name.to_owned(), album: text("album").unwrap_or_default().to_owned() })
}

/// `user.getInfo`.
#[derive(Debug, Deserialize)]
pub struct Info {
    /// What is inside.
    pub user: User,
}

/// The account.
#[derive(Debug, Deserialize)]
pub struct User {
    /// Its name, in its own spelling.
    pub name: String,
    /// Plays in all.
    pub playcount: Number,
    /// Different artists.
    pub artist_count: Option<Number>,
    /// Different albums.
    pub album_count: Option<Number>,
    /// Different tracks.
    pub track_count: Option<Number>,
    registered: Option<Registered>,
}

#[derive(Debug, Deserialize)]
struct Registered {
    unixtime: Option<Number>,
    #[serde(rename = "#text")]
    text: Option<Number>,
}

impl User {
    /// When the account began, seconds since 1970.
    #[must_use]
    pub fn registered(&self) -> Option<i64> {
        let registered = self.registered.as_ref()?;
        registered.unixtime.or(registered.text).map(|n| n.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(uts: &str, artist: &str, name: &str) -> Value {
        json!({ "artist": { "#text": artist, "mbid": "" }, "name": name, "album": { "#text": "LP" }, "date": { "uts": uts } })
    }

    /// `(uts list, unreadable, pages, total)`, or `None`.
    type Seen = Option<(Vec<i64>, u64, u64, u64)>;

    #[test]
    fn every_shape_of_a_page_is_read() {
        let playing = json!({ "artist": { "#text": "A" }, "name": "N", "@attr": { "nowplaying": "true" } });
        let extended = json!({ "artist": { "name": "A" }, "name": "N", "album": { "#text": "" }, "loved": "1", "date": { "uts": 7 } });
        let cases: Vec<(&str, Value, Seen)> = vec![
            (
                "a list",
                json!({ "track": [row("5", "A", "N"), row("4", "B", "M")], "@attr": { "totalPages": "3", "total": "5" } }),
                Some((vec![5, 4], 0, 3, 5)),
            ),
            ("one row", json!({ "track": row("5", "A", "N"), "@attr": { "totalPages": "1", "total": "1" } }), Some((vec![5], 0, 1, 1))),
            ("none, new", json!({ "track": [], "@attr": { "totalPages": "0", "total": "0" } }), Some((vec![], 0, 0, 0))),
            ("none, old", json!({ "#text": "\n", "user": "u", "page": "0", "totalPages": "0", "total": "0" }), Some((vec![], 0, 0, 0))),
            ("none, missing", json!({ "@attr": { "totalPages": "0", "total": "0" } }), Some((vec![], 0, 0, 0))),
            ("none, blank text", json!({ "track": "\n " }), Some((vec![], 0, 1, 0))),
            ("no attributes", json!({ "track": extended }), Some((vec![7], 0, 1, 1))),
            (
                "playing now",
                json!({ "track": [playing, row("5", "A", "N")], "@attr": { "totalPages": "1", "total": "1" } }),
                Some((vec![5], 0, 1, 1)),
            ),
            (
                "only playing now",
                json!({ "track": playing.clone(), "@attr": { "totalPages": "0", "total": "0" } }),
                Some((vec![], 0, 0, 0)),
            ),
            (
                "numbers as numbers",
                json!({ "track": [row("5", "A", "N")], "@attr": { "totalPages": 2, "total": 9 } }),
                Some((vec![5], 0, 2, 9)),
            ),
            (
                "broken rows",
                json!({ "track": [row("x", "A", "N"), json!({ "name": "no date" }), json!(3), row("5", "A", "N")], "@attr": { "totalPages": "1", "total": "4" } }),
                Some((vec![5], 3, 1, 4)),
            ),
            ("no page", json!({ "track": "maintenance" }), None),
            ("no page either", json!({ "track": 3 }), None),
        ];
        for (case, listing, want) in cases {
            let listing: Listing = serde_json::from_value(listing).unwrap();
            let seen = listing.page().map(|p| (p.plays.iter().map(|play| play.uts).collect(), p.unreadable, p.pages, p.total));
            assert_eq!(seen, want, "{case}");
        }
    }

    #[test]
    fn an_answer_without_a_listing_has_another_shape() {
        for body in [json!({}), json!({ "recenttracks": [] }), json!({ "recenttracks": "x" })] {
            assert!(serde_json::from_value::<Recent>(body.clone()).is_err(), "{body}");
        }
    }

    #[test]
    fn the_account_is_read_whichever_way_its_numbers_are_written() {
        let user = |registered: Value| {
            let body = json!({ "user": { "name": "u", "playcount": "149018", "artist_count": 12, "registered": registered } });
            serde_json::from_value::<Info>(body).unwrap().user
        };
        assert_eq!(user(json!({ "unixtime": "1037793040", "#text": 1_037_793_040 })).registered(), Some(1_037_793_040));
        assert_eq!(user(json!({ "#text": 7 })).registered(), Some(7));
        assert_eq!(user(json!(null)).registered(), None);
        assert_eq!(user(json!(null)).playcount, Number(149_018));
    }
}
