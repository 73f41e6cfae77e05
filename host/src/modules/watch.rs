//! Watching the folder, without asking the system to tell us: notification is missing on network folders and container mounts, which is where
//! operators put modules, and a look a second costs next to nothing.
//!
//! A file that was different at the last look is being written: it is left as it was until two looks agree, and does not hold back the others. What
//! a look compares (inode, size, times) only says when to read; what counts is the hash of what is read.

use super::catalogue::{Change, Restless};
use crate::app::App;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Between two looks while nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks while something was not at rest.
pub const SETTLES: Duration = Duration::from_millis(400);

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The stamp of what was never read: no file has it.
const UNREAD: Stamp = Stamp { inode: 0, size: u64::MAX, modified: (0, 0), changed: (0, 0) };
/// The stamp of a name that cannot be looked up: that it is there is all that is known.
const NAMELESS: Stamp = Stamp { inode: 0, size: 0, modified: (0, 0), changed: (0, 0) };

/// The folder at a moment.
pub type Look = BTreeMap<String, Stamp>;

/// The files that are not the same in both, or are in one alone.
pub fn differing(last: &Look, now: &Look) -> BTreeSet<String> {
    last.keys().chain(now.keys()).filter(|name| last.get(*name) != now.get(*name)).cloned().collect()
}

/// What two looks say.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Something at rest is not as it was when the folder was last read.
    read: bool,
    /// Files that are being written.
    restless: BTreeSet<String>,
}

/// `used` is what was read last; nothing, where nobody knows how the folder was then.
fn compare(used: Option<&Look>, last: &Look, now: &Look) -> Seen {
    let restless = differing(last, now);
    let read = used.is_none_or(|used| differing(used, now).iter().any(|name| !restless.contains(name)));
    Seen { read, restless }
}

/// The files that a reading would look at. Blocks on the disk.
pub fn look(folder: &Path, always: &BTreeSet<String>) -> Look {
    let stamp = |name: &str| {
        // Of the name itself: a link is looked at, never its target.
        let Ok(meta) = fs::symlink_metadata(folder.join(name)) else { return NAMELESS };
        Stamp {
            inode: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    };
    let (files, _) = super::folder::files(folder, always);
    files.into_iter().map(|name| (name.clone(), stamp(&name))).collect()
}

/// Reads the folder again whenever something in it has changed and come to rest, and examines what nobody has examined, until `stop`.
pub async fn watch(app: Arc<App>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = examine(&app) => {}
        () = follow(&app) => {}
    }
}

/// Examines whatever waits for that, one after the other.
async fn examine(app: &App) {
    app.modules.works();
    loop {
        match app.modules.step(app.workshop(), |_| true, None).await {
            Some(changed) if changed.is_empty() => {}
            Some(_) => app.wake.notify_one(),
            None => app.modules.news().await,
        }
    }
}

async fn follow(app: &App) {
    let folder = Arc::new(app.config.modules.clone());
    // What the start read may have changed since, or gone: the folder is read again whatever the first look sees.
    let mut used = None;
    let (first, always) = (folder.clone(), app.modules.always());
    let mut last = tokio::task::spawn_blocking(move || look(&first, &always)).await.unwrap_or_default();
    let mut wait = SETTLES;
    loop {
        tokio::time::sleep(wait).await;
        let (folder, always) = (folder.clone(), app.modules.always());
        let Ok(now) = tokio::task::spawn_blocking(move || look(&folder, &always)).await else { continue };
        let seen = compare(used.as_ref(), &last, &now);
        app.modules.saw(now.clone(), seen.restless.clone());
        wait = if seen.restless.is_empty() { LOOK_EVERY } else { SETTLES };
        if seen.read {
            // What is restless stays as it was, so that it is read once it rests; also where it then is gone, and was there at the start.
            let mut read = now.clone();
            for name in &seen.restless {
                let stamp = used.as_ref().and_then(|used: &Look| used.get(name)).unwrap_or(&UNREAD);
                read.insert(name.clone(), stamp.clone());
            }
            rescan(app, seen.restless).await;
            used = Some(read);
        }
        last = now;
    }
}

/// Reads the folder again; what is being written stays as it was.
async fn rescan(app: &App, restless: BTreeSet<String>) {
    let _alone = app.modules.changing.lock().await;
    let changed = app.modules.change(app.workshop(), Change { restless: Restless::Kept(restless), ..Change::default() }).await;
    if !changed.is_empty() {
        app.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(size: u64) -> Stamp {
        Stamp { inode: 1, size, modified: (0, 0), changed: (0, 0) }
    }

    fn folder(files: &[(&str, u64)]) -> Look {
        files.iter().map(|(name, size)| ((*name).to_owned(), at(*size))).collect()
    }

    #[test]
    fn a_file_is_read_when_two_looks_agree() {
        let (none, half, whole) = (folder(&[]), folder(&[("a", 1)]), folder(&[("a", 2)]));
        let grows = Seen { read: false, restless: BTreeSet::from(["a".to_owned()]) };
        assert_eq!(compare(Some(&none), &none, &half), grows, "new");
        assert_eq!(compare(Some(&none), &half, &whole), grows, "growing");
        assert_eq!(compare(Some(&none), &whole, &whole), Seen { read: true, restless: BTreeSet::new() }, "at rest");
        assert_eq!(compare(Some(&whole), &whole, &whole), Seen { read: false, restless: BTreeSet::new() }, "read");
        assert!(compare(Some(&whole), &none, &none).read, "taken away");
        assert!(compare(None, &none, &none).read, "gone before anybody looked");
        assert_eq!(compare(None, &half, &whole), Seen { read: true, ..grows }, "growing from the start");
    }

    #[test]
    fn a_file_that_never_rests_holds_nobody_back() {
        let (before, after) = (folder(&[("a", 1), ("b", 5)]), folder(&[("a", 2), ("b", 5)]));
        let seen = compare(Some(&folder(&[])), &before, &after);
        assert!(seen.read, "b is at rest");
        assert_eq!(seen.restless, BTreeSet::from(["a".to_owned()]));
    }
}
