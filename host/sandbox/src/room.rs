//! How much compiled code is kept, and which goes first.
//!
//! The problem: everything that anybody drops into the modules folder is compiled before it is approved, so whoever may write there could fill the data
//! disk with compiled code, one variant after the other. The contract: what belongs to no module any more goes, and so does what another build compiled
//! and what a host that was killed left half written; the rest stays below [`MAX_KEPT`] at any moment. What nobody has approved makes room for what
//! somebody has, never the other way round. Losing a file costs compiling it again, and nothing else.
//!
//! Whoever calls holds the cache's lock, under which files are written too: a temporary file that is seen here is nobody's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

/// Bytes of all files together: a few of the largest (512 MiB), hundreds of ordinary ones.
pub(crate) const MAX_KEPT: u64 = 2 << 30;

/// What may be removed so that there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spare {
    /// Only what is of no use.
    Nothing,
    /// What nobody has approved.
    Strangers,
    /// Anything: the bound holds whatever was approved.
    Anything,
}

/// Which compiled code is of use.
pub(crate) struct Wanted<'a> {
    /// This build's part of the files' names.
    pub engine: &'a str,
    /// Hashes of what somebody approved.
    pub approved: &'a BTreeSet<String>,
    /// Hashes of everything else that lies in the folder; none where nobody has looked yet.
    pub listed: Option<&'a BTreeSet<String>>,
}

struct Kept {
    approved: bool,
    modified: SystemTime,
    bytes: u64,
    path: PathBuf,
}

/// Removes what is of no use, then what may be spared until `more` bytes fit below `most`; says whether they do. The file at `instead` counts for
/// nothing: it is about to be replaced. Nothing but the cache's own names is touched.
pub(crate) fn make(folder: &Path, wanted: &Wanted<'_>, spare: Spare, more: u64, most: u64, instead: Option<&Path>) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(more <= most),
        Err(e) => return Err(e),
    };
    let (mut all, mut bytes) = (Vec::new(), more);
    for entry in entries {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let Some(parts) = name.to_str().and_then(parts) else { continue };
        if instead == Some(path.as_path()) {
            continue;
        }
        let approved = wanted.approved.contains(parts.hash);
        let listed = wanted.listed.is_none_or(|listed| listed.contains(parts.hash));
        if parts.half || parts.engine != wanted.engine || !(approved || listed) {
            remove(&path)?;
            continue;
        }
        // Of the name itself: the cache reads no links, and this follows none.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        bytes = bytes.saturating_add(meta.len());
        all.push(Kept { approved, modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), bytes: meta.len(), path });
    }
    all.sort_by_key(|kept| (kept.approved, kept.modified));
    for kept in all.iter().filter(|kept| spare > if kept.approved { Spare::Strangers } else { Spare::Nothing }) {
        if bytes <= most {
            break;
        }
        remove(&kept.path)?;
        bytes = bytes.saturating_sub(kept.bytes);
    }
    Ok(bytes <= most)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        // Whoever else deletes the cache may.
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

struct Parts<'a> {
    hash: &'a str,
    engine: &'a str,
    half: bool,
}

