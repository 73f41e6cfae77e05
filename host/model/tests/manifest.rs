//! Manifests: what is taken, what is refused, where, and in which words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use sluice_model::Manifest;
use sluice_model::manifest::{
    AuthKind, ClientAuth, ExchangeWhen, Identity, MAX_MANIFEST_BYTES, MetricKind, Pkce, QuotaScope, ResetFormat, SettingKind, Sign,
};

/// Three ways in, an exchange, quotas, settings: every table that this host serves.
const GOOD: &str = r##"manifest = 1
name = "example"
title = "Example"
version = "1.2.0"

[[allow]]
origin = "https://api.example.com"
methods = ["GET", "HEAD", "POST"]
paths = ["/v1/", "/login/api"]

[[allow]]
origin = "{base-url}"

[[auth]]
id = "oauth"
title = "Sign in at Example"
kind = "oauth2"
setup = "Register an app."
help = "https://example.com/apps?tab=mine"
app-fields = ["client-id", "client-secret"]
expires = "60d"
authorize-url = "https://example.com/login/oauth/authorize"
token-url = "https://api.example.com/login/api/token"
revoke-url = "https://example.com/login/oauth/revoke"
issuer = "https://example.com"
scopes = ["read:user", "repo"]
scope-separator = ","
authorize-params = { prompt = "consent", access_type = "offline" }
client-auth = "body"
pkce = "required"
loopback = true
token-path = "/authed_user"

[[auth]]
id = "web"
title = "Web sign-in"
kind = "redirect"
app-fields = ["api-key", { name = "shared-secret" }, { name = "label", secret = false }]
authorize-url = "https://www.example.com/auth/"
authorize-query = { api_key = "{app.api-key}", cb = "{callback}" }
take = { token = "query:token" }
  [[auth.exchange]]
  when = "linked"
  method = "GET"
  url = "https://api.example.com/v1/"
  query = { method = "auth.getSession", format = "json", token = "{token}", api_key = "{app.api-key}" }
  sign = "sorted-md5"
  keep = { session = "/session/key", user = "/session/name", expires-in = "/expires_in" }

[[auth]]
id = "key"
title = "API key"
kind = "fields"
  [[auth.field]]
  name = "api-key"
  label = "API key"
  pattern = "[a-f0-9]{32}"
  [[auth.field]]
  name = "user"
  label = "User name"
  secret = false

[[attach]]
name = "session"
profiles = ["web"]
to = ["GET https://api.example.com/v1/", "POST https://api.example.com/v1/"]
query = { sk = "{session}", api_key = "{app.api-key}" }
sign = "sorted-md5"

[[attach]]
name = "user"
profiles = ["key"]
to = ["GET https://api.example.com/v1/", "GET {base-url}/api"]
header = { X-Api-Key = "{api-key}" }

[[metric]]
name = "plays"
alias = "scrobbles"
unit = "{play}"
kind = "event"
identity = "time"
series = "artist"

[[metric]]
name = "commits"
unit = "1"
kind = "sum"
identity = "day"

[[metric]]
name = "weight"
unit = "kg"
kind = "last"
identity = "id"

[[quota]]
name = "hourly"
scope = "app"
paths = ["/v1/"]
requests = 5000
window = "1h"
remaining-header = "X-RateLimit-Remaining"
reset-header = "X-RateLimit-Reset"
reset-format = "epoch"

[[setting]]
name = "base-url"
type = "url"
set-by = "operator"

[[setting]]
name = "depth"
type = "choice"
choices = ["short", "full"]
default = "full"

[[setting]]
name = "pages"
type = "integer"
default = 10

[schedule]
every = "15m"
overlap = "2d"
"##;

