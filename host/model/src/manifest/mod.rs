//! What a connector declares: the TOML that `describe` returns, parsed and checked.
//!
//! Everything declared is enforced by some part of the host; what this host does not enforce is refused when the manifest is read.

mod pattern;
mod raw;
mod read;
mod recipes;
mod resolve;
mod signin;
pub mod template;
mod words;

pub use words::parse_duration;

pub(crate) use words::nearest;

use serde::Serialize;

/// A manifest that passed every check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Lower-case name, `[a-z][a-z0-9-]{0,39}`.
    pub name: String,
    /// For people.
    pub title: String,
    /// The connector's own version, semver-like text.
    pub version: String,
    /// Where guests may send requests.
    pub allow: Vec<Allow>,
    /// Ways in, in the order offered.
    pub auth: Vec<Auth>,
    /// How keys get into requests.
    pub attach: Vec<Attach>,
    /// What is recorded.
    pub metrics: Vec<Metric>,
    /// What the provider allows.
    pub quotas: Vec<Quota>,
    /// What an operator or user may set.
    pub settings: Vec<Setting>,
    /// How often.
    pub schedule: Schedule,
}

/// One `[[allow]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Allow {
    /// Exact origin as given (`https://api.github.com`), or `{base-url}`-style placeholder of an operator's setting.
    pub origin: String,
    /// Upper-case methods; default GET, HEAD.
    pub methods: Vec<String>,
    /// Path prefixes; empty means every path.
    pub paths: Vec<String>,
}

/// One `[[auth]]` profile.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Auth {
    /// Part of the callback path.
    pub id: String,
    /// For people.
    pub title: String,
    /// Markdown: how an operator registers an app, limits, caveats.
    pub setup: Option<String>,
    /// Where a person gets the key.
    pub help: Option<String>,
    /// What the operator provides under `[connectors.NAME.app]`.
    pub app_fields: Vec<AppField>,
    /// When a key of this kind ends, ms after it was given.
    pub expires_ms: Option<i64>,
    /// The dance.
    pub kind: AuthKind,
    /// Steps that the host runs.
    pub exchanges: Vec<Exchange>,
}

/// What an operator provides for a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppField {
    /// `client-id`, `client-secret`, `api-key`, …
    pub name: String,
    /// Whether it is kept secret; everything is, save `client-id`, unless said otherwise.
    pub secret: bool,
}

/// How a person signs in.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthKind {
    /// OAuth 2 authorization code (RFC 6749 §4.1) with PKCE (RFC 7636).
    Oauth2(Oauth2),
    /// Sign-in pages that return something of their own.
    Redirect(Redirect),
    /// A form.
    Fields(Vec<Field>),
    /// Nothing to sign in to.
    None,
}

/// OAuth 2 endpoints and habits of one provider.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Oauth2 {
    /// RFC 6749 §3.1.
    pub authorize_url: String,
    /// RFC 6749 §3.2.
    pub token_url: String,
    /// RFC 7009, or the provider's own.
    pub revoke_url: Option<String>,
    /// RFC 9207: what the provider sends as `iss` with every answer of its sign-in page. Where it is given, an answer without it is refused; where
    /// it is not, an `iss` that comes must fit `authorize_url`.
    pub issuer: Option<String>,
    /// Scopes asked for.
    pub scopes: Vec<String>,
    /// Between scopes; default a space.
    pub scope_separator: String,
    /// Further query parameters of the authorize URL.
    pub authorize_params: Vec<(String, String)>,
    /// How the client authenticates at the token URL.
    pub client_auth: ClientAuth,
    /// PKCE.
    pub pkce: Pkce,
    /// Whether `http://127.0.0.1:PORT/` redirects are accepted.
    pub loopback: bool,
    /// JSON pointer to the object that holds the token answer, where it is nested.
    pub token_path: Option<String>,
}

/// RFC 6749 §2.3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// HTTP Basic.
    Basic,
    /// In the form body.
    Body,
}

