//! Secrets of the operator are named in `plugins.toml`, never written there.

use super::ConfigError;
use serde::Deserialize;
use sluice_vault::Secret;
use std::path::{Path, PathBuf};

/// The largest secret file that is read.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// A value, or where a secret one is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum SecretRef {
    /// Written out: allowed for what is no secret, such as a client id.
    Plain(String),
    /// `{ env = "NAME" }`.
    Env {
        /// The variable.
        env: String,
    },
    /// `{ file = "PATH" }`, the value being the file's text without its last newline.
    File {
        /// Relative to the folder of `plugins.toml`.
        file: PathBuf,
    },
}

impl SecretRef {
    /// Looks the value up.
    ///
    /// # Errors
    /// The variable is not set or empty, the file cannot be read.
    pub fn read(&self, base: &Path) -> Result<Secret, ConfigError> {
        match self {
            Self::Plain(text) => Ok(Secret::text(text.clone())),
            Self::Env { env } => match std::env::var(env) {
                Ok(value) if !value.is_empty() => Ok(Secret::text(value)),
                _ => Err(ConfigError(format!("the environment variable {env} is not set"))),
            },
            Self::File { file } => {
                let path = base.join(file);
                let meta = std::fs::metadata(&path).map_err(|e| ConfigError(format!("{}: {e}", path.display())))?;
                // A pipe would give its secret once and then hold whoever asks again.
                if !meta.is_file() {
                    return Err(ConfigError(format!("{}: not a regular file", path.display())));
                }
                if meta.len() > MAX_SECRET_BYTES {
                    return Err(ConfigError(format!("{}: {} bytes is no secret; at most {MAX_SECRET_BYTES}", path.display(), meta.len())));
                }
                let mut text = std::fs::read_to_string(&path).map_err(|e| ConfigError(format!("{}: {e}", path.display())))?;
                text.truncate(text.trim_end_matches(['\r', '\n']).len());
                if text.is_empty() {
                    return Err(ConfigError(format!("{}: is empty", path.display())));
                }
                Ok(Secret::text(text))
            }
        }
    }

    /// Whether the value stands in the file itself.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}
