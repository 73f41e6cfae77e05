//! What a connector sees of this program while it runs: requests through the gate, keys from the vault, entries into a batch, checkpoints into
//! the store.
//!
//! Nothing that a guest records is written before a checkpoint; each checkpoint is one batch, awaited only by the next, so that fetching goes on
//! while the disk works. It is submitted as soon as the run shows that it goes on (it asks for something or records something); one after which
//! nothing comes is committed together with the run's end, so that a short run waits for the disk once. Once a commit was fenced off (the person
//! disconnected, the lease was lost), every later one is refused, and the run ends.

use super::events::{RunEvent, RunEvents};
use sluice_gate::Session;
use sluice_model::{
    ConnectionId, Entry, Failure, Limits, Manifest, Moment,
    limits::{MAX_ALL_KEYS_BYTES, MAX_CURSOR_BYTES, MAX_PROBLEMS, MAX_STATE_KEY_BYTES},
    request::{FetchError, Request, Response},
    task::Task,
    validate,
};
use sluice_sandbox::{CheckpointError, Host, KeyError, KeyInfo, RecordError, StateError};
use sluice_store::{Batch, CommitError, Counts, Fence, Finish, Ingest, Pending, RunStart, Store, Used};
use sluice_vault::{DataKey, Identity};
use std::{collections::BTreeMap, sync::Arc};
use tokio_util::sync::CancellationToken;

/// Rejections that one call lists; the rest are only counted.
const MAX_REJECTIONS: usize = 100;

