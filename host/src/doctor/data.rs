//! The data folder, the database in it, the host key, and what was compiled.

use super::Finding;
use crate::{config::Config, modules::bytes_words};
use sluice_store::{Database, Survey, survey};
use sluice_vault::{OsRandom, Vault};
use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc, time::SystemTime};

/// With less, the next big sync ends in "the disk is full".
const LITTLE: u64 = 1 << 30;
/// With less, it is full for every purpose.
const FULL: u64 = 64 << 20;
/// A write-ahead log that is copied back again and again stays far below.
const LONG_LOG: u64 = 512 << 20;

/// Looks at everything in the data folder; answers when the database was written last.
pub fn folder(all: &mut Vec<Finding>, config: &Config, running: bool) -> Option<SystemTime> {
    let found = match survey(&config.data_dir) {
        Ok(found) => found,
        Err(why) => {
            let line = format!("{} cannot be looked at: {why}", config.data_dir.display());
            all.push(Finding::problem("data folder", line, "run this as the user that runs sluice serve, or set another data-dir"));
            return None;
        }
    };
    all.push(if found.sqlite_fit {
        Finding::ok("sqlite", format!("{} (at least 3.51.3 is needed), part of this program", found.sqlite))
    } else {
        let line = format!("{}: before 3.51.3 a write-ahead log can damage the database", found.sqlite);
        Finding::problem("sqlite", line, "build Sluice with its own SQLite, as its Cargo.lock has it")
    });
    place(all, config, &found);
    let database = match &found.database {
        None => {
            all.push(Finding::ok("database", "none yet: the first start makes it"));
            None
        }
        Some(Err(why)) => {
            all.push(Finding::problem("database", format!("it cannot be read: {why}"), "run this as the user that runs sluice serve"));
            None
        }
        Some(Ok(database)) => {
            all.push(judge(database));
            Some(database)
        }
    };
    all.push(key(config, found.database.is_some(), database.filter(|_| !running)));
    all.push(compiled(&config.data_dir.join("compiled")));
    database.and_then(|d| newest(&d.path))
}

