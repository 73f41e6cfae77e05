//! One connector, ready to run: compiled, its manifest read, its grant made, its metrics known to the store, its way out built.

use super::{
    Workshop,
    examine::{Examined, Said},
};
use crate::config::{Config, ConnectorConfig};
use sluice_gate::{Egress, EgressOptions};
use sluice_model::{Grant, Manifest, manifest::AuthKind};
use sluice_sandbox::Module;
use sluice_store::MetricIds;
use std::sync::{Arc, atomic::AtomicBool};

/// A connector instance.
pub struct Connector {
    /// The instance's name; storage and keys go by it.
    pub name: String,
    /// What it declares.
    pub manifest: Arc<Manifest>,
    /// What it may do.
    pub grant: Arc<Grant>,
    /// Its compiled code.
    pub module: Module,
    /// Its way out.
    pub egress: Arc<Egress>,
    /// The operator's settings for it.
    pub config: ConnectorConfig,
    /// Its metrics in the store.
    pub metrics: MetricIds,
    /// Its settings, defaults filled in.
    pub settings: Vec<(String, String)>,
    /// The folder that relative secret files start at.
    pub base: std::path::PathBuf,
    /// What its bytes said of themselves.
    pub(super) said: Arc<Said>,
    /// It took over from another version, and no run of it has ended well yet.
    pub(super) on_trial: AtomicBool,
}

impl Connector {
    /// Between runs, ms.
    #[must_use]
    pub fn every_ms(&self) -> i64 {
        self.config.every_ms.unwrap_or(self.manifest.schedule.every_ms)
    }

    /// How far back a scheduled run looks again, ms.
    #[must_use]
    pub fn overlap_ms(&self) -> i64 {
        self.config.overlap_ms.unwrap_or(self.manifest.schedule.overlap_ms)
    }
}

/// What bytes would be under these settings; nothing of it is granted, and nothing of it stored.
pub struct Prepared {
    /// What they said.
    pub said: Arc<Said>,
    /// What they would do.
    pub grant: Arc<Grant>,
    config: ConnectorConfig,
    settings: Vec<(String, String)>,
}

