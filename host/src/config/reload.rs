//! Settings that change while the host runs.
//!
//! The file is looked at once a second (its time, size and inode: a rename over it counts too) and read when it has been at rest for a second, so
//! that a half-saved one is not judged. Connectors take what concerns them at once; a run under way keeps what it began with, a new interval
//! counts from each account's next run. What is wrong is one line, and the settings before stay. The host's own settings are fixed at the start:
//! those that changed are named.

use super::{Config, ConfigError, load};
use crate::{app::App, runs};
use std::{os::unix::fs::MetadataExt, path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What came of reading the settings again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Connectors that are not as they were.
    pub connectors: Vec<String>,
    /// Settings that changed and hold only after a restart.
    pub restart: Vec<String>,
}

/// What tells one state of the file from another; `None` while there is no file.
type Stamp = Option<(u64, i64, i64, u64)>;

fn stamp(path: &Path) -> Stamp {
    std::fs::metadata(path).ok().map(|m| (m.ino(), m.mtime(), m.mtime_nsec(), m.len()))
}

/// Reads the settings again whenever their file changes, until `stop`.
pub async fn follow(app: Arc<App>, stop: CancellationToken) {
    let path = app.config.file.clone();
    let mut used = stamp(&path);
    let mut last = used;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = stamp(&path);
        let rests = now == last;
        last = now;
        if now == used || !rests {
            continue;
        }
        used = now;
        match reload(&app).await {
            Ok(done) => {
                let connectors = if done.connectors.is_empty() { "no connector".to_owned() } else { done.connectors.join(", ") };
                tracing::info!("{} was read again; changed: {connectors}", path.display());
                if !done.restart.is_empty() {
                    tracing::warn!("{}: these hold after a restart: {}", path.display(), done.restart.join(", "));
                }
            }
            Err(why) => tracing::error!("the settings of before stay: {}", why.to_string().replace('\n', " ")),
        }
    }
}

/// Reads the file and takes over what can be taken over.
///
/// # Errors
/// The file is gone or wrong; nothing was changed.
pub async fn reload(app: &App) -> Result<Reloaded, ConfigError> {
    let new = load(&app.config.file, true, &app.config.overrides)?;
    let mut done = Reloaded { connectors: Vec::new(), restart: restart(&app.config, &new) };
    let most = app.config.memory_bytes();
    for (name, settings) in &new.connectors {
        if settings.limits.memory_bytes > most {
            done.restart.push(format!("[connectors.{name}.limits] memory-bytes (at most {most} until then)"));
        }
    }
    let registered = registrations(app);
    // The folder stays the one of the start, whatever the file says by now.
    let new = Config { modules: app.config.modules.clone(), ..new };
    done.connectors = app.modules.reload(&new, app.workshop()).await;
    for (name, before) in registered {
        if app.modules.get(&name).is_some_and(|now| now.config.app != before)
            && let Err(error) = runs::resume(app, Some(&name)).await
        {
            tracing::error!("{name}: its app could not be opened again: {error}");
        }
    }
    app.wake.notify_one();
    Ok(done)
}

type Registration = std::collections::BTreeMap<String, super::SecretRef>;

fn registrations(app: &App) -> Vec<(String, Registration)> {
    app.modules.running().map(|c| (c.name.clone(), c.config.app.clone())).collect()
}

/// The host's own settings that differ.
fn restart(old: &Config, new: &Config) -> Vec<String> {
    let differ = [
        ("public-url", old.public_url != new.public_url),
        ("listen", old.listen != new.listen),
        ("data-dir", old.data_dir != new.data_dir),
        ("modules", old.modules != new.modules),
        ("key-file", old.key_file != new.key_file),
        ("ca-file", old.ca_file != new.ca_file),
        ("trusted-proxies", old.trusted_proxies != new.trusted_proxies),
        ("concurrent-runs", old.concurrent_runs != new.concurrent_runs),
        ("[compile]", old.compile != new.compile),
    ];
    differ.iter().filter(|(_, differs)| *differs).map(|(name, _)| (*name).to_owned()).collect()
}
