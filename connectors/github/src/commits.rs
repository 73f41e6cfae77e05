//! Commits, by repository, at the second in which they were written.
//!
//! **Which time.** A commit carries two: the author date (when it was written) and the committer date (when it was last re-made, by a
//! rebase or an amend). A day's work belongs to the first; `since` and `until` cut by the second. Author dates lie at times: one after the
//! committer date, or before the account began, gives way to the committer date, and one that is before the account as well (an imported
//! history) counts at the account's beginning. As an instant, not a day: GitHub gives both in UTC, and the host knows the person's own days.
//!
//! **Which window.** A commit's time is never after its committer date, but for those at the account's beginning. So everything that counts
//! at or after `W` has a committer date at or after `W`, a walk since `W` sees all of it, and the window from `W` can be replaced as a
//! whole. What the same walk sees from before `W` (written long ago, pushed now) is added.
//!
//! **How often.** A repository is walked when its row in the list changed. Looking back [`LOOK_BACK`] catches late pushes; a branch that
//! lived longer than that comes in with old committer dates, so a repository that changed is read whole again once its last whole reading
//! is [`WHOLE_EVERY`] old, which also clears what a force-push removed.
//!
//! **How much at once.** [`BITE`] pages; then what was read is committed together with the address of the next page. The last second of a
//! bite may not be complete, and would be counted short: its commits are held back for the next bite.

use crate::cursor::{Held, Unfinished};
use crate::repositories::Repository;
use crate::{BUDGET_ENTRIES, Run, api};
use serde::{Deserialize, Serialize};
use sluice_sdk::day::{DAY, parse_rfc3339, rfc3339};
use sluice_sdk::{Entry, Failure, FailureKind, Moment, Response, cache, paging};

/// How far before the last walk the next one begins.
pub const LOOK_BACK: i64 = 30 * DAY;
/// How old the last whole reading of a repository that changes may get.
pub const WHOLE_EVERY: i64 = 30 * DAY;
/// Pages of 100 between two commits of our own: 2,000 entries at most, well within what a checkpoint takes.
const BITE: usize = 20;
/// How long a repository that refuses is left alone, unless a person asks.
const LEAVE_ALONE: i64 = DAY;
/// Repositories in a row that may fail with a 5xx before GitHub as a whole is taken to be in trouble.
const MOST_FAILURES_IN_A_ROW: u32 = 3;
/// Rounds in which one repository may fail before it is left alone, so that it cannot hold up the rest for ever.
const MOST_FAILURES: u32 = 5;
/// Hashes that are held back at most; more commits than that in one second are a bulk import, and are counted as they come.
const MOST_HELD: usize = 64;

const METRIC: &str = "commits";

/// What is kept of a repository between runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// The name people see.
    name: String,
    /// What the list said when it was last walked; none before the first walk.
    fingerprint: Option<u64>,
    /// Up to when it was last walked, ms.
    walked: i64,
    /// When it was last read whole.
    whole: i64,
    /// Until when it is left alone.
    #[serde(default)]
    rest: i64,
    /// How often in a row it failed.
    #[serde(default)]
    failures: u32,
}

#[derive(Deserialize)]
struct Row {
    sha: String,
    commit: Dates,
}

#[derive(Deserialize)]
struct Dates {
    author: Option<Signature>,
    committer: Option<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    date: Option<String>,
}

