//! Limits that make sense: a zero would let nothing run, and a slip of a few digits would let one connector take the machine.

use sluice_model::Limits;

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

/// The same for compiling: with less no connector of some size compiles, with more one could keep the machine for a day.
pub fn compile(cpu_seconds: u64, memory_bytes: u64) -> Result<(), String> {
    for (key, value, least, most) in
        [("compile-cpu-seconds", cpu_seconds, 1, 3_600), ("compile-memory-bytes", memory_bytes, 256 * MIB, 64 * GIB)]
    {
        if !(least..=most).contains(&value) {
            return Err(format!("{key} = {value}: from {least} to {most}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_the_bounds() {
        assert_eq!(check("x", &Limits::default()), Ok(()));
        let default = sluice_sandbox::CompileLimits::default();
        assert_eq!(compile(default.cpu_seconds, default.memory_bytes), Ok(()));
        assert_eq!(compile(0, default.memory_bytes).unwrap_err(), "compile-cpu-seconds = 0: from 1 to 3600");
        assert!(compile(60, 1).unwrap_err().starts_with("compile-memory-bytes = 1: from 268435456"));
    }
}
