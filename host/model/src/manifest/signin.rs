//! `[[auth]]`: the ways in, each with exactly the keys that its kind has.
//!
//! A key that belongs to another kind is an error, not a decoration: `token-url` beside `kind = "fields"` would be shown at approval and never used.
//! What the host does not serve (OAuth 1, bodies of JSON) is refused by name, so that its author knows that the manifest is right and the host old.

use super::raw::{RawAuth, RawExchange, RawField};
use super::read::{Fault, Placed, Read, not_served, short};
use super::resolve::{DAY, SECOND};
use super::words::{bare_https_url, choice, duration, header_name, https_url, method, name, pointer, unique};
use super::{AppField, Auth, AuthKind, ClientAuth, Exchange, ExchangeWhen, Field, Oauth2, Pkce, Redirect, Sign, pattern, template};

/// Parameters of the authorize URL that are the host's alone.
const HOST_PARAMETERS: &[&str] =
    &["client_id", "redirect_uri", "response_type", "state", "scope", "code_challenge", "code_challenge_method", "nonce", "response_mode"];

/// Names under `keep` that say when a key ends and are no keys themselves.
const ENDS: &[&str] = &["expires-in", "expires-at"];

pub(super) fn profiles(raw: &[RawAuth]) -> Read<Vec<Auth>> {
    unique(raw.iter().map(|a| (a.id.at, a.id.value.as_str())), "the profile")?;
    raw.iter().map(profile).collect()
}

/// The names that templates may use under a profile: its keys, and its app fields as `app.NAME`.
pub(super) fn provided(auth: &Auth) -> Vec<String> {
    let mut out: Vec<String> = auth.app_fields.iter().map(|field| format!("app.{}", field.name)).collect();
    match &auth.kind {
        AuthKind::Oauth2(_) => out.push("access-token".to_owned()),
        AuthKind::Redirect(redirect) => out.extend(redirect.take.iter().map(|(key, _)| key.clone())),
        AuthKind::Fields(fields) => out.extend(fields.iter().map(|field| field.name.clone())),
        AuthKind::None => {}
    }
    let kept = auth.exchanges.iter().flat_map(|exchange| &exchange.keep).map(|(key, _)| key);
    out.extend(kept.filter(|key| !ENDS.contains(&key.as_str())).cloned());
    out
}

/// Checks a template's placeholders against what is provided.
pub(super) fn check_template(text: &Placed<String>, provided: &[String], who: &str) -> Read<()> {
    for wanted in template::names(&text.value).or_else(|bad| text.fault(bad.to_string()))? {
        if !provided.iter().any(|name| name == wanted) {
            let known = if provided.is_empty() {
                "it provides none".to_owned()
            } else {
                format!("it provides {}", provided.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", "))
            };
            return text.fault(format!("nothing under {who} provides {{{wanted}}}: {known}"));
        }
    }
    Ok(())
}

