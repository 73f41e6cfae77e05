//! Declared quotas: counted before a request goes out, corrected by what the provider says in its answers.
//!
//! A quota is a window of so many requests. The window begins with its first request and, where the provider names a time, ends when the provider says so. What an
//! answer says is left replaces our own count, less what is still under way: a request that costs nothing (a 304) is then not counted for long, and
//! requests that another program made with the same key are. A provider can't block a connection for ever: a reset is believed at most a day ahead.
//!
//! Quotas of an app are counted in one place for all sessions of that app ([`Registry`]); those of a connection live with its session, so one person who
//! used up theirs stops nobody else.

use crate::retry_after::http_date;
use http::HeaderMap;
use sluice_model::AppId;
use sluice_model::manifest::{Quota, QuotaScope, ResetFormat};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use url::Url;

/// Resets further ahead are taken for a wrong clock or a wrong format.
const LONGEST_MS: i64 = 24 * 3600 * 1000;

/// One quota's count, as it is stored between runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaState {
    /// The quota's name in the manifest.
    pub name: String,
    /// Whether it is the connection's own; otherwise the whole app shares it.
    pub connection_scope: bool,
    /// Requests counted in this window.
    pub used: u64,
    /// What the provider said is left, less what went out since.
    pub remaining: Option<u64>,
    /// When the window ends, ms since the epoch; 0 before the first request.
    pub reset_at: i64,
}

#[derive(Default)]
struct Count {
    used: u64,
    remaining: Option<u64>,
    reset_at: i64,
    in_flight: u64,
}

/// One quota's count, shared by those who share the quota.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<Mutex<Count>>);

impl Counter {
    fn lock(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what was stored, unless something newer is counted here already.
    fn restore(&self, state: &QuotaState) {
        let mut count = self.lock();
        if state.reset_at > count.reset_at {
            count.used = state.used;
            count.remaining = state.remaining;
            count.reset_at = state.reset_at;
        }
    }

    /// Takes one request, or says how many ms until there is one.
    fn take(&self, quota: &Quota, now: i64) -> Result<(), u64> {
        let mut count = self.lock();
        if now >= count.reset_at {
            count.used = 0;
            count.remaining = None;
            count.reset_at = now.saturating_add(i64::try_from(quota.window_ms).unwrap_or(i64::MAX).clamp(1, 400 * LONGEST_MS));
        }
        if count.used >= quota.requests || count.remaining == Some(0) {
            return Err(u64::try_from(count.reset_at.saturating_sub(now)).unwrap_or(0).max(1));
        }
        count.used += 1;
        count.remaining = count.remaining.map(|left| left - 1);
        count.in_flight += 1;
        Ok(())
    }

    /// Gives back a request that never went out.
    fn give_back(&self) {
        let mut count = self.lock();
        count.used = count.used.saturating_sub(1);
        count.remaining = count.remaining.map(|left| left.saturating_add(1));
    }

    fn landed(&self) {
        let mut count = self.lock();
        count.in_flight = count.in_flight.saturating_sub(1);
    }

    fn learn(&self, quota: &Quota, headers: &HeaderMap, now: i64) {
        let read = |name: &Option<String>| name.as_deref().and_then(|n| headers.get(n)).and_then(|v| v.to_str().ok()).map(str::trim);
        let remaining = read(&quota.remaining_header).and_then(whole_number);
        let reset = read(&quota.reset_header).and_then(|text| reset_at(text, quota.reset_format, now));
        let mut count = self.lock();
        if let Some(reset) = reset {
            count.reset_at = reset;
        }
        if let Some(remaining) = remaining {
            // This answer's own request is among those in flight still, and is counted in what the provider says.
            let left = remaining.saturating_sub(count.in_flight.saturating_sub(1));
            count.remaining = Some(left);
            if left < quota.requests {
                count.used = quota.requests - left;
            }
        }
    }

    fn state(&self, quota: &Quota) -> QuotaState {
        let count = self.lock();
        QuotaState {
            name: quota.name.clone(),
            connection_scope: quota.scope == QuotaScope::Connection,
            used: count.used,
            remaining: count.remaining,
            reset_at: count.reset_at,
        }
    }
}

/// What one answer makes of a quota's fresh count: a request taken at `now`, sent, and answered with these headers. It is what a session does with each
/// of its requests, for whoever has headers and no session.
#[must_use]
pub fn quota_after(quota: &Quota, headers: &HeaderMap, now: i64) -> QuotaState {
    let counter = Counter::default();
    if counter.take(quota, now).is_ok() {
        counter.learn(quota, headers, now);
        counter.landed();
    }
    counter.state(quota)
}

/// Some providers write "59.0", or "59, 100;w=60".
fn whole_number(text: &str) -> Option<u64> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next().filter(|d| !d.is_empty())?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// When a window ends, by a header of one of the three formats, within a day from now.
fn reset_at(text: &str, format: ResetFormat, now: i64) -> Option<i64> {
    let number = || whole_number(text).map(|n| i64::try_from(n).unwrap_or(i64::MAX).saturating_mul(1000));
    let at = match format {
        ResetFormat::Seconds => now.saturating_add(number()?),
        ResetFormat::Epoch => number()?,
        ResetFormat::HttpDate => http_date(text)?,
    };
    Some(at.clamp(now, now.saturating_add(LONGEST_MS)))
}

/// Counts that all sessions of an app share.
#[derive(Default)]
pub(crate) struct Registry(Mutex<HashMap<(AppId, String), Counter>>);

impl Registry {
    fn counter(&self, app: AppId, name: &str) -> Counter {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((app, name.to_owned())).or_default().clone()
    }
}

/// The quotas of one session.
pub(crate) struct Quotas(Vec<(Quota, Counter)>);

impl Quotas {
    pub(crate) fn new(declared: &[Quota], registry: &Registry, app: AppId, stored: &[QuotaState]) -> Self {
        let all = declared.iter().map(|quota| {
            let counter = match quota.scope {
                QuotaScope::App => registry.counter(app, &quota.name),
                QuotaScope::Connection => Counter::default(),
            };
            let own = quota.scope == QuotaScope::Connection;
            if let Some(state) = stored.iter().find(|s| s.name == quota.name && s.connection_scope == own) {
                counter.restore(state);
            }
            (quota.clone(), counter)
        });
        Self(all.collect())
    }

