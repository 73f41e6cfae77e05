//! What the sandbox stands on: which wasmtime, and how well that is looked after on this kind of machine.
//!
//! Fixes in the component model's host side lie between 48.0.0 and [`FLOOR`], so a build with an older one must not come to be. That the manifest
//! asks for it is not enough (a requirement is easily loosened, a vendored copy easily old), so the version that is really linked is compared while
//! this crate is compiled: below the floor there is no program.

use crate::config::{Allocation, config};
use crate::engine::calls;
use crate::needs::chain;

/// The oldest wasmtime that this may be built with.
pub const FLOOR: &str = "48.0.8";

/// The wasmtime that this was built with.
pub const WASMTIME: &str = wasmtime_environ::VERSION;

const _: () = assert!(reaches(WASMTIME, FLOOR), "wasmtime is older than FLOOR: cargo update -p wasmtime");

/// Whether a version is at least another: numbers with points between, and nothing else. What reads otherwise does not reach anything.
///
/// ```
/// const _: () = assert!(sluice_sandbox::reaches("48.0.8", "48.0.8"));
/// ```
///
/// An older one ends the build:
///
/// ```compile_fail,E0080
/// const _: () = assert!(sluice_sandbox::reaches("48.0.7", "48.0.8"));
/// ```
#[must_use]
pub const fn reaches(version: &str, floor: &str) -> bool {
    let (mut version, mut floor) = (version.as_bytes(), floor.as_bytes());
    loop {
        let (Some((is, rest)), Some((wanted, floor_rest))) = (number(version), number(floor)) else { return false };
        if is != wanted {
            return is > wanted;
        }
        if floor_rest.is_empty() {
            return true;
        }
        (version, floor) = (rest, floor_rest);
    }
}

/// The number at the front, and what follows its point.
const fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut rest, mut digits) = (0u64, text, 0);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        if digits == 9 {
            return None;
        }
        value = value * 10 + (*digit - b'0') as u64;
        digits += 1;
        rest = after;
    }
    match rest {
        _ if digits == 0 => None,
        [] => Some((value, rest)),
        [b'.', after @ ..] => Some((value, after)),
        _ => None,
    }
}

/// How much wasmtime's own makers promise for a kind of machine (its `docs/stability-tiers.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Architecture, system and C library.
    pub name: String,
    /// 1, 2 or 3; none where they promise nothing.
    pub tier: Option<u8>,
    /// What that means, for a line.
    pub meaning: &'static str,
}

/// The machine that this was built for.
#[must_use]
pub fn platform() -> Platform {
    let library = if cfg!(target_env = "gnu") {
        "gnu"
    } else if cfg!(target_env = "musl") {
        "musl"
    } else if cfg!(target_env = "msvc") {
        "msvc"
    } else {
        ""
    };
    tier_of(std::env::consts::ARCH, std::env::consts::OS, library)
}

fn tier_of(arch: &str, system: &str, library: &str) -> Platform {
    let tier = match (arch, system, library) {
        ("x86_64", "linux", "gnu") | ("x86_64", "macos", _) | ("x86_64", "windows", "msvc") => Some(1),
        ("aarch64" | "s390x", "linux", "gnu") | ("aarch64", "macos", _) | ("x86_64", "windows", "gnu") => Some(2),
        ("x86_64" | "aarch64", "linux", "musl") | ("x86_64" | "aarch64", "android", _) => Some(3),
        ("riscv64", "linux", "gnu") | ("aarch64", "windows" | "ios", _) | ("x86_64", "freebsd" | "illumos", _) => Some(3),
        _ => None,
    };
    let meaning = match tier {
        Some(1) => "tested, fuzzed all the time, and mended first",
        Some(2) => "tested with every change, and not fuzzed all the time",
        Some(_) => "builds, and is not tested with every change",
        None => "wasmtime's makers promise nothing for it",
    };
    let name = [arch, system, library].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    Platform { name, tier, meaning }
}

/// Whether the address space can be had that an engine for so many runs reserves, by trying.
///
/// # Errors
/// What the system said. An engine then does without, and starts instances more slowly.
pub fn try_reserving(concurrent_runs: u32, memory_bytes: u64) -> Result<(), String> {
    let wanted = config(Allocation::Pooling { calls: calls(concurrent_runs), memory_bytes });
    wasmtime::Engine::new(&wanted).map(|_| ()).map_err(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, floor, wanted) in [
            ("48.0.8", "48.0.8", true),
            ("48.0.9", "48.0.8", true),
            ("48.0.10", "48.0.8", true),
            ("48.1.0", "48.0.8", true),
            ("49.0.0", "48.0.8", true),
            ("100.0.0", "48.0.8", true),
            ("48.0.7", "48.0.8", false),
            ("48.0.0", "48.0.8", false),
            ("47.9.9", "48.0.8", false),
            ("5.0.9", "48.0.8", false),
            ("48.0", "48.0.8", false),
            ("48.0.8-rc.1", "48.0.8", false),
            ("", "48.0.8", false),
            ("48.0.99999999999999999999", "48.0.8", false),
        ] {
            assert_eq!(reaches(version, floor), wanted, "{version} against {floor}");
        }
    }

    #[test]
    fn each_kind_of_machine_has_the_tier_that_the_makers_give_it() {
        for (machine, tier) in [
            (("x86_64", "linux", "gnu"), Some(1)),
            (("x86_64", "macos", ""), Some(1)),
            (("aarch64", "linux", "gnu"), Some(2)),
            (("aarch64", "macos", ""), Some(2)),
            (("s390x", "linux", "gnu"), Some(2)),
            (("x86_64", "linux", "musl"), Some(3)),
            (("riscv64", "linux", "gnu"), Some(3)),
            (("aarch64", "freebsd", ""), None),
            (("mips", "linux", "gnu"), None),
        ] {
            let (arch, system, library) = machine;
            assert_eq!(tier_of(arch, system, library).tier, tier, "{machine:?}");
        }
        assert_eq!(tier_of("aarch64", "macos", "").name, "aarch64-macos");
    }
}
