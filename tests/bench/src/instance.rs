//! `instance-us`: a fresh instance of a connector that ships, one call into it, and its end; through the sandbox's public interface.
//!
//! The call is `describe`, which needs no host: what is left is what every run pays before its connector does anything.

use crate::{Fault, at_most, figure, figure::Figure, place::Place};
use sluice_sandbox::{Engine, EngineOptions};
use std::time::Instant;

const ROUNDS: usize = 9;
const CALLS: u32 = 2_000;

/// Measures.
pub fn measure(_: &Place) -> Result<Vec<Figure>, Fault> {
    let bytes = std::fs::read(Place::shipped()?.join("github.wasm"))?;
    // One thread, as a worker of the host is one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options =
            EngineOptions { cache_dir: None, cache_key: [0; 32], concurrent_runs: 16, max_memory_bytes: 256 << 20, compiler: None };
        let module = Engine::new(options)?.load(&bytes).await?;
        let mut rounds = Vec::with_capacity(ROUNDS);
        for round in 0..=ROUNDS {
            let began = Instant::now();
            for _ in 0..CALLS {
                module.describe().await?;
            }
            // The first warms up.
            if round > 0 {
                rounds.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
            }
        }
        Ok(vec![at_most("instance-us", figure::median(rounds), "µs", 40.0)])
    })
}
