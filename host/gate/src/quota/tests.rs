use super::*;
use http::HeaderValue;

fn quota(requests: u64) -> Quota {
    Quota {
        name: "q".into(),
        scope: QuotaScope::Connection,
        paths: vec!["/v1/".into()],
        requests,
        window_ms: 10_000,
        remaining_header: Some("x-left".into()),
        reset_header: Some("x-reset".into()),
        reset_format: ResetFormat::Seconds,
    }
}

fn quotas(requests: u64) -> Quotas {
    Quotas::new(&[quota(requests)], &Registry::default(), AppId(1), &[])
}

fn said(left: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("x-left"), HeaderValue::from_static(left))])
}

fn url() -> Url {
    Url::parse("https://a.example/v1/x").unwrap()
}

#[test]
fn what_is_never_sent_is_given_back() {
    let quotas = quotas(1);
    drop(quotas.take(&url(), 0).ok().unwrap());
    let mut taken = quotas.take(&url(), 1).ok().unwrap();
    taken.sent();
    drop(taken);
    assert_eq!(quotas.take(&url(), 2).err(), Some(9_998));
    assert_eq!(quotas.states().first().map(|q| q.used), Some(1));
}

#[test]
fn an_answer_does_not_know_of_those_still_under_way() {
    let quotas = quotas(100);
    let mut all: Vec<Taken> = (0..4).map(|_| quotas.take(&url(), 0).ok().unwrap()).collect();
    for one in &mut all {
        one.sent();
    }
    // The first answer was counted alone by the provider: 9 left, of which three are gone already.
    all.first().unwrap().learn(&said("9"), 1);
    assert_eq!(quotas.states().first().map(|q| (q.remaining, q.used)), Some((Some(6), 94)));
    drop(all);
    quotas.take(&url(), 2).ok().unwrap().sent();
    assert_eq!(quotas.states().first().map(|q| q.remaining), Some(Some(5)));
}

#[test]
fn a_remaining_above_the_declared_number_lifts_nothing() {
    let quotas = quotas(2);
    for _ in 0..2 {
        let mut taken = quotas.take(&url(), 0).ok().unwrap();
        taken.sent();
        taken.learn(&said("4999"), 0);
    }
    assert!(quotas.take(&url(), 0).is_err(), "what is declared is enforced");
}

#[test]
fn numbers_are_read_as_providers_write_them() {
    for (text, number) in [
        ("59", Some(59)),
        ("59, 100;w=60", Some(59)),
        ("59.5", Some(59)),
        ("99999999999999999999999", Some(u64::MAX)),
        ("", None),
        ("-1", None),
        ("x", None),
    ] {
        assert_eq!(whole_number(text), number, "{text}");
    }
}

#[test]
fn older_rows_do_not_overwrite_a_newer_count() {
    let registry = Registry::default();
    let shared = Quota { scope: QuotaScope::App, ..quota(5) };
    let state = |used, reset_at| QuotaState { name: "q".into(), connection_scope: false, used, remaining: None, reset_at };
    let first = Quotas::new(std::slice::from_ref(&shared), &registry, AppId(1), &[state(4, 20_000)]);
    let second = Quotas::new(std::slice::from_ref(&shared), &registry, AppId(1), &[state(0, 10_000)]);
    second.take(&url(), 15_000).ok().unwrap().sent();
    assert!(first.take(&url(), 15_000).is_err());
}
