//! `health-ms`: the 99th percentile of the health page's answers while the real host compiles an 18 MiB module that somebody dropped into its folder.
//!
//! Asked in a steady rhythm, each time over a connection of its own, as a monitor does it. An answer is timed from when it was due to be asked for, so that a
//! slow one does not hide those that would have been asked for meanwhile.

use crate::{
    Fault, at_most, figure,
    figure::Figure,
    interference::{LARGE, compiling, patient},
    place::Place,
    start,
};
use sluice_fixtures::{Stranger, bulk, rebuilt};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

const ROUNDS: usize = 3;
/// Between two questions.
const RHYTHM: Duration = Duration::from_millis(10);
/// Whether the compiler is still at it is looked at each time that so many were answered: looking through all processes costs something itself.
const LOOK_EVERY: usize = 10;
/// Fewer answers than that have no 99th percentile.
const ENOUGH: usize = 200;
/// As long as a host may take for one before it is taken for dead.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measures.
pub fn measure(place: &Place) -> Result<Vec<Figure>, Fault> {
    let large = bulk::large(&Stranger { name: "large", ..Stranger::default() }, LARGE);
    let folder = place.make("health")?;
    let modules = place.make("health/modules")?;
    // Each an instance of its own: the bytes say that they are called otherwise.
    let instances = (0..ROUNDS).map(|n| format!("[connectors.large-{n}]\nmodule = \"large-{n}.wasm\"\n"));
    fs::write(folder.join("plugins.toml"), instances.collect::<String>())?;
    let mut host = start::host(place, &folder, &modules)?;
    let mut quiet = Vec::new();
    asked(host.port, &mut quiet, |answers| Ok(answers < ENOUGH))?;
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("large-{round}");
        fs::write(folder.join("beside"), rebuilt(&large, &name))?;
        fs::rename(folder.join("beside"), modules.join(format!("{name}.wasm")))?;
        let dropped = Instant::now();
        // The folder is looked at now and then: until the compiler is at it, nothing is measured.
        while !compiling(host.process.0.id())? {
            patient(dropped)?;
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = host.process.0.id();
        asked(host.port, &mut took, |answers| {
            patient(dropped)?;
            Ok(!answers.is_multiple_of(LOOK_EVERY) || compiling(pid)?)
        })?;
        listed(&mut host, &folder, &name)?;
    }
    start::stop(&mut host.process.0)?;
    if took.len() < ENOUGH {
        return Err(format!("compiling was over after {} answers: nothing was measured", took.len()).into());
    }
    let longest = took.iter().copied().fold(0.0, f64::max);
    eprintln!(
        "health: {} answers while {} MiB were compiled {ROUNDS} times, the longest after {longest:.1} ms; p99 without {:.2} ms",
        took.len(),
        large.len() >> 20,
        figure::p99(quiet)
    );
    Ok(vec![at_most("health-ms", figure::p99(took), "ms", 50.0)])
}

/// Asks in a steady rhythm for as long as `on` says (told how many answers there are), and notes how many ms each answer took.
fn asked(port: u16, took: &mut Vec<f64>, mut on: impl FnMut(usize) -> Result<bool, Fault>) -> Result<(), Fault> {
    let began = Instant::now();
    let mut due = Duration::ZERO;
    while on(took.len())? {
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        healthy(port)?;
        took.push((began.elapsed().saturating_sub(due)).as_secs_f64() * 1e3);
        due += RHYTHM;
    }
    Ok(())
}

/// One question; anything but a yes keeps the figure from being measured.
fn healthy(port: u16) -> Result<(), Fault> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"status":"ok"}"#) {
        return Ok(());
    }
    Err(format!("the host is not well: {}", answer.lines().next().unwrap_or_default()).into())
}

/// Makes sure that what was compiled came to something.
fn listed(host: &mut start::Host, folder: &Path, name: &str) -> Result<(), Fault> {
    let began = Instant::now();
    loop {
        let answer = start::ask(&mut host.process.0, &folder.join("data/sluice.sock"), "/v1/modules")?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("the host's answer has no end")?;
        let rows: Vec<serde_json::Value> = serde_json::from_str(body)?;
        let row = rows.iter().find(|row| row.get("name").is_some_and(|of| of == name));
        match row.and_then(|row| row.get("state")).and_then(serde_json::Value::as_str) {
            Some("pending") => return Ok(()),
            Some("refused") => {
                return Err(format!("the large module was refused: {}", row.map(ToString::to_string).unwrap_or_default()).into());
            }
            _ => patient(began)?,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
