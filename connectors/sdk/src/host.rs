//! What a connector's logic speaks to: the contract's imported interfaces as one value.
//!
//! [`Backend`] is the contract, call for call; two things implement it, the bindings inside the sandbox and the mock of the harness.
//! [`Host`] is the same with errors turned into [`Failure`]s, so that a connector's code reads `host.fetch(…)?`, and with counts of what
//! was done, so that a run can stop after a fair share of work and answer [`Outcome::More`](crate::Outcome::More).

use crate::http::{FetchError, Request, Response, cancelled};
use crate::types::{Account, Entry, Failure, Moment, Outcome, clip};

/// A connector, as its author writes it.
pub trait Connector {
    /// The manifest, the text of `connector.toml`.
    const DESCRIBE: &'static str;

    /// Asks the provider who signed in.
    ///
    /// # Errors
    /// What the person who is linking should read.
    fn identify(host: &mut Host<'_>) -> Result<Account, Failure>;

    /// Takes in what is new since the cursor. Must be safe to run twice over the same stretch.
    ///
    /// # Errors
    /// How the run ended that did not end well; what was recorded since the last checkpoint is dropped.
    fn sync(host: &mut Host<'_>) -> Result<Outcome, Failure>;
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What happened.
    Info,
    /// What was not as expected, and was coped with.
    Warn,
    /// What went wrong.
    Error,
}

/// Why nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// These are not as the manifest declares them; none of the list was taken.
    Rejected(Vec<(u32, String)>),
    /// More than this since the last checkpoint.
    TooMany(u64),
    /// Anything else.
    Other(String),
}

/// Why a checkpoint was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// The run is being cancelled.
    Cancelled,
    /// The cursor is over this many bytes.
    TooLarge(u64),
    /// Anything else.
    Other(String),
}

/// Why a value was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    /// All of it together would be over this many bytes.
    TooLarge(u64),
    /// Anything else.
    Other(String),
}

/// Why a key was not read or kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The host holds a key of this name.
    HeldByHost,
    /// Over this many bytes.
    TooLarge(u64),
    /// Anything else.
    Other(String),
}

/// One stored key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub name: String,
    /// Whether it can only be used by recipe.
    pub held_by_host: bool,
    /// When it ends, ms since the epoch.
    pub expires_at: Option<i64>,
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Rejected(list) => {
                let first = list.first().map(|(index, why)| format!("; entry {index}: {}", clip(why, 200))).unwrap_or_default();
                Self::other("rejected", format!("the host refused {} of the entries{first}", list.len()))
            }
            RecordError::TooMany(max) => {
                Self::other("too-many", format!("more than {max} entries or bytes since the last checkpoint: make one more often"))
            }
            RecordError::Other(why) => Self::other("record", format!("the host took no entries: {}", clip(&why, 200))),
        }
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Cancelled => cancelled(),
            CheckpointError::TooLarge(max) => Self::other("cursor-too-large", format!("the cursor is over {max} bytes")),
            CheckpointError::Other(why) => Self::other("checkpoint", format!("the host made no checkpoint: {}", clip(&why, 200))),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::TooLarge(max) => Self::other("state-too-large", format!("the connector's state is over {max} bytes")),
            StateError::Other(why) => Self::other("state", format!("the host kept no state: {}", clip(&why, 200))),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::HeldByHost => Self::other("key-held-by-host", "a key of this name is held by the host"),
            KeyError::TooLarge(max) => Self::other("key-too-large", format!("a key is over {max} bytes")),
            KeyError::Other(why) => Self::other("key", format!("the host kept no key: {}", clip(&why, 200))),
        }
    }
}

/// The contract's imported interfaces, call for call. What each does is said in `wit/`.
#[allow(missing_docs, reason = "each is documented where the contract defines it")]
pub trait Backend {
    fn fetch(&mut self, request: &Request) -> Result<Response, FetchError>;
    fn fetch_all(&mut self, requests: &[Request]) -> Vec<Result<Response, FetchError>>;
    fn record(&mut self, entries: Vec<Entry>) -> Result<(), RecordError>;
    fn replace_window(
        &mut self,
        metric: &str,
        series: Option<&str>,
        first: Moment,
        past: Moment,
        entries: Vec<Entry>,
    ) -> Result<(), RecordError>;
    fn retract(&mut self, metric: &str, id: &str) -> Result<(), RecordError>;
    fn label_series(&mut self, metric: &str, series: &str, label: &str);
    fn checkpoint(&mut self, cursor: Option<&str>) -> Result<(), CheckpointError>;
    fn report(&mut self, done: u64, total: Option<u64>);
    fn problem(&mut self, failure: &Failure, metric: Option<&str>);
    fn cancelled(&mut self) -> bool;
    fn state_get(&mut self, key: &str) -> Option<Vec<u8>>;
    fn state_set(&mut self, key: &str, value: &[u8]) -> Result<(), StateError>;
    fn state_delete(&mut self, key: &str);
    fn list_keys(&mut self) -> Vec<KeyInfo>;
    fn key_get(&mut self, name: &str) -> Result<Option<Vec<u8>>, KeyError>;
    fn key_set(&mut self, name: &str, value: &[u8]) -> Result<(), KeyError>;
    fn key_delete(&mut self, name: &str) -> Result<(), KeyError>;
    fn reason(&mut self) -> String;
    fn now(&mut self) -> i64;
    fn time_zone(&mut self) -> String;
    fn cursor(&mut self) -> Option<String>;
    fn cursor_version(&mut self) -> Option<String>;
    fn window(&mut self) -> Option<(Moment, Moment)>;
    fn profile(&mut self) -> String;
    fn account_id(&mut self) -> Option<String>;
    fn scopes(&mut self) -> Vec<String>;
    fn setting(&mut self, name: &str) -> Option<String>;
    fn log(&mut self, level: Level, message: &str);
}

