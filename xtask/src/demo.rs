//! Sluice at work, without any account: simulated providers, the real host, accounts linked through the pages like a person would.

use crate::{
    Outcome,
    browser::{Browser, Page},
    build,
    shell::target,
};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, IsTerminal, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long a part of the demo may take to answer.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
/// How long the first syncs may take.
const SYNCS_WITHIN: Duration = Duration::from_secs(300);

const NAME: &str = "demo";
const PASSWORD: &str = "a demo needs a password";
const GITHUB_TOKEN: &str = "github_pat_11SIMULATED0_demoDemoDemoDemoDemo";
const GITHUB_APP: (&str, &str) = ("sim-oauth-app", "sim-oauth-app-secret-0001");
const LASTFM_APP: (&str, &str) = ("51a0000000000000000000000000f001", "51a0000000000000000000000000f002");

#[derive(Args)]
pub struct DemoArgs {
    /// Stop after the table.
    #[arg(long)]
    once: bool,
    /// The port of the pages; the next free one where it is taken.
    #[arg(long, default_value_t = 8642)]
    port: u16,
}

/// A program that ends with the demo.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The host is asked first, so that it gives its leases back.
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        if asked.is_ok_and(|s| s.success()) {
            for _ in 0..100 {
                if matches!(self.0.try_wait(), Ok(Some(_))) {
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn run(args: &DemoArgs) -> Outcome {
    build::connectors()?;
    let sluice = build::host(false)?;

    let folder = target().join("demo");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;

    let (_sims, github, lastfm) = simulators()?;
    let port = free_port(args.port)?;
    let page = format!("http://localhost:{port}");
    write_settings(&folder, port, &github, &lastfm)?;
    let (mut host, setup) = serve(&sluice, &folder)?;

    eprintln!("── linking accounts, as a person would in a browser");
    let mut browser = Browser::new();
    set_up(&mut browser, &setup)?;
    link_by_token(&mut browser, &page)?;
    link_by_oauth(&mut browser, &page)?;
    link_by_lastfm(&mut browser, &page)?;

    let rows = first_syncs(&sluice, &folder)?;
    println!("\n{}", table(&rows));
    let good = rows.iter().all(|r| r.outcome == "complete");
    println!("\n{page}\nsign in as {NAME} with the password “{PASSWORD}”");
    if !args.once {
        println!("Ctrl-C ends the demo");
        // Ctrl-C reaches every program of the demo; should the host end by itself, so does the demo.
        let _ = host.0.wait();
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts a program and hands over its lines of standard output, which are read to the end so that it never blocks.
fn start(command: &mut Command) -> Result<(Running, mpsc::Receiver<String>), String> {
    let name = format!("{:?}", command.get_program());
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().map_err(|e| format!("{name} cannot be started: {e}"))?;
    let out = child.stdout.take().ok_or_else(|| format!("{name}: no output"))?;
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    Ok((Running(child), receive))
}

/// The first line for which `find` has an answer.
fn wait_for<T>(lines: &mpsc::Receiver<String>, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> Result<T, String> {
    let deadline = Instant::now() + STARTS_WITHIN;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).map_err(|_| format!("{what} did not start; its own output says why"))?;
        if let Some(found) = find(&line) {
            return Ok(found);
        }
    }
}

fn simulators() -> Result<(Running, String, String), String> {
    let program = target().join("debug/sluice-sim");
    let (running, lines) = start(Command::new(program).args(["all", "--users", "3", "--token", GITHUB_TOKEN]))?;
    let address =
        |name: &str| wait_for(&lines, "the simulators", |l| Some(l.strip_prefix("listening ")?.strip_suffix(name)?.trim().to_owned()));
    let github = address(" github")?;
    let lastfm = address(" lastfm")?;
    eprintln!("   GitHub at {github}, Last.fm at {lastfm}");
    Ok((running, github, lastfm))
}

fn free_port(first: u16) -> Result<u16, String> {
    (first..first.saturating_add(50))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| format!("no free port from {first} on: say --port"))
}

fn write_settings(folder: &Path, port: u16, github: &str, lastfm: &str) -> Result<(), String> {
    let github = github.trim_end_matches('/');
    let lastfm = lastfm.trim_end_matches('/');
    let modules = crate::shell::root().join("dist/connectors");
    let text = format!(
        r#"# The demo's settings: every provider is simulated on this machine.
listen = "127.0.0.1:{port}"
public-url = "http://localhost:{port}"
data-dir = "data"
key-file = "host.key"
modules = "{}"

[connectors.github.app]
client-id = "{}"
client-secret = {{ env = "DEMO_GITHUB_SECRET" }}
[[connectors.github.upstream]]
from = "https://api.github.com/"
to = "{github}/api/"
allow-private = true
[[connectors.github.upstream]]
from = "https://github.com/"
to = "{github}/"
allow-private = true

[connectors.lastfm.app]
api-key = {{ env = "DEMO_LASTFM_KEY" }}
shared-secret = {{ env = "DEMO_LASTFM_SECRET" }}
[[connectors.lastfm.upstream]]
from = "https://ws.audioscrobbler.com/"
to = "{lastfm}/"
allow-private = true
[[connectors.lastfm.upstream]]
from = "https://www.last.fm/"
to = "{lastfm}/"
allow-private = true
"#,
        modules.display(),
        GITHUB_APP.0,
    );
    let path = folder.join("plugins.toml");
    fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn sluice(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("DEMO_GITHUB_SECRET", GITHUB_APP.1).env("DEMO_LASTFM_KEY", LASTFM_APP.0).env("DEMO_LASTFM_SECRET", LASTFM_APP.1);
    command.arg("--config").arg(folder.join("plugins.toml"));
    command
}

fn serve(program: &Path, folder: &Path) -> Result<(Running, String), String> {
    eprintln!("── host");
    let log = fs::File::create(folder.join("sluice.log")).map_err(|e| format!("{}: {e}", folder.display()))?;
    let (running, lines) = start(sluice(program, folder).arg("serve").stderr(log))?;
    let setup = wait_for(&lines, "the host", |line| line.split_whitespace().find(|w| w.contains("/setup/")).map(str::to_owned));
    let setup = setup.map_err(|why| format!("{why}\n{}", tail(&folder.join("sluice.log"))))?;
    Ok((running, setup))
}

/// The last lines of a log.
fn tail(path: &PathBuf) -> String {
    let mut text = String::new();
    let _ = fs::File::open(path).and_then(|mut f| f.read_to_string(&mut text));
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(20)).copied().collect::<Vec<_>>().join("\n")
}

fn landed(page: Page, on: &str, what: &str) -> Result<Page, String> {
    if page.status == 200 && page.url.contains(on) {
        return Ok(page);
    }
    Err(format!("{what}: landed on {} with status {}\n{}", page.url, page.status, text_of(&page.body)))
}

/// What a page says, roughly.
fn text_of(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(600).collect()
}

fn set_up(browser: &mut Browser, setup: &str) -> Result<(), String> {
    let page = browser.get(setup)?;
    let path = setup.split("/setup/").nth(1).unwrap_or_default().to_owned();
    let fields = [("name", NAME), ("password", PASSWORD), ("again", PASSWORD), ("time-zone", "Europe/Berlin")];
    let done = browser.submit(&page, &format!("/setup/{path}"), &fields)?;
    if done.status != 200 || done.url.contains("/setup/") {
        return Err(format!("the owner's set-up: landed on {} with status {}: {}", done.url, done.status, text_of(&done.body)));
    }
    eprintln!("   made the owner, signed in");
    Ok(())
}

fn link_by_token(browser: &mut Browser, home: &str) -> Result<(), String> {
    let page = browser.get(&format!("{home}/link/github"))?;
    let done = browser.submit(&page, "/link/github/token", &[("field-token", GITHUB_TOKEN)])?;
    landed(done, "/connections/", "GitHub by token")?;
    eprintln!("   GitHub, by a personal token");
    Ok(())
}

fn link_by_oauth(browser: &mut Browser, home: &str) -> Result<(), String> {
    let page = browser.get(&format!("{home}/link/github"))?;
    let asked = browser.submit(&page, "/link/github/oauth", &[])?;
    let asked = landed(asked, "/login/oauth/authorize", "GitHub's sign-in page")?;
    let login = options(&asked.body).into_iter().find(|login| login != NAME).ok_or("the simulated GitHub has one user only")?;
    let done = browser.submit(&asked, "/login/oauth/authorize", &[("login", &login), ("authorize", "1")])?;
    landed(done, "/connections/", "GitHub by sign-in")?;
    eprintln!("   GitHub, by signing in as {login}: redirects, code, PKCE, token");
    Ok(())
}

fn link_by_lastfm(browser: &mut Browser, home: &str) -> Result<(), String> {
    let page = browser.get(&format!("{home}/link/lastfm"))?;
    let asked = browser.submit(&page, "/link/lastfm/web", &[])?;
    let asked = landed(asked, "/api/auth/", "Last.fm's sign-in page")?;
    let done = browser.submit(&asked, "/api/auth/", &[("user", NAME), ("allow", "1")])?;
    landed(done, "/connections/", "Last.fm by sign-in")?;
    eprintln!("   Last.fm, by signing in: redirect, token, signed exchange");
    Ok(())
}

/// The values of a page's `<option>`s.
fn options(html: &str) -> Vec<String> {
    let values = html.split("<option").skip(1).filter_map(|o| {
        let (head, rest) = o.split_once('>')?;
        let value = head.split("value=\"").nth(1).and_then(|v| v.split('"').next());
        Some(value.unwrap_or_else(|| rest.split('<').next().unwrap_or_default().trim()).to_owned())
    });
    values.collect()
}

#[derive(Deserialize, Default, Clone)]
struct Row {
    connection: String,
    connector: String,
    account: String,
    outcome: String,
    message: Option<String>,
    inserted: u64,
    updated: u64,
    unchanged: u64,
    deleted: u64,
    older: u64,
    took_ms: i64,
}

/// Waits until each account's first sync is over (a long history takes several runs), and adds its runs up.
fn first_syncs(program: &Path, folder: &Path) -> Result<Vec<Row>, String> {
    eprintln!("── first syncs");
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("   {spinner} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    let deadline = Instant::now() + SYNCS_WITHIN;
    loop {
        let text = crate::shell::output(sluice(program, folder).args(["runs", "--json"]))?;
        let runs: Vec<Row> = serde_json::from_str(&text).map_err(|e| format!("sluice runs --json: {e}"))?;
        let mut sums: BTreeMap<String, Row> = BTreeMap::new();
        // Newest first: the first row of an account says how it stands.
        for run in &runs {
            let sum = sums.entry(run.connection.clone()).or_insert_with(|| Row {
                connector: run.connector.clone(),
                account: run.account.clone(),
                outcome: run.outcome.clone(),
                message: run.message.clone(),
                ..Row::default()
            });
            sum.inserted += run.inserted;
            sum.updated += run.updated;
            sum.unchanged += run.unchanged;
            sum.deleted += run.deleted;
            sum.older += run.older;
            sum.took_ms += run.took_ms;
        }
        let entries: u64 = sums.values().map(|r| r.inserted).sum();
        bar.set_message(format!("{entries} entries"));
        let ended = sums.len() == 3 && sums.values().all(|r| !matches!(r.outcome.as_str(), "running" | "more"));
        if ended || Instant::now() > deadline {
            bar.finish_and_clear();
            return if ended {
                Ok(sums.into_values().collect())
            } else {
                Err(format!("the first syncs are not over after {SYNCS_WITHIN:?}"))
            };
        }
        thread::sleep(Duration::from_millis(300));
    }
}

fn table(rows: &[Row]) -> String {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| (&a.connector, &a.account).cmp(&(&b.connector, &b.account)));
    let mut lines = vec![format!(
        "{:<10} {:<16} {:<12} {:>8} {:>8} {:>9} {:>8} {:>6} {:>8}",
        "connector", "account", "outcome", "inserted", "updated", "unchanged", "deleted", "older", "time"
    )];
    for r in &rows {
        lines.push(format!(
            "{:<10} {:<16} {:<12} {:>8} {:>8} {:>9} {:>8} {:>6} {:>6.1} s",
            r.connector,
            r.account,
            r.outcome,
            r.inserted,
            r.updated,
            r.unchanged,
            r.deleted,
            r.older,
            r.took_ms as f64 / 1000.0
        ));
    }
    for r in rows.iter().filter(|r| r.outcome != "complete") {
        if let Some(message) = &r.message {
            lines.push(format!("\n{} ({}): {message}", r.connector, r.account));
        }
    }
    lines.join("\n")
}
