//! What can go wrong, in words that say what was tried, what happened and what to do.
//!
//! A [`LoadError`] is about a file: one line, written to stand behind the file's name (`github.wasm: …`). A [`CallError`] is about one call of a module
//! that loaded. Neither ever stops the host.

use sluice_model::Limits;
use std::path::PathBuf;

/// Why there is no engine: the host can't run any connector.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// wasmtime refuses its settings, with and without pooling.
    #[error("the sandbox can't be set up on this machine: {0}")]
    Setup(String),
    /// The folder for compiled code can't be used.
    #[error(
        "the folder for compiled connectors, {path}, can't be used: {reason}; make it writable for the host alone, or set another data folder"
    )]
    Cache {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The ticking thread did not start.
    #[error("the clock thread of the sandbox did not start: {0}")]
    Thread(String),
}

/// Why a file can't be used as a connector. `Display` is one line that goes behind the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No bytes at all.
    #[error("is empty: the copy was probably interrupted; copy the file again")]
    Empty,
    /// Zeros instead of content.
    #[error("holds only zeros ({0} bytes): it was probably copied half, or its disk was full; copy the file again")]
    Zeros(u64),
    /// Ends in the middle.
    #[error("ends too early (a section of {wanted} bytes at byte {at} has {there}): it was probably copied half; copy the file again")]
    Truncated {
        /// Where the unfinished section begins.
        at: u64,
        /// How long it says it is.
        wanted: u64,
        /// How much of it is there.
        there: u64,
    },
    /// Larger than any connector this host takes.
    #[error("has {size} bytes, and this host takes modules of up to {limit}; {what}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
        /// What it seems to be, and what to do.
        what: String,
    },
    /// Something else than WebAssembly.
    #[error("is {0}, not a WebAssembly component: put the connector's .wasm file here")]
    NotWasm(String),
    /// A core module instead of a component.
    #[error("is a core WebAssembly module, not a component: {0}")]
    CoreModule(String),
    /// A component in another format than 1.0's.
    #[error("is a component in a binary format this host doesn't know (version {0}): build it with current tools")]
    Format(u16),
    /// A program for the command line.
    #[error(
        "is a command-line program (it exports {0}), not a connector: this host needs an export of sluice:connector/manifest@0.1.0. Build it as a library (cdylib) for the world source-connector"
    )]
    Command(String),
    /// A web server.
    #[error(
        "is a web application (it exports {0}), not a connector: this host needs an export of sluice:connector/manifest@0.1.0; it was built for the world wasi:http/proxy"
    )]
    HttpProxy(String),
    /// Built for another version of the contract.
    #[error(
        "was built for version {wanted} of sluice:connector, and this host offers 0.1.0: {}",
        version_advice(*.newer)
    )]
    OtherVersion {
        /// What it names.
        wanted: String,
        /// Whether that is newer than this host.
        newer: bool,
    },
    /// Exports nothing that this host can run.
    #[error(
        "was built for another world: it exports {exports}, and this host needs {missing}. Build it for the world source-connector of sluice:connector@0.1.0"
    )]
    OtherWorld {
        /// What it exports, shortened.
        exports: String,
        /// What is missing.
        missing: String,
    },
    /// Needs an interface that is not offered.
    #[error("needs {wanted}, which this host doesn't offer ({offered}): {cause}")]
    MissingImport {
        /// The interface or function.
        wanted: String,
        /// What is offered in its place.
        offered: String,
        /// The likely cause, and what to do.
        cause: String,
    },
    /// An import or export has another shape.
    #[error(
        "doesn't fit the contract: {0}. It was probably built against a changed copy of the .wit files; build it against those of this host's version"
    )]
    Mismatch(String),
    /// Needs more than a sandbox has.
    #[error("needs {wanted} {what}, and a sandbox of this host has at most {limit}: {advice}")]
    DoesNotFit {
        /// Of what.
        what: &'static str,
        /// How much it needs.
        wanted: u64,
        /// How much there is.
        limit: u64,
        /// What to do.
        advice: &'static str,
    },
    /// Uses a part of WebAssembly that is not on the list.
    #[error(
        "uses a part of WebAssembly that this host doesn't allow ({0}): build it without that, with the compiler's default features for wasm32-wasip2"
    )]
    Feature(String),
    /// Damaged, or rejected by the compiler.
    #[error("is not a valid component ({0}): it was probably damaged on the way, or built with tools that don't fit together")]
    Invalid(String),
    /// Too costly to compile.
    #[error(
        "costs too much to compile: it passed the limit of {limit} {name} after {}.{:03} s. Build it with optimisation and without generated giants of functions; a connector compiles in seconds",
        .after_ms / 1000, .after_ms % 1000
    )]
    CompileLimit {
        /// Of what.
        name: &'static str,
        /// How much there is.
        limit: u64,
        /// How long it had been at it, ms.
        after_ms: u64,
    },
    /// The compiler broke down over it.
    #[error("made the compiler fail ({0}): it was not loaded. Build it with current tools; where that changes nothing, report it")]
    CompilerFailed(String),
    /// The host's own trouble.
    #[error("could not be compiled: {0}")]
    Host(String),
}

fn version_advice(newer: bool) -> &'static str {
    if newer { "update Sluice, or use an older release of the connector" } else { "use a newer release of the connector" }
}

