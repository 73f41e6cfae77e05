//! Recorded answers of the real Last.fm, where they lie beside the repository.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_connector_lastfm::LastFm;
use sluice_connector_lastfm::shapes::{Info, Page, Recent};
use sluice_sdk::harness::{Exchange, TestBed, sample};
use sluice_sdk::{FailureKind, FailureScope, json};

fn page(exchange: &Exchange) -> Page {
    exchange.response.json::<Recent>("plays").unwrap().recenttracks.page().unwrap()
}

/// `(seconds, pages, total)` of each page of a sample.
fn pages(name: &str) -> Option<Vec<(Vec<i64>, u64, u64)>> {
    let seen = |p: Page| {
        assert_eq!(p.unreadable, 0);
        (p.plays.iter().map(|play| play.uts).collect(), p.pages, p.total)
    };
    Some(sample("lastfm", name)?.iter().map(|exchange| seen(page(exchange))).collect())
}

#[test]
fn every_shape_of_a_page_is_read() {
    let cases = [
        ("user-getrecenttracks-page1-page2", vec![(vec![1_419_006_075, 1_419_005_816], 2, 4), (vec![1_419_005_635, 1_419_005_395], 2, 4)]),
        ("user-getrecenttracks-single-object", vec![(vec![1_419_070_612], 76_536, 76_536)]),
        ("user-getrecenttracks-empty-new-and-old", vec![(vec![], 0, 0), (vec![], 0, 0)]),
        ("user-getrecenttracks-extended-single", vec![(vec![1_530_117_136], 1, 1)]),
        ("user-getrecenttracks-nowplaying", vec![(vec![1_609_459_200], 1, 1)]),
    ];
    for (name, want) in cases {
        let Some(seen) = pages(name) else { return };
        assert_eq!(seen, want, "{name}");
    }
    let Some(extended) = sample("lastfm", "user-getrecenttracks-extended-single") else { return };
    assert_eq!(page(&extended[0]).plays[0].artist, "Republika");
}

#[test]
fn xml_is_not_what_was_asked_for() {
    let Some(exchanges) = sample("lastfm", "user-getrecenttracks-nowplaying-outside-range-xml") else { return };
    assert_eq!(json::parse::<Recent>(&exchanges[0].response.body).unwrap_err(), json::ShapeError::Markup);
}

#[test]
fn the_account_is_read() {
    let Some(exchanges) = sample("lastfm", "user-getinfo") else { return };
    let user = exchanges[0].response.json::<Info>("the account").unwrap().user;
    assert_eq!((user.playcount.0, user.registered()), (149_018, Some(1_037_793_040)));
    let account = TestBed::new::<LastFm>("user").identify::<LastFm>(&mut |_| Ok(exchanges[0].response.clone())).unwrap();
    assert_eq!(account.id.as_deref(), Some("user-a"));
}

#[test]
fn refusals_are_understood() {
    use FailureKind::{NeedsAction, Other, RateLimited, Unauthorized};
    let cases = [
        ("error-29-rate-limit", vec![RateLimited]),
        ("error-400-code6-and-user-not-found", vec![Other, NeedsAction]),
        ("error-403-codes-4-9-17", vec![Unauthorized, Unauthorized, Unauthorized]),
    ];
    for (name, want) in cases {
        let Some(exchanges) = sample("lastfm", name) else { return };
        let mut seen = Vec::new();
        for exchange in &exchanges {
            let mut bed = TestBed::new::<LastFm>("user");
            let failure = bed.run::<LastFm>(&mut |_| Ok(exchange.response.clone())).failure();
            assert!(bed.store.is_empty() && bed.cursor.is_none());
            assert_eq!(failure.scope == FailureScope::App, failure.kind == RateLimited);
            seen.push(failure.kind);
        }
        assert_eq!(seen, want, "{name}");
    }
}
