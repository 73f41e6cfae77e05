//! Entries and days: what is taken, what is refused, and which day it counts for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_model::day::{Zone, civil_day, is_time_zone};
use sluice_model::validate::{MAX_DETAIL_BYTES, MAX_ID_BYTES, MAX_SAMPLES, check_entry, check_label, check_retract, check_window, weight};
use sluice_model::{Day, Entry, Manifest, Moment, Sample};

const MANIFEST: &str = r#"manifest = 1
name = "example"
title = "Example"
version = "1.0.0"
[[auth]]
id = "open"
title = "Open"
kind = "none"
[[metric]]
name = "pulse"
unit = "/min"
kind = "mean"
identity = "time"
[[metric]]
name = "plays"
unit = "{play}"
kind = "event"
identity = "time"
series = "artist"
[[metric]]
name = "rides"
unit = "km"
kind = "sum"
identity = "id"
[[metric]]
name = "commits"
unit = "1"
kind = "sum"
identity = "day"
series = "repository"
"#;

const NOW: i64 = 1_795_269_600_000;

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn pulse() -> Entry {
    Entry::new("pulse", Moment::Instant(NOW), 61.0)
}

fn ride() -> Entry {
    Entry { id: Some("r1".into()), ..Entry::new("rides", Moment::Instant(NOW), 12.5) }
}

fn commits() -> Entry {
    Entry { series: Some("42".into()), ..Entry::new("commits", Moment::Day(day("2026-11-21")), 3.0) }
}

#[test]
fn an_entry_is_as_its_metric_says() {
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let check = |entry: Entry, words: &str| match check_entry(&manifest, &entry) {
        Ok(()) => assert_eq!(words, "", "{entry:?} was taken"),
        Err(why) => assert!(!words.is_empty() && why.contains(words), "{why}: {entry:?}"),
    };
    let sample = |offset_ms, value| Sample { offset_ms, value };
    let text = |n: usize| Some("x".repeat(n));
    for (entry, words) in [
        (pulse(), ""),
        (ride(), ""),
        (commits(), ""),
        (Entry { value: -0.0, ..pulse() }, ""),
        (Entry { value: f64::MAX, ..pulse() }, ""),
        (Entry { end: Some(NOW), offset_minutes: Some(-1080), day: Some("2026-11-22".into()), revision: Some(7), ..pulse() }, ""),
        (Entry { when: Moment::Day(day("2026-11-21")), ..pulse() }, ""),
        (Entry { day: Some("2026-11-21".into()), ..commits() }, ""),
        (Entry { samples: vec![sample(0, 1.0), sample(1, 2.0)], detail: Some(" {\"a\": [1, \"\\\\u0000\"]}".into()), ..pulse() }, ""),
        // Identity.
        (Entry { metric: "puls".into(), ..pulse() }, "did you mean “pulse”"),
        (Entry { metric: "zebra".into(), ..pulse() }, "declare it"),
        (Entry { id: Some("1".into()), ..pulse() }, "leave `id` out"),
        (Entry { series: Some("1".into()), ..pulse() }, "declares no series"),
        (Entry::new("plays", Moment::Instant(NOW), 1.0), "has a series (artist)"),
        (Entry { series: None, ..commits() }, "has a series"),
        (Entry { id: None, ..ride() }, "provider's `id`"),
        (Entry { id: Some(String::new()), ..ride() }, "empty"),
        (Entry { id: text(MAX_ID_BYTES), ..ride() }, ""),
        (Entry { id: text(MAX_ID_BYTES + 1), ..ride() }, "257 bytes"),
        (Entry { id: Some("a\0b".into()), ..ride() }, "U+0000"),
        (Entry { series: text(257), ..commits() }, "257 bytes"),
        (Entry { series: Some("\0".into()), ..commits() }, "U+0000"),
        (Entry { when: Moment::Instant(NOW), ..commits() }, "civil day as `when`"),
        (Entry { day: Some("2026-11-20".into()), ..commits() }, "says another"),
        // Values.
        (Entry { value: f64::NAN, ..pulse() }, "finite"),
        (Entry { value: f64::INFINITY, ..pulse() }, "finite"),
        (Entry { value: f64::NEG_INFINITY, ..pulse() }, "finite"),
        // Moments.
        (Entry { when: Moment::Instant(-2_208_988_800_000), ..pulse() }, ""),
        (Entry { when: Moment::Instant(-2_208_988_800_001), ..pulse() }, "1900"),
        (Entry { when: Moment::Instant(7_258_118_399_999), ..pulse() }, ""),
        (Entry { when: Moment::Instant(7_258_118_400_000), ..pulse() }, "2199"),
        (Entry { when: Moment::Instant(NOW * 1000), ..pulse() }, "milliseconds"),
        (Entry { when: Moment::Instant(i64::MIN), ..pulse() }, "1900"),
        (Entry { when: Moment::Day(day("1900-01-01")), ..commits() }, ""),
        (Entry { when: Moment::Day(day("1899-12-31")), ..commits() }, "1900"),
        (Entry { when: Moment::Day(day("2199-12-31")), ..commits() }, ""),
        (Entry { when: Moment::Day(day("2200-01-01")), ..commits() }, "2199"),
        (Entry { when: Moment::Day(Day(i32::MAX)), ..commits() }, "2199"),
        (Entry { end: Some(NOW - 1), ..pulse() }, "before `when`"),
        (Entry { end: Some(i64::MAX), ..pulse() }, "`end`"),
        (Entry { end: Some(NOW), ..commits() }, "no `end`"),
        (Entry { offset_minutes: Some(1081), ..pulse() }, "offset-minutes"),
        (Entry { offset_minutes: Some(i16::MIN), ..pulse() }, "offset-minutes"),
        (Entry { day: Some("21.11.2026".into()), ..pulse() }, "is no day"),
        (Entry { day: Some("2026-02-30".into()), ..pulse() }, "is no day"),
        (Entry { day: Some("3026-01-01".into()), ..pulse() }, "`day`"),
        // Samples.
        (Entry { samples: vec![sample(1, 1.0), sample(1, 1.0)], ..pulse() }, "ascending"),
        (Entry { samples: vec![sample(2, 1.0), sample(1, 1.0)], ..pulse() }, "ascending"),
        (Entry { samples: vec![sample(0, f64::NAN)], ..pulse() }, "finite"),
        (Entry { samples: vec![sample(u32::MAX, 1.0)], ..pulse() }, "32 days"),
        (Entry { samples: (0..MAX_SAMPLES as u32).map(|n| sample(n, 0.0)).collect(), ..pulse() }, ""),
        (Entry { samples: (0..=MAX_SAMPLES as u32).map(|n| sample(n, 0.0)).collect(), ..pulse() }, "100000"),
        // Detail.
        (Entry { detail: Some(format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(500), "{".repeat(500))), ..pulse() }, ""),
        (Entry { detail: Some("[]".into()), ..pulse() }, "object"),
        (Entry { detail: Some(String::new()), ..pulse() }, "object"),
        (Entry { detail: Some("{".into()), ..pulse() }, "no JSON"),
        (Entry { detail: Some("{} {}".into()), ..pulse() }, "no JSON"),
        (Entry { detail: Some("{\"a\": \"\\u0000\"}".into()), ..pulse() }, "U+0000"),
        (Entry { detail: Some(format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500))), ..pulse() }, "deep"),
        (Entry { detail: Some(format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_DETAIL_BYTES))), ..pulse() }, "16384"),
    ] {
        check(entry, words);
    }
    assert_eq!(weight(&Entry { samples: vec![sample(0, 1.0)], detail: Some("{}".into()), ..ride() }), 5 + 2 + 2 + 12 + 64);
}

