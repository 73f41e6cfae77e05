//! The copies that run: approved bytes, in the data folder, each in a file called by its hash.
//!
//! The modules folder belongs to whoever drops files into it; what was approved must not change when it does. So the bytes that were judged are
//! written here before the approval is, and it is these that are loaded from then on, hashed again each time: a copy that is not what its name says
//! is as good as none. A copy appears whole or not at all (written beside, made durable, renamed), so a host killed in between leaves a stray file
//! at worst, and [`Copies::sweep`] takes those away.

use super::folder::{self, Unreadable};
use crate::app::FailPoint;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Lower-case hex SHA-256.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The folder of copies.
#[derive(Clone)]
pub struct Copies {
    folder: PathBuf,
    fail_point: FailPoint,
}

impl Copies {
    /// Those of a data folder.
    #[must_use]
    pub fn of(data_dir: &Path, fail_point: FailPoint) -> Self {
        Self { folder: data_dir.join("modules"), fail_point }
    }

    /// Where the copy of these bytes lies.
    #[must_use]
    pub fn path(&self, hash: &str) -> PathBuf {
        self.folder.join(format!("{hash}.wasm"))
    }

    /// The copy, if it still is what its name says. The error is for a line.
    pub fn get(&self, wanted: &str) -> Result<Vec<u8>, String> {
        let path = self.path(wanted);
        match folder::read(&path) {
            Ok(bytes) if hash(&bytes) == wanted => Ok(bytes),
            Ok(_) => Err(format!("its approved copy {} was changed: put the approved file back into the modules folder", path.display())),
            Err(Unreadable::Missing) => {
                Err(format!("its approved copy {} is gone: put the approved file back into the modules folder", path.display()))
            }
            Err(Unreadable::Other(why)) => Err(format!("its approved copy {}: {why}", path.display())),
        }
    }

    /// Keeps these bytes; on the disk when this returns.
    pub fn put(&self, hash: &str, bytes: &[u8]) -> io::Result<()> {
        if self.get(hash).is_ok() {
            // Whoever put it there may have been killed before its name was durable.
            return self.names_are_durable();
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let half = self.folder.join(format!("{hash}.half"));
        match fs::remove_file(&half) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&half)?;
        let (begin, rest) = bytes.split_at(bytes.len() / 2);
        file.write_all(begin)?;
        (self.fail_point)("copy:half-written");
        file.write_all(rest)?;
        file.sync_all()?;
        (self.fail_point)("copy:before-its-name");
        fs::rename(&half, self.path(hash))?;
        self.names_are_durable()
    }

    /// The folder itself may be new as well.
    fn names_are_durable(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()?;
        self.folder.parent().map_or(Ok(()), |data| File::open(data)?.sync_all())
    }

    /// Removes copies that nothing can go back to, and halves. Nothing but our own names is touched.
    pub fn sweep(&self, keep: &BTreeSet<String>) -> io::Result<usize> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(e) => return Err(e),
        };
        let mut gone = 0;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some((stem, end)) = name.to_str().and_then(|n| n.rsplit_once('.')) else { continue };
            let ours = stem.len() == 64 && stem.bytes().all(|b| b.is_ascii_hexdigit()) && matches!(end, "wasm" | "half");
            if ours && (end == "half" || !keep.contains(stem)) {
                fs::remove_file(entry.path())?;
                gone += 1;
            }
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(data_dir: &Path) -> Copies {
        Copies::of(data_dir, std::sync::Arc::new(|_| {}))
    }

    #[test]
    fn a_copy_that_is_not_what_its_name_says_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let copies = copies(dir.path());
        let name = hash(b"bytes");
        assert!(copies.get(&name).unwrap_err().contains("is gone"));
        copies.put(&name, b"bytes").unwrap();
        assert_eq!(copies.get(&name).unwrap(), b"bytes");
        fs::write(copies.path(&name), b"other").unwrap();
        assert!(copies.get(&name).unwrap_err().contains("was changed"));
        copies.put(&name, b"bytes").unwrap();
        assert_eq!(copies.get(&name).unwrap(), b"bytes", "put again, it is mended");
    }

    #[test]
    fn a_copy_that_became_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let copies = copies(dir.path());
        let name = hash(b"bytes");
        copies.put(&name, b"bytes").unwrap();
        fs::rename(copies.path(&name), dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), copies.path(&name)).unwrap();
        assert!(copies.get(&name).unwrap_err().contains("not a regular file"));
    }

    #[test]
    fn what_nothing_goes_back_to_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let copies = copies(dir.path());
        assert_eq!(copies.sweep(&BTreeSet::new()).unwrap(), 0, "no folder yet");
        let (kept, old) = (hash(b"kept"), hash(b"old"));
        copies.put(&kept, b"kept").unwrap();
        copies.put(&old, b"old").unwrap();
        let folder = dir.path().join("modules");
        fs::write(folder.join(format!("{kept}.half")), b"ke").unwrap();
        fs::write(folder.join("notes.wasm"), b"somebody's own").unwrap();
        assert_eq!(copies.sweep(&BTreeSet::from([kept.clone()])).unwrap(), 2);
        let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let mut wanted = vec![format!("{kept}.wasm"), "notes.wasm".to_owned()];
        wanted.sort();
        assert_eq!(left, wanted);
    }
}
