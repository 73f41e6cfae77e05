//! There is no plain mode: with data there, a missing, wrong, short or readable key stops the start, and nothing is written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sluice_vault::{KeyError, KeyFile, OsRandom, Vault};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn open(path: &Path, data_exists: bool) -> Result<(Vault, KeyFile), KeyError> {
    Vault::open(path, data_exists, Arc::new(OsRandom))
}

fn error(path: &Path, data_exists: bool) -> KeyError {
    match open(path, data_exists) {
        Ok(_) => panic!("opened {}", path.display()),
        Err(why) => why,
    }
}

/// Everything below a folder: names, modes and contents.
fn picture(folder: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            let content = fs::read(&path).unwrap_or_default();
            (path, mode, content)
        })
        .collect();
    all.sort();
    all
}

fn made(folder: &Path) -> (PathBuf, Vault) {
    let path = folder.join("host.key");
    let (vault, how) = open(&path, false).unwrap();
    assert_eq!(how, KeyFile::Created(path.clone()));
    (path, vault)
}

#[test]
fn a_first_start_makes_a_key_that_only_the_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/folder/host.key");
    let (vault, how) = open(&path, false).unwrap();
    assert_eq!(how, KeyFile::Created(path.clone()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o7777, 0o700);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("Back it up"), "{text}");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "the draft is gone");

    let sealed = vault.seal("x", b"value");
    let (again, how) = open(&path, true).unwrap();
    assert_eq!(how, KeyFile::Opened(path.clone()));
    assert_eq!(again.key_id(), vault.key_id());
    assert!(again.open_sealed("x", &sealed).unwrap().matches(b"value"));
    assert_eq!(again.derive("cache"), vault.derive("cache"));
    assert_ne!(again.derive("cache"), vault.derive("cookie"));
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "opening rewrites nothing");
}

#[test]
fn data_without_a_key_stops_the_start_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.key");
    let why = error(&path, true);
    assert!(matches!(why, KeyError::Missing { .. }), "{why}");
    assert!(why.to_string().contains("key-file in plugins.toml"), "{why}");
    assert!(picture(folder.path()).is_empty());
    let deep = folder.path().join("not/there/host.key");
    assert!(matches!(error(&deep, true), KeyError::Missing { .. }));
    assert!(picture(folder.path()).is_empty(), "not even its folder");
}

#[test]
fn a_key_that_others_may_read_or_change_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = made(folder.path());
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let before = picture(folder.path());
        for data_exists in [true, false] {
            let why = error(&path, data_exists);
            assert!(matches!(why, KeyError::Exposed { .. }), "{mode:o}: {why}");
            assert!(why.to_string().contains("chmod 600"), "{why}");
        }
        assert_eq!(picture(folder.path()), before);
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(open(&path, true).is_ok(), "{mode:o}");
    }
}

#[test]
fn a_short_or_changed_key_stops_the_start_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = made(folder.path());
    let good = fs::read(&path).unwrap();
    let line_at = good.windows(12).position(|w| w == b"sluice-key-1").unwrap();
    let line = &good[line_at..];
    let check = |what: &str, content: &[u8]| {
        fs::write(&path, content).unwrap();
        let before = picture(folder.path());
        for data_exists in [true, false] {
            let why = error(&path, data_exists);
            assert!(matches!(why, KeyError::Damaged { .. }), "{what}: {why}");
        }
        assert_eq!(picture(folder.path()), before, "{what}");
    };
    check("empty", b"");
    check("comments only", &good[..line_at]);
    check("not text", &[0xff; 80]);
    check("too large", &vec![b'#'; 70_000]);
    check("another form", b"sluice-key-2 0 0\n");
    check("a trailing word", &[&line[..line.len() - 1], b" more\n"].concat());
    check("twice", &[line, line].concat());
    // Each cut of the line, save the last newline; each changed letter of id and key.
    for end in 0..line.len() - 1 {
        check("cut", &line[..end]);
    }
    for at in 13..line.len() - 1 {
        let mut changed = line.to_vec();
        changed[at] = if changed[at] == b'7' { b'8' } else { b'7' };
        check("changed", &changed);
    }
    fs::write(&path, &good).unwrap();
    assert!(open(&path, true).is_ok());
}

#[test]
fn what_is_no_file_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let why = error(folder.path(), false);
    assert!(matches!(why, KeyError::Damaged { .. } | KeyError::Io { .. }), "{why}");
}

#[test]
fn several_keys_are_read_and_the_first_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (old_path, old) = made(folder.path());
    let new_folder = tempfile::tempdir().unwrap();
    let (new_path, new) = made(new_folder.path());
    let (_, wrapped_old) = old.new_data_key("c");
    let sealed_old = old.seal("flow", b"before");

    fs::write(&new_path, [fs::read(&new_path).unwrap(), fs::read(&old_path).unwrap()].concat()).unwrap();
    let (both, _) = open(&new_path, true).unwrap();
    assert_eq!(both.key_id(), new.key_id());
    assert!(both.holds(old.key_id()) && both.holds(new.key_id()) && !both.holds("0000000000000000"));
    assert!(both.unwrap("c", &wrapped_old).is_ok());
    assert!(both.open_sealed("flow", &sealed_old).unwrap().matches(b"before"));
    let (_, wrapped) = both.new_data_key("c");
    assert_eq!(wrapped.key_id, new.key_id());
    assert!(new.unwrap("c", &wrapped).is_ok());
    assert!(!new.holds(old.key_id()), "a host notices a key of another one before it starts");
}

#[test]
fn two_first_starts_at_once_agree_on_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.key");
    let ids: Vec<String> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&path, false).unwrap().0.key_id().to_owned())).collect();
        starts.into_iter().map(|s| s.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_key_inside_the_data_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, folder.path().join("link")).unwrap();
    for inside in ["data/host.key", "data/deep/er/host.key", "link/host.key", "link/deep/host.key"] {
        let why = Vault::check_place(&folder.path().join(inside), &data).unwrap_err();
        assert!(why.to_string().contains("key-file in plugins.toml"), "{why}");
    }
    for outside in ["host.key", "data2/host.key", "config/host.key"] {
        assert!(Vault::check_place(&folder.path().join(outside), &data).is_ok(), "{outside}");
    }
    // Neither exists yet.
    assert!(Vault::check_place(&folder.path().join("new/host.key"), &folder.path().join("new")).is_err());
}
