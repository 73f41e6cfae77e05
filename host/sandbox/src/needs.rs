//! What a module needs, held against what this host has, before it is instantiated.
//!
//! A component says in its own types which functions it imports and exports. They are compared by name first, so that the refusal can say which one is
//! missing and why that probably is; the types are compared when the imports are resolved. Importing grants nothing: many toolchains import all there is.

use crate::bindings::types::{Account, Failure, Outcome};
use crate::error::LoadError;
use crate::memory::{MEMORIES, TABLES};
use crate::module::Exports;
use crate::names::{Name, minor, parse, same_contract, shown};
use crate::refusal::one_line;
use sluice_model::limits::MAX_TABLE_ELEMENTS;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentItem};

/// The contract this host offers.
pub const CONTRACT: &str = "sluice:connector@0.1.0";

/// The contract's imports: each interface with its functions.
const IMPORTS: [(&str, &[&str]); 8] = [
    ("entries", &["record-entry", "record-entries", "replace-window", "retract", "label-series"]),
    ("http", &["fetch", "fetch-all"]),
    ("keys", &["list-keys", "get", "set", "delete"]),
    ("log", &["write"]),
    ("progress", &["checkpoint", "report", "problem", "cancelled"]),
    ("state", &["get", "set", "delete"]),
    (
        "task",
        &["reason", "now", "time-zone", "cursor", "cursor-version", "window", "profile", "account-id", "scopes", "setting", "hook-url"],
    ),
    ("types", &[]),
];

/// Interfaces of the contract that this host will offer in a later version.
const LATER: [&str; 3] = ["blobs", "inbox", "feed"];

/// The interfaces of WASI 0.2 that are linked, over nothing.
const WASI: [(&str, &[&str]); 6] = [
    (
        "cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("clocks", &["monotonic-clock", "wall-clock"]),
    ("filesystem", &["preopens", "types"]),
    ("io", &["error", "poll", "streams"]),
    ("random", &["random", "insecure", "insecure-seed"]),
    ("sockets", &["instance-network", "ip-name-lookup", "network", "tcp", "tcp-create-socket", "udp", "udp-create-socket"]),
];

/// The contract's imports that this host offers: interfaces with their functions.
#[must_use]
pub fn offered() -> &'static [(&'static str, &'static [&'static str])] {
    &IMPORTS
}

/// Compares; returns what the module can be entered for.
pub(crate) fn compare(engine: &Engine, component: &Component) -> Result<Exports, LoadError> {
    let exports = exports(engine, component)?;
    imports(engine, component)?;
    typed(engine, component, exports)?;
    fits(component)?;
    Ok(exports)
}

fn exports(engine: &Engine, component: &Component) -> Result<Exports, LoadError> {
    let ty = component.component_type();
    let names: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    let mut found = Exports { identity: false, source: false };
    let mut manifest = false;
    for name in &names {
        let Some(parts) = parse(name) else { continue };
        if parts.package != "sluice:connector" {
            continue;
        }
        same_contract(parts.version)?;
        match parts.interface {
            "manifest" => manifest = true,
            "identity" => found.identity = true,
            "source" => found.source = true,
            _ => {}
        }
    }
    let first = |package: &str, interface: &str| {
        names
            .iter()
            .find(|name| parse(name).is_some_and(|parts| parts.package == package && parts.interface == interface))
            .map(|name| shown(name))
    };
    if !manifest {
        if let Some(name) = first("wasi:http", "incoming-handler").or_else(|| first("wasi:http", "handler")) {
            return Err(LoadError::HttpProxy(name));
        }
        if let Some(name) = first("wasi:cli", "run") {
            return Err(LoadError::Command(name));
        }
    }
    let other = |missing: &str| {
        let list = names.iter().take(5).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
        let exports = if list.is_empty() { "nothing".to_owned() } else { list };
        LoadError::OtherWorld { exports, missing: missing.to_owned() }
    };
    if !manifest {
        return Err(other("sluice:connector/manifest@0.1.0"));
    }
    if !found.identity && !found.source {
        return Err(other("sluice:connector/source@0.1.0 (and identity) beside the manifest"));
    }
    Ok(found)
}

