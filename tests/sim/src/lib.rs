//! Provider simulators: GitHub and Last.fm as a client meets them, on a loopback port, with data that is made up and known in full.
//!
//! The problem: a connector is only as good as its handling of what providers really do (rotate tokens, move pages under the reader, answer
//! 200 with an error, send one row as an object), and none of that can be provoked on demand at the real ones. So each simulator keeps to
//! the documented behaviour of its provider, generates a world from a seed, lets a test change that world while a client reads it, breaks
//! answers on request, and says afterwards what was asked of it and what the truth was.
//!
//! The contract: nothing here decides what a connector should make of the data. A simulator hands out its own truth
//! (commits, plays, loved tracks) and a test computes what it expects from that.
//!
//! Bounds: bodies of requests 1 MiB, the request log 100,000 entries, pre-rendered bench pages 4,096. A simulator listens on loopback only and
//! its control endpoint has no password: it is for tests and the demo.

mod bench;
mod clock;
mod fault;
pub mod github;
mod http;
pub mod lastfm;
mod log;
mod page;
mod prng;
mod server;
mod text;
mod time;

pub use clock::Clock;
pub use fault::{Encoding, Fault, Kind, LimitForm, Place};
pub use log::{Entry, Log};
pub use server::{Listen, Provider, Running};

/// The GitHub simulator; see [`github`].
pub use github::GitHub;
/// The Last.fm simulator; see [`lastfm`].
pub use lastfm::LastFm;
