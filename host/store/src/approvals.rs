//! Which bytes of a connector an operator accepted, and what they may do.
//!
//! The problem: a file in a folder can be replaced at any time, so "this connector is approved" means nothing; "these bytes, with this authority,
//! are" does. The contract: a row for each (instance, hash); at most one of an instance is approved, which the schema itself holds; every change of
//! mind is one transaction with its audit row, so that a host killed in the middle has either decided or not. Versions that served before stay, the
//! latest [`KEPT`] of them, to go back to. What authority is, this crate does not know: it keeps the text.

use crate::{Store, StoreError};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sluice_model::UserId;
use std::collections::BTreeSet;

/// Versions of an instance that are kept to go back to.
const KEPT: i64 = 3;
/// Versions of an instance that wait or were refused; the oldest make room.
const REMEMBERED: i64 = 20;

/// What was decided about some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApprovalState {
    /// Nothing yet.
    Pending,
    /// They serve.
    Approved,
    /// They do not run.
    Refused,
    /// They served, until others took over.
    Superseded,
}

impl ApprovalState {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "approved" => Self::Approved,
            "refused" => Self::Refused,
            "superseded" => Self::Superseded,
            _ => Self::Pending,
        }
    }
}

/// Some bytes, as they describe themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The instance.
    pub name: String,
    /// SHA-256, lower-case hex.
    pub hash: String,
    /// The connector's own version.
    pub version: String,
    /// What they may do, as the caller writes it.
    pub authority: String,
}

/// Who decided, and why; becomes the audit row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// For people: `the operator`, `the release`, a rule.
    pub by: String,
    /// The user, where it was one.
    pub user: Option<UserId>,
    /// For people, where there is more to say.
    pub reason: Option<String>,
}

/// What is known of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The bytes.
    pub candidate: Candidate,
    /// What was decided.
    pub state: ApprovalState,
    /// By whom.
    pub decided_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When they were first seen, ms.
    pub seen_at: i64,
    /// When it was decided, ms.
    pub decided_at: Option<i64>,
    /// They took over from others, and no run of theirs has ended well yet.
    pub on_trial: bool,
}

const APPROVAL: &str = "SELECT name, hash, state, version, authority, decided_by, reason, seen_at, decided_at, on_trial FROM approval";

fn read_approval(row: &Row<'_>) -> Result<Approval, rusqlite::Error> {
    let state: String = row.get(2)?;
    Ok(Approval {
        candidate: Candidate { name: row.get(0)?, hash: row.get(1)?, version: row.get(3)?, authority: row.get(4)? },
        state: ApprovalState::parse(&state),
        decided_by: row.get(5)?,
        reason: row.get(6)?,
        seen_at: row.get(7)?,
        decided_at: row.get(8)?,
        on_trial: row.get(9)?,
    })
}

fn note(conn: &Connection, now: i64, who: &Decided, kind: &str, name: &str, hash: &str) -> Result<(), StoreError> {
    let why = who.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let detail = format!("{name}@{hash} by {}{why}", who.by);
    conn.prepare_cached("INSERT INTO audit (at, user, kind, connection, detail) VALUES (?, ?, ?, NULL, ?)")?.execute(params![
        now,
        who.user.map(|user| user.0),
        kind,
        detail
    ])?;
    Ok(())
}

/// What serves now; it steps down.
fn step_down(conn: &Connection, name: &str, now: i64) -> Result<bool, StoreError> {
    let sql = "UPDATE approval SET state = 'superseded', on_trial = 0, decided_at = ? WHERE name = ? AND state = 'approved'";
    Ok(conn.prepare_cached(sql)?.execute(params![now, name])? > 0)
}

fn trim(conn: &Connection, name: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM approval WHERE name = ?1 AND hash IN
        (SELECT hash FROM approval WHERE name = ?1 AND state = 'superseded' ORDER BY decided_at DESC, hash LIMIT -1 OFFSET ?2)";
    conn.prepare_cached(sql)?.execute(params![name, KEPT])?;
    let sql = "DELETE FROM approval WHERE name = ?1 AND hash IN
        (SELECT hash FROM approval WHERE name = ?1 AND state IN ('pending', 'refused') ORDER BY seen_at DESC, hash LIMIT -1 OFFSET ?2)";
    conn.prepare_cached(sql)?.execute(params![name, REMEMBERED])?;
    Ok(())
}

