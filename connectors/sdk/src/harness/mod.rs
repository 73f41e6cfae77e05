//! A connector under plain `cargo test`: no host, no account, no network.
//!
//! A [`TestBed`] stands for one connection. It reads the connector's own manifest with the host's own code, judges every request against
//! the grant and the recipes made from it, every entry against the metrics, and keeps what a host would keep between runs: entries, cursor,
//! state, keys. A test scripts the provider as a closure from request to response ([`Sent`] → [`Response`]), runs the connector as often as
//! it likes, and looks at what is stored in the end.
//!
//! ```no_run
//! # use sluice_sdk::harness::{self, TestBed}; use sluice_sdk::*;
//! # fn check<C: Connector>() {
//! let mut bed = TestBed::new::<C>("token");
//! let run = bed.run::<C>(&mut |sent| match sent.path() {
//!     "/user" => Ok(harness::json(200, &serde_json::json!({ "id": 1 }))),
//!     _ => Ok(harness::json(404, &serde_json::json!({}))),
//! });
//! assert_eq!(run.outcome(), Ok(Outcome::Complete));
//! assert_eq!(bed.store.count("followers"), 1);
//! # }
//! ```
//!
//! Faults: [`Fault::CrashAfter`] ends the run right after its n-th call to the host, as a trap would; [`crash_everywhere`] does so for
//! every n and demands the same final store. What is not emulated: limits on time, memory, bytes of entries and of the log, quotas, the order of
//! versions between several writers, addresses (names are not resolved), and all but the commonest of the headers that the gate refuses.
//!
//! This module reports by panicking, as a test does.
#![allow(clippy::panic, clippy::expect_used, reason = "a harness fails the test that uses it")]

mod answers;
mod judge;
mod mock;
mod samples;
mod store;

pub use answers::{Sent, answer, json, text, with_headers};
pub use mock::{Fault, Problem, Provider};
pub use samples::{Exchange, sample};
pub use store::{Counts, Store};

use crate::host::{Connector, Host};
use crate::http::Request;
use crate::types::{Account, Failure, Moment, Outcome};
use judge::Judge;
use mock::{Crashed, Mock};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Where the harness's clock stands unless a test says otherwise: 2026-03-10T12:00:00Z.
pub const NOW: i64 = 1_773_144_000_000;

/// One connection, with everything that a host keeps of it between runs.
pub struct TestBed {
    /// What is stored.
    pub store: Store,
    /// The cursor, as the last commit left it.
    pub cursor: Option<String>,
    /// The connector's state, as the last commit left it.
    pub state: BTreeMap<String, Vec<u8>>,
    /// The host's time, ms since the epoch.
    pub now: i64,
    /// What `identify` said.
    pub account: Option<String>,
    /// The reason given to the next runs.
    pub reason: String,
    /// The person's time zone; `Europe/Lisbon` unless a test says otherwise.
    pub time_zone: String,
    /// The bounds that the mock keeps: entries between checkpoints, bytes of state, requests.
    pub limits: sluice_model::Limits,
    /// When the last complete run was; `None` before the first.
    pub last_complete: Option<i64>,
    keys: BTreeMap<String, Vec<u8>>,
    judge: Judge,
    profile: String,
}

/// What one run did.
pub struct Run {
    /// How it ended; `None` where it crashed.
    pub result: Option<Result<Outcome, Failure>>,
    /// Every request, in order, as the connector made it.
    pub requests: Vec<Request>,
    /// Calls to the host.
    pub calls: u64,
    /// Commits: checkpoints, and the one at the end of a run that ended well.
    pub commits: u64,
    /// What went wrong without ending it.
    pub problems: Vec<Problem>,
    /// Its log.
    pub log: Vec<String>,
    /// What its commits changed.
    pub counts: Counts,
}

impl Run {
    /// How it ended.
    ///
    /// # Errors
    /// The failure it ended with.
    ///
    /// # Panics
    /// It crashed.
    pub fn outcome(&self) -> Result<Outcome, Failure> {
        self.result.clone().expect("the run crashed and has no outcome")
    }

    /// The failure it ended with.
    ///
    /// # Panics
    /// It ended well, or crashed.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match &self.result {
            Some(Err(failure)) => failure.clone(),
            other => panic!("expected a failure, the run ended with {other:?}"),
        }
    }
}

impl TestBed {
    /// A fresh connection that was made by this profile.
    ///
    /// # Panics
    /// The manifest is wrong, or has no such profile.
    #[must_use]
    pub fn new<C: Connector>(profile: &str) -> Self {
        Self::with_settings::<C>(profile, &[])
    }

