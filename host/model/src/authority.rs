//! What a grant amounts to, in plain words and in a form that can be compared.
//!
//! The problem: an operator accepts a connector by reading what it may do, and later a new version must be held back exactly when it may do more. Both
//! must come from the same facts, or the page says one thing and the comparison another. The contract: [`Authority`] is ordered and stable (the same
//! manifest gives the same bytes, whatever the order of its tables), [`Authority::lines`] reads it out, and [`Authority::asks_more_than`] names every
//! difference that needs a new yes. Asking for less needs none; another address for sign-in or for keys always does, since that is where keys go.

use crate::manifest::{Allow, Attach, Auth, AuthKind, Exchange, Manifest, Pkce, Sign};
use crate::url::covers;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What one of its rows takes beside its texts: the names of its fields, where it is kept.
const ROW: usize = 32;

/// Everything that a connector may do with the outside, and with keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Authority {
    /// Requests it may send.
    pub reach: BTreeSet<Reach>,
    /// Where people are sent to sign in, and where the host fetches, renews and revokes keys.
    pub sign_in: BTreeSet<SignIn>,
    /// Scopes that people are asked for.
    pub scopes: BTreeSet<Scope>,
    /// Profiles without PKCE.
    pub without_pkce: BTreeSet<String>,
    /// Which keys go where.
    pub attach: BTreeSet<Attachment>,
    /// What it records. Shown, and no authority: recording more needs no new yes ([`Authority::stores_otherwise_than`] tells it).
    pub records: BTreeSet<String>,
}

/// One method at one origin, at or below a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reach {
    /// The origin.
    pub origin: String,
    /// The path prefix; `/` is everything.
    pub path: String,
    /// The method.
    pub method: String,
}

/// One address of a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SignIn {
    /// The profile.
    pub profile: String,
    /// `authorize`, `token`, `revoke`, or an exchange with all that it sends.
    pub step: String,
    /// The address.
    pub url: String,
}

/// One scope of a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// The profile.
    pub profile: String,
    /// The provider's word.
    pub scope: String,
}

/// One key's way into one kind of request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attachment {
    /// The recipe.
    pub recipe: String,
    /// The profile; empty: every one.
    pub profile: String,
    /// The method.
    pub method: String,
    /// The URL prefix.
    pub url: String,
    /// Where in the request, and what: `header Authorization: Bearer {access-token}`.
    pub place: String,
}

impl Authority {
    /// The authority of a manifest whose origins are filled in.
    #[must_use]
    pub(crate) fn new(manifest: &Manifest, allow: &[Allow], attach: &[Attach]) -> Self {
        let mut out = Self { records: manifest.metrics.iter().map(|m| m.name.clone()).collect(), ..Self::default() };
        for one in allow {
            let root = ["/".to_owned()];
            let paths = if one.paths.is_empty() { &root[..] } else { &one.paths[..] };
            for (method, path) in one.methods.iter().flat_map(|m| paths.iter().map(move |p| (m, p))) {
                out.reach.insert(Reach { origin: one.origin.clone(), path: path.clone(), method: method.clone() });
            }
        }
        for auth in &manifest.auth {
            out.add_profile(auth);
        }
        for recipe in attach {
            out.add_recipe(recipe);
        }
        out
    }

    /// About how many bytes the authority of a manifest takes, without writing it out: lists in a manifest multiply.
    #[must_use]
    pub(crate) fn weight(manifest: &Manifest) -> usize {
        let total = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        let mut out = 0usize;
        for one in &manifest.allow {
            let (methods, paths) = (one.methods.len(), one.paths.len().max(1));
            out =
                out.saturating_add(methods * paths * (one.origin.len() + ROW) + paths * total(&one.methods) + methods * total(&one.paths));
        }
        for recipe in &manifest.attach {
            let places = places(recipe);
            let (targets, profiles) = (recipe.to.len(), recipe.profiles.len().max(1));
            let to: usize = recipe.to.iter().map(|target| target.url.len() + target.method.len() + recipe.name.len() + ROW).sum();
            let ways = profiles * places.len() * to + targets * (profiles * total(&places) + places.len() * total(&recipe.profiles));
            out = out.saturating_add(ways);
        }
        let mut own = Self::default();
        manifest.auth.iter().for_each(|auth| own.add_profile(auth));
        let sign_in = own.sign_in.iter().map(|s| s.profile.len() + s.step.len() + s.url.len() + ROW);
        out.saturating_add(sign_in.sum())
    }