pub(super) fn plain(pairs: &[(Placed<String>, Placed<String>)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect()
}

/// `sign`, from the closed set in the host.
pub(super) fn sign(text: Option<&Placed<String>>, app_fields: &[&AppField]) -> Read<Option<Sign>> {
    let Some(text) = text else { return Ok(None) };
    match text.value.as_str() {
        "oauth1" | "meta-proof" => text.fault(not_served(&format!("`sign = \"{}\"`", text.value))),
        "sorted-md5" if app_fields.iter().any(|field| field.name == "shared-secret") => Ok(Some(Sign::SortedMd5)),
        "sorted-md5" => text.fault("`sign = \"sorted-md5\"` needs the app field shared-secret: name it in `app-fields`"),
        other => text.fault(format!("`sign` is \"sorted-md5\", not “{}”", short(other))),
    }
}

fn profile(raw: &RawAuth) -> Read<Auth> {
    let kind_name = raw.kind.value.as_str();
    if kind_name == "oauth1" {
        return raw.kind.fault(not_served("`kind = \"oauth1\"` in [[auth]]"));
    }
    choice(&raw.kind, "`kind` in [[auth]]", &[("oauth2", ()), ("redirect", ()), ("fields", ()), ("none", ())])?;
    misplaced(raw)?;
    let id = name(&raw.id, "a profile")?;
    let who = format!("the profile {id}");
    let app_fields = app_fields(raw)?;
    let kind = match kind_name {
        "oauth2" => AuthKind::Oauth2(oauth2(raw, &app_fields)?),
        "redirect" => AuthKind::Redirect(redirect(raw, &app_fields, &who)?),
        "fields" => AuthKind::Fields(fields(raw)?),
        _ => AuthKind::None,
    };
    let mut auth = Auth {
        id,
        title: raw.title.value.clone(),
        setup: raw.setup.as_ref().map(|text| text.value.clone()),
        help: raw.help.as_ref().map(|text| https_url(text, "`help` in [[auth]]").map(|_| text.value.clone())).transpose()?,
        app_fields,
        expires_ms: raw.expires.as_ref().map(|text| duration(text, "`expires` in [[auth]]", 60 * SECOND, 3660 * DAY)).transpose()?,
        kind,
        exchanges: Vec::new(),
    };
    for one in &raw.exchanges {
        let exchange = exchange(one, &auth, &who)?;
        auth.exchanges.push(exchange);
    }
    Ok(auth)
}

/// Refuses keys that belong to another kind of profile.
fn misplaced(raw: &RawAuth) -> Read<()> {
    let at = |text: &Option<Placed<String>>| text.as_ref().map(|t| t.at);
    let first = |pairs: &[(Placed<String>, Placed<String>)]| pairs.first().map(|(key, _)| key.at);
    let keys: [(&str, &[&str], Option<usize>); 14] = [
        ("authorize-url", &["oauth2", "redirect"], at(&raw.authorize_url)),
        ("token-url", &["oauth2"], at(&raw.token_url)),
        ("revoke-url", &["oauth2"], at(&raw.revoke_url)),
        ("issuer", &["oauth2"], at(&raw.issuer)),
        ("scopes", &["oauth2"], raw.scopes.as_ref().map(|list| list.first().map_or(raw.at, |s| s.at))),
        ("scope-separator", &["oauth2"], at(&raw.scope_separator)),
        ("authorize-params", &["oauth2"], first(&raw.authorize_params)),
        ("client-auth", &["oauth2"], at(&raw.client_auth)),
        ("pkce", &["oauth2"], at(&raw.pkce)),
        ("loopback", &["oauth2"], raw.loopback.map(|_| raw.at)),
        ("token-path", &["oauth2"], at(&raw.token_path)),
        ("authorize-query", &["redirect"], first(&raw.authorize_query)),
        ("take", &["redirect"], first(&raw.take)),
        ("[[auth.field]]", &["fields"], raw.fields.first().map(|f| f.name.at)),
    ];
    for (key, kinds, place) in keys {
        if let Some(place) = place
            && !kinds.contains(&raw.kind.value.as_str())
        {
            return Fault::new(
                place,
                format!("`{key}` belongs to kind = \"{}\", and this profile is kind = \"{}\"", kinds.join("\" or \""), raw.kind.value),
            );
        }
    }
    Ok(())
}

fn app_fields(raw: &RawAuth) -> Read<Vec<AppField>> {
    unique(raw.app_fields.iter().map(|(text, _)| (text.at, text.value.as_str())), "the app field")?;
    raw.app_fields
        .iter()
        .map(|(text, secret)| Ok(AppField { name: name(text, "an app field")?, secret: secret.unwrap_or(text.value != "client-id") }))
        .collect()
}

fn oauth2(raw: &RawAuth, app_fields: &[AppField]) -> Read<Oauth2> {
    let need = |text: &Option<Placed<String>>, key: &str| match text {
        Some(text) => bare_https_url(text, &format!("`{key}` in [[auth]]")),
        None => Fault::new(raw.at, format!("[[auth]] of kind = \"oauth2\" needs `{key}`: write {key} = \"https://…\"")),
    };
    let has = |field: &str| app_fields.iter().any(|f| f.name == field);
    if !has("client-id") {
        return Fault::new(
            raw.at,
            "[[auth]] of kind = \"oauth2\" needs the operator's client id: write app-fields = [\"client-id\", \"client-secret\"]",
        );
    }
    let pkce = raw.pkce.as_ref().map_or(Ok(Pkce::Send), |text| {
        choice(text, "`pkce` in [[auth]]", &[("send", Pkce::Send), ("required", Pkce::Required), ("off", Pkce::Off)])
    })?;
    if let (Pkce::Off, Some(text)) = (pkce, &raw.pkce)
        && !has("client-secret")
    {
        return text.fault("pkce = \"off\" leaves a stolen code usable, so it needs a client secret: name client-secret in `app-fields`, or leave `pkce` out");
    }
    for (key, value) in &raw.authorize_params {
        if HOST_PARAMETERS.contains(&key.value.as_str()) {
            return key.fault(format!("the parameter {} is the host's: it comes from the profile and the sign-in under way", key.value));
        }
        if value.value.contains(['{', '}']) {
            return value.fault("`authorize-params` are sent as they stand and take no placeholders");
        }
    }
    let scopes = raw.scopes.as_deref().unwrap_or_default();
    unique(scopes.iter().map(|s| (s.at, s.value.as_str())), "the scope")?;
    let separator = raw.scope_separator.as_ref().map_or(" ", |text| text.value.as_str());
    if !matches!(separator, " " | "," | "+" | ";") {
        return Fault::new(
            raw.scope_separator.as_ref().map_or(raw.at, |t| t.at),
            "`scope-separator` is a space, a comma, a plus or a semicolon",
        );
    }
    if let Some(scope) = scopes.iter().find(|s| s.value.contains(separator)) {
        return scope.fault(format!("“{}” holds the separator: give each scope its own quotes", short(&scope.value)));
    }
    Ok(Oauth2 {
        authorize_url: need(&raw.authorize_url, "authorize-url")?,
        token_url: need(&raw.token_url, "token-url")?,
        revoke_url: raw.revoke_url.as_ref().map(|text| bare_https_url(text, "`revoke-url` in [[auth]]")).transpose()?,
        // Kept as it is written: RFC 9207 compares it as text.
        issuer: match &raw.issuer {
            Some(text) => bare_https_url(text, "`issuer` in [[auth]]").map(|_| Some(text.value.clone()))?,
            None => None,
        },
        scopes: scopes.iter().map(|s| s.value.clone()).collect(),
        scope_separator: separator.to_owned(),
        authorize_params: plain(&raw.authorize_params),
        client_auth: raw.client_auth.as_ref().map_or(Ok(ClientAuth::Basic), |text| {
            choice(text, "`client-auth` in [[auth]]", &[("basic", ClientAuth::Basic), ("body", ClientAuth::Body)])
        })?,
        pkce,
        loopback: raw.loopback.unwrap_or(false),
        token_path: raw.token_path.as_ref().map(|text| pointer(text, "`token-path` in [[auth]]")).transpose()?,
    })
}

fn redirect(raw: &RawAuth, app_fields: &[AppField], who: &str) -> Read<Redirect> {
    let Some(authorize) = &raw.authorize_url else {
        return Fault::new(raw.at, "[[auth]] of kind = \"redirect\" needs `authorize-url`: write authorize-url = \"https://…\"");
    };
    let mut provided: Vec<String> = app_fields.iter().map(|field| format!("app.{}", field.name)).collect();
    provided.push("callback".to_owned());
    for (_, value) in &raw.authorize_query {
        check_template(value, &provided, who)?;
    }
    if raw.take.is_empty() {
        return Fault::new(
            raw.at,
            "[[auth]] of kind = \"redirect\" needs `take`, what comes back: write take = { token = \"query:token\" }",
        );
    }
    for (key, source) in &raw.take {
        name(key, "a key")?;
        if !source.value.strip_prefix("query:").is_some_and(|parameter| !parameter.is_empty() && parameter.len() <= 64) {
            return source.fault(format!(
                "`take` says where the key stands in the address that comes back: write \"query:NAME\", not “{}”",
                short(&source.value)
            ));
        }
    }
    Ok(Redirect {
        authorize_url: bare_https_url(authorize, "`authorize-url` in [[auth]]")?,
        authorize_query: plain(&raw.authorize_query),
        take: plain(&raw.take),
    })
}

fn fields(raw: &RawAuth) -> Read<Vec<Field>> {
    if raw.fields.is_empty() {
        return Fault::new(raw.at, "[[auth]] of kind = \"fields\" needs at least one [[auth.field]] with name and label");
    }
    unique(raw.fields.iter().map(|f| (f.name.at, f.name.value.as_str())), "the field")?;
    raw.fields.iter().map(field).collect()
}

fn field(raw: &RawField) -> Read<Field> {
    if let Some(text) = &raw.pattern
        && let Err(why) = pattern::Pattern::parse(&text.value)
    {
        return text.fault(format!("`pattern` of the field {}: {why}", short(&raw.name.value)));
    }
    Ok(Field {
        name: name(&raw.name, "a field")?,
        label: raw.label.value.clone(),
        help: raw.help.as_ref().map(|text| text.value.clone()),
        secret: raw.secret.unwrap_or(true),
        pattern: raw.pattern.as_ref().map(|text| text.value.clone()),
    })
}

fn exchange(raw: &RawExchange, auth: &Auth, who: &str) -> Read<Exchange> {
    let verb = method(&raw.method)?;
    if !raw.form.is_empty() && !matches!(verb.as_str(), "POST" | "PUT" | "PATCH") {
        return raw.method.fault(format!("{verb} has no body, so it takes no `form`: use `query`, or POST"));
    }
    let mut names = provided(auth);
    if matches!(auth.kind, AuthKind::Oauth2(_)) {
        names.push("refresh-token".to_owned());
    }
    for (_, value) in raw.query.iter().chain(&raw.form).chain(&raw.header) {
        check_template(value, &names, who)?;
    }
    for (key, _) in &raw.header {
        header_name(key, true)?;
    }
    if raw.keep.is_empty() {
        return Fault::new(
            raw.at,
            "[[auth.exchange]] needs `keep`, what is taken from the answer: write keep = { session = \"/session/key\" }",
        );
    }
    for (key, source) in &raw.keep {
        name(key, "a key")?;
        pointer(source, "`keep` in [[auth.exchange]]")?;
    }
    let app_fields: Vec<&AppField> = auth.app_fields.iter().collect();
    Ok(Exchange {
        when: choice(&raw.when, "`when` in [[auth.exchange]]", &[("linked", ExchangeWhen::Linked), ("renew", ExchangeWhen::Renew)])?,
        method: verb,
        url: bare_https_url(&raw.url, "`url` in [[auth.exchange]]")?,
        query: plain(&raw.query),
        form: plain(&raw.form),
        header: plain(&raw.header),
        sign: sign(raw.sign.as_ref(), &app_fields)?,
        keep: plain(&raw.keep),
    })
}
