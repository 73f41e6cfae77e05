//! What the store promises, one file for each promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod approvals;
mod claims;
mod commits;
mod crash;
mod days;
mod erasing;
mod fixture;
mod model;
mod people;
mod reading;
mod runs;
mod two_hosts;
mod versions;
