//! Key storage: names and sizes are checked here, everything else by whoever holds the vault.

use crate::bindings::keys::{Error, Host, KeyInfo};
use crate::host::KeyError;
use crate::state::State;
use sluice_model::limits::{MAX_KEY_BYTES, MAX_KEY_NAME};

impl Host for State {
    fn list_keys(&mut self) -> wasmtime::Result<Vec<KeyInfo>> {
        let (host, _) = self.enter("keys.list-keys")?;
        let keys = host.list_keys().into_iter();
        Ok(keys.map(|key| KeyInfo { name: key.name, held_by_host: key.held_by_host, expires_at: key.expires_at }).collect())
    }

    async fn get(&mut self, name: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        let (host, meter) = self.enter("keys.get")?;
        if let Err(error) = named(&name) {
            return Ok(Err(error));
        }
        Ok(meter.host_time(host.key_get(&name)).await.map_err(error))
    }

    async fn set(&mut self, name: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        let (host, meter) = self.enter("keys.set")?;
        if let Err(error) = named(&name) {
            return Ok(Err(error));
        }
        if value.len() > MAX_KEY_BYTES {
            return Ok(Err(Error::TooLarge(MAX_KEY_BYTES as u64)));
        }
        Ok(meter.host_time(host.key_set(&name, value)).await.map_err(error))
    }

    async fn delete(&mut self, name: String) -> wasmtime::Result<Result<(), Error>> {
        let (host, meter) = self.enter("keys.delete")?;
        if let Err(error) = named(&name) {
            return Ok(Err(error));
        }
        Ok(meter.host_time(host.key_delete(&name)).await.map_err(error))
    }
}

/// Whether a name is one: kebab-case, short.
fn named(name: &str) -> Result<(), Error> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !name.is_empty() && name.len() <= MAX_KEY_NAME && letters {
        return Ok(());
    }
    Err(Error::Other(format!("a key's name has 1 to {MAX_KEY_NAME} characters: a to z, 0 to 9 and -")))
}

fn error(error: KeyError) -> Error {
    match error {
        KeyError::HeldByHost => Error::HeldByHost,
        KeyError::TooLarge(bytes) => Error::TooLarge(bytes),
        KeyError::Other(text) => Error::Other(text),
    }
}