#[test]
fn a_window_holds_only_what_lies_in_it() {
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let instant = Moment::Instant;
    let check = |metric: &str, series: Option<&str>, first, past, entries: &[Entry]| {
        check_window(&manifest, metric, series, &first, &past, entries)
    };
    let at = |ms| Entry { when: instant(ms), ..ride() };
    assert_eq!(check("rides", None, instant(NOW), instant(NOW + 10), &[at(NOW), at(NOW + 9)]), Ok(()));
    assert_eq!(check("rides", None, instant(NOW), instant(NOW), &[]), Ok(()));
    let days = (Moment::Day(day("2026-11-01")), Moment::Day(day("2026-12-01")));
    assert_eq!(check("commits", Some("42"), days.0, days.1, &[commits()]), Ok(()));
    assert_eq!(check("commits", None, days.0, days.1, &[commits()]), Ok(()), "without a series, all of them");
    for (result, index, words) in [
        (check("rides", None, instant(NOW), instant(NOW + 10), &[at(NOW), at(NOW + 10)]), 1, "outside"),
        (check("rides", None, instant(NOW), instant(NOW + 10), &[at(NOW - 1)]), 0, "outside"),
        (check("rides", None, instant(NOW), instant(NOW - 1), &[]), 0, "before it begins"),
        (check("rides", None, instant(NOW), days.1, &[]), 0, "two of a kind"),
        (check("rides", None, days.0, days.1, &[at(NOW)]), 0, "of a kind"),
        (check("rides", None, instant(NOW), instant(NOW + 10), &[at(NOW), pulse()]), 1, "one metric at a time"),
        (check("rides", Some("x"), instant(NOW), instant(NOW + 10), &[]), 0, "declares no series"),
        (check("commits", Some("43"), days.0, days.1, &[commits()]), 0, "another series"),
        (check("commits", Some("42"), instant(NOW), instant(NOW + 10), &[]), 0, "civil days"),
        (check("rides", None, instant(NOW), instant(NOW + 10), &[Entry { id: None, ..at(NOW) }]), 0, "`id`"),
        (check("nothing", None, instant(NOW), instant(NOW + 10), &[]), 0, "no metric"),
    ] {
        let (found, why) = result.unwrap_err();
        assert!(found == index && why.contains(words), "{found}: {why} ({words})");
    }
    assert_eq!(check_retract(&manifest, "rides", "r1"), Ok(()));
    assert!(check_retract(&manifest, "pulse", "r1").unwrap_err().contains("replace-window"));
    assert!(check_retract(&manifest, "rides", "").is_err() && check_retract(&manifest, "x", "1").is_err());
    assert_eq!(check_label(&manifest, "commits", "42", "a/b"), Ok(()));
    assert!(check_label(&manifest, "commits", "42", "").is_err() && check_label(&manifest, "rides", "42", "x").is_err());
}