/// The host, as a connector's logic sees it.
pub struct Host<'a> {
    backend: &'a mut dyn Backend,
    requests: u64,
    entries: u64,
}

impl<'a> Host<'a> {
    /// Over the bindings or the mock.
    #[must_use]
    pub fn new(backend: &'a mut dyn Backend) -> Self {
        Self { backend, requests: 0, entries: 0 }
    }

    /// The contract itself, for what has no shorter form here.
    pub fn backend(&mut self) -> &mut dyn Backend {
        self.backend
    }

    /// Requests sent by this run so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Entries handed over by this run so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Sends a request; any status is an answer.
    ///
    /// # Errors
    /// There was no answer.
    pub fn fetch(&mut self, request: &Request) -> Result<Response, Failure> {
        self.requests += 1;
        self.backend.fetch(request).map_err(Failure::from)
    }

    /// Sends several at once, at most 64, and answers in their order.
    pub fn fetch_all(&mut self, requests: &[Request]) -> Vec<Result<Response, Failure>> {
        self.requests += requests.len() as u64;
        self.backend.fetch_all(requests).into_iter().map(|answer| answer.map_err(Failure::from)).collect()
    }

    /// Records entries: all of them or none.
    ///
    /// # Errors
    /// An entry is not as declared, or a checkpoint is due.
    pub fn record(&mut self, entries: Vec<Entry>) -> Result<(), Failure> {
        if entries.is_empty() {
            return Ok(());
        }
        self.entries += entries.len() as u64;
        Ok(self.backend.record(entries)?)
    }

    /// Says that this is all there is of a metric (and series) from `first` up to, not including, `past`.
    ///
    /// # Errors
    /// An entry is not as declared or lies outside, or a checkpoint is due.
    pub fn replace_window(
        &mut self,
        metric: &str,
        series: Option<&str>,
        first: Moment,
        past: Moment,
        entries: Vec<Entry>,
    ) -> Result<(), Failure> {
        self.entries += entries.len() as u64;
        Ok(self.backend.replace_window(metric, series, first, past, entries)?)
    }

    /// Takes back the entry with the provider's id.
    ///
    /// # Errors
    /// A checkpoint is due, or the metric has no ids.
    pub fn retract(&mut self, metric: &str, id: &str) -> Result<(), Failure> {
        Ok(self.backend.retract(metric, id)?)
    }

    /// Names a series for people.
    pub fn label_series(&mut self, metric: &str, series: &str, label: &str) {
        self.backend.label_series(metric, series, label);
    }

    /// Commits everything recorded since the last time, with a cursor or with the old one.
    ///
    /// # Errors
    /// The run is being cancelled, or the cursor is too large.
    pub fn checkpoint_text(&mut self, cursor: Option<String>) -> Result<(), Failure> {
        Ok(self.backend.checkpoint(cursor.as_deref())?)
    }

    /// Says how far the run is.
    pub fn report(&mut self, done: u64, total: Option<u64>) {
        self.backend.report(done, total);
    }

    /// Notes what went wrong without ending the run.
    pub fn problem(&mut self, failure: &Failure, metric: Option<&str>) {
        self.backend.problem(failure, metric);
    }

    /// The host's time, ms since the epoch.
    pub fn now(&mut self) -> i64 {
        self.backend.now()
    }

    /// What to look at again, as instants; `None` on the first run.
    pub fn window_ms(&mut self) -> Option<(i64, i64)> {
        let as_ms = |moment| match moment {
            Moment::Instant(ms) => ms,
            Moment::Day(day) => day.start_ms(),
        };
        self.backend.window().map(|(first, past)| (as_ms(first), as_ms(past)))
    }

    /// The profile by which the person signed in.
    pub fn profile(&mut self) -> String {
        self.backend.profile()
    }

    /// The account's id, as `identify` gave it.
    pub fn account_id(&mut self) -> Option<String> {
        self.backend.account_id()
    }

    /// The value of a setting that the manifest declares, its default filled in.
    pub fn setting(&mut self, name: &str) -> Option<String> {
        self.backend.setting(name)
    }

    /// The IANA name of the person's time zone.
    pub fn time_zone(&mut self) -> String {
        self.backend.time_zone()
    }

    /// Why this run happens: `linked`, `scheduled`, `manual`, or a later word.
    pub fn reason(&mut self) -> String {
        self.backend.reason()
    }

    /// A line for whoever looks into the run.
    pub fn info(&mut self, message: &str) {
        self.backend.log(Level::Info, message);
    }

    /// A line about what was not as expected.
    pub fn warn(&mut self, message: &str) {
        self.backend.log(Level::Warn, message);
    }
}
