//! `start-ms` and `idle-mib`: the real program, with what ships with it, from its start until a command is answered; and what it holds when idle.
//!
//! The first start fills the compile cache and is not measured: connectors are compiled once for each version of them and of this program.

use crate::{
    Fault, at_most, figure,
    figure::Figure,
    place::{Place, Process},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const STARTS: usize = 9;
/// A first start compiles.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_TRIES: Duration = Duration::from_micros(500);
/// After a start the host folds, checkpoints and then has nothing to do.
const SETTLES_IN: Duration = Duration::from_secs(2);

/// The real host, running.
pub struct Host {
    /// Its process.
    pub process: Process,
    /// Where its pages are, on loopback.
    pub port: u16,
    /// How many ms it took until it answered.
    pub took: f64,
}

/// Measures.
pub fn measure(place: &Place) -> Result<Vec<Figure>, Fault> {
    let modules = Place::shipped()?;
    let folder = place.make("start")?;
    fs::write(folder.join("plugins.toml"), "")?;
    let mut took = Vec::with_capacity(STARTS);
    let mut held = Vec::new();
    for round in 0..=STARTS {
        let Host { mut process, took: ms, .. } = host(place, &folder, &modules)?;
        if round > 0 {
            took.push(ms);
        }
        if round + 3 > STARTS {
            std::thread::sleep(SETTLES_IN);
            held.push(resident_mib(&process.0)?);
        }
        stop(&mut process.0)?;
    }
    Ok(vec![at_most("start-ms", figure::median(took), "ms", 150.0), at_most("idle-mib", figure::median(held), "MiB", 60.0)])
}

/// Starts the real host in a folder with a `plugins.toml`.
pub fn host(place: &Place, folder: &Path, modules: &Path) -> Result<Host, Fault> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = Command::new(place.program("sluice")?);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.arg("--config").arg(folder.join("plugins.toml")).arg("--data-dir").arg(folder.join("data"));
    command.arg("--key-file").arg(folder.join("key")).arg("--modules").arg(modules);
    command.args(["--listen", &format!("127.0.0.1:{port}"), "serve"]);
    let began = Instant::now();
    let mut process = Process(command.spawn()?);
    let answer = ask(&mut process.0, &folder.join("data/sluice.sock"), "/v1/status")?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    if !answer.starts_with("HTTP/1.1 200") {
        return Err(format!("the host answered “{}”", answer.lines().next().unwrap_or_default()).into());
    }
    Ok(Host { process, port, took })
}

/// Asks the host's socket until there is an answer.
pub fn ask(process: &mut Child, socket: &Path, path: &str) -> Result<String, Fault> {
    let began = Instant::now();
    loop {
        if let Some(status) = process.try_wait()? {
            return Err(format!("the host ended: {status}").into());
        }
        match UnixStream::connect(socket) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: sluice\r\nconnection: close\r\n\r\n").as_bytes())?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                return Ok(answer);
            }
            // Not there yet, or one that the last host left.
            Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
            Err(why) => return Err(why.into()),
        }
        if began.elapsed() > PATIENCE {
            return Err("the host's socket never answered".into());
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
}

/// Asks the host to stop, as a service manager would.
pub fn stop(process: &mut Child) -> Result<(), Fault> {
    if let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::TERM)?;
    }
    let began = Instant::now();
    while process.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            return Err("the host did not stop when it was asked to".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// What a process holds in memory, files that are mapped included.
fn resident_mib(process: &Child) -> Result<f64, Fault> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("this system does not say what a process holds")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
