//! Grants: what may go out, what is said when it may not, and what a new version asks for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use sluice_model::grant::{Decision, Grant, recipe_matches};
use sluice_model::url::{covers, normal_path, parse_url};
use sluice_model::{Manifest, manifest::Attach};

const MANIFEST: &str = r#"manifest = 1
name = "example"
title = "Example"
version = "1.0.0"
[[allow]]
origin = "https://api.example.com"
paths = ["/v1/", "/me", "/oauth/"]
[[allow]]
origin = "https://api.example.com"
methods = ["POST"]
paths = ["/v1/search", "/oauth/", "/2.0/"]
[[allow]]
origin = "https://api.example.com"
paths = ["/2.0/"]
[[allow]]
origin = "{base-url}"
[[auth]]
id = "oauth"
title = "Sign in"
kind = "oauth2"
app-fields = ["client-id", "client-secret"]
authorize-url = "https://example.com/authorize"
token-url = "https://api.example.com/oauth/token"
scopes = ["read"]
[[auth]]
id = "web"
title = "Web"
kind = "redirect"
app-fields = ["api-key", "shared-secret"]
authorize-url = "https://api.example.com/v1/sign-in/"
take = { token = "query:token" }
  [[auth.exchange]]
  when = "linked"
  method = "GET"
  url = "https://api.example.com/2.0/"
  query = { method = "auth.getSession", format = "json", token = "{token}" }
  sign = "sorted-md5"
  keep = { session = "/session/key" }
[[attach]]
name = "user"
profiles = ["web"]
to = ["GET https://api.example.com/2.0/", "GET {base-url}/api"]
query = { sk = "{session}" }
[[metric]]
name = "commits"
unit = "1"
kind = "sum"
identity = "day"
[[metric]]
name = "followers"
unit = "1"
kind = "last"
identity = "day"
[[setting]]
name = "base-url"
type = "url"
"#;

fn grant_of(text: &str) -> Grant {
    Grant::new(&Manifest::parse(text).unwrap(), &[("base-url".to_owned(), "https://my.example.org".to_owned())]).unwrap()
}

