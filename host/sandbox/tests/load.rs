//! What loads, what does not, and what a person reads then; and the cache of compiled code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Fixture, TestHost, engine, options, syncing};
use sluice_model::Limits;
use sluice_sandbox::{Engine, offered};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A component that exports one instance of this name, with a function of that name, and imports what is asked.
fn exporting(imports: &str, name: &str, function: &str) -> Vec<u8> {
    let text = format!(
        r#"(component {imports}
          (core module $m (func (export "f") (result i32) (i32.const 0)) (memory (export "memory") 1))
          (core instance $i (instantiate $m))
          (func $f (result (result)) (canon lift (core func $i "f")))
          (instance $out (export "{function}" (func $f)))
          (export "{name}" (instance $out)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

async fn refused(bytes: &[u8]) -> String {
    let error = engine().load(bytes).await.map(|_| ()).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 900, "one line: {text}");
    text
}

#[tokio::test]
async fn each_kind_of_wrong_file_is_refused_in_words_that_help() {
    let whole = syncing("");
    let damaged = {
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 40].fill(0xff);
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty", vec![], &["is empty", "copy the file again"]),
        ("zeros", vec![0; 4096], &["only zeros"]),
        ("text", b"[connectors.github]\n".to_vec(), &["a text file", ".wasm"]),
        ("core", wat::parse_str("(module)").unwrap(), &["core WebAssembly module", "wasm32-wasip2"]),
        ("half", whole[..whole.len() - 1].to_vec(), &["ends too early", "copied half"]),
        ("damaged", damaged, &["not a valid component"]),
        ("command", exporting("", "wasi:cli/run@0.2.3", "run"), &["command-line program", "wasi:cli/run@0.2.3", "manifest@0.1.0"]),
        ("proxy", exporting("", "wasi:http/incoming-handler@0.2.3", "handle"), &["web application", "manifest@0.1.0"]),
        ("newer", exporting("", "sluice:connector/manifest@0.2.0", "describe"), &["version 0.2.0", "offers 0.1.0", "update Sluice"]),
        ("older", exporting("", "sluice:connector/manifest@0.0.9", "describe"), &["version 0.0.9", "newer release of the connector"]),
        ("other world", exporting("", "acme:tools/calc@1.0.0", "add"), &["acme:tools/calc@1.0.0", "sluice:connector/manifest@0.1.0"]),
        ("base only", exporting("", "sluice:connector/manifest@0.1.0", "describe"), &["source@0.1.0"]),
        ("nothing", wat::parse_str("(component)").unwrap(), &["exports nothing", "source-connector"]),
        ("other type", exporting("", "sluice:connector/source@0.1.0", "sync"), &["manifest@0.1.0"]),
    ];
    for (what, bytes, words) in cases {
        let text = refused(&bytes).await;
        for word in words {
            assert!(text.contains(word), "{what}: “{word}” is not in: {text}");
        }
    }
}

/// A connector as it should be, but for its exports' types or one import more.
fn almost(imports: &str, sync: &str) -> Vec<u8> {
    let text = format!(
        r#"(component {imports}
          (core module $m (func (export "f") (result i32) (i32.const 0)) (memory (export "memory") 1))
          (core instance $i (instantiate $m))
          (func $d (result string) (canon lift (core func $i "f") (memory $i "memory")))
          (instance $manifest (export "describe" (func $d)))
          (export "sluice:connector/manifest@0.1.0" (instance $manifest))
          (func $s (result (result)) (canon lift (core func $i "f")))
          (instance $source (export "{sync}" (func $s)))
          (export "sluice:connector/source@0.1.0" (instance $source)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[tokio::test]
async fn what_is_not_offered_is_named_with_its_likely_cause() {
    let cases: [(&str, &[&str]); 9] = [
        (r#"(import "wasi:http/outgoing-handler@0.2.0" (instance))"#, &["wasi:http/outgoing-handler@0.2.0", "sluice:connector/http"]),
        (r#"(import "wasi:keyvalue/store@0.2.0" (instance))"#, &["wasi:keyvalue/store@0.2.0", "doesn't offer"]),
        (r#"(import "wasi:clocks/wall-clock@0.3.0" (instance))"#, &["WASI 0.2", "another version of WASI"]),
        (r#"(import "acme:tools/calc@1.0.0" (instance))"#, &["acme:tools/calc@1.0.0", "another host"]),
        (r#"(import "plain" (func))"#, &["plain", "another host"]),
        (r#"(import "sluice:connector/inbox@0.1.0" (instance))"#, &["sluice:connector/inbox", "later version"]),
        (
            r#"(import "sluice:connector/http@0.1.0" (instance (export "upload" (func))))"#,
            &["sluice:connector/http.upload", "fetch, fetch-all", "newer contract"],
        ),
        (r#"(import "sluice:connector/log@0.2.0" (instance))"#, &["version 0.2.0"]),
        (
            r#"(import "sluice:connector/task@0.1.0" (instance (export "now" (func (result string)))))"#,
            &["doesn't fit the contract", ".wit files"],
        ),
    ];
    for (import, words) in cases {
        let bytes = if import.contains("func (result string)") { syncing_with_wrong_import() } else { almost(import, "sync") };
        let text = refused(&bytes).await;
        for word in words {
            assert!(text.contains(word), "{import}: “{word}” is not in: {text}");
        }
    }
    assert!(refused(&almost("", "sync")).await.contains("source.sync has another type"));
    assert!(refused(&almost("", "synch")).await.contains("source.sync is missing"));
}

/// Right in everything but the type of one import.
fn syncing_with_wrong_import() -> Vec<u8> {
    let text = wasmprinted(&syncing("(drop (call $now))"));
    let changed = text.replacen("(result s64)", "(result u64)", 8);
    assert_ne!(text, changed);
    wat::parse_str(&changed).unwrap()
}

fn wasmprinted(bytes: &[u8]) -> String {
    wasmprinter::print_bytes(bytes).unwrap()
}

#[tokio::test]
async fn what_can_never_fit_is_refused_with_the_numbers() {
    let bytes = Fixture { more: "(table 200000 funcref)", ..Fixture::default() }.build();
    let text = refused(&bytes).await;
    assert!(text.contains("200000") && text.contains("100000"), "{text}");
}

#[tokio::test]
async fn the_exports_are_known() {
    let module = engine().load(&syncing("")).await.unwrap();
    assert!(module.exports().identity && module.exports().source);
    assert_eq!(module.size(), syncing("").len() as u64);
    assert!(!module.from_cache());
}

/// The list that is compared with is the contract: read from `wit/`, interface by interface.
#[test]
fn what_is_offered_is_what_the_contract_says() {
    let mut resolve = wit_parser::Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let (package, _) = resolve.push_dir(&wit).unwrap();
    let world = &resolve.worlds[resolve.select_world(&[package], Some("source-connector")).unwrap()];
    let mut contract: Vec<(String, Vec<String>)> = Vec::new();
    for key in world.imports.keys() {
        let wit_parser::WorldKey::Interface(id) = key else { continue };
        let interface = &resolve.interfaces[*id];
        let mut functions: Vec<_> = interface.functions.keys().cloned().collect();
        functions.sort();
        contract.push((interface.name.clone().unwrap(), functions));
    }
    contract.sort();
    let mut ours: Vec<(String, Vec<String>)> = offered()
        .iter()
        .map(|(name, functions)| {
            let mut functions: Vec<_> = functions.iter().map(|f| (*f).to_owned()).collect();
            functions.sort();
            ((*name).to_owned(), functions)
        })
        .collect();
    ours.sort();
    assert_eq!(ours, contract);
}

fn cache_file(folder: &Path) -> PathBuf {
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

#[tokio::test]
async fn compiled_code_is_kept_and_loaded_again_by_another_engine() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("deep/compiled");
    let bytes = syncing("");
    let compiled = Engine::new(options(Some(&cache))).unwrap().load(&bytes).await.unwrap();
    assert!(!compiled.from_cache() && !compiled.compile_time().is_zero());
    assert_eq!(std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(cache_file(&cache)).unwrap().permissions().mode() & 0o777, 0o600);
    let module = Engine::new(options(Some(&cache))).unwrap().load(&bytes).await.unwrap();
    assert!(module.from_cache());
    assert_eq!(module.compile_time().as_millis(), compiled.compile_time().as_millis(), "how long it took is kept beside the code");
    let report = module.sync(Box::new(TestHost::default()), &Limits::default()).await;
    report.result.unwrap().unwrap();
}

#[tokio::test]
async fn a_changed_file_of_compiled_code_is_compiled_again_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = syncing("");
    let engine = Engine::new(options(Some(folder.path()))).unwrap();
    engine.load(&bytes).await.unwrap();
    let file = cache_file(folder.path());
    let good = std::fs::read(&file).unwrap();
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut tampered: Vec<Vec<u8>> = [0, 8, 40, 72, 80, good.len() / 2, good.len() - 33, good.len() - 1].into_iter().map(changed).collect();
    tampered.extend([
        Vec::new(),
        good[..50].to_vec(),
        good[..good.len() - 1].to_vec(),
        vec![0; good.len()],
        [good.clone(), vec![0]].concat(),
    ]);
    for (case, wrong) in tampered.into_iter().enumerate() {
        std::fs::write(&file, wrong).unwrap();
        assert!(!engine.load(&bytes).await.unwrap().from_cache(), "case {case}");
        assert!(engine.load(&bytes).await.unwrap().from_cache(), "case {case}: replaced");
    }
}

#[tokio::test]
async fn compiled_code_of_another_key_or_another_component_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = syncing("");
    Engine::new(options(Some(folder.path()))).unwrap().load(&bytes).await.unwrap();
    let other_key = sluice_sandbox::EngineOptions { cache_key: [8; 32], ..options(Some(folder.path())) };
    assert!(!Engine::new(other_key).unwrap().load(&bytes).await.unwrap().from_cache());

    // A file of ours in the place of another: the MAC holds, the name does not.
    let other = tempfile::tempdir().unwrap();
    let engine = Engine::new(options(Some(other.path()))).unwrap();
    engine.load(&bytes).await.unwrap();
    let first = cache_file(other.path());
    let second_bytes = syncing("(drop (call $now))");
    engine.load(&second_bytes).await.unwrap();
    let second = std::fs::read_dir(other.path()).unwrap().map(|entry| entry.unwrap().path()).find(|path| *path != first).unwrap();
    std::fs::copy(&first, &second).unwrap();
    assert!(!engine.load(&second_bytes).await.unwrap().from_cache());
    // And a link is not followed.
    std::fs::remove_file(&second).unwrap();
    std::os::unix::fs::symlink(&first, &second).unwrap();
    assert!(!engine.load(&second_bytes).await.unwrap().from_cache());
}

/// Lower-case hex of the component's hash, as it stands in the name of its file.
fn hash(module: &sluice_sandbox::Module) -> String {
    module.hash().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn compiled_code_has_a_bound_and_strangers_make_room_for_what_is_approved() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::new(options(Some(folder.path()))).unwrap();
    let small = engine.load(&syncing("")).await.unwrap();
    let name = cache_file(folder.path()).file_name().unwrap().to_str().unwrap().to_owned();
    // A stranger's, as large as all of it together may be; it takes no disk.
    let stranger = "ab".repeat(32);
    let large = folder.path().join(name.replace(&hash(&small), &stranger));
    std::fs::File::create(&large).unwrap().set_len((2 << 30) - 4096).unwrap();
    let bytes = syncing("(drop (call $now))");
    for _ in 0..2 {
        assert!(!engine.load(&bytes).await.unwrap().from_cache(), "there is no room, and nothing is taken away for a stranger");
    }
    assert!(large.exists() && engine.load(&syncing("")).await.unwrap().from_cache());
    // Somebody said yes to it.
    let all = |hashes: &[&String]| hashes.iter().map(|hash| (*hash).clone()).collect::<std::collections::BTreeSet<String>>();
    let (mine, other) = (hash(&engine.load(&bytes).await.unwrap()), hash(&small));
    engine.tidy(all(&[&mine, &other]), Some(all(&[&stranger]))).await.unwrap();
    assert!(!large.exists(), "over the bound with what is approved, so it goes");
    std::fs::File::create(&large).unwrap().set_len((2 << 30) - 4096).unwrap();
    assert!(!engine.load(&bytes).await.unwrap().from_cache());
    assert!(engine.load(&bytes).await.unwrap().from_cache() && !large.exists(), "what is approved takes a stranger's place");
    // What nobody names goes.
    engine.tidy(all(&[&other]), Some(all(&[]))).await.unwrap();
    assert!(!engine.load(&bytes).await.unwrap().from_cache() && engine.load(&syncing("")).await.unwrap().from_cache());
}

/// The test below, in a process of its own that has little address space.
#[tokio::test]
async fn in_a_narrow_process() {
    if std::env::var_os("SLUICE_TEST_NARROW").is_none() {
        return;
    }
    let engine = engine();
    assert!(!engine.pooling());
    let module = engine.load(&syncing("(drop (memory.grow (i32.const 100)))")).await.unwrap();
    let report = module.sync(Box::new(TestHost::default()), &Limits::default()).await;
    report.result.unwrap().unwrap();
    assert_eq!(report.usage.memory_bytes, 104 * 65536);
    println!("it works on demand");
}

#[test]
fn without_room_for_address_space_connectors_still_run() {
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 4000000 && exec \"$0\" --exact in_a_narrow_process --nocapture --test-threads 1"])
        .arg(std::env::current_exe().unwrap())
        .env("SLUICE_TEST_NARROW", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("it works on demand"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
