//! The keys of one connection, open: what templates read, what a run's gate attaches, what is sealed again.
//!
//! Names are the manifest's: `access-token` and `refresh-token` for OAuth 2, the fields of a form, what `take` and `keep` say. The operator's app
//! fields stand beside them as `app.NAME`; they are never stored with a connection. A keyring lives for one sign-in, one refresh or one start of a
//! run, and wipes itself.
//!
//! A value is a secret unless the manifest calls a form field of that name public. A user name that an exchange returned is then not scrubbed from
//! answers, where it stands in every line.

use super::registration::AppFields;
use crate::modules::Connector;
use sluice_gate::Keys;
use sluice_model::manifest::{AuthKind, Manifest};
use sluice_store::{Credential, NewCredential};
use sluice_vault::{DataKey, Identity, SealError, Secret};
use std::collections::BTreeMap;

/// OAuth 2's access token.
pub(super) const ACCESS: &str = "access-token";
/// OAuth 2's refresh token.
pub(super) const REFRESH: &str = "refresh-token";
/// In an exchange's `keep`: not a key, but how long the others of that step live.
pub(super) const EXPIRES_IN: &str = "expires-in";

/// One key.
pub(super) struct Held {
    pub value: Secret,
    pub secret: bool,
    /// ms since the epoch.
    pub expires_at: Option<i64>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Keyring {
    pub app: AppFields,
    pub keys: BTreeMap<String, Held>,
}

impl Keyring {
    pub fn new(app: AppFields) -> Self {
        Self { app, keys: BTreeMap::new() }
    }

    /// Opens what is stored. What the guest keeps is not touched.
    pub fn open(app: AppFields, connector: &str, public_id: &str, data_key: &DataKey, stored: &[Credential]) -> Result<Self, SealError> {
        let mut keys = BTreeMap::new();
        for row in stored.iter().filter(|row| !row.guest) {
            let identity = Identity { connector, connection: public_id, name: &row.name, guest: false };
            let value = data_key.open(&identity, &row.ciphertext)?;
            keys.insert(row.name.clone(), Held { value, secret: row.secret, expires_at: row.expires_at });
        }
        Ok(Self { app, keys })
    }

    /// Seals every key for a connection.
    pub fn seal(&self, connector: &str, public_id: &str, data_key: &DataKey) -> Vec<NewCredential> {
        let sealed = |(name, held): (&String, &Held)| NewCredential {
            name: name.clone(),
            ciphertext: data_key.seal(&Identity { connector, connection: public_id, name, guest: false }, held.value.expose()),
            secret: held.secret,
            guest: false,
            expires_at: held.expires_at,
        };
        self.keys.iter().map(sealed).collect()
    }

    pub fn put(&mut self, name: &str, value: Secret, secret: bool, expires_at: Option<i64>) {
        self.keys.insert(name.to_owned(), Held { value, secret, expires_at });
    }

    /// What the manifest says of how long such keys live, for those of which the provider did not say it.
    pub fn end_as_declared(&mut self, expires_ms: Option<i64>, now: i64) {
        let Some(ms) = expires_ms else { return };
        for held in self.keys.values_mut().filter(|held| held.secret && held.expires_at.is_none()) {
            held.expires_at = Some(now.saturating_add(ms));
        }
    }

    /// What a template's `{name}` stands for.
    pub fn look_up(&self, name: &str) -> Option<Secret> {
        match name.strip_prefix("app.") {
            Some(field) => self.app.get(field).map(|(value, _)| value.duplicate()),
            None => self.keys.get(name).map(|held| held.value.duplicate()),
        }
    }

    pub fn app_field(&self, name: &str) -> Option<&Secret> {
        self.app.get(name).map(|(value, _)| value)
    }

    /// What recipes may use: every key but the refresh token, which no request of a guest ever needs.
    pub fn into_gate(self) -> Keys {
        let mut keys = Keys::new();
        for (name, held) in self.keys {
            if name != REFRESH {
                keys.insert(name, held.value, held.secret);
            }
        }
        for (name, (value, secret)) in self.app {
            keys.insert(format!("app.{name}"), value, secret);
        }
        keys
    }

    /// The same, leaving the ring as it is.
    pub fn to_gate(&self) -> Keys {
        let app = self.app.iter().map(|(name, (value, secret))| (name.clone(), (value.duplicate(), *secret))).collect();
        let copy = |(name, held): (&String, &Held)| {
            (name.clone(), Held { value: held.value.duplicate(), secret: held.secret, expires_at: held.expires_at })
        };
        Self { app, keys: self.keys.iter().map(copy).collect() }.into_gate()
    }
}

/// Whether a key of that name is kept secret: unless some form of this manifest shows it.
pub(super) fn is_secret(manifest: &Manifest, name: &str) -> bool {
    !manifest.auth.iter().any(|auth| match &auth.kind {
        AuthKind::Fields(fields) => fields.iter().any(|field| field.name == name && !field.secret),
        _ => false,
    })
}

/// Whether anything here can be renewed without the person, and how.
pub(super) fn renewable(connector: &Connector, profile: &str, stored: &[Credential]) -> bool {
    use sluice_model::manifest::ExchangeWhen;
    let Some(auth) = connector.manifest.profile(profile) else { return false };
    let by_exchange = auth.exchanges.iter().any(|step| step.when == ExchangeWhen::Renew);
    let by_token = matches!(auth.kind, AuthKind::Oauth2(_)) && stored.iter().any(|row| !row.guest && row.name == REFRESH);
    by_exchange || by_token
}
