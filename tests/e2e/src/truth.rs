//! What should be in the database, worked out from the simulators' own truth: no line of a connector or of the host is used.
//!
//! Both sides are brought to the same [`Fact`]: metric, series, label, moment, day, value, and the texts beside it.

use crate::{
    dump::Dump,
    time::DAY,
    worlds::{Fm, Hub},
};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One entry, whoever says it.
pub type Fact = String;

#[derive(serde::Serialize)]
struct Parts<'a> {
    metric: &'a str,
    series: Option<String>,
    label: Option<String>,
    id: Option<String>,
    start: Option<i64>,
    day: String,
    value: f64,
    detail: Value,
}

fn fact(parts: &Parts<'_>) -> Fact {
    serde_json::to_string(parts).expect("a fact is JSON")
}

/// What `v_entries` says about one connector and account.
#[must_use]
pub fn found(dump: &Dump, connector: &str, account: &str) -> Vec<Fact> {
    let mine = dump.entries.iter().filter(|row| row["connector"] == connector && row["account"] == account);
    let mut facts: Vec<Fact> = mine
        .map(|row| {
            let text = |name: &str| row[name].as_str().map(str::to_owned);
            let metric = row["metric"].as_str().expect("a metric");
            let detail = row["detail"].as_str().map_or(Value::Null, |d| serde_json::from_str(d).expect("detail is JSON"));
            fact(&Parts {
                metric,
                series: text("series"),
                label: text("series_label"),
                // How Last.fm's plays are told apart is the connector's own affair; that they are is seen by their number.
                id: text("id").filter(|_| connector == "github"),
                start: row["start"].as_i64(),
                day: text("day").expect("a day"),
                value: row["value"].as_f64().expect("a value"),
                detail,
            })
        })
        .collect();
    facts.sort();
    facts
}

fn day_in(zone: &TimeZone, ms: i64) -> String {
    Timestamp::from_millisecond(ms).expect("an instant").to_zoned(zone.clone()).date().to_string()
}

fn utc_day(ms: i64) -> String {
    day_in(&TimeZone::UTC, ms)
}

fn gauge(metric: &'static str, now: i64, value: f64) -> Fact {
    fact(&Parts { metric, series: None, label: None, id: None, start: None, day: utc_day(now), value, detail: Value::Null })
}

/// What a whole sync of this developer at `now` must leave, for a person in that zone.
#[must_use]
pub fn github(hub: &Hub, login: &str, now: i64, zone: &str) -> Vec<Fact> {
    let zone = TimeZone::get(zone).expect("a zone");
    let user = hub.users().into_iter().find(|user| user.login == login).expect("the user");
    let owned = hub.repositories(login);
    let names: BTreeMap<u64, String> = owned.iter().map(|r| (r.id, format!("{login}/{}", r.name))).collect();
    let forks: BTreeSet<u64> = owned.iter().filter(|r| r.fork).map(|r| r.id).collect();
    let mut facts = Vec::new();

    let mut seconds: BTreeMap<(u64, i64), u64> = BTreeMap::new();
    for (repository, commit) in hub.commits(login) {
        if !forks.contains(&repository) {
            let at = commit.authored_at.min(commit.committed_at).max(user.created_at);
            *seconds.entry((repository, at * 1_000)).or_default() += 1;
        }
    }
    for ((repository, at), count) in seconds {
        facts.push(fact(&Parts {
            metric: "commits",
            series: Some(repository.to_string()),
            label: names.get(&repository).cloned(),
            id: None,
            start: Some(at),
            day: day_in(&zone, at),
            value: count as f64,
            detail: Value::Null,
        }));
    }

    let born = utc_day(user.created_at * 1_000);
    for (day, count) in hub.contributions(login) {
        if day >= born && day <= utc_day(now + DAY) && count > 0 {
            facts.push(fact(&Parts {
                metric: "contributions",
                series: None,
                label: None,
                id: None,
                start: None,
                day,
                value: count as f64,
                detail: Value::Null,
            }));
        }
    }

    for issue in hub.issues(login) {
        let at = issue.created_at * 1_000;
        let repository = names.get(&issue.repository).cloned().unwrap_or_default();
        facts.push(fact(&Parts {
            metric: if issue.pull_request { "pull_requests" } else { "issues" },
            series: None,
            label: None,
            id: Some(issue.id.to_string()),
            start: Some(at),
            day: day_in(&zone, at),
            value: 1.0,
            detail: json!({ "repository": repository, "number": issue.number, "title": issue.title }),
        }));
    }

    facts.push(gauge("followers", now, user.followers as f64));
    facts.push(gauge("public_repos", now, owned.iter().filter(|r| !r.private).count() as f64));
    facts.push(gauge("stars", now, owned.iter().map(|r| r.stars).sum::<u64>() as f64));
    facts.sort();
    facts
}

/// What a whole sync of this listener at `now` must leave, for a person in that zone.
#[must_use]
pub fn lastfm(fm: &Fm, name: &str, now: i64, zone: &str) -> Vec<Fact> {
    let zone = TimeZone::get(zone).expect("a zone");
    let plays = fm.plays(name);
    let mut facts: Vec<Fact> = plays
        .iter()
        .map(|play| {
            let at = play.at * 1_000;
            let mut detail = json!({ "artist": play.artist, "name": play.track });
            if !play.album.is_empty() {
                detail["album"] = json!(play.album);
            }
            fact(&Parts {
                metric: "tracks",
                series: None,
                label: None,
                id: None,
                start: Some(at),
                day: day_in(&zone, at),
                value: 1.0,
                detail,
            })
        })
        .collect();
    let different =
        |key: &dyn Fn(&sluice_sim::lastfm::Play) -> Option<String>| plays.iter().filter_map(key).collect::<BTreeSet<_>>().len() as f64;
    facts.push(gauge("playcount", now, plays.len() as f64));
    facts.push(gauge("loved_tracks", now, fm.loved(name).len() as f64));
    facts.push(gauge("artists", now, different(&|p| Some(p.artist.clone()))));
    facts.push(gauge("tracks_distinct", now, different(&|p| Some(format!("{}\n{}", p.artist, p.track)))));
    facts.push(gauge("albums", now, different(&|p| (!p.album.is_empty()).then(|| format!("{}\n{}", p.artist, p.album)))));
    facts.sort();
    facts
}
