//! The operator's side of signing in: what is to be registered at the provider, under which address, and where its ids and secrets come from.
//!
//! `public-url` is the one source of every address here. Each connector and profile has a callback of its own
//! (`/connect/{connector}/{profile}/callback`), since one shared by several providers would let one of them collect the codes of another. Sign-in
//! pages without a state parameter get the host's nonce as a further path segment.
//!
//! What is missing is answered with the very lines to paste. Secrets are read from where `plugins.toml` points each time they are needed: an operator
//! who puts a new one there need not restart, and nothing holds it meanwhile.

use super::error::{LinkError, LinkErrorKind};
use crate::{app::App, config::Config, modules::Connector};
use sha2::{Digest, Sha256};
use sluice_model::manifest::{Auth, AuthKind, Manifest};
use sluice_vault::Secret;
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};
use url::Url;

/// Where a provider sends people back to.
#[must_use]
pub fn callback_url(app: &App, connector: &str, profile: &str, nonce: Option<&str>) -> Url {
    callback_at(&app.config.public_url, connector, profile, nonce)
}

/// The same, below any base.
pub(super) fn callback_at(base: &Url, connector: &str, profile: &str, nonce: Option<&str>) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["connect", connector, profile, "callback"]).extend(nonce);
    }
    url
}

/// The values of the operator's app fields of one profile, with whether each is a secret.
pub(super) type AppFields = BTreeMap<String, (Secret, bool)>;

/// Reads them.
///
/// # Errors
/// One is missing or cannot be read: the text has the lines to add.
pub(super) fn app_fields(app: &App, connector: &Connector, auth: &Auth) -> Result<AppFields, LinkError> {
    let mut fields = AppFields::new();
    let mut missing = Vec::new();
    for field in &auth.app_fields {
        match connector.config.app.get(&field.name) {
            None => missing.push(field.name.as_str()),
            Some(reference) => {
                let value = reference.read(&connector.base).map_err(|e| {
                    LinkError::new(
                        LinkErrorKind::NotSetUp,
                        format!(
                            "{} can't be used yet: whoever runs this host looks at {} under [connectors.{}.app]",
                            connector.manifest.title, field.name, connector.name
                        ),
                        format!("[connectors.{}.app] {}: {e}", connector.name, field.name),
                    )
                })?;
                fields.insert(field.name.clone(), (value, field.secret));
            }
        }
    }
    if missing.is_empty() {
        Ok(fields)
    } else {
        Err(not_set_up(&connector.name, &connector.manifest, auth, &app.config.public_url, &missing))
    }
}

fn not_set_up(name: &str, manifest: &Manifest, auth: &Auth, base: &Url, missing: &[&str]) -> LinkError {
    let is = if missing.len() == 1 { "is" } else { "are" };
    let mut text = format!("{}: “{}” can't be used yet: {} {is} missing\n", manifest.title, auth.title, missing.join(" and "));
    register(&mut text, "  ", name, auth, base);
    lines(&mut text, "  ", name, auth, missing);
    let _ = write!(text, "  `sluice modules show {name}` has all the steps");
    LinkError::plain(LinkErrorKind::NotSetUp, text)
}

/// The redirect URL of a profile that has one.
fn register(out: &mut String, indent: &str, name: &str, auth: &Auth, base: &Url) {
    let url = callback_at(base, name, &auth.id, None);
    let _ = match &auth.kind {
        AuthKind::Oauth2(_) => writeln!(out, "{indent}register this redirect URL at the provider, exactly:\n{indent}  {url}"),
        AuthKind::Redirect(_) => writeln!(
            out,
            "{indent}the provider sends people back to addresses below (a callback URL to register, if it asks for one):\n{indent}  {url}/"
        ),
        AuthKind::Fields(_) | AuthKind::None => Ok(()),
    };
}

