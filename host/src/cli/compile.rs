//! `sluice compile-child`: not for people. A host starts itself with it to compile one connector within limits, in a process that has nothing.
//!
//! Only the program whose `main` understands the argument may be started with it. A test that opens a host in its own process is another program: it
//! never passes through [`super::main`], and compiles its own connectors by itself.

use sluice_sandbox::Compiler;
use std::process::ExitCode;
use std::sync::OnceLock;

/// The hidden command's name.
const ARGUMENT: &str = "compile-child";

static COMPILER: OnceLock<Compiler> = OnceLock::new();

/// Remembers that this process can start itself as the compiler.
pub(super) fn this_is_sluice() {
    let _ = COMPILER.get_or_init(|| Compiler::this_program(ARGUMENT));
}

/// What compiles connectors here; none in a process that is not the `sluice` program.
pub(crate) fn compiler() -> Option<Compiler> {
    COMPILER.get().cloned()
}

/// Compiles what comes on standard input.
pub(super) fn run() -> ExitCode {
    sluice_sandbox::compile_child_main()
}