/// `HASH-ENGINE.cwasm`, or `HASH-ENGINE.PID.tmp` while it is written.
fn parts(name: &str) -> Option<Parts<'_>> {
    let hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    let (stem, end) = name.split_once('.')?;
    let (hash, engine) = stem.split_once('-').filter(|(hash, engine)| hex(hash, 64) && hex(engine, 16))?;
    let half = end.strip_suffix(".tmp").is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()));
    (half || end == "cwasm").then_some(Parts { hash, engine, half })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const THIS: &str = "0123456789abcdef";

    /// One hash for each letter.
    fn hash(letter: char) -> String {
        letter.to_string().repeat(64)
    }

    fn hashes(letters: &str) -> BTreeSet<String> {
        letters.chars().map(hash).collect()
    }

    /// Files of ten bytes, each younger than the one before.
    fn folder(letters: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (age, letter) in letters.chars().enumerate() {
            put(folder.path(), &format!("{}-{THIS}.cwasm", hash(letter)), age as u64);
        }
        folder
    }

    fn put(folder: &Path, name: &str, age: u64) {
        fs::write(folder.join(name), [0; 10]).unwrap();
        let file = fs::File::options().write(true).open(folder.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + age)).unwrap();
    }

    fn left(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The first letters of what is left.
    fn letters(folder: &Path) -> String {
        left(folder).iter().map(|name| &name[..1]).collect()
    }

    #[test]
    fn what_belongs_to_nothing_goes_and_nothing_else_is_touched() {
        let folder = folder("abc");
        let others = [
            "notes.txt".to_owned(),
            format!("{}-{THIS}.old.tmp", hash('a')),
            format!("{}-{THIS}.cwasm", &hash('a')[1..]),
            format!("{}.cwasm", hash('a')),
        ];
        let stray = [format!("{}-{THIS}.17.tmp", hash('a')), format!("{}-fedcba9876543210.cwasm", hash('a'))];
        others.iter().chain(&stray).for_each(|name| put(folder.path(), name, 0));
        std::os::unix::fs::symlink("/nowhere", folder.path().join(format!("{}-{THIS}.cwasm", hash('d')))).unwrap();
        let (approved, listed) = (hashes("a"), hashes("b"));
        let wanted = Wanted { engine: THIS, approved: &approved, listed: None };
        assert!(make(folder.path(), &wanted, Spare::Nothing, 0, 1_000, None).unwrap());
        assert_eq!(left(folder.path()).len(), 4 + 4, "nobody has said yet what lies in the folder");
        let wanted = Wanted { listed: Some(&listed), ..wanted };
        assert!(make(folder.path(), &wanted, Spare::Nothing, 0, 1_000, None).unwrap());
        let mut expected: Vec<String> = ["a", "b"].iter().map(|l| format!("{}-{THIS}.cwasm", l.repeat(64))).chain(others).collect();
        expected.sort();
        assert_eq!(left(folder.path()), expected);
    }

    #[test]
    fn strangers_make_room_the_oldest_first_and_what_is_approved_last() {
        for (spare, more, fits, stays) in [
            (Spare::Nothing, 0, true, "abcd"),
            (Spare::Nothing, 11, false, "abcd"),
            (Spare::Strangers, 10, true, "abcd"),
            (Spare::Strangers, 11, true, "abd"),
            (Spare::Strangers, 30, true, "ab"),
            (Spare::Strangers, 31, false, "ab"),
            (Spare::Anything, 31, true, "b"),
            (Spare::Anything, 51, false, ""),
        ] {
            let folder = folder("abcd");
            let (approved, listed) = (hashes("ab"), hashes("cd"));
            let wanted = Wanted { engine: THIS, approved: &approved, listed: Some(&listed) };
            assert_eq!(make(folder.path(), &wanted, spare, more, 50, None).unwrap(), fits, "{spare:?} {more}");
            assert_eq!(letters(folder.path()), stays, "{spare:?} {more}");
        }
    }

    #[test]
    fn what_is_replaced_takes_no_room_twice() {
        let folder = folder("abc");
        let path = folder.path().join(format!("{}-{THIS}.cwasm", hash('a')));
        let approved = hashes("abc");
        let wanted = Wanted { engine: THIS, approved: &approved, listed: None };
        assert!(!make(folder.path(), &wanted, Spare::Nothing, 10, 30, None).unwrap());
        assert!(make(folder.path(), &wanted, Spare::Nothing, 10, 30, Some(&path)).unwrap());
    }

    #[test]
    fn a_folder_that_is_gone_has_room() {
        let folder = tempfile::tempdir().unwrap();
        let approved = BTreeSet::new();
        let wanted = Wanted { engine: THIS, approved: &approved, listed: None };
        assert!(make(&folder.path().join("gone"), &wanted, Spare::Nothing, 10, 30, None).unwrap());
        assert!(!make(&folder.path().join("gone"), &wanted, Spare::Nothing, 31, 30, None).unwrap());
    }
}