/// The lines to add to `plugins.toml`.
fn lines(out: &mut String, indent: &str, name: &str, auth: &Auth, wanted: &[&str]) {
    let _ = writeln!(out, "{indent}add to plugins.toml:\n{indent}  [connectors.{name}.app]");
    for field in auth.app_fields.iter().filter(|f| wanted.contains(&f.name.as_str())) {
        let _ = if field.secret {
            let variable = format!("{name}_{}", field.name).to_ascii_uppercase().replace('-', "_");
            writeln!(out, "{indent}  {} = {{ env = \"{variable}\" }}", field.name)
        } else {
            writeln!(out, "{indent}  {} = \"…\"", field.name)
        };
    }
}

/// What an operator does so that people can sign in, for each profile: nothing, or what to register and which lines to add.
#[must_use]
pub fn setup_text(app: &App, connector: &Arc<Connector>) -> String {
    setup(&connector.name, &connector.manifest, &app.config.public_url, |field| connector.config.app.contains_key(field))
}

/// The same for a connector that does not run yet.
#[must_use]
pub fn setup_of(name: &str, manifest: &Manifest, config: &Config) -> String {
    let app = config.connector(name).app;
    setup(name, manifest, &config.public_url, |field| app.contains_key(field))
}

fn setup(name: &str, manifest: &Manifest, base: &Url, is_set: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    for auth in &manifest.auth {
        let missing: Vec<&str> = auth.app_fields.iter().map(|f| f.name.as_str()).filter(|f| !is_set(f)).collect();
        let state = match (auth.app_fields.is_empty(), missing.as_slice()) {
            (true, _) => "ready, nothing to register".to_owned(),
            (false, []) => "ready".to_owned(),
            (false, missing) => format!("not ready: {} missing", missing.join(" and ")),
        };
        let _ = writeln!(out, "{}: {} ({state})", auth.id, auth.title);
        if let Some(help) = &auth.help {
            let _ = writeln!(out, "  people get what they enter at {help}");
        }
        register(&mut out, "  ", name, auth, base);
        if !missing.is_empty() {
            lines(&mut out, "  ", name, auth, &missing);
        }
        if let AuthKind::Oauth2(oauth) = &auth.kind {
            if oauth.loopback {
                let _ = writeln!(out, "  from a terminal it also comes back to http://127.0.0.1 at any port");
            }
            if !oauth.scopes.is_empty() {
                let _ = writeln!(out, "  asks for: {}", oauth.scopes.join(", "));
            }
        }
        for line in auth.setup.as_deref().unwrap_or_default().trim().lines() {
            let _ = writeln!(out, "  {}", line.trim_end());
        }
    }
    out
}

