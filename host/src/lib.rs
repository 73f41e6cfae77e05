//! The `sluice` library: everything above storage, gate and sandbox. ARCHITECTURE.md has the map.
#![forbid(unsafe_code)]

pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod doctor;
pub mod link;
pub mod modules;
pub mod runs;
pub mod upkeep;
pub mod web;
