//! The one writer: it gathers what is waiting into one commit.
//!
//! SQLite has one writer at a time, and a durable commit costs one flush whatever is in it. So all writing goes to one thread, which takes
//! everything that waits, without a timer, commits it as one transaction, and then tells every caller. While the disk flushes, the next
//! group gathers. Alone, a caller waits for one flush; a hundred callers share it.
//!
//! One item that is refused (a broken fence, a constraint) costs only its caller: see [`transaction`]. Where SQLite
//! has dropped the whole transaction (a full disk does that, savepoints included) nobody is told yes. After an I/O error or a failing COMMIT
//! nothing is certain any more: every caller is refused, the store refuses from then on, and [`crate::Store::fatal`] tells the host to exit;
//! the next start recovers what was acknowledged. The writer is never interrupted.
//!
//! Bounds: a group takes at most [`GROUP_ITEMS`], [`GROUP_ROWS`] and [`GROUP_BYTES`]; an item over [`ALONE_ROWS`] goes alone; what waits may
//! hold [`WAITING_BYTES`], after which submitters are refused until it drains. Small urgent items (keys, claims, endings) go before bulk,
//! but every [`BULK_TURN`]th group begins with bulk, so neither starves. One connection's batches keep their order.

use crate::StoreError;
use crate::apply::{self, Prepared, WriterState};
use crate::{days, open};
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use sluice_model::time::Clock;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Items of one group: more would make the first of them wait for work that is not theirs.
const GROUP_ITEMS: usize = 256;
/// Rows of one group: about 35 ms of work.
const GROUP_ROWS: usize = 20_000;
/// Bytes of one group: what a WAL takes in about one flush of a slow disk.
const GROUP_BYTES: usize = 8 << 20;
/// Rows over which a batch goes alone: its neighbours would wait for it.
const ALONE_ROWS: usize = 5_000;
/// Rows up to which a batch counts as small: a run's ending, not a back-fill.
const SMALL_ROWS: usize = 256;
/// Each of so many groups begins with bulk.
const BULK_TURN: u64 = 4;
/// What may wait: runs wait for their own commits, so only a fault in the host gets here.
const WAITING_BYTES: usize = 512 << 20;
/// With nothing to do for so long, the writer folds days. Shorter, and each burst of runs would pay a flush for it.
const IDLE: Duration = Duration::from_millis(20);
/// Groups after which days are folded even without a pause, in the group's own transaction.
const FOLD_TURN: u64 = 64;
/// How long emptying the WAL waits for readers to go.
const EMPTY_WAIT: Duration = Duration::from_millis(100);
/// WAL pages (4 KiB) between two calls of the checkpointer: a page that is written over and over meanwhile is copied once, and a start after a kill
/// has little to read.
const WAL_PAGES: u64 = 4_000;
/// The same with nothing else to do. Not fewer: where a run comes now and then, each would be copied for itself.
const WAL_PAGES_IDLE: u64 = 1_000;
/// WAL pages after which the writer copies the WAL itself: then nobody writes meanwhile, and the WAL begins anew.
const WAL_PAGES_MOST: u64 = 16_000;