/// Functions in which every crash of a language's runtime ends: they say nothing of where it began.
fn is_runtime(frame: &str) -> bool {
    // `std::process::abort`, `<core::…>::…`, `std[d123b7a1a2ed1472]::process::abort`.
    let start = frame.trim_start_matches('<').split(['[', ':']).next().unwrap_or_default();
    let rust = matches!(start, "std" | "core" | "alloc" | "__rustc");
    // A method of Go's has its type in underscores: `runtime.__mheap_.allocSpan`.
    let go = frame.starts_with("runtime.") || frame.starts_with("internal_runtime_") || frame.starts_with("wasm_pc_f_loop");
    // C's library, and what zig puts into it.
    let c = matches!(frame, "abort" | "exit_exit" | "_Exit" | "exit" | "__assert_fail" | "debug.defaultPanic")
        || frame.starts_with("debug.panic")
        || frame.starts_with("ubsan_rt.");
    // The inside of the adapter from WASI's first form to its second.
    rust || go || c || start == "wasi_snapshot_preview1"
}

/// The function to name in one line: the innermost one that is not the end of every crash.
fn innermost(frames: &[String]) -> String {
    frames.iter().find(|frame| !is_runtime(frame)).or(frames.first()).map(|frame| format!(" (in {frame})")).unwrap_or_default()
}

/// The name of the bound on what one call into the host carries; wasmtime counts it, and says only that it was passed.
pub(crate) const CALL_BYTES: &str = "call-bytes";

/// What an operator can do about a bound that was passed, where it is not simply to set it higher.
fn whose_to_raise(limit: &str) -> &'static str {
    if Limits::SETTINGS.contains(&limit) {
        ""
    } else if limit == CALL_BYTES {
        ": what one call into the host carries, which follows entry-bytes"
    } else {
        ": that one is fixed, and the connector's author has to stay below it"
    }
}

/// What wasmtime says when a guest calls the host while the host is in the middle of handing it a value.
const CANNOT_LEAVE: &str = "wasm trap: cannot leave component instance";

/// The sentence behind a crash of which nobody guesses what it means.
fn advice(message: &str) -> &'static str {
    if message.starts_with(CANNOT_LEAVE) {
        ". It called the host while the host was handing it a value, which an allocator or a language's runtime does that reads the clock there (in Go: \
         debug.SetGCPercent(-1), see docs/connectors.md#go), or a runtime that nobody started (in Go: -buildmode=c-shared)"
    } else {
        ""
    }
}

/// Why a call did not return what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The connector's own code gave up.
    #[error("the connector crashed: {message}{}{}", innermost(.frames), advice(.message))]
    Trap {
        /// What happened.
        message: String,
        /// The innermost functions, by the names in the file.
        frames: Vec<String>,
    },
    /// A bound of the run was passed.
    #[error("the connector passed its limit of {limit} {name} (it was at {used}){}", whose_to_raise(.name))]
    Limit {
        /// Which bound, in the words of the settings.
        name: &'static str,
        /// Its value.
        limit: u64,
        /// What was used, or asked for, when it was passed.
        used: u64,
    },
    /// It was asked to end, and did not.
    #[error("the run was cancelled, and the connector did not return by itself")]
    Cancelled,
    /// While describing itself it called something that it may not use yet.
    #[error("the connector called {0} in `describe`: it may use nothing before it is approved, so `describe` returns a constant text")]
    Refused(String),
    /// It described itself differently the second time.
    #[error("the connector describes itself differently each time it is asked: `describe` returns a constant text")]
    Changing,
    /// The host's own code failed.
    #[error("the host failed while the connector called it: {0}")]
    Host(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_nobody_sets_says_so() {
        for (name, says) in [
            ("cpu-ms", "the connector passed its limit of 7 cpu-ms (it was at 8)"),
            (
                "handles",
                "the connector passed its limit of 7 handles (it was at 8): that one is fixed, and the connector's author has to stay below it",
            ),
            (
                "call-bytes",
                "the connector passed its limit of 7 call-bytes (it was at 8): what one call into the host carries, which follows entry-bytes",
            ),
        ] {
            assert_eq!(CallError::Limit { name, limit: 7, used: 8 }.to_string(), says);
        }
    }

    #[test]
    fn a_crash_is_named_by_where_it_began() {
        for (frames, wanted) in [
            (
                vec!["abort", "std::process::abort", "__rustc::rust_panic", "core::panicking::panic_fmt", "rainlog::read"],
                " (in rainlog::read)",
            ),
            (vec!["abort", "std[d123b7a1a2ed1472]::process::abort", "<alloc[0f]::vec::Vec<u8>>::push", "standing"], " (in standing)"),
            (vec!["abort", "std::process::abort"], " (in abort)"),
            (
                vec!["runtime.abort", "runtime.fatalpanic", "runtime.gopanic", "runtime.__mheap_.alloc", "wit_component_rain.read"],
                " (in wit_component_rain.read)",
            ),
            (vec!["debug.defaultPanic", "debug.panicExtra__func_142", "ubsan_rt.typeMismatch", "read_days"], " (in read_days)"),
            (vec!["abort", "__assert_fail", "read_days"], " (in read_days)"),
            (vec!["wasi_snapshot_preview1[f508b777bee80fea]::macros::print", "proc_exit"], " (in proc_exit)"),
            (vec![], ""),
        ] {
            let frames: Vec<String> = frames.into_iter().map(str::to_owned).collect();
            assert_eq!(innermost(&frames), wanted);
        }
    }
}