/// What tells one registration from another, without giving it away: a digest of the client id, else of the API key, else "". Quotas, pauses and
/// grants go by it, so that an operator who registers another app starts afresh.
#[must_use]
pub(super) fn fingerprint(fields: &AppFields) -> String {
    for name in ["client-id", "api-key"] {
        if let Some((value, _)) = fields.get(name) {
            let mut digest = Sha256::new();
            digest.update(b"sluice app registration\0");
            digest.update(name.as_bytes());
            digest.update([0]);
            digest.update(value.expose());
            return digest.finalize().iter().take(16).fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_model::manifest::{AppField, ClientAuth, Field, Oauth2, Pkce, Redirect, Schedule};

    fn auth(id: &str, title: &str, kind: AuthKind, app: &[(&str, bool)]) -> Auth {
        Auth {
            id: id.into(),
            title: title.into(),
            setup: Some("1. Make an app.\n2. Copy its ids.\n".into()),
            help: None,
            app_fields: app.iter().map(|(name, secret)| AppField { name: (*name).into(), secret: *secret }).collect(),
            expires_ms: None,
            kind,
            exchanges: Vec::new(),
        }
    }

    fn manifest() -> Manifest {
        let oauth = Oauth2 {
            authorize_url: "https://p.example/authorize".into(),
            token_url: "https://p.example/token".into(),
            revoke_url: None,
            issuer: None,
            scopes: vec!["read:user".into()],
            scope_separator: " ".into(),
            authorize_params: Vec::new(),
            client_auth: ClientAuth::Body,
            pkce: Pkce::Send,
            loopback: true,
            token_path: None,
        };
        let redirect = Redirect { authorize_url: "https://p.example/auth".into(), authorize_query: Vec::new(), take: Vec::new() };
        let field = Field { name: "token".into(), label: "Token".into(), help: None, secret: true, pattern: None };
        let mut token = auth("token", "Personal token", AuthKind::Fields(vec![field]), &[]);
        token.setup = None;
        token.help = Some("https://p.example/tokens".into());
        Manifest {
            name: "prov".into(),
            title: "Provider".into(),
            version: "1.0.0".into(),
            allow: Vec::new(),
            auth: vec![
                token,
                auth("app", "Registered app", AuthKind::Oauth2(oauth), &[("client-id", false), ("client-secret", true)]),
                auth("web", "Web sign-in", AuthKind::Redirect(redirect), &[("api-key", true)]),
            ],
            attach: Vec::new(),
            metrics: Vec::new(),
            quotas: Vec::new(),
            settings: Vec::new(),
            schedule: Schedule { every_ms: 1, overlap_ms: 0 },
        }
    }

    #[test]
    fn callbacks_are_below_the_public_url_whatever_it_is() {
        for (base, nonce, wanted) in [
            ("https://s.example", None, "https://s.example/connect/a/b/callback"),
            ("https://s.example/", Some("N"), "https://s.example/connect/a/b/callback/N"),
            ("http://localhost:8642/sluice", None, "http://localhost:8642/sluice/connect/a/b/callback"),
            ("http://localhost:8642/sluice/", None, "http://localhost:8642/sluice/connect/a/b/callback"),
        ] {
            assert_eq!(callback_at(&base.parse().unwrap(), "a", "b", nonce).as_str(), wanted);
        }
    }

    #[test]
    fn the_set_up_text_has_what_to_register_and_the_lines_to_add() {
        let base = "https://s.example".parse().unwrap();
        let golden = r#"token: Personal token (ready, nothing to register)
  people get what they enter at https://p.example/tokens
app: Registered app (not ready: client-secret missing)
  register this redirect URL at the provider, exactly:
    https://s.example/connect/prov/app/callback
  add to plugins.toml:
    [connectors.prov.app]
    client-secret = { env = "PROV_CLIENT_SECRET" }
  from a terminal it also comes back to http://127.0.0.1 at any port
  asks for: read:user
  1. Make an app.
  2. Copy its ids.
web: Web sign-in (ready)
  the provider sends people back to addresses below (a callback URL to register, if it asks for one):
    https://s.example/connect/prov/web/callback/
  1. Make an app.
  2. Copy its ids.
"#;
        assert_eq!(setup("prov", &manifest(), &base, |field| field == "client-id" || field == "api-key"), golden);
    }

    #[test]
    fn what_is_missing_is_answered_with_the_lines_to_paste() {
        let manifest = manifest();
        let auth = manifest.profile("app").unwrap();
        let error = not_set_up("prov", &manifest, auth, &"https://s.example".parse().unwrap(), &["client-id", "client-secret"]);
        assert_eq!(
            error.public(),
            r#"Provider: “Registered app” can't be used yet: client-id and client-secret are missing
  register this redirect URL at the provider, exactly:
    https://s.example/connect/prov/app/callback
  add to plugins.toml:
    [connectors.prov.app]
    client-id = "…"
    client-secret = { env = "PROV_CLIENT_SECRET" }
  `sluice modules show prov` has all the steps"#
        );
        assert_eq!(error.kind(), LinkErrorKind::NotSetUp);
    }

    #[test]
    fn registrations_are_told_apart_without_being_given_away() {
        let of = |fields: &[(&str, &str)]| {
            fingerprint(&fields.iter().map(|(n, v)| ((*n).to_owned(), (Secret::text((*v).to_owned()), true))).collect())
        };
        assert_eq!(of(&[]), "");
        assert_eq!(of(&[("shared-secret", "x")]), "");
        assert_eq!(of(&[("client-id", "one"), ("client-secret", "a")]), of(&[("client-id", "one"), ("client-secret", "b")]));
        assert_ne!(of(&[("client-id", "one")]), of(&[("client-id", "two")]));
        assert_ne!(of(&[("client-id", "one")]), of(&[("api-key", "one")]));
        assert_eq!(of(&[("api-key", "k")]).len(), 32);
    }
}
