//! What one run may use. Every bound has a default, can be set for a connector in `plugins.toml`, and has an error of its own name.

use serde::Deserialize;

/// Bounds of one run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// CPU time inside the sandbox, ms. Default 10,000.
    pub cpu_ms: u64,
    /// Wall time of the whole call, ms. Default 600,000.
    pub wall_ms: u64,
    /// Linear memory of all instances, bytes. Default 256 MiB.
    pub memory_bytes: u64,
    /// HTTP requests of one run. Default 2,000.
    pub requests: u64,
    /// Bytes of one response body after decompression. Default 16 MiB.
    pub response_bytes: u64,
    /// Entries between two checkpoints. Default 20,000.
    pub entries: u64,
    /// Bytes of entries between two checkpoints. Default 8 MiB.
    pub entry_bytes: u64,
    /// Bytes of log lines of one run. Default 64 KiB; what is over is cut, with one line that says so.
    pub log_bytes: u64,
    /// Bytes of connector state of one connection. Default 1 MiB.
    pub state_bytes: u64,
    /// Calls from the sandbox into the host in one run. Default 1,000,000; the call after the last allowed one ends the run.
    pub host_calls: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_ms: 10_000,
            wall_ms: 600_000,
            memory_bytes: 256 << 20,
            requests: 2_000,
            response_bytes: 16 << 20,
            entries: 20_000,
            entry_bytes: 8 << 20,
            log_bytes: 64 << 10,
            state_bytes: 1 << 20,
            host_calls: 1_000_000,
        }
    }
}