#[test]
fn a_request_needs_origin_method_and_path_of_one_allow() {
    let grant = grant_of(MANIFEST);
    #[track_caller]
    fn check(grant: &Grant, method: &str, text: &str, allowed: bool) {
        let decision = Grant::parse_url(text).map(|url| grant.decide(method, &url));
        assert_eq!(matches!(decision, Ok(Decision::Allowed)), allowed, "{method} {text}: {decision:?}");
    }
    for (method, text) in [
        ("GET", "https://api.example.com/v1/"),
        ("HEAD", "https://api.example.com/v1/x/y?z=1"),
        ("GET", "https://api.example.com:443/v1/x"),
        ("GET", "https://API.EXAMPLE.COM/v1/x"),
        ("GET", "https://api.example.com/%76%31/x"),
        ("GET", "https://api.example.com/v1/a%2Fb"),
        ("GET", "https://api.example.com/v1/100%25"),
        ("GET", "https://api.example.com/v1/a...b"),
        ("GET", "https://api.example.com/v1/é?q=ü"),
        ("GET", "https://api.example.com/me"),
        ("GET", "https://api.example.com/me/"),
        ("GET", "https://api.example.com/me/photo"),
        ("POST", "https://api.example.com/v1/search"),
        ("GET", "https://my.example.org/anything"),
        ("GET", "https://api.example.com/oauth/apps"),
        ("GET", "https://api.example.com/oauth/tokens"),
        ("GET", "https://api.example.com/2.0/?method=user.getInfo&format=json"),
        ("GET", "https://api.example.com/2.0/?format=json"),
    ] {
        check(&grant, method, text, true);
    }
    for (method, text) in [
        // Another origin: host, port, scheme, or what looks like it.
        ("GET", "https://evil.example/v1/"),
        ("GET", "https://api.example.com.evil.example/v1/"),
        ("GET", "https://api.example.com:8443/v1/"),
        ("GET", "http://api.example.com/v1/"),
        ("GET", "https://api.example.com@evil.example/v1/"),
        ("GET", "https://api.example.com./v1/"),
        ("GET", "https://sub.api.example.com/v1/"),
        // Another method.
        ("POST", "https://api.example.com/v1/x"),
        ("POST", "https://my.example.org/"),
        ("get", "https://api.example.com/v1/"),
        ("TRACE", "https://api.example.com/v1/"),
        ("CONNECT", "https://api.example.com/v1/"),
        ("GET ", "https://api.example.com/v1/"),
        ("", "https://api.example.com/v1/"),
        ("DELETE", "https://api.example.com/v1/"),
        // Another path, or a hidden one.
        ("GET", "https://api.example.com/v1"),
        ("GET", "https://api.example.com/v10/"),
        ("GET", "https://api.example.com/V1/"),
        ("GET", "https://api.example.com/menu"),
        ("GET", "https://api.example.com/"),
        ("GET", "https://api.example.com//v1/"),
        ("POST", "https://api.example.com/v1/searches"),
        ("GET", "https://api.example.com/v1/../admin"),
        ("GET", "https://api.example.com/v1/../v1/x"),
        ("GET", "https://api.example.com/v1/./x"),
        ("GET", "https://api.example.com/v1/%2e%2e/admin"),
        ("GET", "https://api.example.com/v1/%2E./admin"),
        ("GET", "https://api.example.com/v1/%252e%252e/admin"),
        ("GET", "https://api.example.com/v1/%25252e%25252e/admin"),
        ("GET", "https://api.example.com/v1/..%2fadmin"),
        ("GET", "https://api.example.com/v1/..%252fadmin"),
        ("GET", "https://api.example.com/v1/a%2f..%2f..%2fadmin"),
        ("GET", "https://api.example.com/v1/..;/admin"),
        ("GET", "https://api.example.com/v1/..;a=b/admin"),
        ("GET", "https://api.example.com/v1/..%5cadmin"),
        ("GET", "https://api.example.com/v1/a%5cb"),
        ("GET", "https://api.example.com/v1/..%255cadmin"),
        ("GET", "https://api.example.com/v1/a%00b"),
        ("GET", "https://api.example.com/v1/a%0ab"),
        ("GET", "https://api.example.com/v1/%zz"),
        ("GET", "https://api.example.com/v1/%"),
        // Where people sign in.
        ("GET", "https://api.example.com/oauth/token"),
        ("POST", "https://api.example.com/oauth/token"),
        ("POST", "https://api.example.com/oauth/token/"),
        ("POST", "https://api.example.com/oauth/token?x=1"),
        ("POST", "https://api.example.com/oauth//token"),
        ("POST", "https://api.example.com/oauth/TOKEN"),
        ("POST", "https://api.example.com/oauth/%74oken"),
        ("POST", "https://api.example.com/oauth/%2574oken"),
        ("POST", "https://api.example.com/oauth/token;x"),
        ("POST", "https://api.example.com/oauth/token.json"),
        ("POST", "https://api.example.com/oauth/token/revoke"),
        ("GET", "https://api.example.com/v1/sign-in"),
        ("GET", "https://api.example.com/v1/sign-in/deeper"),
        ("GET", "https://example.com/authorize"),
        // The call at a shared path that gives a session out.
        ("GET", "https://api.example.com/2.0/?method=auth.getSession&token=x"),
        ("GET", "https://api.example.com/2.0/?METHOD=auth.getsession"),
        ("GET", "https://api.example.com/2.0/?method=user.getInfo&method=auth.getSession"),
        ("GET", "https://api.example.com/2.0/?m%65thod=auth%2EgetSession"),
        ("GET", "https://api.example.com/2.0?method=auth.getSession&format=xml"),
        ("POST", "https://api.example.com/2.0/x?method=auth.getSession"),
    ] {
        check(&grant, method, text, false);
    }
}

#[test]
fn a_call_of_the_hosts_alone_cannot_be_moved_into_the_body() {
    let grant = grant_of(MANIFEST);
    let url = parse_url("https://api.example.com/2.0/").unwrap();
    let form = |value: &str| vec![("method".to_owned(), value.to_owned())];
    assert_eq!(grant.decide("POST", &url), Decision::Allowed);
    assert_eq!(grant.decide_with_form("POST", &url, &form("track.love")), Decision::Allowed);
    assert!(matches!(grant.decide_with_form("POST", &url, &form("auth.getSession")), Decision::Denied(_)));
}

#[test]
fn a_denial_says_what_was_denied_what_is_granted_and_what_to_do() {
    let grant = grant_of(MANIFEST);
    let text = |method: &str, url: &str| match grant.decide(method, &parse_url(url).unwrap()) {
        Decision::Denied(text) => text,
        Decision::Allowed => panic!("allowed"),
    };
    assert_eq!(
        text("POST", "https://api.example.com/v1/activities.json?key=verysecret"),
        "example: POST https://api.example.com/v1/activities.json?… denied: not in its grant\n  \
         granted: GET, HEAD https://api.example.com/v1/\n  \
         granted: GET, HEAD https://api.example.com/me\n  \
         granted: GET, HEAD https://api.example.com/oauth/\n  \
         granted: POST https://api.example.com/v1/search\n  \
         granted: POST https://api.example.com/oauth/\n  \
         granted: POST https://api.example.com/2.0/\n  \
         granted: GET, HEAD https://api.example.com/2.0/\n  \
         granted: GET, HEAD https://my.example.org/\n  \
         a connector can't widen its own grant: its author adds the method to [[allow]], and the operator accepts the new version"
    );
    assert!(text("GET", "https://other.example/").contains("an [[allow]] for the origin"));
    assert!(text("GET", "https://api.example.com/v3/").contains("the path to [[allow]]"));
    assert!(text("GET", "https://api.example.com/oauth/token").contains("only Sluice itself goes there"));
}