#[test]
fn the_day_comes_from_the_entry_then_the_moment_then_the_offset_then_the_zone() {
    let berlin = Zone::find("Europe/Berlin").unwrap();
    let kiritimati = Zone::find("Pacific/Kiritimati").unwrap();
    // 2026-11-21T23:30:00Z
    let late = Moment::Instant(1_795_303_800_000);
    let check = |moment: &Moment, offset, explicit, zone: &Zone, expected: &str| {
        assert_eq!(civil_day(moment, offset, explicit, zone).map(|d| d.to_string()).as_deref(), Ok(expected));
    };
    check(&late, None, None, &Zone::find("UTC").unwrap(), "2026-11-21");
    check(&late, None, None, &berlin, "2026-11-22");
    check(&late, Some(0), None, &berlin, "2026-11-21");
    check(&late, Some(30), None, &berlin, "2026-11-22");
    check(&late, Some(-1080), None, &kiritimati, "2026-11-21");
    check(&late, Some(30), Some("2020-02-29"), &berlin, "2020-02-29");
    check(&Moment::Day(day("2026-03-01")), Some(840), None, &kiritimati, "2026-03-01");
    // Summer time: 22:30 UTC is the next day in July, the same day in January.
    check(&Moment::Instant(1_782_945_000_000), None, None, &berlin, "2026-07-02");
    check(&Moment::Instant(1_767_306_600_000), None, None, &berlin, "2026-01-01");
    check(&Moment::Instant(-1), None, None, &Zone::find("UTC").unwrap(), "1969-12-31");
    assert!(civil_day(&late, None, Some("soon"), &berlin).is_err());
    assert!(civil_day(&Moment::Instant(i64::MAX), None, None, &berlin).is_err());
    assert!(civil_day(&Moment::Instant(i64::MAX), Some(1), None, &berlin).is_err());
}

#[test]
fn a_zone_is_known_or_refused() {
    for good in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kathmandu", "Etc/GMT+5"] {
        assert!(is_time_zone(good), "{good}");
    }
    for bad in
        ["", "Berlin", "Europe/Nowhere", "CET-1CEST", "../etc/passwd", "/etc/localtime", "Europe/Berlin\0", "+02:00", &"a".repeat(100)]
    {
        assert!(!is_time_zone(bad), "{bad}");
    }
    assert_eq!(Zone::find("Europe/Berlin").unwrap().name(), "Europe/Berlin");
    assert!(Zone::find("Europe/Nowhere").unwrap_err().to_string().contains("Europe/Nowhere"));
}

#[test]
fn a_day_reads_as_it_is_written() {
    for (text, number) in [
        ("1970-01-01", 0),
        ("1969-12-31", -1),
        ("2026-11-21", 20_778),
        ("2000-02-29", 11_016),
        ("1900-01-01", -25_567),
        ("2200-01-01", 84_006),
    ] {
        assert_eq!((day(text), Day(number).to_string().as_str()), (Day(number), text));
    }
    for bad in [
        "",
        "2026-1-01",
        "2026-02-30",
        "2026/01/01",
        "20260101",
        "+026-01-01",
        "2026-13-01",
        "2026-00-10",
        "2026-01-0x",
        "2026-01-01T",
        "２026-01-01",
        "2026-W10-1",
    ] {
        assert!(bad.parse::<Day>().is_err(), "{bad}");
    }
    assert_eq!(serde_json::to_string(&Moment::Day(day("2026-11-21"))).unwrap(), "\"2026-11-21\"");
    assert_eq!(serde_json::from_str::<Moment>("\"2026-11-21\"").unwrap(), Moment::Day(day("2026-11-21")));
    assert_eq!(serde_json::from_str::<Moment>("5").unwrap(), Moment::Instant(5));
}
