//! Which bytes of an instance run: what is in the folder, what was decided, and what follows from the two.
//!
//! The problem: the folder says what somebody would like to run, the store says what the operator accepted, and whoever can write to the first must
//! not thereby change the second. The contract: new bytes run only when somebody said yes to their hash (the operator by a command or a pin, the
//! release by the hashes it was built with), or when they ask for the same or less than the bytes that they replace. Whatever else happens to the
//! file, what was approved serves on, from its copy. Taking the file away takes the connector out of service.
//!
//! Order matters where a host can be killed: the copy is durable before the approval is, and the approval before anything runs.
//!
//! Nothing is compiled here: where it takes bytes that nobody has examined to say more, the judgement says which, and is made anew once that is known
//! (`examine`).

use super::{
    Listing, ModuleState, Told, Waiting, Workshop, bundled,
    connector::{self, Connector, Prepared},
    examine::{Examined, Examiner, Hand, Need, Said, UNSEEN},
    figures,
    folder::Found,
    store_copy::{Copies, hex},
    words,
};
use crate::{config::Config, link};
use sluice_model::authority::Authority;
use sluice_store::{Approval, ApprovalState, Candidate, Decided};
use std::sync::Arc;

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
    /// What is known of bytes.
    pub examiner: &'a Examiner,
    /// What has just been examined.
    pub hand: &'a Hand,
    /// Somebody's yes to the bytes of this hash.
    pub yes: Option<(&'a str, &'a Decided)>,
}

impl Bench<'_> {
    /// What runs already, where it is these bytes.
    fn same(&self, hash: &str) -> Option<&Arc<Connector>> {
        self.old.filter(|old| hex(&old.module.hash()) == hash)
    }

    /// What is known of these bytes; none where they must be examined first.
    fn said(&self, hash: &str, vouched: bool) -> Option<Result<Arc<Said>, String>> {
        match (self.hand.get(hash), self.same(hash)) {
            (Some(outcome), _) => Some(outcome.as_ref().map(|examined| examined.said.clone()).map_err(Clone::clone)),
            (None, Some(old)) => Some(Ok(old.said.clone())),
            (None, None) => self.examiner.known(hash, vouched),
        }
    }

    /// Their compiled code, where it is at hand.
    fn code(&self, hash: &str) -> Option<Examined> {
        let old = || self.same(hash).map(|old| Examined { said: old.said.clone(), module: old.module.clone() });
        self.hand.get(hash).and_then(|outcome| outcome.as_ref().ok().cloned()).or_else(old)
    }
}

/// What becomes of an instance.
pub struct Judged {
    /// Its line.
    pub listing: Listing,
    /// What runs under its name.
    pub connector: Option<Arc<Connector>>,
    /// What must be examined before more can be said.
    pub needs: Vec<Need>,
}

impl Judged {
    fn row(listing: Listing) -> Self {
        Self { listing, connector: None, needs: Vec::new() }
    }

    fn runs(listing: Listing, connector: Arc<Connector>) -> Self {
        Self { listing, connector: Some(connector), needs: Vec::new() }
    }
}

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
    Candidate { name: name.to_owned(), hash: hash.to_owned(), version: prepared.said.manifest.version.clone(), authority }
}

fn by(who: &str, reason: Option<&str>) -> Decided {
    Decided { by: who.to_owned(), user: None, reason: reason.map(str::to_owned) }
}

