//! Claims what is due and keeps a bounded number of runs going.
//!
//! Due work comes from an index, in batches, ahead of the runs that need it, so that a run waits for the disk once: for its own last commit. The
//! loop sleeps until the next due time, a wake-up, or a finished run. Leases belong to this host's incarnation, which one heartbeat keeps alive;
//! a host that missed its heartbeat has lost its leases, and its commits are fenced off. One that finds another host on its data, or its database gone
//! from its place, ends: the first line of defence (the folder's locks) was lost.
//!
//! Fair: what runs, and what is claimed ahead, is shared as [`Held`] says, between apps and between people, so that a provider that hangs leaves
//! slots for the others. Nothing gets stuck: a lease whose run could not be written down (a full disk, a panic) is written off as soon as the
//! store takes it, and its connection backs off like after any failure. A store that cannot do something now is asked again; only one that has
//! stopped stops the schedule.

use super::{
    backoff,
    events::RunEvent,
    execute::{Cancel, Left, execute},
};
use crate::app::App;
use sluice_model::{Failure, FailureKind};
use sluice_store::{Batch, Claim, CommitError, ConnectionState, Counts, Fence, Finish, Held, RunOutcome, RunStart, StoreError, Used};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

/// How long a heartbeat keeps the leases.
const LEASE_MS: i64 = 60_000;
/// Between heartbeats: a lease outlives five missed ones.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The longest sleep: a clock that was set back must not stop the schedule.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// The shortest, where something is due and may not run yet.
const HELD_BACK: Duration = Duration::from_millis(250);
/// Between two tries at a store that cannot do something now.
const STORE_AGAIN: Duration = Duration::from_secs(5);
/// How long running work may take to stop by itself.
const GRACE: Duration = Duration::from_secs(10);
/// How far ahead leases are taken: so many times what runs at once.
const AHEAD: usize = 2;

/// The running scheduler.
pub struct Scheduler {
    stop: CancellationToken,
    task: JoinHandle<Result<(), StoreError>>,
    ended: bool,
}

impl Scheduler {
    /// Takes this host's incarnation and starts.
    ///
    /// # Errors
    /// The store refused.
    pub async fn start(app: Arc<App>) -> Result<Self, StoreError> {
        let now = app.now();
        let incarnation = app.store.start_incarnation(now, now + LEASE_MS).await?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(work(app, incarnation, stop.clone()));
        Ok(Self { stop, task, ended: false })
    }

    /// Resolves when the scheduler ended by itself, which only a store that has stopped, or is not its own any more, makes it do.
    pub async fn ended(&mut self) -> Result<(), StoreError> {
        if self.ended {
            return Ok(());
        }
        let result = (&mut self.task).await;
        self.ended = true;
        match result {
            Ok(result) => result,
            Err(panic) => Err(StoreError::Fatal(format!("the scheduler stopped: {panic}"))),
        }
    }

    /// Stops claiming, lets what runs come to a checkpoint, gives back every lease. What had not been committed is dropped whole.
    pub async fn stop(mut self) -> Result<(), StoreError> {
        self.stop.cancel();
        self.ended().await
    }
}

/// A run that holds a lease.
struct Lease {
    fence: Fence,
    app: sluice_model::AppId,
    user: sluice_model::UserId,
    attempts: u32,
    run: RunStart,
}

impl Lease {
    fn of(claim: &Claim, now: i64) -> Self {
        let run = RunStart { reason: claim.reason, started_at: now, connector_version: String::new() };
        Self { fence: claim.fence, app: claim.app.id, user: claim.connection.user, attempts: claim.attempts, run }
    }
}

struct Working {
    app: Arc<App>,
    incarnation: i64,
    cancel: CancellationToken,
    limit: usize,
    ahead: VecDeque<Claim>,
    running: JoinSet<Left>,
    leases: HashMap<tokio::task::Id, Lease>,
    /// Leases whose runs are over and could not be written down, with why.
    owed: Vec<(Lease, String)>,
    owed_again: Instant,
    /// Slots of what runs.
    slots: Held,
    /// Slots of what runs or is claimed ahead.
    window: Held,
    /// The last claim came back empty: what is due may not run yet.
    dry: bool,
    /// Something happened since: a claim may bring something now.
    look: bool,
    /// A claim that is under way. What was claimed before goes on starting meanwhile.
    claiming: Option<JoinHandle<Result<Claimed, StoreError>>>,
    claim_again: Instant,
}

/// What a claim brought, and who else waits.
struct Claimed {
    claims: Vec<Claim>,
    several_apps: bool,
    several_users: bool,
}

/// The claim's end, when there is one under way.
async fn claimed(claiming: &mut Option<JoinHandle<Result<Claimed, StoreError>>>) -> Result<Claimed, StoreError> {
    let Some(under_way) = claiming else { return std::future::pending().await };
    let result = under_way.await;
    *claiming = None;
    result.unwrap_or_else(|panic| Err(StoreError::Fatal(format!("a claim stopped: {panic}"))))
}