#[test]
fn a_manifest_says_what_it_says() {
    let m = Manifest::parse(GOOD).unwrap();
    assert_eq!((m.name.as_str(), m.title.as_str(), m.version.as_str()), ("example", "Example", "1.2.0"));
    assert_eq!((m.schedule.every_ms, m.schedule.overlap_ms), (900_000, 172_800_000));
    assert_eq!(m.allow[0].methods, ["GET", "HEAD", "POST"]);
    assert_eq!((m.allow[1].origin.as_str(), m.allow[1].methods.join(" ")), ("{base-url}", "GET HEAD".into()));
    let oauth = m.profile("oauth").unwrap();
    assert_eq!(oauth.expires_ms, Some(60 * 86_400_000));
    assert_eq!(
        oauth.app_fields.iter().map(|f| (f.name.as_str(), f.secret)).collect::<Vec<_>>(),
        [("client-id", false), ("client-secret", true)]
    );
    let AuthKind::Oauth2(o) = &oauth.kind else { panic!() };
    assert_eq!((o.client_auth, o.pkce, o.loopback, o.scope_separator.as_str()), (ClientAuth::Body, Pkce::Required, true, ","));
    assert_eq!(
        o.authorize_params,
        [("prompt".to_owned(), "consent".to_owned()), ("access_type".to_owned(), "offline".to_owned())],
        "in the order written"
    );
    assert_eq!(o.token_path.as_deref(), Some("/authed_user"));
    assert_eq!(o.issuer.as_deref(), Some("https://example.com"));
    let web = m.profile("web").unwrap();
    assert_eq!(web.app_fields.iter().map(|f| f.secret).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!((web.exchanges[0].when, web.exchanges[0].sign), (ExchangeWhen::Linked, Some(Sign::SortedMd5)));
    let AuthKind::Fields(fields) = &m.profile("key").unwrap().kind else { panic!() };
    assert_eq!(fields.iter().map(|f| f.secret).collect::<Vec<_>>(), [true, false]);
    assert!(fields[0].matches(&"0a".repeat(16)));
    for bad in ["", "0a", &"0A".repeat(16), &format!("{}\n", "0a".repeat(16))] {
        assert!(!fields[0].matches(bad), "{bad}");
    }
    assert!(fields[1].matches("anybody") && !fields[1].matches("a\0b") && !fields[1].matches(&"a".repeat(5000)));
    assert_eq!(
        (m.metrics[0].kind, m.metrics[0].identity, m.metrics[0].alias.as_deref()),
        (MetricKind::Event, Identity::Time, Some("scrobbles"))
    );
    let quota = &m.quotas[0];
    assert_eq!((quota.scope, quota.requests, quota.window_ms, quota.reset_format), (QuotaScope::App, 5000, 3_600_000, ResetFormat::Epoch));
    assert_eq!(quota.remaining_header.as_deref(), Some("x-ratelimit-remaining"));
    assert_eq!(m.settings[1].kind, SettingKind::Choice(vec!["short".into(), "full".into()]));
    assert_eq!(m.settings[2].default.as_deref(), Some("10"));
    assert!(m.settings[2].check("7").is_ok() && m.settings[2].check("x").is_err());
}

#[test]
fn an_oauth2_profile_without_a_recipe_gets_a_bearer_to_what_is_allowed() {
    let m = Manifest::parse(GOOD).unwrap();
    let own = m.attach.iter().find(|a| a.name == "user" && a.serves("oauth")).unwrap();
    assert_eq!(own.header, [("Authorization".to_owned(), "Bearer {access-token}".to_owned())]);
    let to: Vec<String> = own.to.iter().map(|t| format!("{} {}", t.method, t.url)).collect();
    assert!(to.contains(&"POST https://api.example.com/v1/".to_owned()) && to.contains(&"HEAD {base-url}/".to_owned()), "{to:?}");
    assert_eq!(to.len(), 3 * 2 + 2);
    assert!(!own.serves("key"));
    let covered = GOOD.replace("profiles = [\"key\"]", "profiles = [\"key\", \"oauth\"]");
    // The recipe of `key` cannot serve `oauth`, which has no {api-key}: said, not guessed.
    assert!(Manifest::parse(&covered).unwrap_err().message.contains("nothing under the profile oauth provides {api-key}"));
}

#[test]
fn the_smallest_manifest_is_enough() {
    let text = "manifest = 1\nname = \"open\"\ntitle = \"Open\"\nversion = \"0.1.0\"\n[[auth]]\nid = \"open\"\ntitle = \"Open data\"\nkind = \"none\"\n";
    let m = Manifest::parse(text).unwrap();
    assert_eq!((m.schedule.every_ms, m.schedule.overlap_ms), (3_600_000, 0));
    assert!(m.attach.is_empty());
}

/// Replaces one piece of the good manifest; the refusal must name every one of `words`.
#[track_caller]
fn refused(from: &str, to: &str, words: &[&str]) {
    assert!(GOOD.contains(from), "the good manifest has no {from:?}");
    let text = GOOD.replacen(from, to, 1);
    let error = match Manifest::parse(&text) {
        Err(error) => error,
        Ok(_) => panic!("{from:?} → {to:?} was taken"),
    };
    for word in words {
        assert!(error.message.contains(word), "{from:?} → {to:?}: {error}");
    }
    let line = text.lines().nth(error.line - 1).unwrap_or_else(|| panic!("{from:?} → {to:?}: no line {}", error.line));
    assert!(error.column <= line.chars().count() + 1, "{error}");
}

#[test]
fn what_is_wrong_is_named_with_what_to_write() {
    for (from, to, words) in [
        // Keys that no table has, and the nearest that it has.
        ("title = \"Example\"", "titel = \"Example\"", &["the manifest has no key `titel`", "`title`"][..]),
        ("[[allow]]\norigin", "[[allow]]\norign", &["[[allow]] has no key `orign`", "`origin`"]),
        ("[[metric]]\nname = \"commits\"", "[[metrics]]\nname = \"commits\"", &["`metrics`", "`metric`"]),
        ("app-fields = [\"client-id\"", "app_fields = [\"client-id\"", &["`app_fields`", "`app-fields`"]),
        ("label = \"API key\"", "zzz = 1", &["[[auth.field]] has no key `zzz`", "`pattern`"]),
        ("{ name = \"shared-secret\" }", "{ nam = \"shared-secret\" }", &["`nam`", "`name`"]),
        ("every = \"15m\"", "evry = \"15m\"", &["[schedule] has no key `evry`", "`every`"]),
        // What is missing.
        ("version = \"1.2.0\"", "", &["needs `version`"]),
        ("manifest = 1\n", "", &["needs `manifest`"]),
        ("label = \"User name\"", "", &["needs `label`"]),
        ("kind = \"sum\"", "", &["needs `kind`"]),
        ("requests = 5000", "", &["needs `requests`"]),
        ("to = [\"GET https://api.example.com/v1/\", \"GET {base-url}/api\"]", "", &["needs `to`"]),
        // Of another type.
        ("title = \"Example\"", "title = 7", &["`title`", "a text in quotes", "a whole number"]),
        ("loopback = true", "loopback = \"yes\"", &["true or false"]),
        ("requests = 5000", "requests = \"many\"", &["a whole number"]),
        ("requests = 5000", "requests = 99999999999999999999", &["beyond any number"]),
        ("scopes = [\"read:user\", \"repo\"]", "scopes = \"repo\"", &["a list"]),
        ("take = { token = \"query:token\" }", "take = { token = 1 }", &["`token`", "a text"]),
        ("[schedule]", "[[schedule]]", &["[schedule]"]),
        ("[[quota]]", "[quota]", &["[[quota]]", "two brackets"]),
        // Values that cannot be.
        ("name = \"example\"", "name = \"Example\"", &["no name of a connector"]),
        ("name = \"example\"", "name = \"\"", &["is empty"]),
        ("version = \"1.2.0\"", "version = \"1.2\"", &["1.0.0"]),
        ("every = \"15m\"", "every = \"15\"", &["length of time"]),
        ("every = \"15m\"", "every = \"1w\"", &["length of time"]),
        ("every = \"15m\"", "every = \"1s\"", &["between 1m and 31d"]),
        ("every = \"15m\"", "every = \"é\"", &["length of time"]),
        ("every = \"15m\"", "every = \"-5m\"", &["length of time"]),
        ("overlap = \"2d\"", "overlap = \"999999999d\"", &["between"]),
        ("window = \"1h\"", "window = \"0s\"", &["between 1s"]),
        ("requests = 5000", "requests = 0", &["between 1 and"]),
        ("unit = \"kg\"", "unit = \"kgs\"", &["UCUM", "“kg”"]),
        ("unit = \"1\"", "unit = \"bpm\"", &["/min"]),
        ("kind = \"last\"", "kind = \"lst\"", &["\"last\"", "did you mean"]),
        ("identity = \"day\"", "identity = \"date\"", &["\"day\""]),
        ("identity = \"id\"", "identity = \"id\"\nseries = \"scale\"", &["told apart by its id alone"]),
        ("name = \"plays\"", "name = \"Plays\"", &["no name of a metric"]),
        ("name = \"plays\"", "name = \"x-y\"", &["underscores"]),
        ("scope = \"app\"", "scope = \"user\"", &["\"connection\", \"app\""]),
        ("reset-format = \"epoch\"", "", &["needs `reset-format`"]),
        ("reset-header = \"X-RateLimit-Reset\"", "", &["there is none"]),
        ("\"X-RateLimit-Remaining\"", "\"X RateLimit\"", &["no header name"]),
        ("pattern = \"[a-f0-9]{32}\"", "pattern = \"([a-f]+)+\"", &["no groups"]),
        ("default = \"full\"", "default = \"half\"", &["one of short, full"]),
        ("default = 10", "default = true", &["a whole number"]),
        ("choices = [\"short\", \"full\"]", "", &["needs `choices`"]),
        ("type = \"integer\"", "type = \"integer\"\nchoices = [\"1\"]", &["belongs to type"]),
        ("methods = [\"GET\", \"HEAD\", \"POST\"]", "methods = [\"get\"]", &["capitals"]),
        ("methods = [\"GET\", \"HEAD\", \"POST\"]", "methods = [\"TRACE\"]", &["no method that connectors may use"]),
        ("methods = [\"GET\", \"HEAD\", \"POST\"]", "methods = [\"CONNECT\"]", &["no method"]),
        ("methods = [\"GET\", \"HEAD\", \"POST\"]", "methods = []", &["leave it out"]),
        // Origins and paths.
        ("\"https://api.example.com\"\n", "\"http://api.example.com\"\n", &["https"]),
        ("\"https://api.example.com\"\n", "\"https://api.example.com/v1\"\n", &["origin = \"https://api.example.com\", paths = [\"/v1\"]"]),
        ("\"https://api.example.com\"\n", "\"https://api.example.com/\"\n", &["normal form"]),
        ("\"https://api.example.com\"\n", "\"https://API.example.com\"\n", &["normal form", "https://api.example.com"]),
        ("\"https://api.example.com\"\n", "\"https://*.example.com\"\n", &["wildcards"]),
        ("\"https://api.example.com\"\n", "\"https://u:p@api.example.com\"\n", &["user name"]),
        ("\"https://api.example.com\"\n", "\"api.example.com\"\n", &["not absolute"]),
        ("\"https://api.example.com\"\n", "\"https://localhost\"\n", &["localhost", "upstream"]),
        ("\"https://api.example.com\"\n", "\"https://192.168.1.1\"\n", &["private"]),
        ("\"https://api.example.com\"\n", "\"https://169.254.169.254\"\n", &["metadata"]),
        ("\"https://api.example.com\"\n", "\"https://2130706433\"\n", &["normal form"]),
        ("paths = [\"/v1/\", \"/login/api\"]", "paths = [\"v1\"]", &["begins with a slash"]),
        ("paths = [\"/v1/\", \"/login/api\"]", "paths = [\"/v1/*\"]", &["wildcards"]),
        ("paths = [\"/v1/\", \"/login/api\"]", "paths = [\"/v1/../\"]", &["dot segment"]),
        ("paths = [\"/v1/\", \"/login/api\"]", "paths = [\"/v1/%2e%2e/\"]", &["dot segment"]),
        ("paths = [\"/v1/\", \"/login/api\"]", "paths = [\"/v1?x\"]", &["path alone"]),
        ("paths = [\"/v1/\", \"/login/api\"]", "paths = [\"/%76%31/\"]", &["write \"/v1/\""]),
        ("paths = [\"/v1/\", \"/login/api\"]", "paths = []", &["leave it out"]),
        ("origin = \"{base-url}\"", "origin = \"{base}\"", &["no [[setting]] provides {base}"]),
        ("origin = \"{base-url}\"", "origin = \"{depth}\"", &["is no URL"]),
        // Sign-in.
        ("kind = \"oauth2\"", "kind = \"oauth\"", &["did you mean \"oauth2\""]),
        ("authorize-url = \"https://example.com/login/oauth/authorize\"", "", &["needs `authorize-url`"]),
        ("token-url = \"https://api", "token-url = \"http://api", &["`token-url`", "https"]),
        ("revoke-url = \"https://example.com/", "revoke-url = \"https://example.com/x?", &["has a query"]),
        ("issuer = \"https://", "issuer = \"http://", &["`issuer`", "https"]),
        ("app-fields = [\"client-id\", \"client-secret\"]", "", &["client id"]),
        ("app-fields = [\"client-id\", \"client-secret\"]", "app-fields = [\"client-id\", \"client-id\"]", &["twice"]),
        ("app-fields = [\"client-id\", \"client-secret\"]", "app-fields = [1]", &["a list of names"]),
        ("pkce = \"required\"", "pkce = \"never\"", &["\"off\""]),
        ("client-auth = \"body\"", "client-auth = \"post\"", &["\"basic\", \"body\""]),
        ("prompt = \"consent\"", "state = \"x\"", &["the host's"]),
        ("prompt = \"consent\"", "prompt = \"{app.client-id}\"", &["no placeholders"]),
        ("\"read:user\", \"repo\"", "\"read:user,repo\"", &["own quotes"]),
        ("token-path = \"/authed_user\"", "token-path = \"authed_user\"", &["JSON pointer"]),
        ("kind = \"fields\"", "kind = \"fields\"\ntoken-url = \"https://example.com/t\"", &["belongs to kind = \"oauth2\""]),
        ("kind = \"fields\"", "kind = \"none\"", &["`[[auth.field]]` belongs to kind = \"fields\""]),
        ("take = { token = \"query:token\" }", "take = { token = \"token\" }", &["query:NAME"]),
        ("take = { token = \"query:token\" }", "", &["needs `take`"]),
        ("cb = \"{callback}\"", "cb = \"{token}\"", &["provides {token}"]),
        ("token = \"{token}\"", "token = \"{tokens}\"", &["provides {tokens}", "{token}"]),
        ("keep = { session = \"/session/key\"", "keep = { session = \"session.key\"", &["JSON pointer"]),
        ("when = \"linked\"", "when = \"daily\"", &["\"linked\", \"renew\""]),
        ("\"api-key\", { name = \"shared-secret\" }", "\"api-key\", { name = \"other\" }", &["shared-secret"]),
        ("help = \"https://example.com/apps?tab=mine\"", "help = \"javascript:alert(1)\"", &["`help`"]),
        ("kind = \"fields\"", "kind = \"fields\"\nissuer = \"https://example.com\"", &["`issuer` belongs to kind = \"oauth2\""]),
        // Recipes.
        ("profiles = [\"key\"]", "profiles = [\"kay\"]", &["no [[auth]] has the id “kay”", "“key”"]),
        ("profiles = [\"key\"]", "", &["provides {api-key}"]),
        ("X-Api-Key = \"{api-key}\"", "X-Api-Key = \"{apikey}\"", &["provides {apikey}", "{api-key}"]),
        ("X-Api-Key = \"{api-key}\"", "X-Api-Key = \"{api-key\"", &["brace"]),
        ("X-Api-Key = \"{api-key}\"", "Host = \"{api-key}\"", &["gate's alone"]),
        ("X-Api-Key = \"{api-key}\"", "Proxy-Authorization = \"{api-key}\"", &["gate's alone"]),
        ("header = { X-Api-Key = \"{api-key}\" }", "", &["attaches nothing"]),
        ("header = { X-Api-Key = \"{api-key}\" }", "form = { key = \"{api-key}\" }", &["no body"]),
        ("\"GET {base-url}/api\"", "\"GET {other}/api\"", &["no [[allow]] names the origin {other}"]),
        ("\"GET {base-url}/api\"", "\"POST {base-url}/api\"", &["no [[allow]] lets POST"]),
        ("\"GET {base-url}/api\"", "\"GET https://evil.example/\"", &["no [[allow]] names the origin"]),
        ("\"GET {base-url}/api\"", "\"GET https://api.example.com/v2/\"", &["no [[allow]] lets GET"]),
        ("\"GET {base-url}/api\"", "\"GET https://api.example.com/v1/?x=1\"", &["without a query"]),
        ("\"GET {base-url}/api\"", "\"https://api.example.com/v1/\"", &["a method and a URL"]),
        ("profiles = [\"web\"]\nto", "profiles = [\"web\"]\nname2 = 1\nto", &["`name2`"]),
        // Twice.
        ("name = \"commits\"", "name = \"plays\"", &["the metric “plays” is there twice"]),
        ("name = \"commits\"", "name = \"scrobbles\"", &["twice"]),
        ("id = \"web\"", "id = \"key\"", &["twice"]),
        ("name = \"depth\"", "name = \"pages\"", &["twice"]),
        ("name = \"user\"\n  label", "name = \"api-key\"\n  label", &["twice"]),
        ("name = \"user\"\nprofiles = [\"key\"]", "name = \"session\"\nprofiles = [\"web\"]", &[]),
        ("name = \"session\"\nprofiles", "name = \"session\"\nname = \"again\"\nprofiles", &["duplicate"]),
        ("paths = [\"/v1/\"]\nrequests", "paths = [\"nothing\"]\nrequests", &["begins with a slash"]),
        // No TOML.
        ("title = \"Example\"", "title = \"Example", &["no TOML"]),
    ] {
        refused(from, to, words);
    }
}

#[test]
fn what_this_host_does_not_serve_is_refused_by_name() {
    for (from, to, name) in [
        ("[schedule]", "[[webhook]]\nname = \"x\"\n[schedule]", "webhook"),
        ("version = \"1.2.0\"", "version = \"1.2.0\"\ndeliver = \"entries\"", "deliver"),
        ("version = \"1.2.0\"", "version = \"1.2.0\"\nstatus = \"ended\"", "status"),
        ("every = \"15m\"", "every = \"15m\"\nstatus = \"ended\"", "status"),
        ("every = \"15m\"", "every = \"15m\"\nends-on = \"2027-01-01\"", "ends-on"),
        ("kind = \"oauth2\"", "kind = \"oauth1\"", "oauth1"),
        ("sign = \"sorted-md5\"\n\n", "sign = \"oauth1\"\n\n", "oauth1"),
        ("sign = \"sorted-md5\"\n\n", "sign = \"meta-proof\"\n\n", "meta-proof"),
        ("unit = \"kg\"", "unit = \"kg\"\nkeep-older = true", "keep-older"),
        ("requests = 5000", "requests = 5000\nspend = 1", "spend"),
        ("when = \"linked\"", "when = \"linked\"\njson = { a = \"b\" }", "json"),
        ("set-by = \"operator\"", "set-by = \"user\"", "set-by"),
    ] {
        refused(from, to, &[name, "does not serve it yet"]);
    }
    refused("manifest = 1", "manifest = 2", &["newer host"]);
    refused("manifest = 1", "manifest = 2\nunheard-of = true", &["newer host"]);
    refused("manifest = 1", "manifest = 0", &["manifest = 1"]);
    refused("manifest = 1", "manifest = \"1\"", &["manifest = 1"]);
}

#[test]
fn pkce_off_needs_a_client_secret() {
    let off = GOOD.replace("pkce = \"required\"", "pkce = \"off\"");
    assert!(Manifest::parse(&off).is_ok());
    let bare = off.replace("app-fields = [\"client-id\", \"client-secret\"]", "app-fields = [\"client-id\"]");
    assert!(Manifest::parse(&bare).unwrap_err().message.contains("client secret"));
}

#[test]
fn a_store_that_anybody_can_rent_needs_a_path() {
    let of = |origin: &str, paths: &str| {
        GOOD.replacen("origin = \"{base-url}\"", &format!("origin = \"{origin}\"{paths}"), 1)
            .replace("\"GET {base-url}/api\"", "\"GET https://api.example.com/v1/x\"")
    };
    for origin in [
        "https://s3.amazonaws.com",
        "https://s3.eu-central-1.amazonaws.com",
        "https://s3-us-west-2.amazonaws.com",
        "https://storage.googleapis.com",
        "https://nyc3.digitaloceanspaces.com",
        "https://f003.backblazeb2.com",
        "https://raw.githubusercontent.com",
    ] {
        let error = Manifest::parse(&of(origin, "")).unwrap_err();
        assert!(error.message.contains("shared") && error.message.contains("paths"), "{origin}: {error}");
        assert!(Manifest::parse(&of(origin, "\npaths = [\"/\"]")).is_err(), "{origin}");
        assert!(Manifest::parse(&of(origin, "\npaths = [\"/bucket/\"]")).is_ok(), "{origin}");
    }
    for origin in ["https://mine.s3.amazonaws.com", "https://api.amazonaws.com", "https://mine.nyc3.digitaloceanspaces.com"] {
        assert!(Manifest::parse(&of(origin, "")).is_ok(), "{origin}");
    }
}

#[test]
fn a_mistake_is_placed_by_line_and_column() {
    let at = |text: &str| {
        let error = Manifest::parse(text).unwrap_err();
        (error.line, error.column)
    };
    assert_eq!(at("manifest = 1\nname = \"a\"\ntitle = \"ä\"\nversion = \"1.0.0\"\n[schedule]\nevery = \"soon\"\n"), (6, 9));
    assert_eq!(at("manifest = 1\nname = \"a\"\ntitle = \"T\"\nversion = \"1.0.0\"\n  zzz = 1\n"), (5, 3));
    assert_eq!(at("manifest = 3"), (1, 12));
    assert_eq!(at("manifest = 1\n\n\nname = \n").0, 4);
    assert_eq!(at("title = { ä = \"ä\", \u{1} }").0, 1);
}

/// So many `[[allow]]` with so many paths each; everything under `more` goes behind them.
fn asking(origins: usize, paths: usize, more: &str) -> String {
    let paths: Vec<String> = (0..paths).map(|path| format!("\"/p{path:02}\"")).collect();
    let allow = |at| format!("[[allow]]\norigin = \"https://h{at:02}.example\"\nmethods = [\"GET\"]\npaths = [{}]\n", paths.join(", "));
    let allow: String = (0..origins).map(allow).collect();
    let key =
        |at| format!("[[auth]]\nid = \"k{at}\"\ntitle = \"Key\"\nkind = \"fields\"\n[[auth.field]]\nname = \"key\"\nlabel = \"Key\"\n");
    let keys: String = (0..8).map(key).collect();
    format!("manifest = 1\nname = \"much\"\ntitle = \"Much\"\nversion = \"1.0.0\"\n{allow}{keys}{more}")
}

#[test]
fn what_a_manifest_asks_for_is_bounded_however_its_lists_multiply() {
    let said = |text: &str| Manifest::parse(text).map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(said(&asking(8, 32, "")), Ok(()), "as many paths as there may be");
    let more = said(&asking(8, 33, "")).unwrap_err();
    assert!(more.contains("more than 256 paths together"), "{more}");
    let line = asking(8, 33, "").lines().position(|l| l.contains("h07")).unwrap();
    assert!(more.contains(&format!("{line}")), "the table that is too many: {line}: {more}");
    // A few KiB that mean 8,192 ways for a key: each request times each profile times each place.
    let to: Vec<String> = (0..32).map(|path| format!("\"GET https://h00.example/p{path:02}\"")).collect();
    let recipe = |places: usize| {
        let query: Vec<String> = (0..places).map(|at| format!("q{at} = \"{{key}}\"")).collect();
        format!(
            "[[attach]]\nname = \"user\"\nto = [{}]\nquery = {{ {} }}\nprofiles = [\"k0\", \"k1\", \"k2\", \"k3\", \"k4\", \"k5\", \"k6\", \"k7\"]\n",
            to.join(", "),
            query.join(", ")
        )
    };
    assert_eq!(said(&asking(1, 32, &recipe(2))), Ok(()));
    let text = asking(1, 32, &recipe(32));
    assert!(text.len() < 8 << 10);
    let much = said(&text).unwrap_err();
    assert!(much.contains("more than 128 KiB, written out request by request"), "{much}");
    // What passes takes about as much as was reckoned.
    let manifest = Manifest::parse(&asking(8, 32, &recipe(2))).unwrap();
    let written = serde_json::to_string(sluice_model::Grant::new(&manifest, &[]).unwrap().authority()).unwrap();
    assert!(written.len() < 256 << 10, "{}", written.len());
}

#[test]
fn an_overlong_manifest_is_refused_unread() {
    let text = format!("{GOOD}# {}", "x".repeat(MAX_MANIFEST_BYTES));
    assert!(Manifest::parse(&text).unwrap_err().message.contains("65536"));
    let deep = format!("manifest = 1\nx = {}{}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(Manifest::parse(&deep).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_judged_without_a_panic(text in "\\PC{0,400}") {
        let _ = Manifest::parse(&text);
    }

    #[test]
    fn any_mutation_of_a_manifest_is_judged_without_a_panic(at in 0..GOOD.len(), len in 0_usize..40, put in "(\\PC|\"|\\{|\\}|\\[|\\]|=|\n|[0-9]){0,12}", again in 0..GOOD.len()) {
        let mut text = GOOD.to_owned();
        for start in [at, again] {
            let floor = |mut i: usize| { i = i.min(text.len()); while !text.is_char_boundary(i) { i -= 1; } i };
            let (from, to) = (floor(start), floor(start + len));
            text.replace_range(from..to, &put);
        }
        if let Err(error) = Manifest::parse(&text) {
            prop_assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty());
            prop_assert!(error.line <= text.matches('\n').count() + 1);
        }
    }

    #[test]
    fn any_value_in_quotes_is_judged_without_a_panic(value in "[ -~éß①]{0,30}", nth in 0_usize..90) {
        let mut parts: Vec<String> = GOOD.split('"').map(str::to_owned).collect();
        let slot = (nth * 2 + 1) % parts.len();
        parts[slot] = value.replace(['"', '\\'], "");
        let _ = Manifest::parse(&parts.join("\""));
    }
}

#[test]
fn the_connectors_that_ship_have_manifests_that_this_host_takes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path().join("connector.toml");
        if let Ok(text) = std::fs::read_to_string(&file) {
            let manifest = Manifest::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let settings: Vec<_> = manifest.settings.iter().map(|s| (s.name.clone(), "https://example.com".to_owned())).collect();
            sluice_model::Grant::new(&manifest, &settings).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            read += 1;
        }
    }
    assert!(read >= 2, "{read} manifests");
}
