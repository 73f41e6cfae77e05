//! Claims what is due and keeps a bounded number of runs going.
//!
//! Due work comes from an index, in batches, ahead of the runs that need it, so that a run waits for the disk once: for its own last commit. The
//! loop sleeps until the next due time, a wake-up, or a finished run. Leases belong to this host's incarnation, which one heartbeat keeps alive;
//! a host that missed its heartbeat has lost its leases, and its commits are fenced off.

use super::execute::execute;
use crate::app::App;
use sluice_store::{Claim, Fence, StoreError};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long a heartbeat keeps the leases.
const LEASE_MS: i64 = 60_000;
/// Between heartbeats: a lease outlives five missed ones.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The longest sleep: a clock that was set back must not stop the schedule.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How long running work may take to stop by itself.
const GRACE: Duration = Duration::from_secs(10);

/// The running scheduler.
pub struct Scheduler {
    stop: CancellationToken,
    task: JoinHandle<Result<(), StoreError>>,
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
        Ok(Self { stop, task })
    }

    /// Resolves when the scheduler ended by itself, which only a failing store makes it do.
    pub async fn ended(&mut self) -> Result<(), StoreError> {
        match (&mut self.task).await {
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

struct Working {
    app: Arc<App>,
    incarnation: i64,
    cancel: CancellationToken,
    ahead: VecDeque<Claim>,
    running: JoinSet<Fence>,
    fences: HashMap<tokio::task::Id, Fence>,
    limit: usize,
}

async fn work(app: Arc<App>, incarnation: i64, stop: CancellationToken) -> Result<(), StoreError> {
    let limit = usize::try_from(app.config.concurrent_runs).unwrap_or(1).max(1);
    let mut state = Working {
        app,
        incarnation,
        cancel: CancellationToken::new(),
        ahead: VecDeque::new(),
        running: JoinSet::new(),
        fences: HashMap::new(),
        limit,
    };
    let mut beat = tokio::time::interval(HEARTBEAT);
    let result = loop {
        if let Err(error) = state.fill().await {
            break Err(error);
        }
        let sleep = match state.sleep().await {
            Ok(sleep) => sleep,
            Err(error) => break Err(error),
        };
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            () = state.app.wake.notified() => {}
            Some(ended) = state.running.join_next_with_id(), if !state.running.is_empty() => state.ended(ended),
            _ = beat.tick() => {
                let now = state.app.now();
                match state.app.store.heartbeat(state.incarnation, now + LEASE_MS).await {
                    Ok(true) => {}
                    Ok(false) => break Err(StoreError::Fatal("this host's leases were taken over by another".to_owned())),
                    Err(error) => break Err(error),
                }
            }
            () = tokio::time::sleep(sleep) => {}
        }
        // Everything else that ended meanwhile, without a turn of the loop for each.
        while let Some(ended) = state.running.try_join_next_with_id() {
            state.ended(ended);
        }
    };
    state.wind_up().await;
    result
}

impl Working {
    /// Starts what was claimed, and claims what is missing, one batch ahead.
    async fn fill(&mut self) -> Result<(), StoreError> {
        loop {
            while self.running.len() < self.limit {
                let Some(claim) = self.ahead.pop_front() else { break };
                self.spawn(claim);
            }
            if self.ahead.len() >= self.limit {
                return Ok(());
            }
            let wanted = 2 * self.limit - self.ahead.len();
            let claims = self.app.store.claim(self.incarnation, self.app.now(), wanted).await?;
            let none = claims.is_empty();
            self.ahead.extend(claims);
            if none || self.running.len() >= self.limit {
                return Ok(());
            }
        }
    }

    fn spawn(&mut self, claim: Claim) {
        let fence = claim.fence;
        let app = self.app.clone();
        let cancel = self.cancel.child_token();
        let handle = self.running.spawn(async move {
            execute(&app, claim, cancel).await;
            fence
        });
        self.fences.insert(handle.id(), fence);
    }

    fn ended(&mut self, ended: Result<(tokio::task::Id, Fence), tokio::task::JoinError>) {
        match ended {
            Ok((id, _)) => {
                self.fences.remove(&id);
            }
            Err(error) => {
                // The lease stays until this host ends or the run's connection is touched; the panic is in the log.
                tracing::error!("a run ended in a panic: {error}");
                self.fences.remove(&error.id());
            }
        }
    }

    async fn sleep(&self) -> Result<Duration, StoreError> {
        if self.running.len() >= self.limit {
            return Ok(LONGEST_SLEEP);
        }
        let due = self.app.store.next_due().await?;
        let wait = due.map_or(i64::MAX, |due| due - self.app.now()).max(1);
        Ok(Duration::from_millis(u64::try_from(wait).unwrap_or(1)).min(LONGEST_SLEEP))
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
        let left: Vec<Fence> = self.fences.into_values().chain(self.ahead.into_iter().map(|c| c.fence)).collect();
        if !left.is_empty()
            && let Err(error) = self.app.store.release(left).await
        {
            tracing::warn!("leases could not be given back; they end by themselves: {error}");
        }
    }
}