/// RFC 7636.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pkce {
    /// Sent; the provider may ignore it. The default.
    Send,
    /// Sent, and known to be checked.
    Required,
    /// Never sent; needs a client secret.
    Off,
}

/// Sign-in pages outside OAuth.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Redirect {
    /// Where the person is sent.
    pub authorize_url: String,
    /// Query templates; `{callback}` is the callback URL with the host's nonce in its path, `{app.api-key}` an app field.
    pub authorize_query: Vec<(String, String)>,
    /// key name → `query:NAME`: what is taken from the callback's query.
    pub take: Vec<(String, String)>,
}

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Field {
    /// The key's name.
    pub name: String,
    /// For people.
    pub label: String,
    /// For people, below the field.
    pub help: Option<String>,
    /// True unless said otherwise.
    pub secret: bool,
    /// A pattern the whole value must match, in the closed language described at [`Field::matches`].
    pub pattern: Option<String>,
}

impl Field {
    /// Whether a value is one this field takes: 1 to 4,096 bytes, no control characters, and the whole of it as `pattern` says.
    ///
    /// The pattern language is closed and small, so that no manifest can make the host spend more than (length of the pattern × length of the
    /// value) steps: literal characters; `.` for any one character; classes such as `[A-Za-z0-9_-]`; `\\` before a character that would mean
    /// something else; after each of these `?`, `*`, `+`, `{n}`, `{n,}` or `{n,m}`; and `|` between whole alternatives. There are no groups.
    /// `github_pat_[A-Za-z0-9_]{22,}|ghp_[A-Za-z0-9]{36}` is one.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        if value.is_empty() || value.len() > MAX_FIELD_BYTES || value.chars().any(char::is_control) {
            return false;
        }
        self.pattern.as_deref().is_none_or(|text| pattern::Pattern::parse(text).is_ok_and(|pattern| pattern.matches(value)))
    }
}

/// The longest value of a form field: tokens that are JSON Web Tokens reach 2 KiB.
pub const MAX_FIELD_BYTES: usize = 4096;

/// One `[[auth.exchange]]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exchange {
    /// When it runs.
    pub when: ExchangeWhen,
    /// Upper case.
    pub method: String,
    /// Absolute, no placeholders in origin.
    pub url: String,
    /// Query templates.
    pub query: Vec<(String, String)>,
    /// Form templates.
    pub form: Vec<(String, String)>,
    /// Header templates.
    pub header: Vec<(String, String)>,
    /// How the request is signed.
    pub sign: Option<Sign>,
    /// key name → JSON pointer into the answer.
    pub keep: Vec<(String, String)>,
}

/// When an exchange runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExchangeWhen {
    /// Once, after the person came back.
    Linked,
    /// Whenever the key must be renewed.
    Renew,
}

/// Signature schemes, a closed set in the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    /// Last.fm: MD5 over the sorted parameters and the shared secret `{app.shared-secret}`, as `api_sig`.
    SortedMd5,
}

/// One `[[attach]]` recipe.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attach {
    /// The name guests use.
    pub name: String,
    /// Method and URL prefix, e.g. `GET https://api.github.com/`.
    pub to: Vec<Target>,
    /// Header templates over the profile's keys.
    pub header: Vec<(String, String)>,
    /// Query templates.
    pub query: Vec<(String, String)>,
    /// Form templates.
    pub form: Vec<(String, String)>,
    /// How the request is signed.
    pub sign: Option<Sign>,
    /// The profiles it serves; empty means all.
    pub profiles: Vec<String>,
}

impl Attach {
    /// Whether the recipe is for people who signed in by this profile.
    #[must_use]
    pub fn serves(&self, profile: &str) -> bool {
        self.profiles.is_empty() || self.profiles.iter().any(|p| p == profile)
    }

