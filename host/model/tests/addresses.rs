//! The file of vectors against every reading of an address: the text, the parsed URL, and what connectors' URLs go through.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_model::address::{judge_host_name, judge_ip, judge_text, judge_url};
use sluice_model::url::parse_url;
use std::collections::BTreeSet;
use url::Url;

/// Classes that are about how a text is written; a lenient parser may read an ordinary address in such a text.
const FORMS: &[&str] =
    &["space", "backslash", "scheme", "fragment", "userinfo", "port", "odd-address", "odd-name", "bad-address", "bad-name", "no-host"];

fn vectors() -> Vec<(String, String)> {
    let file = include_str!("../vectors/addresses.txt");
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
    lines
        .map(|line| {
            let (class, text) = line.split_once('\t').unwrap_or_else(|| panic!("no tab: {line}"));
            let mut bytes = Vec::new();
            let mut rest = text.as_bytes();
            while let [first, tail @ ..] = rest {
                if let [b'<', a, b, b'>', after @ ..] = rest {
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&[*a, *b]).unwrap(), 16).unwrap());
                    rest = after;
                } else {
                    bytes.push(*first);
                    rest = tail;
                }
            }
            (class.to_owned(), String::from_utf8(bytes).unwrap())
        })
        .collect()
}

#[test]
fn the_text_and_the_parsed_url_are_judged_alike() {
    let vectors = vectors();
    assert!(vectors.len() >= 250, "{} vectors", vectors.len());
    let mut wrong = Vec::new();
    for (class, text) in &vectors {
        let by_text = judge_text(text).err().unwrap_or("allowed");
        if by_text != class {
            wrong.push(format!("{text:?} should be {class}, its text is judged {by_text}"));
        }
        let sendable = parse_url(text).is_ok_and(|url| judge_url(&url).is_ok());
        if sendable != (class == "allowed") {
            wrong.push(format!("{text:?} should be {class}, and sendable is {sendable}"));
        }
        // Whatever a lenient parser makes of the text (as it does with a redirect's Location), it is judged as the same place.
        if let Ok(url) = Url::parse(text)
            && !FORMS.contains(&class.as_str())
        {
            let by_url = judge_url(&url).err().unwrap_or("allowed");
            if by_url != class {
                wrong.push(format!("{text:?} should be {class}, parsed as {url} it is judged {by_url}"));
            }
            let by_host = url.host_str().map_or("no-host", |host| judge_host_name(host).err().unwrap_or("allowed"));
            if by_host != class {
                wrong.push(format!("{text:?} should be {class}, its host alone is judged {by_host}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_vector_is_there_twice() {
    let mut seen = BTreeSet::new();
    for (_, text) in vectors() {
        assert!(seen.insert(text.clone()), "{text}");
    }
}

#[test]
fn an_address_in_an_ipv6_disguise_is_never_dialled() {
    for text in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "8.8.8.8"] {
        let v4: std::net::Ipv4Addr = text.parse().unwrap();
        for v6 in [v4.to_ipv6_mapped(), v4.to_ipv6_compatible()] {
            assert!(judge_ip(v6.into()).is_err(), "{v6}");
        }
        let [a, b] = [u16::from_be_bytes([v4.octets()[0], v4.octets()[1]]), u16::from_be_bytes([v4.octets()[2], v4.octets()[3]])];
        for segments in [
            [0x64, 0xff9b, 0, 0, 0, 0, a, b],
            [0x64, 0xff9b, 1, 0, 0, 0, a, b],
            [0x2002, a, b, 0, 0, 0, 0, 1],
            [0x2001, 0, 0, 0, 0, 0, !a, !b],
        ] {
            assert!(judge_ip(std::net::Ipv6Addr::from(segments).into()).is_err(), "{segments:x?}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn a_text_that_may_be_sent_is_public_in_both_readings(text in r"(https?://)?[a-z0-9\.\[\]:@%x①。/\\-]{0,40}") {
        let sendable = parse_url(&text).is_ok_and(|url| judge_url(&url).is_ok());
        proptest::prop_assert_eq!(sendable && judge_text(&text).is_err(), false, "{}", text);
        if let (Ok(()), Ok(url)) = (judge_text(&text), Url::parse(&text)) {
            proptest::prop_assert!(judge_url(&url).is_ok(), "{}", text);
        }
    }
}
