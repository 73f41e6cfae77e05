//! Small things kept between runs.

use crate::bindings::state::{Error, Host};
use crate::host::StateError;
use crate::state::State;
use sluice_model::limits::MAX_STATE_KEY_BYTES;

impl Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let (host, _) = self.enter("state.get")?;
        Ok(if named(&key) { host.state_get(&key) } else { None })
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        let (host, _) = self.enter("state.set")?;
        if !named(&key) {
            return Ok(Err(Error::Other("a key of the state has 1 to 256 bytes".into())));
        }
        Ok(host.state_set(&key, value).map_err(|error| match error {
            StateError::TooLarge(bytes) => Error::TooLarge(bytes),
            StateError::Other(text) => Error::Other(text),
        }))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        let (host, _) = self.enter("state.delete")?;
        if named(&key) {
            host.state_delete(&key);
        }
        Ok(())
    }
}

fn named(key: &str) -> bool {
    (1..=MAX_STATE_KEY_BYTES).contains(&key.len())
}
