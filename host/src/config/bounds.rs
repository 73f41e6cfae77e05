//! Limits that make sense: a zero would let nothing run, and a slip of a few digits would let one connector take the machine.

use super::raw::RawCompile;
use sluice_model::{CompileLimits, Limits};
use std::time::Duration;

/// The least that WebAssembly knows.
const PAGE: u64 = 64 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Refuses the first limit that cannot be meant, by its name.
pub fn check(name: &str, limits: &Limits) -> Result<(), String> {
    // Destructured, so that a new limit cannot be forgotten here.
    let Limits { cpu_ms, wall_ms, memory_bytes, requests, response_bytes, entries, entry_bytes, log_bytes, state_bytes, host_calls } =
        *limits;
    for (key, value, least, most) in [
        ("cpu-ms", cpu_ms, 1, 3_600_000),
        ("wall-ms", wall_ms, 1, 86_400_000),
        ("memory-bytes", memory_bytes, PAGE, 4 * GIB),
        ("requests", requests, 1, 1_000_000),
        ("response-bytes", response_bytes, 1, GIB),
        ("entries", entries, 1, 1_000_000),
        ("entry-bytes", entry_bytes, 1, GIB),
        ("log-bytes", log_bytes, 0, 64 * MIB),
        ("state-bytes", state_bytes, 0, 256 * MIB),
        ("host-calls", host_calls, 1, 1_000_000_000),
    ] {
        if !(least..=most).contains(&value) {
            return Err(format!("[connectors.{name}.limits] {key} = {value}: from {least} to {most}"));
        }
    }
    Ok(())
}

/// What compiling one module may cost; below the least of these not even a small one comes through.
pub fn compile(raw: &RawCompile) -> Result<CompileLimits, String> {
    let defaults = CompileLimits::default();
    let limit = |key: &str, set: Option<u64>, default: u64, least: u64, most: u64| match set.unwrap_or(default) {
        value if (least..=most).contains(&value) => Ok(value),
        value => Err(format!("[compile] {key} = {value}: from {least} to {most}; default {default}")),
    };
    Ok(CompileLimits {
        memory_bytes: limit("memory-mib", raw.memory_mib, defaults.memory_bytes / MIB, 64, 65_536)? * MIB,
        cpu_seconds: limit("cpu-s", raw.cpu_s, defaults.cpu_seconds, 1, 3_600)?,
        wall: Duration::from_secs(limit("wall-s", raw.wall_s, defaults.wall.as_secs(), 1, 86_400)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_compile_is_the_sandboxs_own() {
        assert_eq!(compile(&RawCompile::default()), Ok(CompileLimits::default()));
        let set = RawCompile { memory_mib: Some(64), cpu_s: Some(3_600), wall_s: Some(1) };
        let all = CompileLimits { memory_bytes: 64 << 20, cpu_seconds: 3_600, wall: Duration::from_secs(1) };
        assert_eq!(compile(&set), Ok(all));
    }

    #[test]
    fn the_defaults_are_within_the_bounds() {
        assert_eq!(check("x", &Limits::default()), Ok(()));
    }
}
