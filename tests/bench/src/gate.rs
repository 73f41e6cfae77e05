//! `gate-cost-ratio`: one `fetch` of a KiB by a connector, through sandbox and gate, over the same request by a bare client.
//!
//! One after the other on both sides, from a simulator in its own process. The connector's requests carry a key that the gate attaches and takes out
//! of the answer again; each is judged, counted and noted. The bare client only asks.

use crate::{
    Fault, at_most, figure,
    figure::Figure,
    host::{self, Host, Shape},
    place::Place,
    runs,
};
use std::time::{Duration, Instant};

/// Twelve rows are about a KiB.
const ROWS: u64 = 12;
const FETCHES: u64 = 3_000;
const ROUNDS: usize = 9;

/// Measures.
pub fn measure(place: &Place) -> Result<Vec<Figure>, Fault> {
    let simulator = place.simulator()?;
    let (ours, theirs) = (host::runtime("host")?, host::runtime("bare")?);
    let shape = Shape { fetches: FETCHES, ..Shape::of(ROWS, 0, 1) };
    let host = ours.block_on(Host::start(place, "gate", &simulator, &shape))?;
    let client = runs::client()?;
    let url = format!("{}/bench/items?n={ROWS}&page=1", simulator.url);
    let bare = || -> Result<Duration, Fault> {
        let (client, url) = (client.clone(), url.clone());
        // As a task, like a run is one: the thread that waits for it here takes no part.
        theirs.block_on(theirs.spawn(async move {
            let began = Instant::now();
            for _ in 0..FETCHES {
                let body = client.get(&url).send().await?.error_for_status()?.bytes().await?;
                if !(900..1_200).contains(&body.len()) {
                    return Err(Fault::from(format!("{} bytes are not about a KiB", body.len())));
                }
            }
            Ok(began.elapsed())
        }))?
    };
    let (mut gated, mut plain, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let through = ours.block_on(host.one(0))?.as_secs_f64() * 1e6 / FETCHES as f64;
        let without = bare()?.as_secs_f64() * 1e6 / FETCHES as f64;
        // The first warms up.
        if round > 0 {
            gated.push(through);
            plain.push(without);
            ratios.push(through / without);
        }
    }
    eprintln!("fetch: {:.0} µs through sandbox and gate, {:.0} µs bare", figure::median(gated), figure::median(plain));
    ours.block_on(host.end(0))?;
    Ok(vec![at_most("gate-cost-ratio", figure::median(ratios), "ratio", 1.5)])
}
