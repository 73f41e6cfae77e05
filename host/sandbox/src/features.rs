//! The parts of WebAssembly that this host takes.

use wasmtime::WasmFeatures;

/// The parts of WebAssembly that the supported toolchains (Rust, Go, Python, JavaScript, C) emit. Whatever is not here is refused when a file is loaded,
/// so that a new proposal in a new wasmtime is a decision and not an accident.
#[must_use]
pub(crate) fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::FLOATS
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::COMPONENT_MODEL
}

/// The names of what is allowed, for a test that looks at what is not.
#[must_use]
pub fn allowed_features() -> Vec<&'static str> {
    features().iter_names().map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change of this list is a decision: reviewed, and written here.
    #[test]
    fn the_allowed_features_are_these() {
        let names: Vec<_> = features().iter_names().map(|(name, _)| name).collect();
        let expected = [
            "MUTABLE_GLOBAL",
            "SATURATING_FLOAT_TO_INT",
            "SIGN_EXTENSION",
            "REFERENCE_TYPES",
            "MULTI_VALUE",
            "BULK_MEMORY",
            "SIMD",
            "FLOATS",
            "EXTENDED_CONST",
            "COMPONENT_MODEL",
        ];
        for name in expected {
            assert!(names.contains(&name), "{name} is missing from {names:?}");
        }
        let implied = ["CALL_INDIRECT_OVERLONG", "BULK_MEMORY_OPT"];
        for name in &names {
            assert!(expected.contains(name) || implied.contains(name), "{name} is not on the list");
        }
    }
}
