//! `idle-tick-ratio`: a turn of the schedule (claim what is due, find out when the next is) with a million connections that are not, over the same
//! with a thousand.

use crate::{Fault, at_most, figure, figure::Figure, host, place::Place, plain};
use sluice_store::Store;
use std::{path::Path, sync::Arc, time::Instant};

const FEW: i64 = 1_000;
const MANY: i64 = 1_000_000;
const ROUNDS: usize = 15;
const TICKS: u32 = 200;
/// What the scheduler claims at a time.
const CLAIM: usize = 32;

/// Measures.
pub fn measure(place: &Place) -> Result<Vec<Figure>, Fault> {
    let (few, many) = (place.make("idle-few")?, place.make("idle-many")?);
    fill(&few, FEW)?;
    fill(&many, MANY)?;
    let open = |folder: &Path| Store::open(folder, Arc::new(plain::now), Arc::new(sluice_vault::OsRandom));
    let (few, many) = (open(&few)?, open(&many)?);
    host::runtime("host")?.block_on(async {
        let now = plain::now();
        let (few_host, many_host) = (few.start_incarnation(now, now + 600_000).await?, many.start_incarnation(now, now + 600_000).await?);
        let (mut thousand, mut million, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let small = tick(&few, few_host).await?;
            let large = tick(&many, many_host).await?;
            if round > 0 {
                thousand.push(small);
                million.push(large);
                ratios.push(large / small);
            }
        }
        eprintln!("tick: {:.1} µs with a thousand idle, {:.1} µs with a million", figure::median(thousand), figure::median(million));
        few.close().await;
        many.close().await;
        Ok(vec![at_most("idle-tick-ratio", figure::median(ratios), "ratio", 2.0)])
    })
}

/// µs of one turn.
async fn tick(store: &Store, incarnation: i64) -> Result<f64, Fault> {
    let began = Instant::now();
    for _ in 0..TICKS {
        let now = plain::now();
        if !store.claim(incarnation, now, CLAIM).await?.is_empty() || store.next_due().await?.is_none() {
            return Err("something was due, or nothing ever will be".into());
        }
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(TICKS))
}

/// Idle connections of two apps and a tenth as many people, due over the next month.
fn fill(folder: &Path, count: i64) -> Result<(), Fault> {
    let conn = plain::database(folder)?;
    // Whatever happens here, the folder is thrown away.
    conn.execute_batch("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -262144")?;
    let later = plain::now() + 3_600_000;
    conn.execute_batch(&format!(
        "BEGIN;
         INSERT INTO app (id, connector, registration) VALUES (1, 'github', 'a'), (2, 'lastfm', 'b');
         INSERT INTO user (id, name, time_zone, created_at)
           WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count} / 10) SELECT i, 'person ' || i, 'UTC', 0 FROM n;
         INSERT INTO connection (id, public_id, user, app, connector, profile, account, label, route_keys, scopes, settings, linked_at)
           WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
           SELECT i, printf('%012x', i), 1 + i / 10, 1 + i % 2, iif(i % 2, 'lastfm', 'github'), 'token', 'account ' || i, 'account ' || i,
             '[]', '[]', '[]', 0 FROM n;
         INSERT INTO work (connection, kind, subject, app, user, due, reason)
           SELECT id, 'sync', 0, app, user, {later} + id * 7919 % 2592000000, 'scheduled' FROM connection ORDER BY id;
         INSERT INTO task (connection, kind) SELECT id, 'sync' FROM connection ORDER BY id;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE)"
    ))?;
    Ok(())
}
