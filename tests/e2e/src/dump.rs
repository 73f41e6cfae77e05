//! What is in the database, read without the host: the two views that people may query, as sorted lines.
//!
//! Run, sequence and as-of are in neither view, so two databases that hold the same data give the same lines, however often their hosts died on
//! the way. Files are copied before they are opened: opening a database recovers it, and that is for the next host to prove.

use crate::folder::copy_folder;
use rusqlite::{Connection, types::ValueRef};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

/// Metrics that say how much there was at the moment of reading: their day is the day on which they were read.
const GAUGES: &[&str] = &["stars", "followers", "public_repos", "playcount", "loved_tracks", "artists", "albums", "tracks_distinct"];

/// Everything that the views show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dump {
    /// `v_entries`.
    pub entries: Vec<BTreeMap<String, Value>>,
    /// `v_daily`.
    pub daily: Vec<BTreeMap<String, Value>>,
}

impl Dump {
    /// Reads a data folder.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        let copy = Copy::of(data);
        Self { entries: copy.rows("SELECT * FROM v_entries"), daily: copy.rows("SELECT * FROM v_daily") }
    }

    /// Only one connector's rows.
    #[must_use]
    pub fn only(&self, connector: &str) -> Self {
        let keep = |rows: &[BTreeMap<String, Value>]| rows.iter().filter(|row| row["connector"] == connector).cloned().collect();
        Self { entries: keep(&self.entries), daily: keep(&self.daily) }
    }

    /// The same without the connectors' names, for several instances of one connector.
    #[must_use]
    pub fn nameless(mut self) -> Self {
        for row in self.entries.iter_mut().chain(&mut self.daily) {
            row.remove("connector");
        }
        self
    }

    /// Without the days of gauges, for hosts that live by the machine's clock and may see a midnight; the latest reading of each stays.
    #[must_use]
    pub fn without_days_of_gauges(mut self) -> Self {
        for rows in [&mut self.entries, &mut self.daily] {
            let (gauges, mut rest): (Vec<_>, Vec<_>) =
                std::mem::take(rows).into_iter().partition(|row| GAUGES.iter().any(|g| row["metric"] == *g));
            let mut latest: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
            for mut row in gauges {
                let key = format!("{} {} {}", row["connector"], row["account"], row["metric"]);
                let day = row.get("day").cloned().unwrap_or_default();
                if latest.get(&key).is_none_or(|known| known["day"].as_str() < day.as_str()) {
                    row.insert("day".to_owned(), day);
                    latest.insert(key, row);
                }
            }
            rest.extend(latest.into_values().map(|mut row| {
                row.remove("day");
                row
            }));
            *rows = rest;
        }
        self
    }

    /// Sorted lines, one a row.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |kind: &str, row: &BTreeMap<String, Value>| format!("{kind} {}", serde_json::to_string(row).expect("a row is JSON"));
        let entries = self.entries.iter().map(|row| line("entry", row));
        let mut lines: Vec<String> = entries.chain(self.daily.iter().map(|row| line("day", row))).collect();
        lines.sort();
        lines
    }
}

/// A copy of a data folder's database, for a look at anything.
pub struct Copy {
    _dir: tempfile::TempDir,
    database: Connection,
}

impl Copy {
    /// Copies and opens it.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let to = dir.path().join("data");
        std::fs::create_dir_all(&to).expect("a folder for the copy");
        for name in ["sluice.db", "sluice.db-wal"] {
            if data.join(name).exists() {
                std::fs::copy(data.join(name), to.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
        let database = Connection::open(to.join("sluice.db")).expect("the copy opens");
        Self { _dir: dir, database }
    }

    /// Every row of a query, by column name.
    #[must_use]
    pub fn rows(&self, sql: &str) -> Vec<BTreeMap<String, Value>> {
        rows(&self.database, sql)
    }

    /// SQLite's own opinion of the file.
    #[must_use]
    pub fn integrity(&self) -> String {
        self.database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an integrity check")
    }
}

/// Every row of a query on a database that somebody else may be using.
#[must_use]
pub fn rows(database: &Connection, sql: &str) -> Vec<BTreeMap<String, Value>> {
    let mut statement = database.prepare(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let read = statement.query_map([], |row| {
        let cell = |at: usize| -> rusqlite::Result<Value> {
            Ok(match row.get_ref(at)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(n) => Value::from(n),
                ValueRef::Real(n) => Value::from(n),
                ValueRef::Text(text) => Value::from(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Blob(bytes) => Value::from(format!("blob of {} bytes", bytes.len())),
            })
        };
        names.iter().enumerate().map(|(at, name)| Ok((name.clone(), cell(at)?))).collect::<rusqlite::Result<BTreeMap<String, Value>>>()
    });
    read.unwrap_or_else(|e| panic!("{sql}: {e}")).map(|row| row.unwrap_or_else(|e| panic!("{sql}: {e}"))).collect()
}

/// Panics with the first differences, when there are any.
#[track_caller]
pub fn assert_same(what: &str, got: &[String], wanted: &[String]) {
    if got == wanted {
        return;
    }
    let count = |lines: &[String]| {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        lines.iter().for_each(|line| *counts.entry(line.clone()).or_default() += 1);
        counts
    };
    let (got_count, wanted_count) = (count(got), count(wanted));
    let beyond = |a: &BTreeMap<String, i64>, b: &BTreeMap<String, i64>| -> Vec<String> {
        a.iter().filter(|(line, n)| b.get(*line).copied().unwrap_or(0) < **n).map(|(line, _)| line.clone()).collect()
    };
    let (more, less) = (beyond(&got_count, &wanted_count), beyond(&wanted_count, &got_count));
    let show = |lines: &[String]| lines.iter().take(8).map(|line| format!("\n    {line}")).collect::<String>();
    panic!(
        "{what}: {} lines instead of {}\n  {} too many:{}\n  {} missing:{}",
        got.len(),
        wanted.len(),
        more.len(),
        show(&more),
        less.len(),
        show(&less)
    );
}

/// A copy of a whole data folder, for what a search for secrets or a second host is to see.
pub fn snapshot(data: &Path, to: &Path) {
    copy_folder(data, to);
}
