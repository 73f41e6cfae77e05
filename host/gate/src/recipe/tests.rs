use super::*;
use sluice_model::manifest::Target;
use sluice_vault::Secret;

fn attach(header: &[(&str, &str)], query: &[(&str, &str)], form: &[(&str, &str)], sign: Option<Sign>) -> Attach {
    let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Attach {
        name: "user".into(),
        to: vec![Target { method: "GET".into(), url: "https://a.example/v1/".into() }],
        header: own(header),
        query: own(query),
        form: own(form),
        sign,
        profiles: Vec::new(),
    }
}

fn draft(url: &str) -> Draft {
    Draft { method: Method::GET, url: Url::parse(url).unwrap(), headers: HeaderMap::new(), body: None }
}

fn keys() -> Keys {
    Keys::new().with("token", Secret::text("a b&c".into()), true).with("braces", Secret::text("{token}".into()), true)
}

#[test]
fn templates_are_filled_flat() {
    let keys = keys();
    for (template, filled) in [
        ("Bearer {token}", "Bearer a b&c"),
        ("{token}{token}", "a b&ca b&c"),
        ("{braces}", "{token}"),
        ("plain", "plain"),
        ("{{x}}", "{x}"),
    ] {
        assert_eq!(fill(template, &keys).map(|t| t.to_string()), Ok(filled.to_owned()), "{template}");
    }
    let why = fill("{session}", &keys).unwrap_err();
    assert!(why.contains("session") && why.contains("link it again"), "{why}");
    let why = fill("{app.api-key}", &keys).unwrap_err();
    assert!(why.contains("plugins.toml") && !why.contains("a b"), "{why}");
}

#[test]
fn a_header_is_written_and_marked_as_sensitive() {
    let recipe = Recipe::new(&attach(&[("X-Key", "{token}")], &[], &[], None));
    let mut draft = draft("https://a.example/v1/x");
    recipe.apply(&keys(), &mut draft).unwrap();
    let value = draft.headers.get("x-key").unwrap();
    assert!(value.is_sensitive() && value == "a b&c");
    assert!(!format!("{:?}", draft.headers).contains("a b"), "not in debug output either");
    assert!(recipe.owns_header("x-key") && !recipe.owns_header("x-other"));
}

#[test]
fn names_differ_only_by_what_servers_ignore() {
    for (a, b, same) in [
        ("api_key", "api_key", true),
        ("api_key", "API_Key", true),
        ("api_key", "api.key", true),
        ("api_key", "api key", true),
        ("api_key", " api_key", true),
        ("api_key", "api_key[]", true),
        ("api_key", "api_key[0][x]", true),
        ("api_key", "api_key\0x", true),
        ("api_key", "apikey", false),
        ("api_key", "xapi_key", false),
    ] {
        assert_eq!(plain_name(a) == plain_name(b), same, "{a} {b:?}");
    }
}

#[test]
fn stripping_takes_exactly_what_is_owned() {
    let recipe = Recipe::new(&attach(&[], &[("token", "{token}")], &[], Some(Sign::SortedMd5)));
    for (url, left) in [
        ("https://a.example/x?a=1&token=t&b=%20", "https://a.example/x?a=1&b=%20"),
        ("https://a.example/x?token=t", "https://a.example/x"),
        ("https://a.example/x?TOKEN=t&t%6Fken=u&token", "https://a.example/x"),
        ("https://a.example/x?api_sig=0&c", "https://a.example/x?c"),
        ("https://a.example/x?a=b+c", "https://a.example/x?a=b+c"),
        ("https://a.example/x", "https://a.example/x"),
    ] {
        let mut url = Url::parse(url).unwrap();
        recipe.strip(&mut url);
        assert_eq!(url.as_str(), left);
    }
}