/// Whole milliseconds.
pub fn ms(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What bytes described, held against the settings; the error is one line for the operator.
pub fn prepare(config: &Config, name: &str, hash: &str, said: &Arc<Said>) -> Result<Prepared, String> {
    let settings_of = config.connector(name);
    let manifest = &said.manifest;
    // A second instance of what ships needs no more than a table of its own in the settings.
    let bundled = config.connectors.contains_key(name) && super::bundled(hash);
    if !bundled {
        check_name(&settings_of, name, manifest)?;
    }
    check_used(&settings_of, name, manifest)?;
    let settings = settings(&settings_of, manifest)?;
    let grant = Arc::new(Grant::new(manifest, &settings).map_err(|e| e.to_string())?);
    Ok(Prepared { said: said.clone(), grant, config: settings_of, settings })
}

/// From what was approved to a connector. The first thing that is stored of it (its metrics) is stored here.
pub async fn finish(
    config: &Config,
    workshop: Workshop<'_>,
    name: &str,
    prepared: Prepared,
    examined: Examined,
    on_trial: bool,
) -> Result<Connector, String> {
    let Prepared { said, grant, config: settings_of, settings } = prepared;
    let (manifest, module) = (said.manifest.clone(), examined.module);
    let egress = workshop
        .gate
        .egress(EgressOptions {
            connector: name.to_owned(),
            grant: grant.clone(),
            manifest: manifest.clone(),
            upstreams: settings_of.upstreams.clone(),
        })
        .map_err(|e| e.to_string())?;
    let metrics = workshop.store.ensure_metrics(name, &manifest.metrics).await.map_err(|e| e.to_string())?;
    let base = config.file.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    let on_trial = AtomicBool::new(on_trial);
    Ok(Connector { name: name.to_owned(), manifest, grant, module, egress, config: settings_of, metrics, settings, base, said, on_trial })
}

/// A file that says it is another connector takes nobody's place: keys and data go by the instance's name.
fn check_name(config: &ConnectorConfig, name: &str, manifest: &Manifest) -> Result<(), String> {
    if manifest.name == name || config.module.is_some() || config.sha256.is_some() {
        return Ok(());
    }
    Err(format!(
        "it says that it is the connector {says}, and by its file it would be {name}: a file can't take another's name. To run it as an instance of its \
         own, add [connectors.{name}] module = \"{name}.wasm\"; if it is {says}, call it {says}.wasm",
        says = manifest.name
    ))
}

/// A key under `[connectors.NAME]` that the manifest has no use for is a mistake, and named.
fn check_used(config: &ConnectorConfig, name: &str, manifest: &Manifest) -> Result<(), String> {
    let mut fields: Vec<&sluice_model::manifest::AppField> = manifest.auth.iter().flat_map(|a| &a.app_fields).collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    fields.dedup_by(|a, b| a.name == b.name);
    for (key, value) in &config.app {
        let Some(field) = fields.iter().find(|f| f.name == *key) else {
            let known: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
            return Err(format!("[connectors.{name}.app] {key}: this connector takes {}", list(&known)));
        };
        if field.secret && value.is_plain() {
            return Err(format!(
                "[connectors.{name}.app] {key} is a secret and must not stand in the file: write {key} = {{ env = \"NAME\" }} or {{ file = \"PATH\" }}"
            ));
        }
    }
    for key in config.settings.keys() {
        if !manifest.settings.iter().any(|s| s.name == *key) {
            let known: Vec<&str> = manifest.settings.iter().map(|s| s.name.as_str()).collect();
            return Err(format!("[connectors.{name}.settings] {key}: this connector takes {}", list(&known)));
        }
    }
    let mut urls: Vec<&str> = manifest.allow.iter().map(|a| a.origin.as_str()).collect();
    for auth in &manifest.auth {
        match &auth.kind {
            AuthKind::Oauth2(o) => urls.extend([o.authorize_url.as_str(), o.token_url.as_str()].into_iter().chain(o.revoke_url.as_deref())),
            AuthKind::Redirect(r) => urls.push(&r.authorize_url),
            AuthKind::Fields(_) | AuthKind::None => {}
        }
        urls.extend(auth.exchanges.iter().map(|e| e.url.as_str()));
    }
    for up in &config.upstreams {
        let from = up.from.trim_end_matches('/');
        if !urls.iter().any(|u| u.starts_with(from) || from.starts_with(u.trim_end_matches('/'))) {
            return Err(format!("[[connectors.{name}.upstream]] from = \"{}\": this connector never asks there", up.from));
        }
    }
    Ok(())
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The operator's values over the manifest's defaults, each of its declared type.
fn settings(config: &ConnectorConfig, manifest: &Manifest) -> Result<Vec<(String, String)>, String> {
    use sluice_model::manifest::SettingKind;
    let mut all = Vec::new();
    for setting in &manifest.settings {
        let Some(value) = config.settings.get(&setting.name).cloned().or_else(|| setting.default.clone()) else { continue };
        let (fits, wanted) = match &setting.kind {
            SettingKind::Bool => (value == "true" || value == "false", "true or false".to_owned()),
            SettingKind::Integer => (value.parse::<i64>().is_ok(), "a whole number".to_owned()),
            SettingKind::Text => (value.len() <= 4096, "at most 4 KiB".to_owned()),
            SettingKind::Choice(choices) => (choices.contains(&value), format!("one of {}", choices.join(", "))),
            SettingKind::Url => (Grant::parse_url(&value).is_ok(), "an absolute URL".to_owned()),
        };
        if !fits {
            return Err(format!("setting {} = “{value}”: {wanted}", setting.name));
        }
        all.push((setting.name.clone(), value));
    }
    Ok(all)
}