/// A closure of this crate, run by the writer in its own savepoint.
pub(crate) trait Job: Send {
    /// Does the work. Called once.
    fn run(&mut self, conn: &Connection, state: &mut WriterState) -> Result<(), StoreError>;
    /// Tells the caller, once, after the commit.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Call<T, F> {
    work: Option<F>,
    made: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnOnce(&Connection, &mut WriterState) -> Result<T, StoreError> + Send> Job for Call<T, F> {
    fn run(&mut self, conn: &Connection, state: &mut WriterState) -> Result<(), StoreError> {
        let work = self.work.take().ok_or(StoreError::Closed)?;
        self.made = Some(work(conn, state)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { made, reply, .. } = *self;
        // A caller that gave up has dropped the other end.
        let _ = reply.send(outcome.and_then(|()| made.ok_or(StoreError::Closed)));
    }
}

/// What waits for the writer.
pub(crate) enum Item {
    /// Small and urgent.
    Job(Box<dyn Job>),
    /// A run's batch.
    Batch(Box<Prepared>),
    /// Empty the WAL; outside any transaction. Answers whether it is empty.
    Empty(oneshot::Sender<Result<bool, StoreError>>),
}

impl Item {
    fn rows(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.rows,
            Self::Job(_) | Self::Empty(_) => 1,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.bytes,
            Self::Job(_) | Self::Empty(_) => 0,
        }
    }

    fn answer(self, outcome: Result<(), StoreError>) {
        match self {
            Self::Job(job) => job.answer(outcome),
            Self::Batch(batch) => batch.answer(outcome),
            Self::Empty(reply) => {
                let _ = reply.send(outcome.map(|()| true));
            }
        }
    }
}

#[derive(Default)]
struct Waiting {
    urgent: VecDeque<Item>,
    bulk: VecDeque<Item>,
    /// Batches in `bulk`, by connection: a later small batch of the same one queues behind them.
    bulk_of: HashMap<i64, usize>,
    bytes: usize,
    groups: u64,
    closed: bool,
}

/// The queue in front of the writer, shared by all handles.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    come: Condvar,
    fatal: watch::Sender<Option<String>>,
    wal_pages: AtomicU64,
    /// When a commit first found the disk full, ms; 0 while it is not.
    full_since: AtomicI64,
}

impl Queue {
    pub(crate) fn new() -> Arc<Self> {
        let (fatal, _) = watch::channel(None);
        Arc::new(Self {
            waiting: Mutex::default(),
            come: Condvar::new(),
            fatal,
            wal_pages: AtomicU64::new(0),
            full_since: AtomicI64::new(0),
        })
    }

    /// Queues an item, or tells it at once why not.
    pub(crate) fn push(&self, item: Item) {
        if let Some(why) = self.fatal.borrow().clone() {
            return item.answer(Err(StoreError::Fatal(why)));
        }
        let mut waiting = self.lock();
        if waiting.closed {
            drop(waiting);
            return item.answer(Err(StoreError::Closed));
        }
        if waiting.bytes.saturating_add(item.bytes()) > WAITING_BYTES {
            drop(waiting);
            return item.answer(Err(StoreError::Transient(format!("over {} MiB wait to be written", WAITING_BYTES >> 20))));
        }
        waiting.bytes += item.bytes();
        match item {
            Item::Batch(batch) => {
                let connection = batch.connection();
                if batch.rows <= SMALL_ROWS && !waiting.bulk_of.contains_key(&connection) {
                    waiting.urgent.push_back(Item::Batch(batch));
                } else {
                    *waiting.bulk_of.entry(connection).or_insert(0) += 1;
                    waiting.bulk.push_back(Item::Batch(batch));
                }
            }
            other => waiting.urgent.push_back(other),
        }
        drop(waiting);
        self.come.notify_one();
    }

