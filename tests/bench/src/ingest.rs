//! `ingest-ratio`: entries a second from a simulator in its own process through gate and sandbox to a durable commit, over plain upsert of the
//! same rows, 1,000 a transaction on both sides.
//!
//! Each round back-fills a connection that has nothing yet. The plain side has its rows in memory already: it neither asks nor reads nor judges.

use crate::{
    Fault, at_least,
    figure::{self, Figure},
    host::{self, Host, Shape},
    place::Place,
    plain::{self, Row},
};
use std::time::Instant;

const ROWS: u64 = 1_000;
const PAGES: u64 = 150;
const ROUNDS: usize = 7;
/// The first row's time: 2020-01-01, and then one a minute, as the simulator has them.
const FIRST_MS: i64 = 1_577_836_800_000;

/// Measures.
pub fn measure(place: &Place) -> Result<Vec<Figure>, Fault> {
    let simulator = place.simulator()?;
    let rows: Vec<Row> = (0..ROWS * PAGES)
        .map(|n| Row { at: FIRST_MS + 60_000 * n.cast_signed(), value: (n % 1_000) as f64 + (n % 8) as f64 / 10.0 })
        .collect();
    let conn = plain::database(&place.make("ingest-plain")?)?;
    let mut upsert = conn.prepare(plain::UPSERT)?;
    let mut plain_round = |connection: i64| -> Result<f64, Fault> {
        let began = Instant::now();
        for (seq, page) in (0..).step_by(1_000).zip(rows.chunks(1_000)) {
            conn.execute_batch("BEGIN IMMEDIATE")?;
            plain::write(&mut upsert, connection, page, seq, plain::now())?;
            conn.execute_batch("COMMIT")?;
        }
        Ok(began.elapsed().as_secs_f64())
    };
    host::runtime("host")?.block_on(async {
        let host = Host::start(place, "ingest", &simulator, &Shape::of(ROWS, PAGES, ROUNDS + 1)).await?;
        let (mut ours, mut plainly, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let took = host.round(round, 1).await?.as_secs_f64();
            let yardstick = plain_round(i64::try_from(round)? + 1)?;
            // The first warms up: the simulator renders its pages once.
            if round > 0 {
                let entries = (ROWS * PAGES) as f64;
                ours.push(entries / took);
                plainly.push(entries / yardstick);
                ratios.push(yardstick / took);
            }
        }
        eprintln!("ingest: {:.0} entries/s, plain upsert {:.0}", figure::median(ours), figure::median(plainly));
        host.end(ROWS * PAGES * (ROUNDS as u64 + 1)).await?;
        Ok(vec![at_least("ingest-ratio", figure::median(ratios), "ratio", 0.5)])
    })
}