/// Walks what changed, until all of it is done or the run has done its share. Answers what was wrong with repositories that GitHub could
/// not serve just now: everything else has been read by then, and they are tried again by the next run.
///
/// # Errors
/// What ends a run at once.
pub fn read(run: &mut Run<'_, '_>, list: &[Repository]) -> Result<Option<Failure>, Failure> {
    if run.cursor.commits_done && run.cursor.repository.is_none() {
        return Ok(None);
    }
    let mut in_a_row = 0;
    let mut trouble = None;
    let first = run.cursor.repository.as_ref().map(|unfinished| unfinished.id);
    if let Some(id) = first
        && !list.iter().any(|repository| repository.id == id)
    {
        // Gone from the list in the middle of its history: what was read stays.
        run.cursor.repository = None;
    }
    // An unfinished one goes first: its place in the cursor is needed.
    let order = list.iter().filter(|r| Some(r.id) == first).chain(list.iter().filter(|r| Some(r.id) != first));
    for repository in order.filter(|repository| !repository.fork) {
        let mut mark = load(run, repository.id);
        if mark.name != repository.name {
            run.host.label_series(METRIC, &repository.id.to_string(), &repository.name);
            mark.name.clone_from(&repository.name);
            save(run, repository.id, &mark)?;
        }
        let Some(mut walk) = due(run, repository, &mark) else { continue };
        if run.is_spent() {
            return Ok(trouble);
        }
        match walk_one(run, repository, &mut walk, &mut mark) {
            Ok(true) => in_a_row = 0,
            Ok(false) => return Ok(trouble),
            Err(failure) if is_its_own_trouble(&failure) => {
                in_a_row += 1;
                mark.failures += 1;
                if mark.failures >= MOST_FAILURES {
                    (mark.failures, mark.rest) = (0, run.now + LEAVE_ALONE);
                    run.host.problem(&about(&failure, repository), Some(METRIC));
                } else if trouble.is_none() {
                    trouble = Some(about(&failure, repository));
                }
                give_up(run, repository, &mark)?;
                if in_a_row >= MOST_FAILURES_IN_A_ROW {
                    break;
                }
            }
            Err(failure) => {
                run.tolerate(about(&failure, repository), METRIC)?;
                (mark.failures, mark.rest) = (0, run.now + LEAVE_ALONE);
                give_up(run, repository, &mark)?;
            }
        }
    }
    run.cursor.commits_done = trouble.is_none();
    Ok(trouble)
}

fn about(failure: &Failure, repository: &Repository) -> Failure {
    Failure { message: format!("{}: {}", repository.name, failure.message), ..failure.clone() }
}

/// GitHub runs out of time on some histories while everything else is well.
fn is_its_own_trouble(failure: &Failure) -> bool {
    failure.kind == FailureKind::Transient && (failure.code.starts_with("http-5") || failure.code == "timeout")
}

fn give_up(run: &mut Run<'_, '_>, repository: &Repository, mark: &Mark) -> Result<(), Failure> {
    run.cursor.repository = None;
    save(run, repository.id, mark)?;
    run.checkpoint()
}

fn key(id: u64) -> String {
    format!("repository/{id}")
}

fn load(run: &mut Run<'_, '_>, id: u64) -> Mark {
    run.host.backend().state_get(&key(id)).and_then(|bytes| sluice_sdk::json::parse(&bytes).ok()).unwrap_or_default()
}

fn save(run: &mut Run<'_, '_>, id: u64, mark: &Mark) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(mark).map_err(|e| Failure::other("state", e.to_string()))?;
    Ok(run.host.backend().state_set(&key(id), &bytes)?)
}

/// The walk that a repository needs, if any.
fn due(run: &Run<'_, '_>, repository: &Repository, mark: &Mark) -> Option<Unfinished> {
    if let Some(unfinished) = run.cursor.repository.as_ref().filter(|u| u.id == repository.id) {
        return Some(unfinished.clone());
    }
    if mark.fingerprint == Some(repository.fingerprint) || (mark.rest > run.now && !run.asked) {
        return None;
    }
    // What counts at the account's beginning may have any older committer date: a walk that reaches back to it must be a whole one.
    let reaches_back = mark.walked - LOOK_BACK <= run.user.created_at;
    let whole = mark.fingerprint.is_none() || reaches_back || run.now - mark.whole > WHOLE_EVERY;
    let since = (!whole).then_some(mark.walked - LOOK_BACK);
    let mut request =
        api::get(format!("{}/repos/{}/commits", api::API, repository.name)).query("author", &run.user.login).query("per_page", 100);
    if let Some(since) = since {
        request = request.query("since", rfc3339(since));
    }
    let next = request.query("until", rfc3339(run.now)).url;
    Some(Unfinished { id: repository.id, fingerprint: repository.fingerprint, since, until: run.now, next, held: Held::default() })
}

/// Commits that were read and not recorded yet: their second, and their hash, which tells them apart.
#[derive(Default)]
struct Gathered(Vec<(i64, u64)>);