fn newest(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

fn place(all: &mut Vec<Finding>, config: &Config, found: &Survey) {
    let dir = config.data_dir.display();
    let there = found.place == config.data_dir;
    let meta = fs::metadata(&found.place);
    let us = rustix::process::geteuid().as_raw();
    let writable = rustix::fs::access(&found.place, rustix::fs::Access::WRITE_OK).is_ok();
    all.push(if let Some(kind) = found.network {
        Finding::problem(
            "data folder",
            format!("{dir} is on a network file system ({kind})"),
            "set data-dir to a local disk: SQLite's locks do not reach other machines",
        )
    } else if !writable {
        let line = format!("{} cannot be written to by user id {us}", found.place.display());
        Finding::problem("data folder", line, "run this as the user that runs sluice serve, or give the folder to that user")
    } else if !there {
        Finding::ok("data folder", format!("{dir} is not there yet: the first start makes it"))
    } else {
        match meta {
            Ok(meta) if meta.uid() != us => {
                let line = format!("{dir} belongs to user id {}, and this runs as {us}", meta.uid());
                Finding::warning("data folder", line, "run this as the user that runs sluice serve: for another one, files look otherwise")
            }
            Ok(meta) if meta.mode() & 0o077 != 0 => Finding::warning(
                "data folder",
                format!("{dir} can be entered by others (mode {:04o})", meta.mode() & 0o7777),
                format!("chmod 700 {dir}"),
            ),
            _ => Finding::ok("data folder", format!("{dir}, on a local file system")),
        }
    });
    let free = found.free_bytes.unwrap_or(u64::MAX);
    let line = format!("{} free at {}", bytes_words(free), found.place.display());
    all.push(match free {
        ..FULL => Finding::problem("disk", line, "free some space: nothing new can be stored; what waits goes on by itself afterwards"),
        FULL..LITTLE => Finding::warning("disk", line, "free some space before it is full: runs would wait then"),
        _ => Finding::ok("disk", line),
    });
}

fn judge(database: &Database) -> Finding {
    let path = database.path.display();
    let Database { bytes, wal_bytes, wal, ours, schema, known, .. } = database;
    let line = format!("{} of data, {} in its log, schema {schema}", bytes_words(*bytes), bytes_words(*wal_bytes));
    if *bytes == 0 {
        Finding::ok("database", "empty: the first start fills it in")
    } else if !ours {
        Finding::problem("database", format!("{path} was not made by Sluice"), "set another data-dir, or take that file out of it")
    } else if schema > known {
        let line = format!("{line}, and this program knows up to {known}");
        Finding::problem("database", line, "run the newer Sluice that wrote it, or restore the backup from before")
    } else if !wal {
        Finding::warning(
            "database",
            format!("{line}, without a write-ahead log"),
            "the next start turns it on; if it says that it cannot, take another disk",
        )
    } else if *wal_bytes > LONG_LOG {
        Finding::warning(
            "database",
            line,
            "end what reads the database all the time (a page of a backup tool, a shell): its log is not taken in before that",
        )
    } else {
        Finding::ok("database", line)
    }
}

/// `idle` is the database where nobody has it open: then it can be asked whose key it wants.
fn key(config: &Config, data: bool, idle: Option<&Database>) -> Finding {
    let path = config.key_file.display();
    if let Err(why) = Vault::check_place(&config.key_file, &config.data_dir) {
        return Finding::problem("host key", why.to_string(), "move it out of the data folder, and name it with key-file");
    }
    if !data && !config.key_file.exists() {
        return Finding::ok("host key", format!("none yet: the first start makes {path}"));
    }
    // Said to hold data, it never makes a key.
    let vault = match Vault::open(&config.key_file, true, Arc::new(OsRandom)) {
        Ok((vault, _)) => vault,
        Err(why) => {
            return Finding::problem("host key", why.to_string(), "without it no stored key can be opened, and the host does not start");
        }
    };
    let fine = format!("{path}, for its owner alone, outside the data folder");
    match idle.map(Database::host_key_ids) {
        None => Finding::ok("host key", fine),
        Some(Ok(Some(ids))) => match ids.into_iter().find(|id| !vault.holds(id)) {
            None => Finding::ok("host key", format!("{fine}; it opens this data")),
            Some(missing) => Finding::problem(
                "host key",
                format!("{path} is not the key of this data, which was sealed under key {missing}"),
                "restore the key file that was backed up with this data, or name it with --key-file",
            ),
        },
        Some(Ok(None)) => Finding::ok(
            "host key",
            format!("{fine}; whether it opens this data is seen at the next start (the last one did not end in order)"),
        ),
        Some(Err(why)) => {
            Finding::warning("host key", format!("{fine}; whether it opens this data cannot be seen: {why}"), "sluice serve says it")
        }
    }
}

fn compiled(folder: &Path) -> Finding {
    let meta = match fs::symlink_metadata(folder) {
        Ok(meta) => meta,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            return Finding::ok("compile cache", "none yet: connectors are compiled at the first start");
        }
        Err(why) => {
            return Finding::problem(
                "compile cache",
                format!("{}: {why}", folder.display()),
                "make it readable, or remove it: it is filled anew",
            );
        }
    };
    if !meta.is_dir() {
        return Finding::problem("compile cache", format!("{} is no folder", folder.display()), "remove it: the next start makes it anew");
    }
    if rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_err() {
        let line = format!("{} cannot be written to", folder.display());
        return Finding::problem("compile cache", line, "give it to the user that runs sluice serve, or remove it: it is filled anew");
    }
    let files: Vec<u64> = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().filter_map(|e| e.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).collect(),
        Err(why) => {
            return Finding::problem(
                "compile cache",
                format!("{}: {why}", folder.display()),
                "make it readable, or remove it: it is filled anew",
            );
        }
    };
    let line = format!("{} files, {}", files.len(), bytes_words(files.iter().sum()));
    if meta.mode() & 0o077 != 0 {
        return Finding::warning(
            "compile cache",
            format!("{line}, open to others (mode {:04o})", meta.mode() & 0o7777),
            "chmod 700; the next start does so too",
        );
    }
    Finding::ok("compile cache", line)
}
