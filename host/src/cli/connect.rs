//! `sluice connect`: link an account from a terminal.
//!
//! Fields come from `--key`: a secret as `--key NAME=-`, one line of standard input each in the order given, so that it never stands in the shell's
//! history or the process list; what is no secret may be written out. Missing fields are asked for where somebody sits at the terminal. Sign-ins
//! that need a browser come back to a port of this machine where the provider accepts that, else the page is named and the command waits.

use super::{
    CliError, Outcome, print_json, run as runs,
    terminal::{inert, print, until_ctrl_c},
};
use crate::{
    config::Config,
    control::{
        Client,
        api::{Begun, ConnectBegin, ConnectFields, ConnectFinish, ConnectionRow, Linked, Plan, PlanField, PlanRequest, RunRequest},
    },
};
use clap::Args;
use std::{
    collections::BTreeMap,
    io::{BufRead, IsTerminal},
    process::ExitCode,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use url::Url;

/// How long a sign-in may take: as long as the host keeps it open.
const SIGN_IN_WITHIN: Duration = Duration::from_secs(600);
/// The largest request that the loopback port reads.
const MAX_REQUEST: u64 = 16 << 10;

#[derive(Args)]
pub struct ConnectArgs {
    /// The connector: github, lastfm, …
    connector: String,
    /// The way in, when not the easiest; `sluice modules show` names them.
    #[arg(long)]
    profile: Option<String>,
    /// A field of the form: NAME=- reads a line of standard input; NAME=VALUE only for what is no secret.
    #[arg(long = "key", value_name = "NAME=VALUE")]
    keys: Vec<String>,
    /// Your time zone, when this makes the owner [default: the system's].
    #[arg(long)]
    time_zone: Option<String>,
    /// Don't wait for the first sync.
    #[arg(long)]
    no_wait: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: ConnectArgs, config: Config) -> Outcome {
    let client = Client::open(config, !args.no_wait).await?;
    let result = connect(&client, args).await;
    client.close().await;
    result
}

async fn connect(client: &Client, args: ConnectArgs) -> Outcome {
    let asked = PlanRequest { connector: args.connector.clone(), profile: args.profile.clone() };
    let plan: Plan = client.post("/v1/connect/plan", &asked).await?;
    let linked = if plan.browser { by_browser(client, &args, &plan).await? } else { by_fields(client, &args, &plan).await? };
    if args.json && args.no_wait {
        print_json(&linked)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !args.json {
        let again = if linked.again { " again: its keys are replaced, its data is kept" } else { "" };
        print(&format!("linked {} ({}){again}", args.connector, inert(&linked.account)))?;
        if linked.made_owner {
            print("you are the owner of this host; `sluice owner-link` gives its pages a password")?;
        }
    }
    if args.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    // The first run may have begun already, or even be over: it is the one that is meant.
    let request = RunRequest { which: Some(linked.connection.clone()), since: Some(linked.since) };
    let summaries = until_ctrl_c(runs::follow(client, request)).await?;
    if args.json {
        print_json(&serde_json::json!({ "linked": linked, "runs": summaries }))?;
    } else {
        print(&runs::summary(&summaries))?;
    }
    Ok(runs::exit_code(&summaries))
}

async fn by_fields(client: &Client, args: &ConnectArgs, plan: &Plan) -> Result<Linked, CliError> {
    let fields = read_fields(&args.keys, plan)?;
    let request =
        ConnectFields { connector: args.connector.clone(), profile: plan.profile.clone(), fields, time_zone: args.time_zone.clone() };
    Ok(client.post_long("/v1/connect/fields", &request).await?)
}

/// `--key` first, then the terminal for what is missing.
fn read_fields(given: &[String], plan: &Plan) -> Result<BTreeMap<String, String>, CliError> {
    let known = || plan.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut fields = BTreeMap::new();
    for pair in given {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(CliError::Usage(format!("--key {pair}: write NAME=- or NAME=VALUE; {} takes {}", plan.title, known())));
        };
        let Some(field) = plan.fields.iter().find(|f| f.name == name) else {
            return Err(CliError::Usage(format!("--key {name}: {} takes {}", plan.title, known())));
        };
        let value = match value {
            "-" => read_line(name)?,
            _ if field.secret => {
                return Err(CliError::Usage(format!(
                    "--key {name}=…: a secret on the command line stands in the shell's history and the process list; write --key {name}=- and give it on standard input"
                )));
            }
            value => value.to_owned(),
        };
        fields.insert(name.to_owned(), value);
    }
    for field in &plan.fields {
        if !fields.contains_key(&field.name) {
            fields.insert(field.name.clone(), ask(field, plan)?);
        }
    }
    Ok(fields)
}

fn read_line(name: &str) -> Result<String, CliError> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).map_err(|e| CliError::Io("standard input", e))?;
    if read == 0 {
        return Err(CliError::Usage(format!("standard input ended before the line for {name}")));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask(field: &PlanField, plan: &Plan) -> Result<String, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::Usage(format!("{} needs {}: add --key {}=-", plan.title, field.label, field.name)));
    }
    if let Some(help) = field.help.as_ref().or(plan.help.as_ref()) {
        help.lines().for_each(|line| eprintln!("{}", inert(line)));
    }
    let label = inert(&field.label);
    if field.secret {
        return rpassword::prompt_password(format!("{label}: ")).map_err(|e| CliError::Io("the terminal", e));
    }
    eprint!("{label}: ");
    read_line(&field.name)
}

