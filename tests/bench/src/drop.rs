//! `drop-to-pending-ms`: a file lands in the folder of a running host, until a command is told that it is pending and what it asks for.
//!
//! The file is a connector in Rust of some 200 KiB, other bytes each time, dropped at another moment of the host's round each time.

use crate::{
    Fault, at_most, figure,
    figure::Figure,
    place::Place,
    start::{self, ask},
};
use sluice_fixtures::rebuilt;
use std::{
    fs,
    process::Child,
    time::{Duration, Instant},
};

const ROUNDS: usize = 9;
const LOOK: Duration = Duration::from_millis(5);
/// Moved on by that much each time, the drops fall everywhere between two looks of the host.
const STEP: Duration = Duration::from_millis(370);
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures.
pub fn measure(place: &Place) -> Result<Vec<Figure>, Fault> {
    let connector = fs::read(place.connector()?)?;
    let folder = place.make("drop")?;
    let modules = place.make("drop/modules")?;
    // Each an instance of its own: the bytes say that they are the connector that is measured elsewhere.
    let instances = (0..=ROUNDS).map(|n| format!("[connectors.new-{n}]\nmodule = \"new-{n}.wasm\"\n"));
    fs::write(folder.join("plugins.toml"), instances.collect::<String>())?;
    let socket = folder.join("data/sluice.sock");
    let mut process = start::host(place, &folder, &modules)?.process;
    let mut took = Vec::with_capacity(ROUNDS);
    for round in 0..=ROUNDS {
        std::thread::sleep(Duration::from_millis(500) + STEP * (u32::try_from(round)? % 4));
        let name = format!("new-{round}");
        fs::write(folder.join("beside"), rebuilt(&connector, &name))?;
        let began = Instant::now();
        fs::rename(folder.join("beside"), modules.join(format!("{name}.wasm")))?;
        while !pending(&mut process.0, &socket, &name)? {
            if began.elapsed() > PATIENCE {
                return Err(format!("{name} was never listed as pending").into());
            }
            std::thread::sleep(LOOK);
        }
        // The first warms up.
        if round > 0 {
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    start::stop(&mut process.0)?;
    let longest = took.iter().copied().fold(0.0, f64::max);
    eprintln!("drop: {} KiB, pending after {:.0} ms at most", connector.len() >> 10, longest);
    Ok(vec![at_most("drop-to-pending-ms", figure::median(took), "ms", 2_000.0)])
}

fn pending(process: &mut Child, socket: &std::path::Path, name: &str) -> Result<bool, Fault> {
    let answer = ask(process, socket, "/v1/modules")?;
    let rows: Vec<serde_json::Value> = match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => serde_json::from_str(body)?,
        _ => return Err(format!("the host answered “{}”", answer.lines().next().unwrap_or_default()).into()),
    };
    let Some(row) = rows.iter().find(|row| row.get("name").is_some_and(|n| n == name)) else { return Ok(false) };
    let word = |key: &str| row.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    match word("state") {
        "pending" if !word("command").is_empty() => Ok(true),
        // Named in the settings, and not yet seen in the folder.
        "missing" | "pending" | "examining" => Ok(false),
        other => Err(format!("{name} is {other}: {}", word("line")).into()),
    }
}
