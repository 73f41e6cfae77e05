//! `runs-per-s` and `runs-ratio`: whole runs of 100 entries, 16 at a time, each durable before it counts, with the simulator in its own process;
//! and the same by a bare loop.
//!
//! The bare loop is what one would write without any of this: 16 tasks, one HTTP client, a typed parse, one prepared upsert, and for each job one
//! durable transaction with its rows, its cursor and its next time. It has no key to attach, judges nothing, and isolates nothing.

use crate::{
    Fault, at_least,
    figure::{self, Figure},
    host::{self, Host, Shape},
    place::Place,
    plain::{self, Row},
};
use rusqlite::{Connection, params};
use serde::Deserialize;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

const ROWS: u64 = 100;
const TASKS: usize = 16;
const ROUNDS: usize = 7;
/// Connections; a round takes as many as about a second lets through, from all of them down to [`FEWEST`].
const CONNECTIONS: usize = 2_000;
const FEWEST: usize = 200;

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    at: String,
    value: f64,
}

/// The bare loop.
struct Bare {
    conn: Arc<Mutex<Connection>>,
    client: reqwest::Client,
    url: String,
}

impl Bare {
    fn new(place: &Place, url: &str) -> Result<Self, Fault> {
        let conn = plain::database(&place.make("runs-plain")?)?;
        // Jobs lie in the same tables as the host's; what they refer to is of no interest here.
        conn.execute_batch("PRAGMA foreign_keys = OFF; BEGIN")?;
        for connection in 1..=i64::try_from(CONNECTIONS)? {
            conn.execute(
                "INSERT INTO work (connection, kind, subject, app, user, due, reason) VALUES (?, 'sync', 0, 1, 1, 0, '')",
                [connection],
            )?;
            conn.execute("INSERT INTO task (connection, kind, cursor) VALUES (?, 'sync', '1')", [connection])?;
        }
        conn.execute_batch("COMMIT")?;
        Ok(Self { conn: Arc::new(Mutex::new(conn)), client: client()?, url: format!("{url}/bench/items") })
    }

    async fn round(&self, count: usize, page: u64) -> Result<Duration, Fault> {
        let next = Arc::new(AtomicI64::new(1));
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..TASKS {
            let (next, conn, client, url) = (next.clone(), self.conn.clone(), self.client.clone(), self.url.clone());
            tasks.spawn(async move {
                loop {
                    let connection = next.fetch_add(1, Ordering::Relaxed);
                    if connection > i64::try_from(count)? {
                        return Ok::<(), Fault>(());
                    }
                    let body = client.get(format!("{url}?n={ROWS}&page={page}")).send().await?.error_for_status()?.bytes().await?;
                    let page_rows: Page = serde_json::from_slice(&body)?;
                    let row = |item: &Item| Ok(Row { at: item.at.parse::<jiff::Timestamp>()?.as_millisecond(), value: item.value });
                    let rows = page_rows.items.iter().map(row).collect::<Result<Vec<_>, Fault>>()?;
                    let conn = conn.clone();
                    tokio::task::spawn_blocking(move || {
                        commit(&conn.lock().unwrap_or_else(PoisonError::into_inner), connection, page, &rows)
                    })
                    .await??;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(began.elapsed())
    }
}

/// An HTTP client as one would make it.
pub fn client() -> Result<reqwest::Client, Fault> {
    // The library insists on a choice of TLS, although nothing here is https.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls()?).build()?)
}

fn tls() -> Result<rustls::ClientConfig, Fault> {
    Ok(rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

fn commit(conn: &Connection, connection: i64, page: u64, rows: &[Row]) -> Result<(), Fault> {
    let now = plain::now();
    conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    {
        let mut upsert = conn.prepare_cached(plain::UPSERT)?;
        plain::write(&mut upsert, connection, rows, (page * ROWS).cast_signed(), now)?;
    }
    conn.prepare_cached("UPDATE task SET cursor = ? WHERE connection = ? AND kind = 'sync'")?
        .execute(params![(page + 1).to_string(), connection])?;
    conn.prepare_cached("UPDATE work SET due = ? WHERE connection = ? AND kind = 'sync' AND subject = 0")?
        .execute(params![now + 3_600_000, connection])?;
    conn.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

/// Measures.
pub fn measure(place: &Place) -> Result<Vec<Figure>, Fault> {
    let simulator = place.simulator()?;
    let (ours, theirs) = (host::runtime("host")?, host::runtime("bare")?);
    let host = ours.block_on(Host::start(place, "runs", &simulator, &Shape::of(ROWS, 1, CONNECTIONS)))?;
    let bare = Bare::new(place, &simulator.url)?;
    let warm = ours.block_on(host.round(0, FEWEST))?.min(theirs.block_on(bare.round(FEWEST, 1))?);
    let fits = (FEWEST as f64 / warm.as_secs_f64()) as usize;
    let count = fits.clamp(FEWEST, CONNECTIONS - FEWEST);
    let (mut rates, mut bare_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut cpu, mut bare_cpu) = (0.0, 0.0);
    for page in (2..).take(ROUNDS) {
        let before = cpu_us();
        // Past the connections of the warm-up, so that all are at the same page.
        let rate = count as f64 / ours.block_on(host.round(FEWEST, count))?.as_secs_f64();
        let between = cpu_us();
        let bare_rate = count as f64 / theirs.block_on(bare.round(count, page))?.as_secs_f64();
        cpu += between - before;
        bare_cpu += cpu_us() - between;
        rates.push(rate);
        bare_rates.push(bare_rate);
        ratios.push(rate / bare_rate);
    }
    let (rate, runs) = (figure::median(rates), (count * ROUNDS) as f64);
    eprintln!(
        "runs: {rate:.0}/s with {:.0} µs of CPU each, bare loop {:.0}/s with {:.0} µs ({count} a round)",
        cpu / runs,
        figure::median(bare_rates),
        bare_cpu / runs
    );
    ours.block_on(host.end(ROWS * (FEWEST + count * ROUNDS) as u64))?;
    Ok(vec![at_least("runs-per-s", rate, "runs/s", 2_500.0), at_least("runs-ratio", figure::median(ratios), "ratio", 1.0)])
}

/// CPU time of this process so far, µs: what does not depend on who else uses the machine.
fn cpu_us() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 * 1e6 + spent.tv_nsec as f64 / 1e3
}