impl Gathered {
    /// What the bite before held back.
    fn from(held: &Held) -> Self {
        Self(held.hashes.iter().map(|hash| (held.when, *hash)).collect())
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// One entry for each second, in order.
    fn entries(mut self, id: u64) -> Vec<Entry> {
        self.0.sort_unstable();
        self.0.dedup();
        let seconds = self.0.chunk_by(|a, b| a.0 == b.0);
        seconds.filter_map(|one| Some(Entry::at(METRIC, one.first()?.0, one.len() as f64).series(id.to_string()))).collect()
    }

    /// Takes out the commits of one second; their hashes.
    fn take(&mut self, when: i64) -> Vec<u64> {
        let mut hashes: Vec<u64> = self.0.extract_if(.., |(at, _)| *at == when).map(|(_, hash)| hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }
}

/// Walks one repository to its end (`true`), or until the run has done its share (`false`).
fn walk_one(run: &mut Run<'_, '_>, repository: &Repository, walk: &mut Unfinished, mark: &mut Mark) -> Result<bool, Failure> {
    let mut gathered = Gathered::from(&walk.held);
    // Only a walk that fits into one bite knows everything about its window.
    let mut in_one_bite = run.cursor.repository.is_none();
    let mut pages = 0;
    loop {
        let response = run.host.fetch(&api::get(walk.next.as_str()))?;
        let (last, next) = page(run, &response, &mut gathered)?;
        pages += 1;
        let Some(next) = next else { break };
        walk.next = next;
        let spent = run.is_spent() || run.host.entries() + gathered.len() >= BUDGET_ENTRIES;
        if pages >= BITE || spent {
            hold_back(&mut gathered, walk, last);
            run.host.record(gathered.entries(walk.id))?;
            gathered = Gathered::from(&walk.held);
            run.cursor.repository = Some(walk.clone());
            run.checkpoint()?;
            if spent {
                return Ok(false);
            }
            in_one_bite = false;
            pages = 0;
        }
    }
    let from = walk.since.unwrap_or(run.user.created_at).max(run.user.created_at);
    let past = walk.until + 1_000;
    let mut entries = gathered.entries(walk.id);
    if in_one_bite && from < past {
        let begins = entries.partition_point(|entry| entry.when < Moment::Instant(from));
        let mut window = entries.split_off(begins);
        let ends = window.partition_point(|entry| entry.when < Moment::Instant(past));
        entries.extend(window.split_off(ends));
        run.host.replace_window(METRIC, Some(&walk.id.to_string()), Moment::Instant(from), Moment::Instant(past), window)?;
    }
    run.host.record(entries)?;
    mark.fingerprint = Some(walk.fingerprint);
    mark.walked = walk.until;
    if walk.since.is_none() {
        mark.whole = walk.until;
    }
    (mark.rest, mark.failures) = (0, 0);
    save(run, repository.id, mark)?;
    run.note_worked();
    run.cursor.repository = None;
    run.checkpoint()?;
    Ok(true)
}

/// Takes in one page; answers the second of its last commit, and the next page.
fn page(run: &mut Run<'_, '_>, response: &Response, gathered: &mut Gathered) -> Result<(i64, Option<String>), Failure> {
    const WHAT: &str = "the commits of a repository";
    if response.status == 409 {
        // "Git Repository is empty": a repository without commits is no fault.
        return Ok((0, None));
    }
    api::check(response, WHAT, run.now)?;
    let rows: Vec<Row> = response.json(WHAT)?;
    let mut last = 0;
    for row in rows {
        let Some(when) = when(&row.commit, run.user.created_at, run.now) else {
            let failure = Failure::other("undated-commit", "a commit without a readable date was left out");
            run.host.problem(&failure, Some(METRIC));
            continue;
        };
        gathered.0.push((when, cache::hash(row.sha.as_bytes())));
        last = when;
    }
    Ok((last, paging::next(response).map(str::to_owned)))
}

/// The second at which a commit counts.
fn when(dates: &Dates, account_created: i64, now: i64) -> Option<i64> {
    let read = |signature: &Option<Signature>| signature.as_ref().and_then(|s| s.date.as_deref()).and_then(parse_rfc3339);
    let when = match (read(&dates.author), read(&dates.committer)) {
        (Some(author), Some(committer)) if author < account_created => committer,
        (Some(author), Some(committer)) => author.min(committer),
        (author, committer) => author.or(committer)?,
    };
    Some(when.max(account_created).min(now + DAY))
}

/// Keeps the last second's commits for the next bite.
fn hold_back(gathered: &mut Gathered, walk: &mut Unfinished, last: i64) {
    walk.held = Held { when: last, hashes: gathered.take(last) };
    if walk.held.hashes.len() > MOST_HELD {
        gathered.0.extend(walk.held.hashes.drain(..).map(|hash| (last, hash)));
    }
}