#[test]
fn a_grant_without_the_setting_that_an_origin_needs_is_refused() {
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let with = |value: &str| Grant::new(&manifest, &[("base-url".to_owned(), value.to_owned())]).map(|_| ()).map_err(|e| e.0);
    assert!(Grant::new(&manifest, &[]).unwrap_err().0.contains("base-url"));
    for bad in ["http://x.example", "https://x.example/path", "x.example", "https://x.example/?a", "https://u@x.example", "{base-url}"] {
        assert!(with(bad).unwrap_err().contains("base-url"), "{bad}");
    }
    assert_eq!(with("https://x.example/"), Ok(()));
    let defaulted = MANIFEST.replace("type = \"url\"", "type = \"url\"\ndefault = \"https://default.example\"");
    let grant = Grant::new(&Manifest::parse(&defaulted).unwrap(), &[]).unwrap();
    assert_eq!(grant.decide("GET", &parse_url("https://default.example/x").unwrap()), Decision::Allowed);
}

#[test]
fn a_recipe_is_found_by_name_and_profile_and_matches_only_its_targets() {
    let grant = grant_of(MANIFEST);
    let matches = |recipe: &Attach, method: &str, url: &str| recipe_matches(recipe, method, &parse_url(url).unwrap());
    let web = grant.recipe("user", "web").unwrap();
    assert_eq!(web.query, [("sk".to_owned(), "{session}".to_owned())]);
    assert!(web.owns_parameter("sk") && !web.owns_parameter("q") && !web.owns_header("authorization"));
    assert!(matches(web, "GET", "https://api.example.com/2.0/?method=x"));
    assert!(matches(web, "GET", "https://my.example.org/api/x"));
    for (method, url) in [
        ("POST", "https://api.example.com/2.0/"),
        ("GET", "https://api.example.com/2.0"),
        ("GET", "https://api.example.com/v1/"),
        ("GET", "https://my.example.org/apix"),
        ("GET", "https://my.example.org.evil.example/api"),
        ("GET", "http://api.example.com/2.0/"),
        ("GET", "https://api.example.com:444/2.0/"),
    ] {
        assert!(!matches(web, method, url), "{method} {url}");
    }
    let oauth = grant.recipe("user", "oauth").unwrap();
    assert!(oauth.owns_header("AUTHORIZATION"));
    assert!(matches(oauth, "GET", "https://my.example.org/x") && matches(oauth, "POST", "https://api.example.com/v1/search"));
    assert!(!matches(oauth, "POST", "https://api.example.com/v1/other"));
    assert!(grant.recipe("other", "web").is_none() && grant.recipe("user", "nobody").is_none());
    assert_eq!(grant.recipes("web"), ["user"]);
}

#[test]
fn authority_reads_in_plain_words_and_is_stable() {
    let authority = grant_of(MANIFEST).authority().clone();
    let lines = authority.lines();
    for line in [
        "sends and changes data at https://api.example.com/v1/search (POST)",
        "reads from https://my.example.org/ (GET, HEAD)",
        "whoever can write to these paths can receive what the connector reads",
        "asks for the scope read (oauth)",
        "signs you in by oauth (token) at https://api.example.com/oauth/token",
        "stores commits, followers",
    ] {
        assert!(lines.iter().any(|l| l == line), "{line} is missing in {lines:#?}");
    }
    assert!(lines.iter().any(|l| l.starts_with("sends your key (recipe user) to ") && l.ends_with(" and nowhere else")), "{lines:#?}");
    let json = serde_json::to_string(&authority).unwrap();
    assert_eq!(serde_json::from_str::<sluice_model::authority::Authority>(&json).unwrap(), authority);
    assert_eq!(json, serde_json::to_string(grant_of(MANIFEST).authority()).unwrap());
}

#[test]
fn a_new_version_that_stores_something_else_says_what() {
    let old = grant_of(MANIFEST).authority().clone();
    let to = |name: &str| grant_of(&MANIFEST.replacen("name = \"followers\"", name, 1)).authority().stores_otherwise_than(&old);
    assert_eq!(to("name = \"followers\""), None);
    assert_eq!(to("name = \"stars\"").as_deref(), Some("now also stores stars and no longer stores followers"));
    let more = "name = \"followers\"\nunit = \"1\"\nkind = \"last\"\nidentity = \"day\"\n[[metric]]\nname = \"stars\"";
    assert_eq!(to(more).as_deref(), Some("now also stores stars"));
}