/// Compares the types of what will be entered.
fn typed(engine: &Engine, component: &Component, found: Exports) -> Result<(), LoadError> {
    let ty = component.component_type();
    let types = ty.instance_type();
    let check = |interface: &str, function: &str, fits: &dyn Fn(&ComponentFunc) -> wasmtime::Result<()>| {
        let wrong = |why: String| LoadError::Mismatch(format!("its export {interface}.{function} {why}"));
        let instance =
            ty.exports(engine).find(|(name, _)| parse(name).is_some_and(|p| p.package == "sluice:connector" && p.interface == interface));
        let Some(ComponentItem::ComponentInstance(instance)) = instance.map(|(_, item)| item.ty) else {
            return Err(wrong("is no interface".into()));
        };
        match instance.get_export(engine, function).map(|item| item.ty) {
            Some(ComponentItem::ComponentFunc(func)) => fits(&func).map_err(|error| wrong(format!("has another type: {}", chain(&error)))),
            _ => Err(wrong("is missing".into())),
        }
    };
    check("manifest", "describe", &|func| func.typecheck::<(), (String,)>(&types))?;
    if found.identity {
        check("identity", "identify", &|func| func.typecheck::<(), (Result<Account, Failure>,)>(&types))?;
    }
    if found.source {
        check("source", "sync", &|func| func.typecheck::<(), (Result<Outcome, Failure>,)>(&types))?;
    }
    Ok(())
}

fn imports(engine: &Engine, component: &Component) -> Result<(), LoadError> {
    let ty = component.component_type();
    for (name, item) in ty.imports(engine) {
        let Some(parts) = parse(name) else {
            return Err(missing(name, "only interfaces of sluice:connector and WASI 0.2", "it was built for another host"));
        };
        match parts.package {
            "sluice:connector" => {
                same_contract(parts.version)?;
                contract_import(engine, &parts, &item.ty)?;
            }
            package => match package.strip_prefix("wasi:") {
                Some(package) => wasi_import(name, package, &parts)?,
                None => {
                    return Err(missing(name, "only interfaces of sluice:connector and WASI 0.2", "it was built for another host"));
                }
            },
        }
    }
    Ok(())
}

fn contract_import(engine: &Engine, parts: &Name<'_>, item: &ComponentItem) -> Result<(), LoadError> {
    let name = format!("sluice:connector/{}", parts.interface);
    let Some((_, functions)) = IMPORTS.iter().find(|(interface, _)| *interface == parts.interface) else {
        let interfaces = IMPORTS.iter().map(|(interface, _)| *interface).collect::<Vec<_>>().join(", ");
        let cause = if LATER.contains(&parts.interface) {
            "it uses pushes, files or destinations, which come with a later version of Sluice"
        } else {
            "it was built against a newer contract; update Sluice, or use an older release of the connector"
        };
        return Err(missing(&name, &interfaces, cause));
    };
    let ComponentItem::ComponentInstance(instance) = item else {
        return Err(LoadError::Mismatch(format!("its import {} is no interface", shown(&name))));
    };
    for (function, item) in instance.exports(engine) {
        if matches!(item.ty, ComponentItem::ComponentFunc(_)) && !functions.contains(&function) {
            let offered = format!("{} has {}", shown(&name), functions.join(", "));
            let cause = "it was built against a newer contract; update Sluice, or use an older release of the connector";
            return Err(missing(&format!("{name}.{function}"), &offered, cause));
        }
    }
    Ok(())
}

fn wasi_import(name: &str, package: &str, parts: &Name<'_>) -> Result<(), LoadError> {
    if package == "http" {
        return Err(missing(
            name,
            "requests go through sluice:connector/http",
            "it uses an ordinary HTTP library; call http.fetch instead",
        ));
    }
    let offered = WASI.iter().find(|(known, _)| *known == package).is_some_and(|(_, list)| list.contains(&parts.interface));
    if minor(parts.version) != Some((0, 2)) {
        return Err(missing(name, "WASI 0.2", "it was built for another version of WASI; build it for wasm32-wasip2"));
    }
    if !offered {
        let list = WASI.iter().map(|(known, _)| format!("wasi:{known}")).collect::<Vec<_>>().join(", ");
        return Err(missing(name, &list, "no connector needs it here: leave out the library that brings it"));
    }
    Ok(())
}

fn missing(wanted: &str, offered: &str, cause: &str) -> LoadError {
    LoadError::MissingImport { wanted: shown(wanted), offered: offered.to_owned(), cause: cause.to_owned() }
}

/// Whether its instances can ever fit into a sandbox.
fn fits(component: &Component) -> Result<(), LoadError> {
    let Some(needs) = component.resources_required() else {
        return Err(LoadError::Mismatch("it instantiates a module that it imports".into()));
    };
    let limits = [
        ("linear memories", u64::from(needs.num_memories), u64::from(MEMORIES), "compose it from fewer components"),
        ("tables", u64::from(needs.num_tables), u64::from(TABLES), "compose it from fewer components"),
        (
            "elements in one table",
            needs.max_initial_table_size.unwrap_or(0),
            MAX_TABLE_ELEMENTS as u64,
            "it has more functions than any known connector; build it with optimisation",
        ),
    ];
    for (what, wanted, limit, advice) in limits {
        if wanted > limit {
            return Err(LoadError::DoesNotFit { what, wanted, limit, advice });
        }
    }
    Ok(())
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    one_line(error.chain().map(ToString::to_string))
}