    fn add_profile(&mut self, auth: &Auth) {
        let mut step = |step: &str, url: &str| {
            self.sign_in.insert(SignIn { profile: auth.id.clone(), step: step.to_owned(), url: url.to_owned() });
        };
        match &auth.kind {
            AuthKind::Oauth2(oauth2) => {
                step("authorize", &oauth2.authorize_url);
                step("token", &oauth2.token_url);
                if let Some(url) = &oauth2.revoke_url {
                    step("revoke", url);
                }
                if let Some(url) = &oauth2.issuer {
                    step("issuer", url);
                }
                for (name, value) in &oauth2.authorize_params {
                    step(&format!("authorize with {name}={value}"), &oauth2.authorize_url);
                }
            }
            AuthKind::Redirect(redirect) => {
                step("authorize", &redirect.authorize_url);
                for (name, value) in &redirect.authorize_query {
                    step(&format!("authorize with {name}={value}"), &redirect.authorize_url);
                }
            }
            AuthKind::Fields(_) | AuthKind::None => {}
        }
        for exchange in &auth.exchanges {
            step(&exchange_words(exchange), &exchange.url);
        }
        if let AuthKind::Oauth2(oauth2) = &auth.kind {
            self.scopes.extend(oauth2.scopes.iter().map(|scope| Scope { profile: auth.id.clone(), scope: scope.clone() }));
            if oauth2.pkce == Pkce::Off {
                self.without_pkce.insert(auth.id.clone());
            }
        }
    }

    fn add_recipe(&mut self, recipe: &Attach) {
        let places = places(recipe);
        let every = [String::new()];
        let profiles = if recipe.profiles.is_empty() { &every[..] } else { &recipe.profiles[..] };
        for target in &recipe.to {
            for (profile, place) in profiles.iter().flat_map(|p| places.iter().map(move |w| (p, w))) {
                self.attach.insert(Attachment {
                    recipe: recipe.name.clone(),
                    profile: profile.clone(),
                    method: target.method.clone(),
                    url: target.url.clone(),
                    place: place.clone(),
                });
            }
        }
    }

