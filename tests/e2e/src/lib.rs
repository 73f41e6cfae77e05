//! The harness of the end-to-end tests: simulated providers on loopback, a host in this process or the real program in a folder of its own, and two
//! independent views of what came of it.
//!
//! The problem: that nothing is lost, stored twice, leaked or sent to the wrong place can only be shown on the whole, with real sockets, real
//! processes and a real database. And a test that asks the host whether the host is right proves little. So what is in the database is read
//! without the host ([`dump`]), what should be there is worked out from the simulators' own truth ([`truth`]), and the two meet only in an assertion.
//!
//! | part | what |
//! | --- | --- |
//! | [`worlds`] | small worlds, the same for the same seed |
//! | [`folder`] | a temporary folder with settings, secrets and a data folder |
//! | [`program`] | the real `sluice` in such a folder: commands, a host that can be killed |
//! | [`door`] | a provider whose answers wait until they are let through |
//! | [`host`] | the same host in this process, with a clock, fail points and the pages on a port |
//! | [`browser`] | as much of a browser as sign-ins need |
//! | [`spelling`] | the spellings in which a secret could be recognised |
//! | [`dump`], [`truth`] | what is there, what should be there |
//! | [`torment`] | hosts that are killed, and what must be true after each |
//! | [`time`] | clocks that a test moves, and chance that repeats itself |
//!
//! What bounds it: waits end after [`PATIENCE`] with a panic that says what was waited for. Connectors must lie in `dist/connectors`, the program in the
//! target folder; `cargo xtask test` builds both.
#![forbid(unsafe_code)]
// A harness fails by panicking, and says what it saw; it ships with nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod browser;
pub mod door;
pub mod dump;
pub mod folder;
pub mod host;
pub mod program;
pub mod spelling;
pub mod time;
pub mod torment;
pub mod truth;
pub mod worlds;

use sha2::{Digest, Sha256};
use std::time::Duration;

/// How long anything may take that a test waits for: far beyond what it takes on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// As `plugins.toml` writes it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Waits until `look` finds something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
