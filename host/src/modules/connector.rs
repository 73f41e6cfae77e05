//! One connector, ready to run: compiled, its manifest read, its grant made, its metrics known to the store, its way out built.

use super::Workshop;
use crate::config::{Config, ConnectorConfig};
use sluice_gate::{Egress, EgressOptions};
use sluice_model::{Grant, Manifest, manifest::AuthKind};
use sluice_sandbox::{LoadError, Module};
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

/// A module that has said what it is; nothing of it is granted, and nothing of it stored.
pub struct Prepared {
    /// What it declares.
    pub manifest: Arc<Manifest>,
    /// What it would do.
    pub grant: Arc<Grant>,
    module: Module,
    config: ConnectorConfig,
    settings: Vec<(String, String)>,
}

impl Prepared {
    /// How long compiling it took, ms.
    #[must_use]
    pub fn compile_ms(&self) -> u64 {
        ms(self.module.compile_time())
    }
}

/// Whole milliseconds.
pub fn ms(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// From bytes to what they describe; the error is one line for the operator. Whoever describes itself in two ways would be approved for one and run
/// by the other.
pub async fn prepare(config: &Config, workshop: Workshop<'_>, name: &str, bytes: &[u8]) -> Result<Prepared, String> {
    let settings_of = config.connector(name);
    let module = workshop.engine.load_named(name, bytes).await.map_err(|e| unloaded(&e))?;
    let silent = |e: sluice_sandbox::CallError| format!("`describe` did not answer: {e}");
    let text = module.describe().await.map_err(silent)?;
    if module.describe().await.map_err(silent)? != text {
        return Err("it describes itself differently each time it is asked, so nobody can know what it would do: don't use it".to_owned());
    }
    let manifest = Manifest::parse(&text).map_err(|e| format!("its manifest is refused: {e}"))?;
    let exports = module.exports();
    if !exports.identity || !exports.source {
        return Err("it exports no `identity` and `source`, so there is nothing this host could run".to_owned());
    }
    // A second instance of what ships needs no more than a table of its own in the settings.
    let hash = super::store_copy::hex(&module.hash());
    let bundled = config.connectors.contains_key(name) && super::bundled(&hash);
    if !bundled {
        check_name(&settings_of, name, &manifest)?;
    }
    check_used(&settings_of, name, &manifest)?;
    let settings = settings(&settings_of, &manifest)?;
    let grant = Arc::new(Grant::new(&manifest, &settings).map_err(|e| e.to_string())?);
    Ok(Prepared { manifest: Arc::new(manifest), grant, module, config: settings_of, settings })
}

/// Why it could not be loaded, and which setting bounds that.
fn unloaded(error: &LoadError) -> String {
    let setting = match error {
        LoadError::CompileLimit { name: "bytes of memory", .. } => "memory-mib",
        LoadError::CompileLimit { name: "seconds of CPU", .. } => "cpu-s",
        LoadError::CompileLimit { name: "seconds by the clock", .. } => "wall-s",
        _ => return error.to_string(),
    };
    format!("{error}; the limit is {setting} under [compile] in plugins.toml")
}

/// From what was approved to a connector. The first thing that is stored of it (its metrics) is stored here.
pub async fn finish(config: &Config, workshop: Workshop<'_>, name: &str, prepared: Prepared, on_trial: bool) -> Result<Connector, String> {
    let Prepared { manifest, grant, module, config: settings_of, settings } = prepared;
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
    Ok(Connector { name: name.to_owned(), manifest, grant, module, egress, config: settings_of, metrics, settings, base, on_trial })
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
