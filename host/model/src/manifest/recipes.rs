//! `[[attach]]`: which keys go into which requests.
//!
//! A recipe is authority, so nothing about it is guessed: every target must be one that `[[allow]]` lets through, every placeholder one that each
//! profile it serves provides, and under one profile a name means one recipe. The single thing added is the recipe `user` of an OAuth 2 profile that
//! has none: its token as a bearer, to the requests of `[[allow]]` and no others.

use super::raw::RawAttach;
use super::read::{Fault, Placed, Read, short};
use super::signin::{check_template, plain, provided, sign};
use super::words::{header_name, method, name, nearest, path, unique};
use super::{Allow, AppField, Attach, Auth, AuthKind, Target};
use crate::url::{covers, normal_origin, parse_url};

/// The recipe that guests expect.
const USER: &str = "user";

pub(super) fn recipes(raw: &[RawAttach], allow: &[Allow], auth: &[Auth]) -> Read<Vec<Attach>> {
    let mut out: Vec<Attach> = Vec::new();
    for one in raw {
        let recipe = recipe(one, allow, auth)?;
        let clash =
            out.iter().find(|before| before.name == recipe.name && auth.iter().any(|a| before.serves(&a.id) && recipe.serves(&a.id)));
        if clash.is_some() {
            return one
                .name
                .fault(format!("the recipe “{}” is there twice for the same profile: keep them apart with `profiles`", recipe.name));
        }
        out.push(recipe);
    }
    for profile in auth {
        if matches!(profile.kind, AuthKind::Oauth2(_)) && !allow.is_empty() && !out.iter().any(|a| a.name == USER && a.serves(&profile.id))
        {
            out.push(bearer(profile, allow));
        }
    }
    Ok(out)
}

/// What an OAuth 2 profile gets by itself.
fn bearer(profile: &Auth, allow: &[Allow]) -> Attach {
    let mut to = Vec::new();
    for one in allow {
        let root = ["/".to_owned()];
        let paths = if one.paths.is_empty() { &root[..] } else { &one.paths[..] };
        for (verb, path) in one.methods.iter().flat_map(|m| paths.iter().map(move |p| (m, p))) {
            to.push(Target { method: verb.clone(), url: format!("{}{path}", one.origin) });
        }
    }
    Attach {
        name: USER.to_owned(),
        to,
        header: vec![("Authorization".to_owned(), "Bearer {access-token}".to_owned())],
        query: Vec::new(),
        form: Vec::new(),
        sign: None,
        profiles: vec![profile.id.clone()],
    }
}

fn recipe(raw: &RawAttach, allow: &[Allow], auth: &[Auth]) -> Read<Attach> {
    let profiles = raw.profiles.as_deref().unwrap_or_default();
    unique(profiles.iter().map(|p| (p.at, p.value.as_str())), "the profile")?;
    if raw.profiles.as_ref().is_some_and(Vec::is_empty) {
        return Fault::new(raw.at, "`profiles` in [[attach]] is empty: leave it out for all");
    }
    for profile in profiles {
        if !auth.iter().any(|a| a.id == profile.value) {
            let hint = nearest(&profile.value, auth.iter().map(|a| a.id.as_str())).map_or_else(
                || format!("there is {}", auth.iter().map(|a| a.id.as_str()).collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean “{near}”?"),
            );
            return profile.fault(format!("no [[auth]] has the id “{}”: {hint}", short(&profile.value)));
        }
    }
    let to: Vec<Target> = raw.to.iter().map(|text| target(text, allow)).collect::<Read<_>>()?;
    unique(raw.to.iter().map(|t| (t.at, t.value.as_str())), "the target")?;
    if raw.header.is_empty() && raw.query.is_empty() && raw.form.is_empty() && raw.sign.is_none() {
        return Fault::new(
            raw.at,
            "[[attach]] attaches nothing: give it `header`, `query` or `form`, such as header = { Authorization = \"Bearer {api-key}\" }",
        );
    }
    for (key, _) in &raw.header {
        header_name(key, true)?;
    }
    let lower: Vec<(usize, String)> = raw.header.iter().map(|(key, _)| (key.at, key.value.to_ascii_lowercase())).collect();
    unique(lower.iter().map(|(at, key)| (*at, key.as_str())), "the header")?;
    if let (Some((key, _)), Some(bodiless)) = (raw.form.first(), to.iter().find(|t| !matches!(t.method.as_str(), "POST" | "PUT" | "PATCH")))
    {
        return key.fault(format!("{} has no body, so a recipe for it takes no `form`: use `query`", bodiless.method));
    }
    let mut scheme = None;
    for profile in auth.iter().filter(|a| profiles.is_empty() || profiles.iter().any(|p| p.value == a.id)) {
        let names = provided(profile);
        let who = format!("the profile {}", profile.id);
        for (_, value) in raw.header.iter().chain(&raw.query).chain(&raw.form) {
            check_template(value, &names, &who)?;
        }
        let fields: Vec<&AppField> = profile.app_fields.iter().collect();
        scheme = sign(raw.sign.as_ref(), &fields)?;
    }
    Ok(Attach {
        name: name(&raw.name, "a recipe")?,
        to,
        header: plain(&raw.header),
        query: plain(&raw.query),
        form: plain(&raw.form),
        sign: scheme,
        profiles: profiles.iter().map(|p| p.value.clone()).collect(),
    })
}

/// `GET https://api.example.com/v1/`.
fn target(text: &Placed<String>, allow: &[Allow]) -> Read<Target> {
    let Some((verb, url)) = text.value.split_once(' ') else {
        return text.fault(format!("`to` is a method and a URL: write \"GET {}\"", short(&text.value)));
    };
    let verb = method(&Placed { at: text.at, value: verb.to_owned() })?;
    // An origin that an operator sets is compared as it is written; the grant fills both in from the same setting.
    let (origin, below) = match url.split_once('}') {
        Some((open, rest)) if open.starts_with('{') => (format!("{open}}}"), if rest.is_empty() { "/" } else { rest }.to_owned()),
        _ => {
            let parsed = parse_url(url).or_else(|bad| text.fault(format!("`to` in [[attach]]: {bad}")))?;
            if parsed.query().is_some() {
                return text.fault("`to` in [[attach]] is a method and a URL without a query");
            }
            let origin = normal_origin(&parsed);
            let after = url.get(origin.len()..).unwrap_or_default();
            (origin, if after.is_empty() { "/".to_owned() } else { after.to_owned() })
        }
    };
    let below = path(&Placed { at: text.at, value: below }, "the path of `to`")?;
    let fits = |a: &&Allow| a.paths.is_empty() || a.paths.iter().any(|p| covers(p, &below) || covers(&below, p));
    let same: Vec<&Allow> = allow.iter().filter(|a| a.origin == origin).collect();
    if same.is_empty() {
        return text.fault(format!("no [[allow]] names the origin {origin}: a key goes only where requests may go"));
    }
    if !same.iter().any(|a| a.methods.contains(&verb) && fits(a)) {
        return text.fault(format!("no [[allow]] lets {verb} {origin}{below} through: add the method or the path there, or correct `to`"));
    }
    Ok(Target { method: verb, url: format!("{origin}{below}") })
}