/// What becomes of one file.
pub async fn judge(bench: &Bench<'_>, found: Found) -> Judged {
    let Found { mut listing, bytes, ours } = found;
    if !ours || listing.state == ModuleState::Missing {
        return Judged::row(listing);
    }
    let name = listing.name.clone();
    let pin = bench.config.connectors.get(&name).and_then(|c| c.sha256.clone());
    let mut rows = match bench.workshop.store.approvals(&name).await {
        Ok(rows) => rows,
        Err(error) => {
            listing.state = ModuleState::Refused;
            listing.line = format!("what was decided about it could not be read: {error}");
            return Judged::row(listing);
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
    if let Err(error) = sluice_sandbox::recognise(bytes) {
        return stay(bench, listing, served, error.to_string(), None).await;
    }
    let bundled = bundled(&hash);
    let vouched = yes.is_some() || bundled;
    let said = match bench.said(&hash, vouched) {
        Some(Ok(said)) => said,
        Some(Err(why)) => return stay(bench, listing, served, why, None).await,
        None => return unseen(bench, listing, served, vouched).await,
    };
    let prepared = match connector::prepare(bench.config, &name, &hash, &said) {
        Ok(prepared) => prepared,
        Err(why) => return stay(bench, listing, served, why, None).await,
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
    let Some(examined) = bench.code(&hash) else { return unseen(bench, listing, served, true).await };
    let prepared = (prepared, examined);
    adopt(bench, listing, served, bytes, prepared, new, who).await
}

/// These bytes serve from now on.
async fn adopt(
    bench: &Bench<'_>,
    mut listing: Listing,
    served: Option<&Approval>,
    bytes: &[u8],
    (prepared, examined): (Prepared, Examined),
    new: Candidate,
    who: Decided,
) -> Judged {
    let takes_over = served.is_some_and(|s| s.candidate.hash != new.hash);
    let pinned = pinned(bench.config, &new.name);
    let on_trial = takes_over && !pinned;
    let connector = match connector::finish(bench.config, bench.workshop, &new.name, prepared, examined, on_trial).await {
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
    let store = bench.workshop.store;
    let noted = if pinned { store.approve_for_good(new, who).await } else { store.approve(new, who).await };
    if let Err(error) = noted {
        return stay(bench, listing, served, format!("its approval could not be written down: {error}"), None).await;
    }
    point("approve:after-record");
    if let Some(served) = served.filter(|_| takes_over) {
        tracing::info!(
            "{}: version {} takes over from {} (approved by {by}){}; runs under way end on the old one",
            listing.name,
            connector.manifest.version,
            served.candidate.version,
            stores.map(|stores| format!(" and {stores}")).unwrap_or_default()
        );
    }
    running(&mut listing, &connector, "");
    Judged::runs(listing, Arc::new(connector))
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
    let what = words::titled(&prepared.said.manifest.title, &prepared.said.manifest.version);
    let version = new.version.clone();
    if let Err(error) = bench.workshop.store.note_pending(new).await {
        tracing::warn!("{}: that it waits could not be written down: {error}", listing.name);
    }
    match served {
        Some(_) => {
            let line = words::waits(&what, &listing.name, authority, Some(&more), &command);
            let mut new = Waiting::of(&listing, line);
            new.state = ModuleState::Pending;
            new.compile_ms = Some(prepared.said.compile_ms);
            new.version = Some(version);
            new.difference = more;
            new.authority = authority.lines();
            new.command = Some(command);
            beside(bench, listing, served, new).await
        }
        None => {
            listing.state = ModuleState::Pending;
            listing.compile_ms = Some(prepared.said.compile_ms);
            listing.version = Some(version);
            listing.line = words::waits(&what, &listing.name, authority, None, &command);
            listing.authority = authority.lines();
            listing.command = Some(command);
            let setup = link::setup_of(&listing.name, &prepared.said.manifest, bench.config);
            listing.told = Some(Told { setup, metrics: figures::metrics(&prepared.said.manifest) });
            Judged::row(listing)
        }
    }
}

/// New bytes that nobody has examined. Where they are to serve in the place of others, those serve until then.
async fn unseen(bench: &Bench<'_>, mut listing: Listing, served: Option<&Approval>, vouched: bool) -> Judged {
    let Some(hash) = listing.sha256.clone() else { return Judged::row(listing) };
    let need = need(&listing, hash, vouched);
    let served = served.filter(|served| served.candidate.hash != need.hash);
    let mut new = Waiting::of(&listing, UNSEEN.to_owned());
    new.state = ModuleState::Examining;
    let mut judged = match bench.old.filter(|_| vouched && served.is_none()) {
        Some(old) => {
            running(&mut listing, old, &format!(", until what is to serve in its place has been examined; {UNSEEN}"));
            listing.waiting = Some(new);
            Judged::runs(listing, old.clone())
        }
        None if served.is_some() => beside(bench, listing, served, new).await,
        None => {
            listing.state = ModuleState::Examining;
            listing.line = UNSEEN.to_owned();
            Judged::row(listing)
        }
    };
    judged.needs.push(need);
    judged
}

fn need(listing: &Listing, hash: String, vouched: bool) -> Need {
    Need { name: listing.name.clone(), file: listing.file.clone(), hash, size: listing.size, vouched }
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
        return Judged::row(listing);
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
    let mut judged = serve(bench, listing, served, None).await;
    let listing = &mut judged.listing;
    listing.line = match &judged.connector {
        Some(_) => format!("{}, from its approved copy; the file in the folder: {}", listing.line, new.line),
        None => format!("{}; and the file in the folder: {}", listing.line, new.line),
    };
    listing.waiting = Some(new);
    judged
}

/// Approved bytes: those that run already, or their copy, or (where the copy is no longer what it was) the same bytes from the folder.
async fn serve(bench: &Bench<'_>, mut listing: Listing, row: Option<&Approval>, same: Option<&[u8]>) -> Judged {
    let Some(row) = row else { return Judged::row(listing) };
    let (name, hash) = (row.candidate.name.clone(), row.candidate.hash.clone());
    let old = bench.same(&hash);
    if let Some(old) = old
        && old.config == bench.config.connector(&name)
    {
        running(&mut listing, old, "");
        return Judged::runs(listing, old.clone());
    }
    match load(bench, &name, &hash, same, row).await {
        Ok(Some(connector)) => {
            running(&mut listing, &connector, "");
            Judged::runs(listing, Arc::new(connector))
        }
        Ok(None) => {
            listing.sha256 = Some(hash);
            unseen_approved(bench, listing, row).await
        }
        Err(why) => match old {
            // New settings that do not fit leave the connector as it was.
            Some(old) => {
                running(&mut listing, old, &format!(", with its settings of before: {why}"));
                Judged::runs(listing, old.clone())
            }
            None => {
                listing.state = ModuleState::Refused;
                listing.line = why;
                Judged::row(listing)
            }
        },
    }
}

/// Approved bytes whose code is not at hand.
async fn unseen_approved(bench: &Bench<'_>, mut listing: Listing, row: &Approval) -> Judged {
    listing.version = Some(row.candidate.version.clone());
    Box::pin(unseen(bench, listing, None, true)).await
}

/// A connector from approved bytes; none where they must be examined first.
async fn load(bench: &Bench<'_>, name: &str, hash: &str, same: Option<&[u8]>, row: &Approval) -> Result<Option<Connector>, String> {
    let (copies, wanted, same) = (bench.copies.clone(), hash.to_owned(), same.map(<[u8]>::to_vec));
    tokio::task::spawn_blocking(move || match (copies.get(&wanted), same) {
        (Ok(_), _) => Ok(()),
        (Err(why), Some(same)) => {
            tracing::warn!("{why}; it is there, and copied again");
            copies.put(&wanted, &same).map_err(|e| format!("its approved copy can't be written to the data folder: {e}"))
        }
        (Err(why), None) => Err(why),
    })
    .await
    .map_err(|e| e.to_string())??;
    let Some(examined) = bench.code(hash) else { return bench.said(hash, true).map_or(Ok(None), |said| said.map(|_| None)) };
    let prepared = connector::prepare(bench.config, name, hash, &examined.said)?;
    let seen = candidate(name, hash, &prepared);
    if row.state == ApprovalState::Approved && seen != row.candidate {
        // The operator's settings reach into authority (an address, say): the next version is compared with what holds now.
        let same = Decided { by: row.decided_by.clone().unwrap_or_default(), user: None, reason: row.reason.clone() };
        bench.workshop.store.approve(seen, same).await.map_err(|e| e.to_string())?;
    }
    let on_trial = row.on_trial && !ends_trial(bench, name, hash, row).await;
    connector::finish(bench.config, bench.workshop, name, prepared, examined, on_trial).await.map(Some)
}

/// A pin says that these bytes run, whatever became of their first run.
async fn ends_trial(bench: &Bench<'_>, name: &str, hash: &str, row: &Approval) -> bool {
    if !row.on_trial || !pinned(bench.config, name) {
        return false;
    }
    if let Err(error) = bench.workshop.store.end_trial(name, hash).await {
        tracing::warn!("{name}: that its pinned version is on no trial could not be written down: {error}");
    }
    true
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