    /// Whether the recipe writes this header, so that a guest may not.
    #[must_use]
    pub fn owns_header(&self, name: &str) -> bool {
        self.header.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    /// Whether the recipe writes this query or form parameter, so that a guest may not.
    #[must_use]
    pub fn owns_parameter(&self, name: &str) -> bool {
        self.query.iter().chain(&self.form).any(|(own, _)| own == name) || (self.sign == Some(Sign::SortedMd5) && name == "api_sig")
    }
}

/// Method and URL prefix of a recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// Upper case.
    pub method: String,
    /// An absolute URL; requests at or below it match.
    pub url: String,
}

/// One `[[metric]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Metric {
    /// Lower snake case.
    pub name: String,
    /// A historical name.
    pub alias: Option<String>,
    /// UCUM.
    pub unit: String,
    /// How a day adds up.
    pub kind: MetricKind,
    /// What makes two entries the same one.
    pub identity: Identity,
    /// What the dimension is called.
    pub series: Option<String>,
}

/// How a day adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricKind {
    /// The day is the sum of its values.
    Sum,
    /// The day is its last value.
    Last,
    /// The day is the mean.
    Mean,
    /// The day is the largest.
    Max,
    /// The day is how many there were.
    Event,
}

/// What makes two entries the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// (metric, series, when).
    Time,
    /// (metric, id).
    Id,
    /// (metric, series, civil day).
    Day,
}

/// One `[[quota]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Quota {
    /// Unique in the manifest.
    pub name: String,
    /// Who shares it.
    pub scope: QuotaScope,
    /// URL path prefixes it counts; empty means all.
    pub paths: Vec<String>,
    /// Requests in a window.
    pub requests: u64,
    /// The window, ms.
    pub window_ms: u64,
    /// Response header with what remains.
    pub remaining_header: Option<String>,
    /// Response header with when it is full again.
    pub reset_header: Option<String>,
    /// How `reset_header` reads.
    pub reset_format: ResetFormat,
}

/// Who shares a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuotaScope {
    /// Each connection has its own.
    Connection,
    /// All connections of an app share it.
    App,
}

/// How a reset header reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResetFormat {
    /// Seconds from now.
    Seconds,
    /// Seconds since 1970.
    Epoch,
    /// RFC 9110 §5.6.7.
    HttpDate,
}

/// One `[[setting]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Setting {
    /// Lower kebab case.
    pub name: String,
    /// What values it takes.
    pub kind: SettingKind,
    /// The default, as text.
    pub default: Option<String>,
}

/// What values a setting takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer,
    /// Any text up to 4 KiB.
    Text,
    /// One of these.
    Choice(Vec<String>),
    /// An absolute URL; only an operator sets it.
    Url,
}

impl Setting {
    /// Checks a value an operator gives.
    ///
    /// # Errors
    /// What the setting takes instead.
    pub fn check(&self, value: &str) -> Result<(), String> {
        words::setting_value(&self.kind, value)
    }
}

/// `[schedule]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Schedule {
    /// Between runs, ms. Default one hour.
    pub every_ms: i64,
    /// How far back a scheduled run looks again, ms. Default 0.
    pub overlap_ms: i64,
}

/// Bounds of the manifest text itself.
pub const MAX_MANIFEST_BYTES: usize = 64 << 10;

/// Where and why a manifest was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ManifestError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// The first thing wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MAX_MANIFEST_BYTES {
            let message = format!("the manifest has {} bytes, and {MAX_MANIFEST_BYTES} is the most: shorten the setup texts", text.len());
            return Err(ManifestError { line: 1, column: 1, message });
        }
        raw::RawManifest::read(text).and_then(resolve::manifest).map_err(|fault| fault.place(text))
    }

    /// The metric of that name (not alias).
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|m| m.name == name)
    }

    /// The profile of that id.
    #[must_use]
    pub fn profile(&self, id: &str) -> Option<&Auth> {
        self.auth.iter().find(|a| a.id == id)
    }
}
