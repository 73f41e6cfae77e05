//! What goes over the control socket, in both directions.

use crate::web::machine;
use serde::{Deserialize, Serialize};
use sluice_store::EntryView;
use std::collections::BTreeMap;

/// `GET /v1/status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// This binary's version.
    pub version: String,
    /// Where the pages are.
    pub public_url: String,
    /// Whether somebody has set the host up.
    pub owner: bool,
    /// Linked accounts.
    pub connections: u64,
    /// Apps that are paused until somebody mends them.
    pub paused_apps: Vec<AppRow>,
}

/// A connector with one registration at its provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppRow {
    /// The connector.
    pub connector: String,
    /// Tells registrations of one connector apart; empty where there is none.
    pub registration: String,
    /// `open`, `blocked` or `paused`.
    pub state: String,
    /// Why it is not open, and what to do.
    pub reason: Option<String>,
    /// Until when, ms, while it is blocked.
    pub blocked_until: Option<i64>,
}

/// `POST /v1/apps/resume`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ResumeApps {
    /// A connector's name.
    pub connector: String,
}

/// What it did.
#[derive(Debug, Serialize, Deserialize)]
pub struct Resumed {
    /// So many apps were paused or blocked, and are open now.
    pub opened: usize,
}

/// `POST /v1/modules/decision`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ModuleDecision {
    /// What is to be done.
    pub verb: crate::modules::Verb,
    /// The instance.
    pub name: String,
    /// The beginning of the hash, for a yes or no to bytes.
    pub hash: Option<String>,
}

/// `POST /v1/gate/explain`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Explain {
    /// The connector.
    pub connector: String,
    /// Upper case.
    pub method: String,
    /// As a connector would ask.
    pub url: String,
}

/// What the gate would do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Explained {
    /// Whether it would be sent.
    pub allowed: bool,
    /// Why, for people.
    pub text: String,
}

/// `POST /v1/owner-link`.
#[derive(Debug, Serialize, Deserialize)]
pub struct OwnerLink {
    /// Opens the page that sets the password; works once.
    pub url: String,
    /// Until when, ms.
    pub expires_at: i64,
}

/// One field that a form would have.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanField {
    /// The key's name.
    pub name: String,
    /// For people.
    pub label: String,
    /// Where to get it, what it looks like.
    pub help: Option<String>,
    /// Whether it is typed unseen.
    pub secret: bool,
}

/// `POST /v1/connect/plan`: which ways in there are.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanRequest {
    /// The connector.
    pub connector: String,
    /// One of its profiles, or the easiest that can be used.
    pub profile: Option<String>,
}

/// How an account is linked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The connector's title.
    pub title: String,
    /// The profile that is meant.
    pub profile: String,
    /// For people.
    pub profile_title: String,
    /// Where a person gets the key.
    pub help: Option<String>,
    /// A form's fields; empty where a browser is needed.
    pub fields: Vec<PlanField>,
    /// A browser is needed.
    pub browser: bool,
    /// The provider accepts a redirect to a port of this machine.
    pub loopback: bool,
    /// The page on which it can be done instead.
    pub page: String,
    /// All profiles, in the order offered.
    pub profiles: Vec<String>,
}

/// `POST /v1/connect/fields`.
#[derive(Serialize, Deserialize)]
pub struct ConnectFields {
    /// The connector.
    pub connector: String,
    /// The profile.
    pub profile: String,
    /// Field name to value.
    pub fields: BTreeMap<String, String>,
    /// For the owner that is made when there is none.
    pub time_zone: Option<String>,
}

/// `POST /v1/connect/begin`: a sign-in whose redirect comes to a port of the command.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectBegin {
    /// The connector.
    pub connector: String,
    /// The profile.
    pub profile: String,
    /// `http://127.0.0.1:PORT`; the callback's usual path follows.
    pub redirect: String,
    /// For the owner that is made when there is none.
    pub time_zone: Option<String>,
}

/// What the person opens, and what ties the answer to this command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Begun {
    /// At the provider.
    pub url: String,
    /// Hex; goes back with the answer.
    pub session: String,
}

/// `POST /v1/connect/finish`: the address that the browser landed on.
#[derive(Serialize, Deserialize)]
pub struct ConnectFinish {
    /// The connector.
    pub connector: String,
    /// The profile.
    pub profile: String,
    /// From [`Begun`].
    pub session: String,
    /// Its query, decoded.
    pub query: Vec<(String, String)>,
}

/// An account is linked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Linked {
    /// Its public id.
    pub connection: String,
    /// The account, for people.
    pub account: String,
    /// It was linked before; its keys were replaced.
    pub again: bool,
    /// An owner was made just now.
    pub made_owner: bool,
    /// The host's clock just before, ms: a run that ended later used the new keys.
    pub since: i64,
}

/// `POST /v1/disconnect`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Disconnect {
    /// A public id.
    pub connection: String,
    /// Whether its entries go too.
    pub delete: bool,
}

/// One linked account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// Public id.
    pub id: String,
    /// The connector.
    pub connector: String,
    /// The account, for people.
    pub account: String,
    /// The profile it signed in by.
    pub profile: String,
    /// `ok`, `needs-sign-in`, …; `app-paused` while its app waits for the operator.
    pub state: String,
    /// What to do, where something is.
    pub message: Option<String>,
    /// When it runs next, ms; none while it waits for somebody.
    pub next_due: Option<i64>,
    /// Why then.
    pub next_reason: Option<String>,
    /// When data came last, ms.
    pub last_data: Option<i64>,
    /// When it was linked, the last time, ms.
    pub linked_at: i64,
}