async fn work(app: Arc<App>, incarnation: i64, stop: CancellationToken) -> Result<(), StoreError> {
    let limit = usize::try_from(app.config.concurrent_runs).unwrap_or(1).max(1);
    let stopped = app.stopped.clone().drop_guard();
    let mut state = Working {
        app,
        incarnation,
        cancel: CancellationToken::new(),
        limit,
        ahead: VecDeque::new(),
        running: JoinSet::new(),
        leases: HashMap::new(),
        owed: Vec::new(),
        owed_again: Instant::now(),
        slots: Held::none(limit),
        window: Held::none((1 + AHEAD) * limit),
        dry: false,
        look: true,
        claiming: None,
        claim_again: Instant::now(),
    };
    let mut beat = tokio::time::interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let result = loop {
        let sleep = match state.turn().await {
            Ok(sleep) => sleep,
            Err(error) if passing(&error) => {
                tracing::error!("the schedule waits {} s: {error}", STORE_AGAIN.as_secs());
                STORE_AGAIN
            }
            Err(error) => break Err(error),
        };
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            () = state.app.wake.notified() => state.look = true,
            Some(ended) = state.running.join_next_with_id(), if !state.running.is_empty() => state.ended(ended),
            claimed = claimed(&mut state.claiming) => match claimed {
                Ok(claimed) => state.take(claimed),
                Err(error) if passing(&error) => {
                    tracing::error!("the schedule waits {} s: {error}", STORE_AGAIN.as_secs());
                    state.claim_again = Instant::now() + STORE_AGAIN;
                }
                Err(error) => break Err(error),
            },
            _ = beat.tick() => {
                let now = state.app.now();
                match state.app.store.heartbeat(state.incarnation, now + LEASE_MS).await {
                    Ok(()) => {}
                    Err(error) if passing(&error) => tracing::error!("a heartbeat was missed: {error}"),
                    Err(error) => break Err(error),
                }
            }
            () = tokio::time::sleep(sleep) => state.look = true,
        }
        // Everything else that ended meanwhile, without a turn of the loop for each.
        while let Some(ended) = state.running.try_join_next_with_id() {
            state.ended(ended);
        }
    };
    state.wind_up().await;
    drop(stopped);
    result
}

/// Whether asking again later may help.
fn passing(error: &StoreError) -> bool {
    !matches!(error, StoreError::Fatal(_) | StoreError::Closed | StoreError::TakenOver | StoreError::Moved(_))
}

