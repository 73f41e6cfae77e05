//! What was asked of a simulator: every request with its credential, so that a test can say who asked what, how often, and with which token.
//!
//! Bounded at 100,000 entries (the oldest go first); the counters go on. Bench requests are counted, not kept.

use serde::Serialize;
use std::collections::VecDeque;

const KEPT: usize = 100_000;

/// One request as it came in and as it was answered.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Counts from 1 and never restarts.
    pub number: u64,
    /// The simulator's time in milliseconds.
    pub at: i64,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query as it was sent, without the question mark; for form bodies of a credential-free kind it is what tells calls apart.
    pub query: String,
    /// Every credential that came along: bearer token, API key, session key, client id.
    pub credentials: Vec<String>,
    /// The `user-agent`.
    pub user_agent: String,
    /// Whether the request was conditional (`if-none-match`).
    pub conditional: bool,
    /// The status that was answered; 0 where the connection was cut instead.
    pub status: u16,
    /// The faults that were applied, by name.
    pub faults: Vec<String>,
}

/// The kept requests, newest last.
#[derive(Debug, Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    count: u64,
}

impl Log {
    /// Keeps one request and numbers it.
    pub fn push(&mut self, mut entry: Entry) {
        self.count += 1;
        entry.number = self.count;
        if self.entries.len() >= KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Everything kept, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    /// How many requests there were, kept or not.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Forgets the kept requests; numbers go on.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