fn put_back(map: &mut BTreeMap<String, Vec<u8>>, key: String, before: Option<Vec<u8>>) {
    match before {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// Adds up what became of entries.
pub fn add(total: &mut Counts, more: Counts) {
    total.inserted += more.inserted;
    total.updated += more.updated;
    total.unchanged += more.unchanged;
    total.deleted += more.deleted;
    total.older += more.older;
}

/// Where a run's batches go. Absent while `identify` runs: it records nothing.
pub struct Sink {
    pub store: Store,
    pub fence: Fence,
    pub run: RunStart,
    pub ingest: Ingest,
    pub version: String,
}

/// At most so often a guest's progress is passed on.
const REPORT_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

/// What seals and opens the keys that the connector keeps for itself.
pub struct GuestKeys {
    pub data_key: DataKey,
    pub connector: String,
    pub connection: String,
    pub values: BTreeMap<String, Vec<u8>>,
}

/// Everything that a run is made of.
pub struct RunHost {
    pub task: Task,
    pub started: std::time::Instant,
    pub session: Session,
    pub manifest: Arc<Manifest>,
    pub limits: Limits,
    pub sink: Option<Sink>,
    pub keys: Vec<KeyInfo>,
    pub guest_keys: Option<GuestKeys>,
    pub state: BTreeMap<String, Vec<u8>>,
    pub state_total: usize,
    pub cancel: CancellationToken,
    pub connection: ConnectionId,
    pub app: Arc<crate::app::App>,
    pub problems: Vec<(Failure, Option<String>)>,
    pub counts: Counts,
    /// What the calls so far cost: a run that is repeated with a new key is two of them.
    pub used: Used,
    /// What changed since the last checkpoint, as it was before: what a failed attempt leaves behind is taken back.
    pub(super) undo_state: BTreeMap<String, Option<Vec<u8>>>,
    pub(super) undo_keys: BTreeMap<String, Option<Vec<u8>>>,
    /// The latest checkpoint, until it is known whether it is the last.
    pub(super) held: Option<Batch>,
    /// The checkpoint that is being committed. Never beside one that is held.
    pub(super) pending: Option<Pending>,
    pub(super) as_of: i64,
    pub(super) reported: Option<std::time::Instant>,
    pub(super) lost: Option<CommitError>,
}

impl RunHost {
    fn events(&self) -> &RunEvents {
        &self.app.events
    }

    /// The run goes on after its checkpoint, so that one is a commit of its own.
    fn go_on(&mut self) {
        if let (Some(batch), Some(sink)) = (self.held.take(), &self.sink) {
            self.pending = Some(sink.store.submit(batch));
        }
    }

    /// Waits for the checkpoint before; remembers the first that failed.
    async fn settle(&mut self) -> Result<(), CommitError> {
        if let Some(pending) = self.pending.take() {
            match pending.await {
                Ok(done) => add(&mut self.counts, done.counts),
                Err(error) => self.lost = Some(error),
            }
        }
        match &self.lost {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// What was recorded and changed since the last checkpoint, as one batch.
    fn batch(&mut self, cursor: Option<String>, finish: Option<Finish>) -> Option<Batch> {
        // Records that follow a checkpoint without a new request keep the as-of before it.
        if let Some(first) = self.session.take_as_of() {
            self.as_of = first;
        }
        let as_of = self.as_of;
        let requests = self.session.seen().requests;
        let state = std::mem::take(&mut self.undo_state).into_keys().map(|key| (key.clone(), self.state.get(&key).cloned())).collect();
        let guest_keys = self.sealed_keys();
        let sink = self.sink.as_mut()?;
        Some(Batch {
            fence: sink.fence,
            ops: sink.ingest.take(),
            as_of,
            cursor: cursor.map(|c| (c, sink.version.clone())),
            state,
            guest_keys,
            run: sink.run.clone(),
            requests,
            finish,
        })
    }

    fn sealed_keys(&mut self) -> Vec<(String, Option<Vec<u8>>)> {
        let changed = std::mem::take(&mut self.undo_keys);
        let Some(keys) = &self.guest_keys else { return Vec::new() };
        changed
            .into_keys()
            .map(|name| {
                let id = Identity { connector: &keys.connector, connection: &keys.connection, name: &name, guest: true };
                let sealed = keys.values.get(&name).map(|value| keys.data_key.seal(&id, value));
                (name, sealed)
            })
            .collect()
    }

    /// The run's last commit: with what was recorded since the last checkpoint when it ended well, without it when it did not.
    ///
    /// # Errors
    /// The lease was lost, or the store refused.
    pub async fn finish(&mut self, keep_tail: bool, finish: Finish) -> Result<Counts, CommitError> {
        self.settle().await?;
        if !keep_tail {
            self.drop_tail();
        }
        let held = self.held.take();
        let Some(mut batch) = self.batch(None, Some(finish)) else { return Ok(self.counts) };
        if let Some(mut last) = held {
            // Nothing was asked or recorded since; what the connector keeps for itself may have changed.
            last.ops.append(&mut batch.ops);
            last.state.append(&mut batch.state);
            last.guest_keys.append(&mut batch.guest_keys);
            batch = Batch { requests: batch.requests, finish: batch.finish, ..last };
        }
        let Some(store) = self.sink.as_ref().map(|s| s.store.clone()) else { return Ok(self.counts) };
        let done = store.commit(batch).await?;
        add(&mut self.counts, done.counts);
        Ok(self.counts)
    }

    /// Forgets what was recorded and changed since the last checkpoint.
    pub fn drop_tail(&mut self) {
        if let Some(sink) = &mut self.sink {
            drop(sink.ingest.take());
        }
        for (key, before) in std::mem::take(&mut self.undo_state) {
            put_back(&mut self.state, key, before);
        }
        self.state_total = self.state.iter().map(|(k, v)| k.len() + v.len()).sum();
        let keys = std::mem::take(&mut self.undo_keys);
        if let Some(guest) = &mut self.guest_keys {
            for (name, before) in keys {
                put_back(&mut guest.values, name, before);
            }
        }
    }

    /// Whether so many entries and bytes more still fit.
    fn room(&self, more: usize, bytes: u64) -> Result<(), RecordError> {
        let Some(sink) = &self.sink else { return Err(RecordError::Other("identify records nothing".to_owned())) };
        room(&sink.ingest, &self.limits, more, bytes)
    }

    /// Takes the keys that the host holds out of what the connector said went wrong.
    pub fn scrub_failure(&self, failure: &mut Failure) {
        for text in [&mut failure.message, &mut failure.code].into_iter().chain(&mut failure.url) {
            *text = self.session.scrub(text);
        }
    }

    fn check_all(&self, entries: &[Entry]) -> Result<(), RecordError> {
        let mut rejected = Vec::new();
        for (index, entry) in (0_u32..).zip(entries) {
            if let Err(why) = validate::check_entry(&self.manifest, entry) {
                if rejected.len() < MAX_REJECTIONS {
                    rejected.push((index, why));
                } else {
                    break;
                }
            }
        }
        if rejected.is_empty() { Ok(()) } else { Err(RecordError::Rejected(rejected)) }
    }
}

/// Judged before anything is taken: a call that would pass a bound leaves nothing of itself.
fn room(ingest: &Ingest, limits: &Limits, more: usize, bytes: u64) -> Result<(), RecordError> {
    if (ingest.len() as u64).saturating_add(more as u64) > limits.entries {
        return Err(RecordError::TooMany(limits.entries));
    }
    if (ingest.bytes() as u64).saturating_add(bytes) > limits.entry_bytes {
        return Err(RecordError::Other(format!(
            "over {} bytes of entries since the last checkpoint: checkpoint more often, or record less at once",
            limits.entry_bytes
        )));
    }
    Ok(())
}

/// What entries count for.
fn weigh(entries: &[Entry]) -> u64 {
    entries.iter().fold(0, |sum, entry| sum.saturating_add(validate::weight(entry)))
}

#[async_trait::async_trait]
impl Host for RunHost {
    fn task(&self) -> &Task {
        &self.task
    }

    fn now(&self) -> i64 {
        self.task.now + i64::try_from(self.started.elapsed().as_millis()).unwrap_or(0)
    }

    async fn fetch(&mut self, request: Request) -> Result<Response, FetchError> {
        self.go_on();
        let cancel = self.cancel.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(FetchError::Cancelled),
            answer = self.session.fetch(request) => answer,
        }
    }

    async fn fetch_all(&mut self, requests: Vec<Request>) -> Vec<Result<Response, FetchError>> {
        self.go_on();
        let count = requests.len();
        let cancel = self.cancel.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => vec![Err(FetchError::Cancelled); count],
            answers = self.session.fetch_all(requests) => answers,
        }
    }

    fn list_keys(&mut self) -> Vec<KeyInfo> {
        let own = self.guest_keys.iter().flat_map(|k| k.values.keys());
        let own = own.map(|name| KeyInfo { name: name.clone(), held_by_host: false, expires_at: None });
        self.keys.iter().cloned().chain(own).collect()
    }

    async fn key_get(&mut self, name: &str) -> Result<Option<Vec<u8>>, KeyError> {
        if self.keys.iter().any(|k| k.name == name) {
            return Err(KeyError::HeldByHost);
        }
        Ok(self.guest_keys.as_ref().and_then(|k| k.values.get(name).cloned()))
    }

    async fn key_set(&mut self, name: &str, value: Vec<u8>) -> Result<(), KeyError> {
        if self.keys.iter().any(|k| k.name == name) {
            return Err(KeyError::HeldByHost);
        }
        let Some(keys) = &mut self.guest_keys else {
            return Err(KeyError::Other("there is no connection yet to keep a key for".to_owned()));
        };
        let others: usize = keys.values.iter().filter(|(n, _)| *n != name).map(|(n, v)| n.len() + v.len()).sum();
        if others + name.len() + value.len() > MAX_ALL_KEYS_BYTES {
            return Err(KeyError::TooLarge(MAX_ALL_KEYS_BYTES as u64));
        }
        let before = keys.values.insert(name.to_owned(), value);
        self.undo_keys.entry(name.to_owned()).or_insert(before);
        Ok(())
    }

    async fn key_delete(&mut self, name: &str) -> Result<(), KeyError> {
        if self.keys.iter().any(|k| k.name == name) {
            return Err(KeyError::HeldByHost);
        }
        if let Some(keys) = &mut self.guest_keys
            && let Some(before) = keys.values.remove(name)
        {
            self.undo_keys.entry(name.to_owned()).or_insert(Some(before));
        }
        Ok(())
    }

    fn record(&mut self, entries: Vec<Entry>) -> Result<(), RecordError> {
        self.go_on();
        self.room(entries.len(), weigh(&entries))?;
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let Err((index, why)) = sink.ingest.record_all(&entries) else { return Ok(()) };
        // All that is wrong is told, with what was probably meant.
        self.check_all(&entries)?;
        Err(RecordError::Rejected(vec![(index, why)]))
    }

    fn replace_window(
        &mut self,
        metric: &str,
        series: Option<&str>,
        first: Moment,
        past: Moment,
        entries: Vec<Entry>,
    ) -> Result<(), RecordError> {
        self.go_on();
        self.room(entries.len(), weigh(&entries))?;
        validate::check_window(&self.manifest, metric, series, &first, &past, &entries).map_err(|why| RecordError::Rejected(vec![why]))?;
        let Some(sink) = &mut self.sink else { return Ok(()) };
        sink.ingest.replace_window(metric, series, first, past, &entries).map_err(|why| RecordError::Rejected(vec![why]))
    }

    fn retract(&mut self, metric: &str, id: &str) -> Result<(), RecordError> {
        self.go_on();
        self.room(1, id.len() as u64)?;
        let Some(sink) = &mut self.sink else { return Ok(()) };
        sink.ingest.retract(metric, id).map_err(|why| RecordError::Rejected(vec![(0, why)]))
    }

    fn label_series(&mut self, metric: &str, series: &str, label: &str) {
        self.go_on();
        let fits = self.room(0, (series.len() + label.len()) as u64).map_err(|_| "no room until the next checkpoint".to_owned());
        let Some(sink) = &mut self.sink else { return };
        if let Err(why) = fits.and_then(|()| sink.ingest.label(metric, series, label)) {
            tracing::debug!(connector = %self.manifest.name, "label refused: {why}");
        }
    }

    async fn checkpoint(&mut self, cursor: Option<String>) -> Result<(), CheckpointError> {
        if self.cancel.is_cancelled() {
            return Err(CheckpointError::Cancelled);
        }
        if cursor.as_ref().is_some_and(|c| c.len() > MAX_CURSOR_BYTES) {
            return Err(CheckpointError::TooLarge(MAX_CURSOR_BYTES as u64));
        }
        self.go_on();
        self.settle().await.map_err(|error| match error {
            CommitError::Fenced => CheckpointError::Cancelled,
            other => CheckpointError::Other(other.to_string()),
        })?;
        if cursor.is_some() {
            // A second attempt of this run goes on from here.
            self.task.cursor.clone_from(&cursor);
        }
        let Some(batch) = self.batch(cursor, None) else {
            return Err(CheckpointError::Other("identify has nothing to checkpoint".to_owned()));
        };
        self.held = Some(batch);
        Ok(())
    }

    fn report(&mut self, done: u64, total: Option<u64>) {
        // A guest that reports in a loop must not crowd out what others have to say.
        if self.reported.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return;
        }
        self.reported = Some(std::time::Instant::now());
        self.events().send(RunEvent::Progress { connection: self.connection, done, total });
    }

    fn problem(&mut self, failure: Failure, metric: Option<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push((failure, metric));
        }
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn state_get(&self, key: &str) -> Option<Vec<u8>> {
        self.state.get(key).cloned()
    }

    fn state_set(&mut self, key: &str, value: Vec<u8>) -> Result<(), StateError> {
        let before = self.state.get(key);
        if before == Some(&value) {
            return Ok(());
        }
        let total = self.state_total - before.map_or(0, |v| key.len() + v.len()) + key.len() + value.len();
        if key.len() > MAX_STATE_KEY_BYTES || total as u64 > self.limits.state_bytes {
            return Err(StateError::TooLarge(self.limits.state_bytes));
        }
        self.state_total = total;
        let before = self.state.insert(key.to_owned(), value);
        self.undo_state.entry(key.to_owned()).or_insert(before);
        Ok(())
    }

    fn state_delete(&mut self, key: &str) {
        if let Some(value) = self.state.remove(key) {
            self.state_total -= key.len() + value.len();
            self.undo_state.entry(key.to_owned()).or_insert(Some(value));
        }
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
