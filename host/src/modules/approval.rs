//! Which bytes of an instance run: what is in the folder, what was decided, and what follows from the two.
//!
//! The problem: the folder says what somebody would like to run, the store says what the operator accepted, and whoever can write to the first must
//! not thereby change the second. The contract: new bytes run only when somebody said yes to their hash (the operator by a command or a pin, the
//! release by the hashes it was built with), or when they ask for the same or less than the bytes that they replace. Whatever else happens to the
//! file, what was approved serves on, from its copy. Taking the file away takes the connector out of service.
//!
//! Order matters where a host can be killed: the copy is durable before the approval is, and the approval before anything runs.

use super::{
    Listing, ModuleState, Waiting, Workshop, bundled,
    connector::{self, Connector, Prepared},
    folder::Found,
    store_copy::{Copies, hex},
    words,
};
use crate::config::Config;
use sluice_model::authority::Authority;
use sluice_store::{Approval, ApprovalState, Candidate, Decided};
use std::sync::Arc;
use tokio::time::Instant;

/// Letters of a hash that a command shows and takes.
pub const SHOWN_HASH: usize = 12;

/// What a judgement is made with.
pub struct Bench<'a> {
    /// The settings.
    pub config: &'a Config,
    /// Engine, gate, store.
    pub workshop: Workshop<'a>,
    /// Approved bytes.
    pub copies: &'a Copies,
    /// What ran before.
    pub old: Option<&'a Arc<Connector>>,
    /// Until when files that nobody has said yes to are waited for.
    pub patience: Option<Instant>,
    /// Somebody's yes to the bytes of this hash.
    pub yes: Option<(&'a str, &'a Decided)>,
}

/// A line, and what runs under its name.
pub type Judged = (Listing, Option<Arc<Connector>>);

/// The command that says yes.
#[must_use]
pub fn command(name: &str, hash: &str) -> String {
    format!("sluice modules approve {name}@{}", short(hash))
}

/// The part of a hash that is shown.
#[must_use]
pub fn short(hash: &str) -> &str {
    hash.get(..SHOWN_HASH).unwrap_or(hash)
}

/// Whether the settings themselves say which bytes run.
#[must_use]
pub fn pinned(config: &Config, name: &str) -> bool {
    config.connectors.get(name).is_some_and(|c| c.sha256.is_some())
}

/// Why pinned bytes are approved; this yes lasts as long as the pin does.
const PINNED: &str = "pinned in the settings";

fn candidate(name: &str, hash: &str, prepared: &Prepared) -> Candidate {
    let authority = serde_json::to_string(prepared.grant.authority()).unwrap_or_default();
    Candidate { name: name.to_owned(), hash: hash.to_owned(), version: prepared.manifest.version.clone(), authority }
}

fn by(who: &str, reason: Option<&str>) -> Decided {
    Decided { by: who.to_owned(), user: None, reason: reason.map(str::to_owned) }
}