impl Working {
    /// Writes off, starts, claims; says how long to sleep then.
    async fn turn(&mut self) -> Result<Duration, StoreError> {
        self.write_off().await;
        self.start();
        self.claim();
        let mut longest = LONGEST_SLEEP;
        if !self.owed.is_empty() {
            longest = self.owed_again.saturating_duration_since(Instant::now()).min(longest);
        }
        // A run that ends, or the claim, wakes the loop.
        if self.running.len() >= self.limit || self.claiming.is_some() {
            return Ok(longest);
        }
        let again = self.claim_again.saturating_duration_since(Instant::now());
        if !again.is_zero() {
            return Ok(longest.min(again));
        }
        // Asked now: claims have changed it.
        let due = self.app.store.next_due().await?;
        let wait = due.map_or(i64::MAX, |due| due.saturating_sub(self.app.now())).max(1);
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(1)).min(longest);
        Ok(if self.dry { wait.max(HELD_BACK) } else { wait })
    }

    /// Claims what is missing, one batch ahead, beside the runs: their slots must not wait for the disk.
    fn claim(&mut self) {
        if !self.look || self.claiming.is_some() || self.claim_again > Instant::now() {
            return;
        }
        // Of those that wait, the first may be waiting for their share: then others are looked for, as long as the window has room.
        let wanted = if self.running.len() < self.limit { self.limit } else { self.limit.saturating_sub(self.ahead.len()) };
        let wanted = if self.ahead.len() < self.limit { AHEAD * self.limit - self.ahead.len() } else { wanted };
        let wanted = wanted.min(self.window.free());
        if wanted == 0 {
            // Full, and yet not everything runs: somebody's share has to become free first.
            self.dry = true;
            return;
        }
        self.look = false;
        let (app, incarnation, mut window) = (self.app.clone(), self.incarnation, self.window.clone());
        self.claiming = Some(tokio::spawn(async move {
            let waiting = app.store.waiting().await?;
            let others = window.apps().filter(|app| !waiting.apps.contains(app)).count();
            let (several_apps, several_users) = (waiting.apps.len() + others > 1, waiting.several_users);
            window.several_apps = several_apps;
            window.several_users = several_users;
            let claims = app.store.claim_beside(incarnation, app.now(), wanted, window).await?;
            Ok(Claimed { claims, several_apps, several_users })
        }));
    }

    /// Takes in what a claim brought.
    fn take(&mut self, claimed: Claimed) {
        for held in [&mut self.slots, &mut self.window] {
            held.several_apps = claimed.several_apps;
            held.several_users = claimed.several_users;
        }
        self.dry = claimed.claims.is_empty();
        // There may be more.
        self.look |= !self.dry;
        for claim in claimed.claims {
            self.window.take(claim.app.id, claim.connection.user);
            self.ahead.push_back(claim);
        }
    }

    /// Starts what may start, in the order of the claims.
    fn start(&mut self) {
        let mut at = 0;
        while self.running.len() < self.limit && at < self.ahead.len() {
            let fits = self.ahead.get(at).is_some_and(|c| self.slots.admits(c.app.id, c.connection.user));
            match if fits { self.ahead.remove(at) } else { None } {
                Some(claim) => self.spawn(claim),
                None => at += 1,
            }
        }
    }

    fn spawn(&mut self, claim: Claim) {
        let lease = Lease::of(&claim, self.app.now());
        self.slots.take(lease.app, lease.user);
        let app = self.app.clone();
        let cancel = self.cancel.child_token();
        let connection = claim.connection.id;
        app.stops.began(connection, cancel.clone());
        let all = self.cancel.clone();
        let handle = self.running.spawn(async move {
            let left = execute(&app, claim, Cancel { run: cancel, all }).await;
            app.stops.ended(connection);
            left
        });
        self.leases.insert(handle.id(), lease);
    }

    fn ended(&mut self, ended: Result<(tokio::task::Id, Left), tokio::task::JoinError>) {
        self.look = true;
        let (id, left) = match ended {
            Ok((id, left)) => (id, left),
            Err(error) => {
                tracing::error!("a run ended in a panic: {error}");
                (error.id(), Left::Lease("the host itself failed in it".to_owned()))
            }
        };
        let Some(lease) = self.leases.remove(&id) else { return };
        self.slots.give_back(lease.app, lease.user);
        self.window.give_back(lease.app, lease.user);
        if let Left::Lease(why) = left {
            self.app.events.send(RunEvent::Finished {
                connection: lease.fence.connection,
                outcome: "lost".to_owned(),
                message: Some(format!("This run could not be written down: {why}. It is tried again.")),
                counts: Counts::default(),
                took_ms: self.app.now() - lease.run.started_at,
                more: false,
            });
            self.owed.push((lease, why));
            self.owed_again = Instant::now();
        }
    }

    /// Ends the leases of runs that could not be written down, so that their connections come again.
    async fn write_off(&mut self) {
        if self.owed.is_empty() || self.owed_again > Instant::now() {
            return;
        }
        for (lease, why) in std::mem::take(&mut self.owed) {
            match self.app.store.commit(written_off(&self.app, &lease, &why)).await {
                // Fenced: somebody else has ended the lease.
                Ok(_) | Err(CommitError::Fenced) => {}
                Err(error) => {
                    tracing::warn!(connection = %lease.fence.connection, "a lease could not be ended yet: {error}");
                    self.owed.push((lease, why));
                }
            }
        }
        self.owed_again = Instant::now() + STORE_AGAIN;
    }

    /// Asks what runs to stop, waits a little, drops the rest, and gives every lease back.
    async fn wind_up(mut self) {
        self.cancel.cancel();
        let patience = tokio::time::sleep(GRACE);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                ended = self.running.join_next_with_id() => match ended {
                    Some(ended) => self.ended(ended),
                    None => break,
                },
                () = &mut patience => {
                    self.running.abort_all();
                    while self.running.join_next().await.is_some() {}
                    break;
                }
            }
        }
        self.owed_again = Instant::now();
        self.write_off().await;
        if self.claiming.is_some()
            && let Ok(claimed) = claimed(&mut self.claiming).await
        {
            self.take(claimed);
        }
        let running = self.leases.into_values().map(|lease| lease.fence);
        let left: Vec<Fence> = running.chain(self.ahead.into_iter().map(|c| c.fence)).collect();
        if !left.is_empty()
            && let Err(error) = self.app.store.release(left).await
        {
            tracing::warn!("leases could not be given back; they end by themselves: {error}");
        }
    }
}

/// The end of a run that has no end of its own.
fn written_off(app: &App, lease: &Lease, why: &str) -> Batch {
    let now = app.now();
    let attempts = lease.attempts.saturating_add(1);
    let message = format!("This host could not finish the last run ({why}); it is tried again.");
    Batch {
        fence: lease.fence,
        ops: Vec::new(),
        as_of: now,
        cursor: None,
        state: Vec::new(),
        guest_keys: Vec::new(),
        run: lease.run.clone(),
        requests: 0,
        finish: Some(Finish {
            ended_at: now,
            outcome: RunOutcome::Failed(FailureKind::Other),
            failure: Some(Failure::new(FailureKind::Other, "HOST_FAILED", message.clone())),
            log: Vec::new(),
            problems: Vec::new(),
            state: ConnectionState::BackingOff,
            message: Some(message),
            url: None,
            next_due: Some(now + backoff::after_failure(app.random.as_ref(), attempts)),
            next_reason: Some(format!("attempt {} after a failure", attempts + 1)),
            attempts,
            quotas: Vec::new(),
            used: Used::default(),
        }),
    }
}
