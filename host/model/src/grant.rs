//! What the operator accepted, in the form that judges a request.
//!
//! The problem: the gate, `sluice gate explain`, redirects and the SDK's test harness must all give the same answer to "may this go out?", and a person
//! must be able to read why not. The contract: [`Grant::decide`] is a pure function of method and URL; a denial says what was denied, what is granted, and
//! what to do, and never shows a query. Three things are needed for a yes: an origin, method and path prefix of one `[[allow]]`; a URL in normal form;
//! and that it is none of the addresses where the host itself signs people in, which guests never reach, even on an allowed origin.
//! What it costs: a handful of string comparisons; everything that can be prepared is prepared in [`Grant::new`].

use crate::authority::Authority;
use crate::manifest::{Allow, Attach, Auth, AuthKind, Manifest, Target};
use crate::url::{METHODS, covers, forgiving_path, normal_origin, normal_path, shown};
use url::Url;

pub use crate::url::BadUrl;

/// A connector's grant: the manifest's authority with the operator's settings filled in.
#[derive(Clone, Debug)]
pub struct Grant {
    connector: String,
    allow: Vec<Allow>,
    host_only: Vec<HostOnly>,
    attach: Vec<Attach>,
    authority: Authority,
}

/// What the grant says of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be sent.
    Allowed,
    /// It may not, and why, for people (the multi-line text with what is granted and what to do).
    Denied(String),
}

/// An address that only the host's own sign-in code requests.
#[derive(Clone, Debug)]
struct HostOnly {
    origin: String,
    path: String,
    /// Parameters that tell this call from others at the same path; any one of them is enough. Empty: the path is the host's as a whole.
    marks: Vec<(String, String)>,
}

/// Parameters that say how an answer looks, not which call it is. An exchange at a path that connectors use as well (Last.fm has a single path for
/// everything) is told apart by its other fixed parameters.
const PRESENTATION: &[&str] = &["format", "alt", "output", "v", "version", "api_version", "lang", "locale", "pretty"];

/// How many `granted:` lines a denial shows.
const SHOWN_GRANTS: usize = 12;

impl Grant {
    /// The grant of a manifest with settings (`base-url` and the like) filled in.
    ///
    /// # Errors
    /// A setting that an origin needs is missing or no origin.
    pub fn new(manifest: &Manifest, settings: &[(String, String)]) -> Result<Self, BadUrl> {
        let mut allow = manifest.allow.clone();
        for one in &mut allow {
            one.origin = fill(&one.origin, manifest, settings)?;
        }
        let mut attach = manifest.attach.clone();
        for target in attach.iter_mut().flat_map(|recipe| &mut recipe.to) {
            target.url = fill(&target.url, manifest, settings)?;
        }
        let host_only = manifest.auth.iter().flat_map(host_only).collect::<Result<_, _>>()?;
        let authority = Authority::new(manifest, &allow, &attach);
        Ok(Self { connector: manifest.name.clone(), allow, host_only, attach, authority })
    }

    /// Parses and normalises a guest's URL: absolute http(s), no userinfo, no fragment, no backslash, no control characters, dot segments
    /// (also encoded) refused. See [`crate::url::parse_url`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_url(text: &str) -> Result<Url, BadUrl> {
        crate::url::parse_url(text)
    }

    /// May a request of this method go to this URL?
    #[must_use]
    pub fn decide(&self, method: &str, url: &Url) -> Decision {
        self.decide_with_form(method, url, &[])
    }

    /// As [`Grant::decide`], for a request whose body is a form: its parameters count like those of the query, so that a call that is the host's alone
    /// cannot be made by moving its name into the body.
    #[must_use]
    pub fn decide_with_form(&self, method: &str, url: &Url, form: &[(String, String)]) -> Decision {
        if !METHODS.contains(&method) {
            let why = format!("the method is none that connectors may use ({})", METHODS.join(", "));
            return self.denied(method, url, &why, "use one of these; HTTP method names are written in capitals");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return self.denied(method, url, "it holds a user name or password", "leave it out: keys go into requests by [[attach]]");
        }
        let path = match normal_path(url.path()) {
            Ok(path) => path,
            Err(bad) => return self.denied(method, url, &bad.to_string(), "write the path in its plain form"),
        };
        let origin = normal_origin(url);
        if self.is_host_only(&origin, &path, url, form) {
            return self.denied(method, url, "people sign in there, and only Sluice itself goes there", SIGN_IN_STEP);
        }
        let at_origin: Vec<&Allow> = self.allow.iter().filter(|a| a.origin == origin).collect();
        let at_path: Vec<&&Allow> = at_origin.iter().filter(|a| a.paths.is_empty() || a.paths.iter().any(|p| covers(p, &path))).collect();
        if at_path.iter().any(|a| a.methods.iter().any(|m| m == method)) {
            return Decision::Allowed;
        }
        let missing = if at_origin.is_empty() {
            "an [[allow]] for the origin to connector.toml"
        } else if at_path.is_empty() {
            "the path to [[allow]]"
        } else {
            "the method to [[allow]]"
        };
        let step = format!("a connector can't widen its own grant: its author adds {missing}, and the operator accepts the new version");
        self.denied(method, url, "not in its grant", &step)
    }

    fn is_host_only(&self, origin: &str, path: &str, url: &Url, form: &[(String, String)]) -> bool {
        let mut folded: Option<String> = None;
        for own in self.host_only.iter().filter(|own| own.origin == origin) {
            let reading = folded.get_or_insert_with(|| forgiving_path(path));
            let below = match reading.strip_prefix(own.path.as_str()) {
                Some("") => true,
                // Below, or with an ending that some servers ignore (`/token.json`). Below the root would be everywhere.
                Some(rest) => !own.path.is_empty() && rest.starts_with(['/', '.']),
                None => false,
            };
            let marked = |(name, value): (&str, &str)| {
                own.marks.iter().any(|(n, v)| n.eq_ignore_ascii_case(name.trim()) && v.eq_ignore_ascii_case(value.trim()))
            };
            if below
                && (own.marks.is_empty()
                    || url.query_pairs().any(|(name, value)| marked((&name, &value)))
                    || form.iter().any(|(name, value)| marked((name, value))))
            {
                return true;
            }
        }
        false
    }

    /// The text of a denial, for people.
    fn denied(&self, method: &str, url: &Url, why: &str, step: &str) -> Decision {
        let method: String = method.chars().filter(|c| c.is_ascii_graphic()).take(20).collect();
        let mut text = format!("{}: {method} {} denied: {why}\n", self.connector, shown(url));
        let mut granted: Vec<String> = Vec::new();
        for one in &self.allow {
            let methods = one.methods.join(", ");
            if one.paths.is_empty() {
                granted.push(format!("  granted: {methods} {}/\n", one.origin));
            }
            granted.extend(one.paths.iter().map(|path| format!("  granted: {methods} {}{path}\n", one.origin)));
        }
        if granted.is_empty() {
            text.push_str("  granted: nothing\n");
        }
        text.extend(granted.iter().take(SHOWN_GRANTS).map(String::as_str));
        if granted.len() > SHOWN_GRANTS {
            text.push_str(&format!("  granted: and {} more\n", granted.len() - SHOWN_GRANTS));
        }
        text.push_str("  ");
        text.push_str(step);
        Decision::Denied(text)
    }

    /// The recipe that a guest means by `name` under `profile`.
    #[must_use]
    pub fn recipe(&self, name: &str, profile: &str) -> Option<&Attach> {
        self.attach.iter().find(|attach| attach.name == name && attach.serves(profile))
    }

    /// The names of the recipes under a profile.
    #[must_use]
    pub fn recipes(&self, profile: &str) -> Vec<&str> {
        self.attach.iter().filter(|attach| attach.serves(profile)).map(|attach| attach.name.as_str()).collect()
    }

    /// Where requests may go, with settings filled in.
    #[must_use]
    pub fn allow(&self) -> &[Allow] {
        &self.allow
    }

    /// The grant in plain words, and in a form that two versions can be compared in.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }
}