/// What becomes of one file.
pub async fn judge(bench: &Bench<'_>, found: Found) -> Judged {
    let Found { mut listing, bytes, ours } = found;
    if !ours || listing.state == ModuleState::Missing {
        return (listing, None);
    }
    let name = listing.name.clone();
    let pin = bench.config.connectors.get(&name).and_then(|c| c.sha256.clone());
    let mut rows = match bench.workshop.store.approvals(&name).await {
        Ok(rows) => rows,
        Err(error) => {
            listing.state = ModuleState::Refused;
            listing.line = format!("what was decided about it could not be read: {error}");
            return (listing, None);
        }
    };
    if pin.is_none() {
        for row in rows.iter_mut().filter(|r| r.state == ApprovalState::Approved && r.reason.as_deref() == Some(PINNED)) {
            row.state = ApprovalState::Pending;
        }
    }
    // What serves when the file itself does not: nothing but the pinned bytes, where there is a pin.
    let served = match &pin {
        Some(pin) => {
            rows.iter().find(|r| r.candidate.hash == *pin && matches!(r.state, ApprovalState::Approved | ApprovalState::Superseded))
        }
        None => rows.iter().find(|r| r.state == ApprovalState::Approved),
    };
    let (Some(bytes), Some(hash)) = (bytes, listing.sha256.clone()) else {
        let why = listing.line.clone();
        return stay(bench, listing, served, why, None).await;
    };
    if let Some(pin) = &pin
        && *pin != hash
    {
        let why = format!("[connectors.{name}] pins sha256 {pin}, and the file has {hash}: put the pinned file back, or pin this one");
        return stay(bench, listing, served, why, None).await;
    }
    let row = rows.iter().find(|r| r.candidate.hash == hash);
    let yes = match bench.yes {
        Some((of, who)) if of == hash => Some(who.clone()),
        _ if pin.is_some() => Some(by("the operator", Some(PINNED))),
        _ => None,
    };
    match (row.map(|r| r.state), yes) {
        (Some(ApprovalState::Approved), _) => serve(bench, listing, row, Some(&bytes)).await,
        (Some(ApprovalState::Refused), None) => {
            let why = row.and_then(|r| r.reason.clone().or_else(|| r.decided_by.as_ref().map(|by| format!("by {by}"))));
            let why = why.unwrap_or_else(|| "no reason is noted".to_owned());
            let line = format!("was refused ({why}); to run it after all: {}", command(&name, &hash));
            stay(bench, listing, served, line, row).await
        }
        (_, yes) => consider(bench, listing, served, &bytes, yes).await,
    }
}

/// New bytes: what do they say they are, and does anybody have to be asked?
async fn consider(bench: &Bench<'_>, listing: Listing, served: Option<&Approval>, bytes: &[u8], yes: Option<Decided>) -> Judged {
    let (name, hash) = (listing.name.clone(), listing.sha256.clone().unwrap_or_default());
    let bundled = bundled(&hash);
    let prepare = connector::prepare(bench.config, bench.workshop, &name, bytes);
    let prepared = match bench.patience.filter(|_| yes.is_none() && !bundled) {
        Some(until) => tokio::time::timeout_at(until, prepare).await,
        None => Ok(prepare.await),
    };
    let prepared = match prepared {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(why)) => return stay(bench, listing, served, why, None).await,
        Err(_) => return later(bench, listing, served).await,
    };
    let new = candidate(&name, &hash, &prepared);
    let before = served.map(|row| serde_json::from_str::<Authority>(&row.candidate.authority));
    let more = match &before {
        Some(Ok(before)) => prepared.grant.authority().asks_more_than(before),
        Some(Err(_)) => vec!["what was approved before can't be compared with it".to_owned()],
        None => Vec::new(),
    };
    let who = match yes {
        Some(who) => who,
        None if bundled => by("the release", None),
        None if more.is_empty()
            && let Some(Ok(before)) = &before =>
        {
            let stores = prepared.grant.authority().stores_otherwise_than(before).map(|stores| format!("; it {stores}"));
            by("a rule", Some(&format!("it asks for nothing more than the version before{}", stores.unwrap_or_default())))
        }
        None => return wait(bench, listing, served, &prepared, new, more).await,
    };
    adopt(bench, listing, served, bytes, prepared, new, who).await
}

