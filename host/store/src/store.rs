//! The handle: a data folder that this process holds, its writer, its readers.
//!
//! Writing goes through one queue to one thread ([`crate::writer`]); reading happens on a few connections of its own, on tokio's blocking
//! threads, each call in one read transaction that ends with it, so that no page that is being sent holds the WAL back. The folder is held
//! until [`Store::close`] or until the last clone goes; either way everything that was queued is committed first.

use crate::apply::Prepared;
use crate::open::{self, Held, Place};
use crate::writer::{self, Item, Queue};
use crate::{Batch, CommitError, Committed, OpenError, Pending, StoreError, erase};
use rusqlite::Connection;
use sluice_model::time::{Clock, Random};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// Readers at once: pages and claims; each holds a connection with 16 MiB of cache at most.
const READERS: usize = 4;
/// How often emptying the WAL is tried while readers hold it back.
const EMPTY_TRIES: u32 = 20;
/// Between two of those.
const EMPTY_PAUSE: Duration = Duration::from_millis(50);

/// A data folder that this process holds. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    held: Mutex<Option<Held>>,
    place: Place,
}

struct Readers {
    dir: PathBuf,
    free: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => open::reader(&self.dir)?,
        };
        conn.prepare_cached("BEGIN")?.execute([])?;
        let done = work(&conn);
        // A connection that cannot end its transaction is dropped, which ends it.
        if conn.prepare_cached("COMMIT")?.execute([]).is_ok() && !self.free.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
        done
    }
}

impl Store {
    /// Opens a data folder, making it when it is new, and holds it until it is closed or the last clone is dropped. Data that was being
    /// erased when the host stopped is erased first.
    ///
    /// # Errors
    /// Why it was refused; see [`OpenError`].
    pub fn open(dir: &Path, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self, OpenError> {
        let held = open::hold(dir)?;
        let conn = open::writer(dir)?;
        let place = Place::of(dir)?;
        let path = dir.join(open::DATABASE);
        erase::resume(&conn).map_err(|error| OpenError::Io {
            doing: "finishing an erasure in",
            path: path.clone(),
            source: std::io::Error::other(error),
        })?;
        let queue = Queue::new();
        let (nudges, nudged) = sync_channel::<()>(1);
        let checkpointer = open::checkpointer(dir).map_err(|source| OpenError::Sqlite { path: path.clone(), source })?;
        let thread = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|source| OpenError::Io {
                doing: "starting a thread for",
                path: path.clone(),
                source,
            })
        };
        let copying = thread(
            "store-wal",
            Box::new(move || {
                while nudged.recv().is_ok() {
                    if let Err(error) = writer::checkpoint(&checkpointer, "PASSIVE") {
                        tracing::warn!(%error, "the WAL was not copied back; it grows until the next time");
                    }
                }
            }),
        )?;
        let writing = {
            let (queue, clock) = (Arc::clone(&queue), Arc::clone(&clock));
            thread("store-writer", Box::new(move || writer::run(conn, &queue, clock.as_ref(), &nudge(nudges))))?
        };
        let readers =
            Arc::new(Readers { dir: dir.to_owned(), free: Semaphore::new(READERS), idle: Mutex::new(Vec::with_capacity(READERS)) });
        let threads = Mutex::new(vec![writing, copying]);
        Ok(Self { inner: Arc::new(Inner { queue, readers, clock, random, threads, held: Mutex::new(Some(held)), place }) })
    }

    /// Which file this is.
    pub(crate) fn place(&self) -> Place {
        self.inner.place.clone()
    }

    /// Whether there is a database in this folder.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        std::fs::metadata(dir.join(open::DATABASE)).is_ok_and(|file| file.len() > 0)
    }

    /// Commits what waits, empties the write-ahead log, lets the folder go, and refuses further calls, also of other clones.
    pub async fn close(&self) {
        // An orderly end; whether the WAL is empty does not matter, the next start reads it.
        let _ = self.empty_wal().await;
        let inner = Arc::clone(&self.inner);
        let _ = tokio::task::spawn_blocking(move || inner.end()).await;
    }

    /// Resolves when the store has stopped for good, with the reason: the host must exit.
    pub async fn fatal(&self) -> String {
        self.inner.queue.stopped().await
    }

    /// Since when the disk is full, ms; `None` once something could be written again.
    #[must_use]
    pub fn full_since(&self) -> Option<i64> {
        self.inner.queue.full_since()
    }

    /// A fresh random public id: 120 bits in 24 letters and digits.
    #[must_use]
    pub fn new_public_id(&self) -> String {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut bytes = [0; 24];
        self.inner.random.fill(&mut bytes);
        bytes.iter().map(|byte| LETTERS.get(usize::from(byte % 32)).map_or('a', |letter| char::from(*letter))).collect()
    }

    /// Queues a batch. Batches of one connection are committed in the order in which they are submitted.
    pub fn submit(&self, batch: Batch) -> Pending {
        let (reply, answer) = oneshot::channel();
        self.inner.queue.push(Item::Batch(Box::new(Prepared::new(batch, reply))));
        Pending { answer }
    }

    /// Queues a batch and waits until it is on the disk.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.submit(batch).await
    }

    pub(crate) fn now(&self) -> i64 {
        self.inner.clock.now()
    }

    /// Runs a closure of this crate on the writer; it is on the disk when this returns.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut crate::apply::WriterState) -> Result<T, StoreError> + Send + 'static,
    {
        self.inner.queue.call(work).await
    }

    /// Runs a closure of this crate on a reader, in one read transaction.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let readers = Arc::clone(&self.inner.readers);
        let _one = self.inner.readers.free.acquire().await.map_err(|_| StoreError::Closed)?;
        tokio::task::spawn_blocking(move || readers.with(work)).await.map_err(|_| StoreError::Closed)?
    }

    /// Empties the WAL, so that what was deleted is in no file any more. False when a long read was in the way.
    pub(crate) async fn empty_wal(&self) -> Result<bool, StoreError> {
        for _ in 0..EMPTY_TRIES {
            let (reply, answer) = oneshot::channel();
            self.inner.queue.push(Item::Empty(reply));
            if answer.await.map_err(|_| StoreError::Closed)?? {
                return Ok(true);
            }
            tokio::time::sleep(EMPTY_PAUSE).await;
        }
        Ok(false)
    }
}

fn nudge(nudges: SyncSender<()>) -> impl Fn() {
    move || {
        // One that waits already is enough.
        let _ = nudges.try_send(());
    }
}

impl Inner {
    fn end(&self) {
        self.queue.close();
        self.readers.free.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
        self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}