    /// The authority in plain words, a line each, the weightiest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (verb, writes) in [("sends and changes data at", true), ("reads from", false)] {
            let mut places: Vec<(String, Vec<&str>)> = Vec::new();
            for reach in self.reach.iter().filter(|r| is_write(&r.method) == writes) {
                let place = format!("{}{}", reach.origin, reach.path);
                match places.last_mut() {
                    Some((last, methods)) if *last == place => methods.push(&reach.method),
                    _ => places.push((place, vec![&reach.method])),
                }
            }
            out.extend(places.into_iter().map(|(place, methods)| format!("{verb} {place} ({})", methods.join(", "))));
        }
        if self.reach.iter().any(|r| is_write(&r.method)) {
            out.push("whoever can write to these paths can receive what the connector reads".to_owned());
        }
        if self.reach.is_empty() {
            out.push("sends no requests".to_owned());
        }
        let mut keys: Vec<(&str, BTreeSet<&str>)> = Vec::new();
        for one in &self.attach {
            match keys.iter_mut().find(|(recipe, _)| *recipe == one.recipe) {
                Some((_, urls)) => _ = urls.insert(&one.url),
                None => keys.push((&one.recipe, BTreeSet::from([one.url.as_str()]))),
            }
        }
        for (recipe, urls) in keys {
            let urls: Vec<&str> = urls.into_iter().collect();
            out.push(format!("sends your key (recipe {recipe}) to {} and nowhere else", urls.join(", ")));
        }
        out.extend(self.sign_in.iter().map(|s| format!("signs you in by {} ({}) at {}", s.profile, s.step, s.url)));
        out.extend(self.scopes.iter().map(|s| format!("asks for the scope {} ({})", s.scope, s.profile)));
        out.extend(self.without_pkce.iter().map(|profile| {
            format!("signs you in by {profile} without PKCE: a stolen sign-in code is held back by the client secret alone")
        }));
        if !self.records.is_empty() {
            out.push(format!("stores {}", self.records.iter().map(String::as_str).collect::<Vec<_>>().join(", ")));
        }
        out
    }

    /// How what it stores differs from what `old` did, as one statement; none where it does not. That needs no yes, but is told.
    #[must_use]
    pub fn stores_otherwise_than(&self, old: &Self) -> Option<String> {
        let names = |of: &Self, than: &Self| of.records.difference(&than.records).map(String::as_str).collect::<Vec<_>>().join(", ");
        let (more, less) = (names(self, old), names(old, self));
        let more = Some(more).filter(|names| !names.is_empty()).map(|names| format!("now also stores {names}"));
        let less = Some(less).filter(|names| !names.is_empty()).map(|names| format!("no longer stores {names}"));
        let parts: Vec<String> = more.into_iter().chain(less).collect();
        (!parts.is_empty()).then(|| parts.join(" and "))
    }

    /// What this authority has that `old` has not, a line each; empty where it needs no new yes.
    #[must_use]
    pub fn asks_more_than(&self, old: &Self) -> Vec<String> {
        let mut out = Vec::new();
        let had = |new: &Reach| old.reach.iter().any(|o| o.origin == new.origin && o.method == new.method && covers(&o.path, &new.path));
        out.extend(self.reach.iter().filter(|new| !had(new)).map(|r| format!("may now send {} {}{}", r.method, r.origin, r.path)));
        let sign_in = |s: &SignIn| format!("{} ({}) at {}", s.profile, s.step, s.url);
        out.extend(self.sign_in.difference(&old.sign_in).map(|s| format!("now signs in by {}", sign_in(s))));
        out.extend(old.sign_in.difference(&self.sign_in).map(|s| format!("no longer signs in by {}", sign_in(s))));
        out.extend(self.scopes.difference(&old.scopes).map(|s| format!("now asks for the scope {} ({})", s.scope, s.profile)));
        out.extend(self.without_pkce.difference(&old.without_pkce).map(|profile| format!("now signs in by {profile} without PKCE")));
        let key = |a: &Attachment| {
            let profile = if a.profile.is_empty() { String::new() } else { format!(", profile {}", a.profile) };
            format!("{} {} in {} (recipe {}{profile})", a.method, a.url, a.place, a.recipe)
        };
        out.extend(self.attach.difference(&old.attach).map(|a| format!("now sends keys to {}", key(a))));
        out.extend(old.attach.difference(&self.attach).map(|a| format!("no longer sends keys to {}", key(a))));
        out
    }
}

/// Where in a request a recipe puts keys.
fn places(recipe: &Attach) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    places.extend(recipe.header.iter().map(|(name, value)| format!("header {}: {value}", name.to_ascii_lowercase())));
    places.extend(recipe.query.iter().map(|(name, value)| format!("query {name}={value}")));
    places.extend(recipe.form.iter().map(|(name, value)| format!("form {name}={value}")));
    places.extend(recipe.sign.map(|sign| sign_words(sign).to_owned()));
    places
}

fn is_write(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD")
}

fn sign_words(sign: Sign) -> &'static str {
    match sign {
        Sign::SortedMd5 => "signed sorted-md5 with {app.shared-secret}",
    }
}

/// An exchange with everything that it sends and keeps, since each part decides who learns what.
fn exchange_words(exchange: &Exchange) -> String {
    let mut parts: Vec<String> = vec![format!("exchange {:?} {}", exchange.when, exchange.method).to_lowercase()];
    for (label, pairs) in [("query", &exchange.query), ("form", &exchange.form), ("header", &exchange.header), ("keeps", &exchange.keep)] {
        parts.extend(pairs.iter().map(|(name, value)| format!("{label} {name}={value}")));
    }
    parts.extend(exchange.sign.map(|sign| sign_words(sign).to_owned()));
    parts.join(", ")
}