    /// Takes one request from each quota that counts this URL, or from none: then says how long until all of them have one.
    pub(crate) fn take(&self, url: &Url, now: i64) -> Result<Taken, u64> {
        let mut taken = Taken { from: Vec::new(), sent: false };
        for (quota, counter) in self.0.iter().filter(|(q, _)| counts(q, url)) {
            // Dropping `taken` on the way out gives back what was taken before.
            counter.take(quota, now)?;
            taken.from.push((quota.clone(), counter.clone()));
        }
        Ok(taken)
    }

    pub(crate) fn states(&self) -> Vec<QuotaState> {
        self.0.iter().map(|(q, c)| c.state(q)).collect()
    }
}

/// Whether a quota counts requests to this URL.
pub(crate) fn counts(quota: &Quota, url: &Url) -> bool {
    quota.paths.is_empty() || quota.paths.iter().any(|p| url.path().starts_with(p.as_str()))
}

/// Requests taken from quotas: given back when the request never went out, and in flight until this is dropped.
pub(crate) struct Taken {
    from: Vec<(Quota, Counter)>,
    sent: bool,
}

impl Taken {
    /// From here on the request counts, whatever comes of it.
    pub(crate) fn sent(&mut self) {
        self.sent = true;
    }

    /// Takes in what an answer says.
    pub(crate) fn learn(&self, headers: &HeaderMap, now: i64) {
        for (quota, counter) in &self.from {
            counter.learn(quota, headers, now);
        }
    }

    /// When the window ends of a quota that the provider says is used up.
    pub(crate) fn exhausted_until(&self) -> Option<i64> {
        self.from.iter().filter_map(|(_, c)| Some(c.lock()).filter(|n| n.remaining == Some(0)).map(|n| n.reset_at)).max()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for (_, counter) in &self.from {
            if !self.sent {
                counter.give_back();
            }
            counter.landed();
        }
    }
}

#[cfg(test)]
mod tests;