/// `POST /v1/run`.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunRequest {
    /// A connector's name or a connection's public id; none means all.
    pub which: Option<String>,
    /// A run that ended after this will do, ms: nothing is asked for where there was one.
    #[serde(default)]
    pub since: Option<i64>,
}

/// One line of the answer to `POST /v1/run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RunLine {
    /// It began, or will in a moment.
    Started {
        /// Public id.
        connection: String,
        /// The connector.
        connector: String,
        /// The account.
        account: String,
    },
    /// How far it is.
    Progress {
        /// Public id.
        connection: String,
        /// So many done.
        done: u64,
        /// Of so many.
        total: Option<u64>,
    },
    /// Everything that there was has been taken in, or it failed.
    Finished(RunSummary),
}

/// What a person wants to know of a run (or of the several that a long history takes).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunSummary {
    /// Public id.
    pub connection: String,
    /// The connector.
    pub connector: String,
    /// The account.
    pub account: String,
    /// `complete`, or the failure's kind; `app-paused`, `rate-limited` and the like where it could not run now.
    pub outcome: String,
    /// For people, when it failed.
    pub message: Option<String>,
    /// New entries.
    pub inserted: u64,
    /// Changed ones.
    pub updated: u64,
    /// Ones that were the same.
    pub unchanged: u64,
    /// Ones that the provider no longer has.
    pub deleted: u64,
    /// Ones that lost to a newer version.
    pub older: u64,
    /// Wall time, ms.
    pub took_ms: i64,
}

/// What `POST /v1/stop` asked to stop.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stopped {
    /// Connector and account of each.
    pub stopped: Vec<String>,
}

/// `POST /v1/runs`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RunsRequest {
    /// A connector's name or a connection's public id; none means all.
    pub which: Option<String>,
    /// With each run's log.
    #[serde(default)]
    pub log: bool,
}

/// One line of a run's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunLog {
    /// ms.
    pub at: i64,
    /// `trace` to `error`.
    pub level: String,
    /// Scrubbed of secrets, control characters made visible.
    pub text: String,
}

/// One row of `POST /v1/runs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRow {
    /// What became of it.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Why it ran.
    pub reason: String,
    /// The connector's version that it ran on, to its end.
    pub version: String,
    /// When it began, ms.
    pub started_at: i64,
    /// Requests sent.
    pub requests: u64,
    /// So many runs went the same way and changed nothing.
    pub repeats: u32,
    /// CPU time of the connector in all of them, µs.
    pub cpu_us: u64,
    /// The most memory that it held in one of them, bytes.
    pub memory_bytes: u64,
    /// Requests that the gate refused in all of them.
    pub denied: u64,
    /// The run's log, where it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<RunLog>,
}

/// `POST /v1/entries`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct EntriesRequest {
    /// One connector's.
    pub connector: Option<String>,
    /// One metric's.
    pub metric: Option<String>,
    /// From this day or instant on: `2026-11-21`, RFC 3339, or `7d`.
    pub since: Option<String>,
    /// From the answer before.
    pub after: Option<String>,
}

/// A page of entries.
#[derive(Debug, Serialize, Deserialize)]
pub struct EntriesPage {
    /// In order of time.
    pub rows: Vec<EntryRow>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// One entry, in the columns of `v_entries`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EntryRow {
    /// The connector.
    pub connector: String,
    /// The account.
    pub account: String,
    /// The metric.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// The series' key.
    pub series: Option<String>,
    /// What people call it.
    pub series_label: Option<String>,
    /// The provider's id.
    pub id: Option<String>,
    /// When, ms; a civil day has none.
    pub start: Option<i64>,
    /// Until when, ms.
    pub end: Option<i64>,
    /// Minutes from UTC.
    pub utc_offset: Option<i64>,
    /// The civil day it counts for.
    pub day: String,
    /// The value.
    pub value: f64,
    /// A JSON object.
    pub detail: Option<String>,
}

impl From<EntryView> for EntryRow {
    fn from(e: EntryView) -> Self {
        Self {
            connector: e.connector,
            account: e.account,
            metric: e.metric,
            unit: e.unit,
            series: e.series,
            series_label: e.series_label,
            id: e.id,
            start: e.start,
            end: e.end,
            utc_offset: e.utc_offset.map(i64::from),
            day: e.day.to_string(),
            value: e.value,
            detail: e.detail,
        }
    }
}

impl EntryRow {
    /// As programs get it, from a page or a command: instants in RFC 3339, the detail as the object it is (one that is none as the text it is).
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let detail = self.detail.as_deref().map(|text| serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::from(text)));
        serde_json::json!({
            "connector": self.connector,
            "account": self.account,
            "metric": self.metric,
            "unit": self.unit,
            "series": self.series,
            "series_label": self.series_label,
            "id": self.id,
            "start": self.start.map(machine),
            "end": self.end.map(machine),
            "utc_offset": self.utc_offset,
            "day": self.day,
            "value": self.value,
            "detail": detail,
        })
    }
}

/// `POST /v1/audit`.
#[derive(Debug, Serialize, Deserialize)]
pub struct AuditRequest {
    /// At most so many notes.
    pub limit: usize,
}

/// Something that somebody did, or that was decided.
#[derive(Debug, Serialize, Deserialize)]
pub struct AuditRow {
    /// When, ms.
    pub at: i64,
    /// Whose account here did it, or whose it was done to; none where it was not a person, or one at the terminal.
    pub who: Option<String>,
    /// What, short and stable: `signed-in`, `linked`, `module-approved`.
    pub what: String,
    /// The connection's id, where it was about one that is still there.
    pub connection: Option<String>,
    /// For people: to what, by whom, from where.
    pub detail: String,
}
