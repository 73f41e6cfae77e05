//! The parts of WebAssembly that are allowed, and one component for each that is not.
//!
//! The list of what there is comes from wasmtime, so that a new proposal in a new wasmtime fails here until somebody has decided about it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::engine;
use sluice_sandbox::{LoadError, allowed_features};
use std::{collections::BTreeSet, path::Path};
use wasmtime::WasmFeatures;

/// Of a component that uses nothing else.
enum Uses {
    /// In a core module, with this inside.
    Core(&'static str),
    /// In the component, with this inside.
    Component(&'static str),
    /// As bytes, where there is no text for it yet.
    Bytes(&'static [u8]),
    /// In the component, with this inside, which to whoever does not know it is no name.
    Malformed(&'static str),
    /// It changes the meaning of nothing by itself: only together with the proposals that are named, which have their own.
    PartOf(&'static [&'static str]),
}

use Uses::{Bytes, Component, Core, Malformed, PartOf};

/// One for each proposal that is not allowed.
const REFUSED: &[(&str, Uses)] = &[
    ("RELAXED_SIMD", Core("(func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))")),
    ("THREADS", Core("(memory 1 1 shared)")),
    ("SHARED_EVERYTHING_THREADS", Core("(global (shared mut i32) (i32.const 0))")),
    ("TAIL_CALL", Core("(func $f (return_call $f))")),
    ("MULTI_MEMORY", Core("(memory 1) (memory 1)")),
    ("EXCEPTIONS", Core("(tag)")),
    ("MEMORY64", Core("(memory i64 1)")),
    ("FUNCTION_REFERENCES", Core("(func (param (ref func)))")),
    ("MEMORY_CONTROL", Core("(memory 1) (func (memory.discard (i32.const 0) (i32.const 0)))")),
    ("GC", Core("(type (struct))")),
    ("CUSTOM_PAGE_SIZES", Core("(memory 1 1 (pagesize 1))")),
    ("LEGACY_EXCEPTIONS", Core("(func try end)")),
    ("GC_TYPES", PartOf(&["GC", "FUNCTION_REFERENCES", "EXCEPTIONS"])),
    ("STACK_SWITCHING", Core("(type $f (func)) (type $c (cont $f))")),
    (
        "WIDE_ARITHMETIC",
        Core("(func (param i64 i64 i64 i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))"),
    ),
    ("CUSTOM_DESCRIPTORS", Core("(rec (type $a (descriptor $b) (struct)) (type $b (describes $a) (struct)))")),
    // A core module whose import section is in the compact form: one module's name for several fields.
    ("COMPACT_IMPORTS", Bytes(b"\x02\x0b\x01\x01a\x00\x7f\x01\x01b\x03\x7f\x00")),
    ("CM_VALUES", Component("(import \"v\" (value string))")),
    ("CM_NESTED_NAMES", Malformed("(import \"a:b:c/d\" (func))")),
    ("CM_ASYNC", Component("(core func (canon task.cancel))")),
    (
        "CM_ASYNC_STACKFUL",
        Component(
            "(core module $m (memory (export \"m\") 1)) (core instance $i (instantiate $m)) (core func (canon waitable-set.wait cancellable (memory $i \"m\")))",
        ),
    ),
    ("CM_MORE_ASYNC_BUILTINS", Component("(core func (canon subtask.cancel async))")),
    ("CM_THREADING", Component("(core func (canon thread.index))")),
    ("CM_ERROR_CONTEXT", Component("(type error-context)")),
    ("CM_FIXED_LENGTH_LISTS", Component("(type (list u8 4))")),
    (
        "CM_GC",
        Component("(core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) (func (canon lift (core func $i \"f\") gc))"),
    ),
    ("CM_MAP", Component("(type (map string u8))")),
    (
        "CM64",
        Component(
            "(core module $m (memory (export \"m\") i64 1)) (core instance $i (instantiate $m)) (func (param \"s\" string) (canon lift (core func $i \"m\") (memory $i \"m\")))",
        ),
    ),
    ("CM_IMPLEMENTS", Component("(import \"a\" (implements \"b:c/d\") (instance))")),
    ("CM_CANON_NAMES", Component("(import \"a:b/c@1\" (versionsuffix \".2.3\") (instance))")),
];

fn built(uses: &Uses) -> Result<Option<Vec<u8>>, String> {
    let text = match uses {
        Core(body) => format!("(component (core module {body}))"),
        Component(body) | Malformed(body) => format!("(component {body})"),
        Bytes(section) => {
            let module = [b"\0asm\x01\0\0\0".as_slice(), section].concat();
            let length = u8::try_from(module.len()).unwrap();
            return Ok(Some([b"\0asm\x0d\0\x01\0\x01".as_slice(), &[length], &module].concat()));
        }
        PartOf(_) => return Ok(None),
    };
    wat::parse_str(&text).map(Some).map_err(|error| error.to_string())
}

#[tokio::test]
async fn each_proposal_that_is_not_allowed_is_refused_by_name() {
    let engine = engine();
    let mut wrong = Vec::new();
    for (name, uses) in REFUSED {
        match built(uses) {
            Err(error) => wrong.push(format!("{name} cannot be written: {error}")),
            Ok(None) => {}
            Ok(Some(bytes)) => match engine.load(&bytes).await {
                Err(LoadError::Feature(_)) => {}
                Err(LoadError::Invalid(_)) if matches!(uses, Malformed(_)) => {}
                Err(other) => wrong.push(format!("{name}: {other}")),
                Ok(_) => wrong.push(format!("{name} loads")),
            },
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let native_async = r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
        (func (export "f") async (canon lift (core func $i "f"))))"#;
    let error = engine.load(&wat::parse_str(native_async).unwrap()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, LoadError::Feature(_)), "an asynchronous export: {error}");
}

/// Nothing is neither allowed nor refused.
#[test]
fn every_part_of_webassembly_is_decided_about() {
    let all: BTreeSet<&str> = WasmFeatures::all().iter_names().map(|(name, _)| name).collect();
    let allowed: BTreeSet<&str> = allowed_features().into_iter().collect();
    let refused: BTreeSet<&str> = REFUSED.iter().map(|(name, _)| *name).collect();
    // Spelled out by what contains them.
    let parts = BTreeSet::from(["CALL_INDIRECT_OVERLONG", "BULK_MEMORY_OPT"]);
    assert!(allowed.is_disjoint(&refused), "{allowed:?} {refused:?}");
    let decided: BTreeSet<&str> = allowed.iter().chain(&refused).chain(&parts).copied().collect();
    let undecided: Vec<_> = all.difference(&decided).collect();
    assert!(undecided.is_empty(), "{undecided:?}");
    for (name, uses) in REFUSED {
        if let PartOf(others) = uses {
            assert!(others.iter().all(|other| refused.contains(other)), "{name}");
        }
    }
}

/// Seeds that stop at the door would leave what lies behind it to chance: those written as text go through validation.
#[tokio::test]
async fn the_components_among_the_fuzz_seeds_are_components() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/component");
    let mut seen = 0;
    for seed in std::fs::read_dir(folder).unwrap() {
        let path = seed.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wat") {
            let loaded = engine().load(&wat::parse_file(&path).unwrap()).await;
            // They are compiled, and no connectors: what they need and offer is looked at after that.
            let compiled =
                matches!(&loaded, Ok(_) | Err(LoadError::OtherWorld { .. } | LoadError::MissingImport { .. } | LoadError::Mismatch(_)));
            assert!(compiled, "{}: {loaded:?}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen}");
}
