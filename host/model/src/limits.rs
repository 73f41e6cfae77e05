//! What one run may use. Every bound of [`Limits`] has a default, can be set for a connector in `plugins.toml`, and has an error of its own name.
//!
//! The constants are bounds that nobody sets. The host, the test harness of the SDK and the words of the contract (`wit/`) hold to these and no others.

use serde::Deserialize;
use std::time::Duration;

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

impl Limits {
    /// The names under which an operator sets them. Whatever else ends a run is a bound of this host's that nobody sets.
    pub const SETTINGS: [&str; 10] = [
        "cpu-ms",
        "wall-ms",
        "memory-bytes",
        "requests",
        "response-bytes",
        "entries",
        "entry-bytes",
        "log-bytes",
        "state-bytes",
        "host-calls",
    ];
}

/// What compiling one component may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the process that compiles, bytes. Default 3 GiB.
    pub memory_bytes: u64,
    /// CPU time, seconds. Default 120.
    pub cpu_seconds: u64,
    /// Time on the wall. Default 10 minutes: it steps back behind everything else.
    pub wall: Duration,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { memory_bytes: 3 << 30, cpu_seconds: 120, wall: Duration::from_secs(600) }
    }
}

/// Handles of resources that are alive in one call.
pub const MAX_HANDLES: usize = 10_000;
/// Resources of WASI's (streams, pollables) that are alive at once.
pub const MAX_RESOURCES: usize = 1_024;
/// Random bytes that are asked for at once. Seeds need a few dozen.
pub const MAX_RANDOM_BYTES: usize = 64 << 10;
/// Elements of one table. Interpreters compiled to WebAssembly have tens of thousands of functions in theirs.
pub const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Elements of all tables of a call: eight bytes each.
pub const MAX_ALL_TABLE_ELEMENTS: usize = 400_000;
/// What one call into the host may carry at least, whatever the other bounds are: a request with a large body.
pub const LEAST_CALL_BYTES: usize = 32 << 20;
/// Entries arrive as records of some two hundred bytes and their texts: so many times their own bound leaves room for both.
pub const CALL_BYTES_OF_ENTRIES: u64 = 4;
/// Pairs of an origin and a path in all `[[allow]]` of a manifest: nobody reads more before saying yes.
pub const MAX_REACH: usize = 256;
/// Bytes of everything that a manifest asks for, written out: each request that it may send, and each key's way into each. A page of manifest can ask for
/// thousands of them; connectors that are known ask for a few KiB.
pub const MAX_AUTHORITY_BYTES: usize = 128 << 10;
/// Bytes of a request's body.
pub const MAX_BODY_BYTES: usize = 8 << 20;
/// Headers of one request: a few dozen is already unusual.
pub const MAX_HEADERS: usize = 64;
/// Their names and values together. Common servers refuse more than 8 to 16 KiB.
pub const MAX_HEADER_BYTES: usize = 16 << 10;
/// Requests in one call.
pub const MAX_REQUESTS_AT_ONCE: usize = 64;
/// Bytes of a cursor.
pub const MAX_CURSOR_BYTES: usize = 16 << 10;
/// Bytes of one key of connector state.
pub const MAX_STATE_KEY_BYTES: usize = 256;
/// Characters of the name of a key that a connector keeps for itself.
pub const MAX_KEY_NAME: usize = 64;
/// Bytes of one key that a connector keeps for itself.
pub const MAX_KEY_BYTES: usize = 16 << 10;
/// Bytes of all of them, with their names.
pub const MAX_ALL_KEYS_BYTES: usize = 64 << 10;
/// Problems that one run shows; more tell nobody anything.
pub const MAX_PROBLEMS: usize = 50;