    /// The same, with what an operator wrote under `[connectors.NAME.settings]`.
    ///
    /// # Panics
    /// The manifest is wrong, has no such profile or setting, or the setting takes no such value.
    #[must_use]
    pub fn with_settings<C: Connector>(profile: &str, settings: &[(&str, &str)]) -> Self {
        let judge = Judge::new(C::DESCRIBE, settings);
        assert!(judge.manifest().profile(profile).is_some(), "the manifest has no profile “{profile}”");
        Self {
            store: Store::default(),
            cursor: None,
            state: BTreeMap::new(),
            now: NOW,
            account: None,
            reason: "scheduled".to_owned(),
            time_zone: "Europe/Lisbon".to_owned(),
            limits: sluice_model::Limits::default(),
            last_complete: None,
            keys: BTreeMap::new(),
            judge,
            profile: profile.to_owned(),
        }
    }

    /// The connector's manifest, as the host reads it.
    #[must_use]
    pub fn manifest(&self) -> &sluice_model::Manifest {
        self.judge.manifest()
    }

    /// Asks the connector who signed in, and remembers the answer for the runs that follow.
    ///
    /// # Errors
    /// What the person who links would read.
    pub fn identify<C: Connector>(&mut self, provider: &mut Provider<'_>) -> Result<Account, Failure> {
        let mut mock = Mock::new(self, provider, Fault::None);
        mock.identifying = true;
        let account = C::identify(&mut Host::new(&mut mock))?;
        self.account.clone_from(&account.id);
        Ok(account)
    }

    /// Runs the connector once.
    pub fn run<C: Connector>(&mut self, provider: &mut Provider<'_>) -> Run {
        self.run_with::<C>(provider, Fault::None)
    }

    /// Runs the connector once, with a fault.
    pub fn run_with<C: Connector>(&mut self, provider: &mut Provider<'_>, fault: Fault) -> Run {
        let mut mock = Mock::new(self, provider, fault);
        let result = match catch_unwind(AssertUnwindSafe(|| C::sync(&mut Host::new(&mut mock)))) {
            Ok(result) => Some(result),
            Err(payload) if payload.is::<Crashed>() => None,
            Err(payload) => resume_unwind(payload),
        };
        if matches!(result, Some(Ok(_))) {
            mock.commit();
        }
        let run = mock.into_run(result);
        if matches!(run.result, Some(Ok(Outcome::Complete))) {
            self.last_complete = Some(self.now);
        }
        run
    }

    /// Runs the connector until it says that everything is taken in.
    ///
    /// # Panics
    /// It fails, or still says `more` after 1,000 runs.
    pub fn run_to_end<C: Connector>(&mut self, provider: &mut Provider<'_>) -> Vec<Run> {
        let mut runs = Vec::new();
        for _ in 0..1_000 {
            let run = self.run::<C>(provider);
            let outcome = run.outcome();
            runs.push(run);
            match outcome {
                Ok(Outcome::Complete) => return runs,
                Ok(Outcome::More) => {}
                Err(failure) => panic!("the run failed: {failure:?}"),
            }
        }
        panic!("the connector said `more` 1,000 times");
    }

    /// What the contract's `task.window` says now.
    fn window(&self) -> Option<(Moment, Moment)> {
        let last = self.last_complete?;
        Some((Moment::Instant(last - self.judge.manifest().schedule.overlap_ms), Moment::Instant(self.now)))
    }
}

/// Crashes the connector after every one of its calls to the host, one after the other, runs it again to its end, and demands the store of
/// an undisturbed run each time. `provider` makes the provider anew for each attempt. Answers how many calls there were.
///
/// # Panics
/// A final store differs, a run fails, or the run that should have crashed did not.
pub fn crash_everywhere<'p, C: Connector>(bed: impl Fn() -> TestBed, provider: impl Fn() -> Box<Provider<'p>>) -> u64 {
    let mut undisturbed = bed();
    let runs = undisturbed.run_to_end::<C>(&mut *provider());
    let want = undisturbed.store.dump();
    let calls: u64 = runs.iter().map(|run| run.calls).sum();
    for n in 1..=calls {
        let mut crashed = bed();
        let mut provider = provider();
        let mut left = n;
        // The call may lie in a later one of the runs that a long history takes.
        loop {
            let run = crashed.run_with::<C>(&mut *provider, Fault::CrashAfter(left));
            match run.result {
                None => break,
                Some(Ok(Outcome::More)) => left -= run.calls,
                Some(other) => panic!("call {n} of {calls} was never reached: the run ended with {other:?}"),
            }
        }
        crashed.run_to_end::<C>(&mut *provider);
        assert_eq!(crashed.store.dump(), want, "a crash after call {n} of {calls} left something else behind");
    }
    calls
}