#[test]
fn a_new_version_is_held_back_exactly_when_it_asks_for_more() {
    let old = grant_of(MANIFEST).authority().clone();
    let more = |from: &str, to: &str| {
        assert!(MANIFEST.contains(from), "{from}");
        grant_of(&MANIFEST.replacen(from, to, 1)).authority().asks_more_than(&old)
    };
    assert!(old.asks_more_than(&old).is_empty());
    // Less, or nothing that is authority.
    assert_eq!(more("version = \"1.0.0\"", "version = \"1.1.0\""), Vec::<String>::new());
    assert_eq!(more("name = \"followers\"", "name = \"stars\""), Vec::<String>::new());
    assert_eq!(more("scopes = [\"read\"]", "scopes = []"), Vec::<String>::new());
    for (from, to, word) in [
        ("methods = [\"POST\"]", "methods = [\"POST\", \"PUT\"]", "may now send PUT"),
        ("\"/v1/\", \"/me\"", "\"/v1/\", \"/v2/\", \"/me\"", "/v2/"),
        ("scopes = [\"read\"]", "scopes = [\"read\", \"write\"]", "scope write"),
        (
            "https://example.com/authorize",
            "https://evil.example/authorize",
            "now signs in by oauth (authorize) at https://evil.example/authorize",
        ),
        ("client-secret\"]", "client-secret\"]\npkce = \"off\"", "without PKCE"),
        ("sk = \"{session}\"", "sk = \"{session}\", key = \"{app.api-key}\"", "{app.api-key}"),
        ("\"GET {base-url}/api\"", "\"GET {base-url}/\"", "now sends keys to GET https://my.example.org/"),
        ("\"GET https://api.example.com/2.0/\", ", "", "no longer sends keys"),
        ("session = \"/session/key\"", "session = \"/session/other\"", "/session/other"),
    ] {
        let differences = more(from, to);
        assert!(differences.iter().any(|line| line.contains(word)), "{to}: {differences:#?}");
    }
    // A narrower path below one that was granted is no more, unless keys go elsewhere for it.
    let narrower = MANIFEST.replacen("\"/v1/\", \"/me\"", "\"/v1/only\", \"/me\"", 1);
    assert!(!grant_of(&narrower).authority().asks_more_than(&old).iter().any(|line| line.starts_with("may now send")));
}

#[test]
fn paths_have_one_form() {
    for (text, normal) in [
        ("/a/b", "/a/b"),
        ("/%61", "/a"),
        ("/%2f", "/%2F"),
        ("/é", "/%C3%A9"),
        ("/a b", "/a%20b"),
        ("/a%7eb", "/a~b"),
        ("/a+b", "/a+b"),
        ("/a|b", "/a%7Cb"),
        ("", ""),
    ] {
        assert_eq!(normal_path(text).as_deref(), Ok(normal), "{text}");
    }
    for (prefix, path, yes) in [
        ("/", "/x", true),
        ("", "/x", true),
        ("/a", "/a", true),
        ("/a", "/a/b", true),
        ("/a", "/ab", false),
        ("/a/", "/a", false),
        ("/a/", "/a/b", true),
        ("/b", "/a", false),
    ] {
        assert_eq!(covers(prefix, path), yes, "{prefix} {path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_parsed_or_refused_without_a_panic(text in "\\PC{0,80}") {
        let _ = parse_url(&text);
    }

    #[test]
    fn what_is_parsed_is_its_own_normal_form(tail in r"[a-z0-9/%\.;:@&=+\[\]é~|^-]{0,40}") {
        if let Ok(url) = parse_url(&format!("https://api.example.com/{tail}")) {
            prop_assert_eq!(parse_url(url.as_str()).unwrap(), url.clone());
            prop_assert!(url.path().split('/').all(|s| s != "." && s != ".."));
            prop_assert_eq!(url.host_str(), Some("api.example.com"));
        }
    }

    #[test]
    fn no_spelling_leaves_a_granted_path(tail in r"(\.|%2e|%252e|/|%2f|%5c|;|[a-z]){0,14}") {
        let grant = grant_of_cached();
        if let Ok(url) = parse_url(&format!("https://api.example.com/v1/{tail}")) {
            let mut reading = url.path().to_owned();
            for _ in 0..6 {
                reading = percent_encoding::percent_decode_str(&reading).decode_utf8_lossy().into_owned();
            }
            if matches!(grant.decide("GET", &url), Decision::Allowed) {
                prop_assert!(!reading.split(['/', '\\']).any(|s| s == ".." || s.starts_with("..;")), "{}", url);
            }
        }
    }
}

fn grant_of_cached() -> &'static Grant {
    static GRANT: std::sync::OnceLock<Grant> = std::sync::OnceLock::new();
    GRANT.get_or_init(|| grant_of(MANIFEST))
}