    /// Queues a closure and waits for its commit.
    pub(crate) async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut WriterState) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.push(Item::Job(Box::new(Call { work: Some(work), made: None, reply })));
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// No further items; the writer ends when it has drained what waits.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.come.notify_all();
    }

    /// Resolves with the reason when the store has stopped for good.
    pub(crate) async fn stopped(&self) -> String {
        let mut fatal = self.fatal.subscribe();
        loop {
            if let Some(why) = fatal.borrow_and_update().clone() {
                return why;
            }
            if fatal.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    pub(crate) fn full_since(&self) -> Option<i64> {
        Some(self.full_since.load(Ordering::Relaxed)).filter(|since| *since != 0)
    }

    fn note(&self, outcome: &Result<(), StoreError>, now: i64) {
        match outcome {
            Ok(()) => self.full_since.store(0, Ordering::Relaxed),
            Err(StoreError::Full) => {
                if self.full_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                    tracing::error!("the disk is full: nothing is stored until there is space");
                }
            }
            Err(_) => {}
        }
    }

    fn stop(&self, why: &str) {
        tracing::error!(why, "the store stops: nothing that waits is acknowledged");
        self.fatal.send_if_modified(|fatal| {
            let first = fatal.is_none();
            fatal.get_or_insert_with(|| why.to_owned());
            first
        });
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // The guarded code neither panics nor leaves the queue half-changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gather(&self, fold: bool) -> Gathered {
        let mut waiting = self.lock();
        loop {
            if !waiting.urgent.is_empty() || !waiting.bulk.is_empty() {
                return Gathered::Group(waiting.group());
            }
            if waiting.closed {
                return Gathered::End;
            }
            if fold {
                let (guard, timeout) = self.come.wait_timeout(waiting, IDLE).unwrap_or_else(PoisonError::into_inner);
                waiting = guard;
                if timeout.timed_out() && waiting.urgent.is_empty() && waiting.bulk.is_empty() {
                    return Gathered::Idle;
                }
            } else {
                waiting = self.come.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn drain(&self, error: &StoreError) {
        let (urgent, bulk) = {
            let mut waiting = self.lock();
            waiting.bulk_of.clear();
            waiting.bytes = 0;
            (std::mem::take(&mut waiting.urgent), std::mem::take(&mut waiting.bulk))
        };
        for item in urgent.into_iter().chain(bulk) {
            item.answer(Err(error.clone()));
        }
    }
}

enum Gathered {
    Group(Vec<Item>),
    Idle,
    End,
}

impl Waiting {
    /// The next group. There is at least one item.
    fn group(&mut self) -> Vec<Item> {
        self.groups += 1;
        let mut group = Vec::new();
        let mut rows = 0;
        let mut bytes = 0;
        if self.groups.is_multiple_of(BULK_TURN) && !self.overtakes() {
            self.take(true, &mut group, &mut rows, &mut bytes, 1);
        }
        self.take(false, &mut group, &mut rows, &mut bytes, GROUP_ITEMS);
        self.take(true, &mut group, &mut rows, &mut bytes, GROUP_ITEMS);
        group
    }

    /// Whether the first bulk batch would pass one of its own connection that waits among the urgent.
    fn overtakes(&self) -> bool {
        let Some(Item::Batch(first)) = self.bulk.front() else { return false };
        self.urgent.iter().any(|item| matches!(item, Item::Batch(batch) if batch.connection() == first.connection()))
    }

    fn take(&mut self, bulk: bool, group: &mut Vec<Item>, rows: &mut usize, bytes: &mut usize, most: usize) {
        for _ in 0..most {
            let queue = if bulk { &self.bulk } else { &self.urgent };
            let Some(next) = queue.front() else { return };
            let alone = next.rows() > ALONE_ROWS || matches!(next, Item::Empty(_));
            let over = group.len() >= GROUP_ITEMS || *rows + next.rows() > GROUP_ROWS || *bytes + next.bytes() > GROUP_BYTES;
            if !group.is_empty() && (alone || over || *rows > ALONE_ROWS && group.len() == 1) {
                return;
            }
            if group.first().is_some_and(|first| matches!(first, Item::Empty(_))) {
                return;
            }
            let Some(item) = (if bulk { self.bulk.pop_front() } else { self.urgent.pop_front() }) else { return };
            *rows += item.rows();
            *bytes += item.bytes();
            self.bytes = self.bytes.saturating_sub(item.bytes());
            if let (true, Item::Batch(batch)) = (bulk, &item)
                && let Some(count) = self.bulk_of.get_mut(&batch.connection())
            {
                *count -= 1;
                if *count == 0 {
                    self.bulk_of.remove(&batch.connection());
                }
            }
            group.push(item);
        }
    }
}

/// Ends the store when the writer's thread ends in a way that it should not.
struct Sentinel<'a> {
    queue: &'a Queue,
    well: bool,
}

impl Drop for Sentinel<'_> {
    fn drop(&mut self) {
        if !self.well {
            self.queue.stop("the writer's thread ended unexpectedly");
            self.queue.drain(&StoreError::Fatal("the writer's thread ended unexpectedly".to_owned()));
        }
        self.queue.lock().closed = true;
    }
}

/// The writer's thread, until the queue is closed and empty, or the store has stopped.
pub(crate) fn run(mut conn: Connection, queue: &Arc<Queue>, clock: &dyn Clock, nudge: &dyn Fn()) {
    let mut sentinel = Sentinel { queue, well: false };
    let pages = Arc::clone(queue);
    let hooked = conn.wal_hook(Some(move |_: &mut Wal, pages_now: i32| {
        pages.wal_pages.store(u64::try_from(pages_now).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }));
    let mut state = match hooked.map_err(StoreError::from).and_then(|()| WriterState::load(&conn)) {
        Ok(state) => state,
        Err(error) => {
            queue.stop(&error.to_string());
            queue.drain(&error);
            return;
        }
    };
    let mut stale = true;
    let mut groups = 0_u64;
    // How much of the WAL the checkpointer was called for.
    let mut told = 0_u64;
    loop {
        let mut step = WAL_PAGES;
        match queue.gather(stale) {
            Gathered::End => break,
            Gathered::Idle => match fold(&conn) {
                Ok(more) => {
                    stale = more;
                    step = if more { step } else { WAL_PAGES_IDLE };
                }
                Err(StoreError::Fatal(why)) => queue.stop(&why),
                Err(error) => {
                    tracing::warn!(%error, "day counters are not folded now; days are read from their entries meanwhile");
                    stale = false;
                }
            },
            Gathered::Group(group) => {
                groups += 1;
                stale = true;
                let fold_too = groups.is_multiple_of(FOLD_TURN);
                if let Err(error) = commit(&conn, queue, &mut state, clock, group, fold_too) {
                    queue.stop(&error.to_string());
                }
            }
        }
        if let Some(why) = queue.fatal.borrow().clone() {
            queue.drain(&StoreError::Fatal(why));
            queue.lock().closed = true;
            break;
        }
        let wal = queue.wal_pages.load(Ordering::Relaxed);
        if wal < told {
            // It has begun anew.
            told = 0;
        }
        if wal > WAL_PAGES_MOST {
            // Readers may hold it back; then the next group tries again.
            let _ = checkpoint(&conn, "PASSIVE");
        } else if wal >= told + step {
            nudge();
            told = wal;
        }
    }
    sentinel.well = true;
}

/// Commits a group and tells everyone in it. An error means that the store must stop.
fn commit(
    conn: &Connection,
    queue: &Queue,
    state: &mut WriterState,
    clock: &dyn Clock,
    mut group: Vec<Item>,
    fold_too: bool,
) -> Result<(), StoreError> {
    if let [Item::Empty(_)] = group.as_slice() {
        if let Some(Item::Empty(reply)) = group.pop() {
            // Whoever reads now holds it back; waiting long for that would hold every writer back. The caller tries again.
            let emptied = conn.busy_timeout(EMPTY_WAIT).map_err(StoreError::from).and_then(|()| checkpoint(conn, "TRUNCATE"));
            conn.busy_timeout(open::BUSY)?;
            let _ = reply.send(emptied);
        }
        return Ok(());
    }
    let now = clock.now();
    let mut outcomes: Vec<Option<Result<(), StoreError>>> = Vec::new();
    let mut whole = transaction(conn, state, now, &mut group, &mut outcomes, fold_too, false);
    if matches!(whole, Ok(Ended::Spoilt)) {
        whole = transaction(conn, state, now, &mut group, &mut outcomes, fold_too, true);
    }
    let whole = whole.map(drop);
    queue.note(&whole, now);
    let mut end = Ok(());
    if let Err(error) = &whole {
        if !conn.is_autocommit() && conn.execute_batch("ROLLBACK").is_err() {
            end = Err(StoreError::Fatal(format!("neither committed nor rolled back: {error}")));
        }
        if let StoreError::Fatal(_) = error {
            end = Err(error.clone());
        }
    }
    for (item, outcome) in group.into_iter().zip(outcomes) {
        item.answer(match (&end, &whole, outcome) {
            (Err(error), _, _) | (Ok(()), Err(error), _) => Err(error.clone()),
            (Ok(()), Ok(()), Some(outcome)) => outcome,
            (Ok(()), Ok(()), None) => Err(StoreError::Closed),
        });
    }
    end
}

/// How a group's transaction ended when nothing stands against it.
enum Ended {
    Committed,
    /// A batch was refused halfway: all is rolled back, and no job has been run.
    Spoilt,
}

/// A group as one transaction; an error means that all of it is lost.
///
/// Batches go first and, unless `careful`, without savepoints, which would have SQLite copy each page before it changes: nearly all of those that are
/// refused are refused by their fence, before they wrote anything. For the others the group is done again, carefully. Jobs can be run once only, and
/// so come after, each in its savepoint. Between a batch and a job of one group the order is free: neither caller had an answer when the other asked.
fn transaction(
    conn: &Connection,
    state: &mut WriterState,
    now: i64,
    group: &mut [Item],
    outcomes: &mut Vec<Option<Result<(), StoreError>>>,
    fold_too: bool,
    careful: bool,
) -> Result<Ended, StoreError> {
    outcomes.clear();
    outcomes.resize_with(group.len(), || None);
    conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for (item, outcome) in group.iter_mut().zip(outcomes.iter_mut()) {
        let Item::Batch(batch) = item else { continue };
        if careful {
            *outcome = Some(shielded(conn, || apply::apply(conn, state, batch, now))?);
            continue;
        }
        match apply::apply(conn, state, batch, now) {
            Ok(()) => *outcome = Some(Ok(())),
            // The fence is the first that is looked at: nothing was written.
            Err(error @ StoreError::Fenced) => *outcome = Some(Err(error)),
            Err(error) if lost(conn, &error) => return Err(error),
            Err(_) => {
                conn.prepare_cached("ROLLBACK")?.execute([])?;
                return Ok(Ended::Spoilt);
            }
        }
    }
    for (item, outcome) in group.iter_mut().zip(outcomes.iter_mut()) {
        if let Item::Job(job) = item {
            *outcome = Some(shielded(conn, || job.run(conn, state))?);
        }
    }
    if fold_too {
        days::fold(conn)?;
    }
    let committed = conn.prepare_cached("COMMIT")?.execute([]).map(|_| Ended::Committed);
    committed.map_err(uncommitted)
}

/// After a COMMIT that failed nothing is certain, unless it was for want of space.
fn uncommitted(error: rusqlite::Error) -> StoreError {
    match StoreError::from(error) {
        StoreError::Full => StoreError::Full,
        StoreError::Fatal(why) => StoreError::Fatal(format!("a commit failed: {why}")),
        other => StoreError::Fatal(format!("a commit failed: {other}")),
    }
}

/// Whether the whole transaction is gone with this error.
fn lost(conn: &Connection, error: &StoreError) -> bool {
    conn.is_autocommit() || matches!(error, StoreError::Full | StoreError::Fatal(_))
}

/// Runs one item in a savepoint. The outer error means that the whole transaction is lost.
fn shielded(conn: &Connection, work: impl FnOnce() -> Result<(), StoreError>) -> Result<Result<(), StoreError>, StoreError> {
    conn.prepare_cached("SAVEPOINT item")?.execute([])?;
    let done = work();
    if let Err(error) = &done {
        if lost(conn, error) {
            return Err(error.clone());
        }
        conn.prepare_cached("ROLLBACK TO item")?.execute([])?;
    }
    conn.prepare_cached("RELEASE item")?.execute([])?;
    Ok(done)
}

/// Folds one slice of stale days in a transaction of its own; whether there is more.
fn fold(conn: &Connection) -> Result<bool, StoreError> {
    if !days::any_stale(conn)? {
        return Ok(false);
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let folded = days::fold(conn).and_then(|more| {
        conn.execute_batch("COMMIT").map_err(uncommitted)?;
        Ok(more)
    });
    if folded.is_err() && !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK").map_err(|error| StoreError::Fatal(error.to_string()))?;
    }
    folded
}

/// Copies the WAL into the database; whether all of it was.
pub(crate) fn checkpoint(conn: &Connection, mode: &str) -> Result<bool, StoreError> {
    let (busy, log, copied): (i64, i64, i64) =
        conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(busy == 0 && log == copied)
}