async fn by_browser(client: &Client, args: &ConnectArgs, plan: &Plan) -> Result<Linked, CliError> {
    if !args.keys.is_empty() {
        return Err(CliError::Usage(format!("{} by {} is done in a browser; it takes no --key", plan.title, plan.profile_title)));
    }
    if plan.loopback {
        return by_loopback(client, args, plan).await;
    }
    if client.is_here() {
        return Err(CliError::Usage(format!(
            "{} by {} is done in a browser, on the pages of a running host:\n  sluice serve\nthen open {}",
            plan.title, plan.profile_title, plan.page
        )));
    }
    eprintln!("open {}\nand link the account there; waiting …", plan.page);
    // An account that was linked before is linked again: the same id, another time.
    let links = |rows: Vec<ConnectionRow>| rows.into_iter().map(|r| (r.id, r.linked_at)).collect::<BTreeMap<_, _>>();
    let before = links(listed(client, &args.connector).await?);
    let deadline = tokio::time::Instant::now() + SIGN_IN_WITHIN;
    while tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Some(row) = listed(client, &args.connector).await?.into_iter().find(|r| before.get(&r.id) != Some(&r.linked_at)) {
            let again = before.contains_key(&row.id);
            return Ok(Linked { connection: row.id, account: row.account, again, made_owner: false, since: row.linked_at });
        }
    }
    Err(CliError::Usage("nobody signed in within ten minutes; start again when you are ready".to_owned()))
}

async fn listed(client: &Client, connector: &str) -> Result<Vec<ConnectionRow>, CliError> {
    let rows: Vec<ConnectionRow> = client.get("/v1/connections").await?;
    Ok(rows.into_iter().filter(|r| r.connector == connector).collect())
}

/// RFC 8252 §7.3: the redirect comes to an ephemeral port of this machine; where the browser runs elsewhere, the address is pasted instead.
async fn by_loopback(client: &Client, args: &ConnectArgs, plan: &Plan) -> Result<Linked, CliError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| CliError::Io("a port for the sign-in", e))?;
    let port = listener.local_addr().map_err(|e| CliError::Io("a port for the sign-in", e))?.port();
    let redirect = format!("http://127.0.0.1:{port}");
    let begin =
        ConnectBegin { connector: args.connector.clone(), profile: plan.profile.clone(), redirect, time_zone: args.time_zone.clone() };
    let begun: Begun = client.post("/v1/connect/begin", &begin).await?;
    eprintln!("open this in a browser and sign in:\n\n  {}\n", begun.url);
    if std::io::stdin().is_terminal() {
        eprintln!("if the browser runs on another machine, paste the address it landed on here and press Enter");
    }
    let query = tokio::time::timeout(SIGN_IN_WITHIN, landed(&listener))
        .await
        .map_err(|_| CliError::Usage("nobody signed in within ten minutes; start again when you are ready".to_owned()))??;
    let finish = ConnectFinish { connector: args.connector.clone(), profile: plan.profile.clone(), session: begun.session, query };
    Ok(client.post_long("/v1/connect/finish", &finish).await?)
}

/// The query of the address that the browser landed on: at our port, or pasted.
async fn landed(listener: &TcpListener) -> Result<Vec<(String, String)>, CliError> {
    let mut pasted = BufReader::new(tokio::io::stdin()).lines();
    let mut typing = std::io::stdin().is_terminal();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut stream, _) = accepted.map_err(|e| CliError::Io("the sign-in's port", e))?;
                let (read, mut write) = stream.split();
                let mut line = String::new();
                let mut reader = BufReader::new(read.take(MAX_REQUEST));
                let reading = tokio::time::timeout(Duration::from_secs(10), reader.read_line(&mut line)).await;
                let query = reading.ok().and_then(Result::ok).and_then(|_| line.split(' ').nth(1).and_then(query_of));
                let (status, text) = match query {
                    Some(_) => ("200 OK", "Done. You can close this page and go back to the terminal."),
                    None => ("404 Not Found", "This is not the page you are looking for."),
                };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\nReferrer-Policy: no-referrer\r\n\r\n{text}", text.len());
                let _ = write.write_all(answer.as_bytes()).await;
                if let Some(query) = query {
                    return Ok(query);
                }
            }
            line = pasted.next_line(), if typing => match line {
                Ok(Some(line)) => match line.trim().parse::<Url>().ok().and_then(|u| query_of(&format!("{}?{}", u.path(), u.query().unwrap_or_default()))) {
                    Some(query) => return Ok(query),
                    None => eprintln!("that is not the address the browser landed on: it begins with http://127.0.0.1: and has a code in it"),
                },
                _ => typing = false,
            },
        }
    }
}

/// The decoded query of a callback's path, when it is one.
fn query_of(target: &str) -> Option<Vec<(String, String)>> {
    let url = Url::parse("http://127.0.0.1/").ok()?.join(target).ok()?;
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let answered = url.path().ends_with("/callback") && query.iter().any(|(k, _)| k == "code" || k == "error");
    answered.then_some(query)
}