/// These bytes serve from now on.
async fn adopt(
    bench: &Bench<'_>,
    mut listing: Listing,
    served: Option<&Approval>,
    bytes: &[u8],
    prepared: Prepared,
    new: Candidate,
    who: Decided,
) -> Judged {
    let on_trial = served.is_some_and(|s| s.candidate.hash != new.hash);
    let connector = match connector::finish(bench.config, bench.workshop, &new.name, prepared, on_trial).await {
        Ok(connector) => connector,
        Err(why) => return stay(bench, listing, served, why, None).await,
    };
    let point = bench.workshop.fail_point;
    point("approve:before-copy");
    let (copies, hash, bytes) = (bench.copies.clone(), new.hash.clone(), bytes.to_vec());
    let kept = tokio::task::spawn_blocking(move || copies.put(&hash, &bytes)).await;
    let kept = kept.map_err(|e| e.to_string()).and_then(|put| put.map_err(|e| e.to_string()));
    if let Err(why) = kept {
        return stay(bench, listing, served, format!("its approved copy can't be written to the data folder: {why}"), None).await;
    }
    point("approve:before-record");
    let by = who.by.clone();
    let stores = served.and_then(|s| connector.grant.authority().stores_otherwise_than(&read(&s.candidate.authority)?));
    if let Err(error) = bench.workshop.store.approve(new, who).await {
        return stay(bench, listing, served, format!("its approval could not be written down: {error}"), None).await;
    }
    point("approve:after-record");
    if let Some(served) = served.filter(|_| on_trial) {
        tracing::info!(
            "{}: version {} takes over from {} (approved by {by}){}; runs under way end on the old one",
            listing.name,
            connector.manifest.version,
            served.candidate.version,
            stores.map(|stores| format!(" and {stores}")).unwrap_or_default()
        );
    }
    running(&mut listing, &connector, "");
    (listing, Some(Arc::new(connector)))
}

/// New bytes that somebody must be asked about.
async fn wait(
    bench: &Bench<'_>,
    mut listing: Listing,
    served: Option<&Approval>,
    prepared: &Prepared,
    new: Candidate,
    more: Vec<String>,
) -> Judged {
    let authority = prepared.grant.authority();
    let command = command(&new.name, &new.hash);
    let what = words::titled(&prepared.manifest.title, &prepared.manifest.version);
    let version = new.version.clone();
    if let Err(error) = bench.workshop.store.note_pending(new).await {
        tracing::warn!("{}: that it waits could not be written down: {error}", listing.name);
    }
    match served {
        Some(_) => {
            let line = words::waits(&what, &listing.name, authority, Some(&more), &command);
            let mut new = Waiting::of(&listing, line);
            new.state = ModuleState::Pending;
            new.compile_ms = Some(prepared.compile_ms());
            new.version = Some(version);
            new.difference = more;
            new.authority = authority.lines();
            new.command = Some(command);
            beside(bench, listing, served, new).await
        }
        None => {
            listing.state = ModuleState::Pending;
            listing.compile_ms = Some(prepared.compile_ms());
            listing.version = Some(version);
            listing.line = words::waits(&what, &listing.name, authority, None, &command);
            listing.authority = authority.lines();
            listing.command = Some(command);
            (listing, None)
        }
    }
}

/// New bytes that take too long to look at for a start that others wait for.
async fn later(bench: &Bench<'_>, mut listing: Listing, served: Option<&Approval>) -> Judged {
    let line = "not looked at yet: compiling it takes a while, and goes on once the host serves".to_owned();
    if served.is_some() {
        return stay(bench, listing, served, line, None).await;
    }
    listing.state = ModuleState::Pending;
    listing.line = line;
    (listing, None)
}

/// The file's bytes do not run: what served before goes on, or nothing does.
async fn stay(bench: &Bench<'_>, mut listing: Listing, served: Option<&Approval>, why: String, row: Option<&Approval>) -> Judged {
    let command = row.map(|r| command(&r.candidate.name, &r.candidate.hash));
    // Whoever takes a no back wants to read again to what.
    let asked = row.and_then(|r| read(&r.candidate.authority));
    let lines = asked.as_ref().map(Authority::lines).unwrap_or_default();
    if served.is_none() {
        listing.state = ModuleState::Refused;
        listing.line = why;
        listing.version = row.map(|r| r.candidate.version.clone());
        listing.authority = lines;
        listing.command = command;
        return (listing, None);
    }
    let mut new = Waiting::of(&listing, why);
    new.authority = lines;
    if let (Some(asked), Some(before)) = (asked, served.and_then(|s| read(&s.candidate.authority))) {
        new.difference = asked.asks_more_than(&before);
    }
    new.version = row.map(|r| r.candidate.version.clone());
    new.command = command;
    beside(bench, listing, served, new).await
}