const SIGN_IN_STEP: &str = "sign-in, token and exchange addresses are the host's alone, even on a granted origin: leave them to [[auth]]";

/// Whether a recipe's `to` names this method and URL (at the origin, at or below the path). The URL is one that [`Grant::parse_url`] returned.
#[must_use]
pub fn recipe_matches(attach: &Attach, method: &str, url: &Url) -> bool {
    let Ok(path) = normal_path(url.path()) else { return false };
    let origin = normal_origin(url);
    attach.to.iter().any(|target| target.method == method && target_covers(target, &origin, &path))
}

fn target_covers(target: &Target, origin: &str, path: &str) -> bool {
    target.url.strip_prefix(origin).is_some_and(|prefix| prefix.starts_with('/') && covers(prefix, path))
}

/// Replaces a leading `{setting}` by the operator's value, which must be an https origin.
fn fill(text: &str, manifest: &Manifest, settings: &[(String, String)]) -> Result<String, BadUrl> {
    let Some((name, rest)) = text.strip_prefix('{').and_then(|open| open.split_once('}')) else { return Ok(text.to_owned()) };
    let default = || manifest.settings.iter().find(|s| s.name == name).and_then(|s| s.default.as_deref());
    let Some(value) = settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).or_else(default) else {
        return Err(BadUrl(format!(
            "{} needs the setting {name}: write {name} = \"https://…\" under [connectors.{}.settings]",
            manifest.name, manifest.name
        )));
    };
    let url = crate::url::parse_url(value).map_err(|bad| BadUrl(format!("the setting {name}: {bad}")))?;
    if url.scheme() != "https" || url.path() != "/" || url.query().is_some() {
        return Err(BadUrl(format!("the setting {name} is an https origin without a path, such as https://www.example.com")));
    }
    Ok(format!("{}{rest}", normal_origin(&url)))
}

fn host_only(auth: &Auth) -> Vec<Result<HostOnly, BadUrl>> {
    let own = |text: &str, marks: Vec<(String, String)>| {
        let url = crate::url::parse_url(text)?;
        Ok(HostOnly { origin: normal_origin(&url), path: forgiving_path(url.path()), marks })
    };
    let mut out = Vec::new();
    match &auth.kind {
        AuthKind::Oauth2(oauth2) => {
            let urls = [Some(&oauth2.authorize_url), Some(&oauth2.token_url), oauth2.revoke_url.as_ref()];
            out.extend(urls.into_iter().flatten().map(|text| own(text, Vec::new())));
        }
        AuthKind::Redirect(redirect) => out.push(own(&redirect.authorize_url, Vec::new())),
        AuthKind::Fields(_) | AuthKind::None => {}
    }
    for exchange in &auth.exchanges {
        let fixed = exchange.query.iter().chain(&exchange.form).filter(|(_, value)| !value.contains(['{', '}']));
        let marks = fixed.filter(|(name, _)| !PRESENTATION.contains(&name.to_ascii_lowercase().as_str())).cloned().collect();
        out.push(own(&exchange.url, marks));
    }
    out
}