impl Store {
    /// What is known of an instance's versions; the latest decision first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn approvals(&self, name: &str) -> Result<Vec<Approval>, StoreError> {
        let name = name.to_owned();
        self.read(move |conn| {
            let mut statement =
                conn.prepare_cached(&format!("{APPROVAL} WHERE name = ? ORDER BY coalesce(decided_at, seen_at) DESC, hash"))?;
            let rows = statement.query_map([name], read_approval)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The hashes of all bytes that serve or that can be gone back to.
    ///
    /// # Errors
    /// The store failed.
    pub async fn kept_hashes(&self) -> Result<BTreeSet<String>, StoreError> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached("SELECT hash FROM approval WHERE state IN ('approved', 'superseded')")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The instances of which some bytes serve.
    ///
    /// # Errors
    /// The store failed.
    pub async fn approved_names(&self) -> Result<BTreeSet<String>, StoreError> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached("SELECT name FROM approval WHERE state = 'approved'")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Forgets what waits and is none of these hashes: it lies nowhere any more. What somebody decided stays. Says of how many versions.
    ///
    /// # Errors
    /// The store failed.
    pub async fn forget_pending(&self, there: BTreeSet<String>) -> Result<usize, StoreError> {
        let waiting: Vec<(String, String)> = self
            .read(|conn| {
                let mut statement = conn.prepare_cached("SELECT name, hash FROM approval WHERE state = 'pending'")?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await?;
        let gone: Vec<(String, String)> = waiting.into_iter().filter(|(_, hash)| !there.contains(hash)).collect();
        if gone.is_empty() {
            return Ok(0);
        }
        self.write(move |conn, _| {
            let mut forgotten = 0;
            for (name, hash) in &gone {
                let sql = "DELETE FROM approval WHERE name = ? AND hash = ? AND state = 'pending'";
                forgotten += conn.prepare_cached(sql)?.execute([name, hash])?;
            }
            Ok(forgotten)
        })
        .await
    }

    /// Notes that these bytes wait for somebody's yes. False when they were known already.
    ///
    /// # Errors
    /// The store failed.
    pub async fn note_pending(&self, new: Candidate) -> Result<bool, StoreError> {
        let now = self.now();
        self.write(move |conn, _| {
            let sql = "INSERT INTO approval (name, hash, state, version, authority, seen_at) VALUES (?, ?, 'pending', ?, ?, ?)
                 ON CONFLICT DO UPDATE SET version = excluded.version, authority = excluded.authority WHERE state = 'pending'";
            let known = find(conn, &new.name, &new.hash)?.is_some();
            conn.prepare_cached(sql)?.execute(params![new.name, new.hash, new.version, new.authority, now])?;
            trim(conn, &new.name)?;
            Ok(!known)
        })
        .await
    }

    /// These bytes serve from now on; what served before steps down, and is what a first run that crashes goes back to. With the same bytes as
    /// before only what is on record of them is brought up to date. The copy of the bytes must be on the disk already.
    ///
    /// # Errors
    /// The store failed; nothing is changed then.
    pub async fn approve(&self, new: Candidate, who: Decided) -> Result<(), StoreError> {
        self.approve_as(new, who, true).await
    }

    /// The same without a trial, for bytes that nothing may go back from by itself: what is pinned stays whatever its first run does.
    ///
    /// # Errors
    /// As [`Store::approve`].
    pub async fn approve_for_good(&self, new: Candidate, who: Decided) -> Result<(), StoreError> {
        self.approve_as(new, who, false).await
    }

    async fn approve_as(&self, new: Candidate, who: Decided, trial: bool) -> Result<(), StoreError> {
        let now = self.now();
        self.write(move |conn, _| {
            let known = find(conn, &new.name, &new.hash)?;
            if let Some(known) = known.filter(|known| known.state == ApprovalState::Approved) {
                let sql = "UPDATE approval SET version = ?, authority = ?, decided_by = ?, reason = ? WHERE name = ? AND hash = ?";
                conn.prepare_cached(sql)?
                    .execute(params![new.version, new.authority, who.by, who.reason, new.name, new.hash])?;
                if known.decided_by.as_deref() == Some(who.by.as_str()) && known.reason == who.reason {
                    return Ok(());
                }
                return note(conn, now, &who, "module-approved", &new.name, &new.hash);
            }
            let on_trial = step_down(conn, &new.name, now)? && trial;
            let sql = "INSERT INTO approval (name, hash, state, version, authority, decided_by, reason, seen_at, decided_at, on_trial)
                 VALUES (?1, ?2, 'approved', ?3, ?4, ?5, ?6, ?7, ?7, ?8)
                 ON CONFLICT DO UPDATE SET state = 'approved', version = excluded.version, authority = excluded.authority,
                   decided_by = excluded.decided_by, reason = excluded.reason, decided_at = excluded.decided_at, on_trial = excluded.on_trial";
            conn.prepare_cached(sql)?
                .execute(params![new.name, new.hash, new.version, new.authority, who.by, who.reason, now, on_trial])?;
            trim(conn, &new.name)?;
            note(conn, now, &who, "module-approved", &new.name, &new.hash)
        })
        .await
    }

    /// These bytes do not run. What serves is never refused this way: there must be something to go back to, which is [`Store::roll_back`], or
    /// nothing is left, which is [`Store::forget_module`].
    ///
    /// # Errors
    /// [`StoreError::Refused`] when they serve; or the store failed.
    pub async fn refuse(&self, new: Candidate, who: Decided) -> Result<(), StoreError> {
        let now = self.now();
        self.write(move |conn, _| {
            if find(conn, &new.name, &new.hash)?.is_some_and(|known| known.state == ApprovalState::Approved) {
                return Err(StoreError::Refused("these bytes serve at the moment".to_owned()));
            }
            let sql = "INSERT INTO approval (name, hash, state, version, authority, decided_by, reason, seen_at, decided_at)
                 VALUES (?1, ?2, 'refused', ?3, ?4, ?5, ?6, ?7, ?7)
                 ON CONFLICT DO UPDATE SET state = 'refused', decided_by = excluded.decided_by, reason = excluded.reason,
                   decided_at = excluded.decided_at, on_trial = 0";
            conn.prepare_cached(sql)?.execute(params![new.name, new.hash, new.version, new.authority, who.by, who.reason, now])?;
            trim(conn, &new.name)?;
            note(conn, now, &who, "module-refused", &new.name, &new.hash)
        })
        .await
    }

    /// Back from `from` (which must still serve, and is refused from now on) to what served before it. `None` where there is nothing to go back to,
    /// or something else serves by now.
    ///
    /// # Errors
    /// The store failed; nothing is changed then.
    pub async fn roll_back(&self, name: &str, from: &str, who: Decided) -> Result<Option<Approval>, StoreError> {
        self.back_from(name, from, who, |_| true).await
    }

    /// The same because the first run of `from` went wrong; `None` as well where its trial is over by now.
    ///
    /// # Errors
    /// As [`Store::roll_back`].
    pub async fn fail_trial(&self, name: &str, from: &str, who: Decided) -> Result<Option<Approval>, StoreError> {
        self.back_from(name, from, who, |serves| serves.on_trial).await
    }

    async fn back_from(
        &self,
        name: &str,
        from: &str,
        who: Decided,
        may: impl FnOnce(&Approval) -> bool + Send + 'static,
    ) -> Result<Option<Approval>, StoreError> {
        let (name, from, now) = (name.to_owned(), from.to_owned(), self.now());
        self.write(move |conn, _| {
            let serves = find(conn, &name, &from)?.is_some_and(|known| known.state == ApprovalState::Approved && may(&known));
            let sql = format!("{APPROVAL} WHERE name = ? AND state = 'superseded' ORDER BY decided_at DESC, hash LIMIT 1");
            let before = conn.prepare_cached(&sql)?.query_row([&name], read_approval).optional()?;
            let (true, Some(before)) = (serves, before) else { return Ok(None) };
            let sql = "UPDATE approval SET state = 'refused', decided_by = ?, reason = ?, decided_at = ?, on_trial = 0 WHERE name = ? AND hash = ?";
            conn.prepare_cached(sql)?.execute(params![who.by, who.reason, now, name, from])?;
            let sql = "UPDATE approval SET state = 'approved', on_trial = 0, decided_at = ? WHERE name = ? AND hash = ?";
            conn.prepare_cached(sql)?.execute(params![now, name, before.candidate.hash])?;
            note(conn, now, &who, "module-rolled-back", &name, &from)?;
            Ok(Some(Approval { state: ApprovalState::Approved, on_trial: false, ..before }))
        })
        .await
    }

    /// A run of these bytes has ended well: they need no way back any more.
    ///
    /// # Errors
    /// The store failed.
    pub async fn end_trial(&self, name: &str, hash: &str) -> Result<(), StoreError> {
        let (name, hash) = (name.to_owned(), hash.to_owned());
        self.write(move |conn, _| {
            conn.prepare_cached("UPDATE approval SET on_trial = 0 WHERE name = ? AND hash = ?")?.execute([&name, &hash])?;
            Ok(())
        })
        .await
    }

    /// Forgets all that was decided about an instance: whatever lies in the folder under that name starts from nothing. Says of how many versions.
    ///
    /// # Errors
    /// The store failed.
    pub async fn forget_module(&self, name: &str, who: Decided) -> Result<usize, StoreError> {
        let (name, now) = (name.to_owned(), self.now());
        self.write(move |conn, _| {
            let sql = "SELECT hash FROM approval WHERE name = ? AND state = 'approved'";
            let served: Option<String> = conn.prepare_cached(sql)?.query_row([&name], |row| row.get(0)).optional()?;
            let versions = conn.prepare_cached("DELETE FROM approval WHERE name = ?")?.execute([&name])?;
            note(conn, now, &who, "module-removed", &name, served.as_deref().unwrap_or("none"))?;
            Ok(versions)
        })
        .await
    }
}

fn find(conn: &Connection, name: &str, hash: &str) -> Result<Option<Approval>, StoreError> {
    Ok(conn.prepare_cached(&format!("{APPROVAL} WHERE name = ? AND hash = ?"))?.query_row([name, hash], read_approval).optional()?)
}