/// Authority as it was written down; none where nobody could ask the bytes.
fn read(text: &str) -> Option<Authority> {
    serde_json::from_str(text).ok()
}

/// What was approved serves on, beside something that does not run.
async fn beside(bench: &Bench<'_>, mut listing: Listing, served: Option<&Approval>, new: Waiting) -> Judged {
    listing.sha256 = served.map(|s| s.candidate.hash.clone());
    let (mut listing, connector) = serve(bench, listing, served, None).await;
    listing.line = match &connector {
        Some(_) => format!("{}, from its approved copy; the file in the folder: {}", listing.line, new.line),
        None => format!("{}; and the file in the folder: {}", listing.line, new.line),
    };
    listing.waiting = Some(new);
    (listing, connector)
}

/// Approved bytes: those that run already, or their copy, or (where the copy is no longer what it was) the same bytes from the folder.
async fn serve(bench: &Bench<'_>, mut listing: Listing, row: Option<&Approval>, same: Option<&[u8]>) -> Judged {
    let Some(row) = row else { return (listing, None) };
    let (name, hash) = (row.candidate.name.clone(), row.candidate.hash.clone());
    let old = bench.old.filter(|old| hex(&old.module.hash()) == hash);
    if let Some(old) = old
        && old.config == bench.config.connector(&name)
    {
        running(&mut listing, old, "");
        return (listing, Some(old.clone()));
    }
    match load(bench, &name, &hash, same, row).await {
        Ok(connector) => {
            running(&mut listing, &connector, "");
            (listing, Some(Arc::new(connector)))
        }
        Err(why) => match old {
            // New settings that do not fit leave the connector as it was.
            Some(old) => {
                running(&mut listing, old, &format!(", with its settings of before: {why}"));
                (listing, Some(old.clone()))
            }
            None => {
                listing.state = ModuleState::Refused;
                listing.line = why;
                (listing, None)
            }
        },
    }
}

async fn load(bench: &Bench<'_>, name: &str, hash: &str, same: Option<&[u8]>, row: &Approval) -> Result<Connector, String> {
    let (copies, wanted, same) = (bench.copies.clone(), hash.to_owned(), same.map(<[u8]>::to_vec));
    let bytes = tokio::task::spawn_blocking(move || match (copies.get(&wanted), same) {
        (Ok(bytes), _) => Ok(bytes),
        (Err(why), Some(same)) => {
            tracing::warn!("{why}; it is there, and copied again");
            copies.put(&wanted, &same).map_err(|e| format!("its approved copy can't be written to the data folder: {e}"))?;
            Ok(same)
        }
        (Err(why), None) => Err(why),
    })
    .await
    .map_err(|e| e.to_string())??;
    let prepared = connector::prepare(bench.config, bench.workshop, name, &bytes).await?;
    let seen = candidate(name, hash, &prepared);
    if row.state == ApprovalState::Approved && seen != row.candidate {
        // The operator's settings reach into authority (an address, say): the next version is compared with what holds now.
        let same = Decided { by: row.decided_by.clone().unwrap_or_default(), user: None, reason: row.reason.clone() };
        bench.workshop.store.approve(seen, same).await.map_err(|e| e.to_string())?;
    }
    connector::finish(bench.config, bench.workshop, name, prepared, row.on_trial).await
}

fn running(listing: &mut Listing, connector: &Connector, note: &str) {
    listing.state = ModuleState::Running;
    listing.sha256 = Some(hex(&connector.module.hash()));
    listing.size = connector.module.size();
    listing.compile_ms = Some(connector::ms(connector.module.compile_time()));
    listing.version = Some(connector.manifest.version.clone());
    listing.line = format!("{}{note}", words::titled(&connector.manifest.title, &connector.manifest.version));
    listing.authority = connector.grant.authority().lines();
}
