//! `sluice runs`: what happened lately; `sluice stop`: end what goes on.

use super::{
    Outcome, print_json,
    table::{Align, layout},
    terminal::{duration, local_time, print},
};
use crate::{
    config::Config,
    control::{
        Client,
        api::{RunRequest, RunRow, RunsRequest, Stopped},
    },
};
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub struct RunsArgs {
    /// A connector, or the id of one connection; without it, all.
    which: Option<String>,
    /// With each run's log, newest run first.
    #[arg(long)]
    log: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: RunsArgs, config: Config) -> Outcome {
    let client = Client::open(config, false).await?;
    let rows = client.post::<_, Vec<RunRow>>("/v1/runs", &RunsRequest { which: args.which, log: args.log }).await;
    client.close().await;
    let rows = rows?;
    if args.json {
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.log {
        return print_logs(&rows);
    }
    let heads = [
        ("when", Align::Left),
        ("connector", Align::Left),
        ("account", Align::Left),
        ("why", Align::Left),
        ("outcome", Align::Left),
        ("inserted", Align::Right),
        ("updated", Align::Right),
        ("deleted", Align::Right),
        ("requests", Align::Right),
        ("time", Align::Right),
        ("", Align::Left),
    ];
    let cells = |r: &RunRow| {
        let s = &r.summary;
        let note = match (&s.message, r.repeats) {
            (Some(message), _) => message.clone(),
            (None, 2..) => format!("{} times without a change", r.repeats),
            (None, _) => String::new(),
        };
        vec![
            local_time(r.started_at),
            s.connector.clone(),
            s.account.clone(),
            r.reason.clone(),
            s.outcome.clone(),
            s.inserted.to_string(),
            s.updated.to_string(),
            s.deleted.to_string(),
            r.requests.to_string(),
            duration(s.took_ms),
            note,
        ]
    };
    print(&layout(&heads, &rows.iter().map(cells).collect::<Vec<_>>()))?;
    Ok(ExitCode::SUCCESS)
}

/// A head for each run that said something, and its lines.
fn print_logs(rows: &[RunRow]) -> Outcome {
    let mut said = false;
    for row in rows.iter().filter(|r| !r.log.is_empty()) {
        said = true;
        let s = &row.summary;
        print(&format!("{} {} ({}): {}", local_time(row.started_at), s.connector, s.account, s.outcome))?;
        for line in &row.log {
            print(&format!("  {:<5} {}", line.level, line.text))?;
        }
    }
    if !said {
        print("none of these runs logged anything")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Args)]
pub struct StopArgs {
    /// A connector, or the id of one connection; without it, all.
    which: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub async fn stop(args: StopArgs, config: Config) -> Outcome {
    let client = Client::open(config, false).await?;
    let answer = client.post::<_, Stopped>("/v1/stop", &RunRequest { which: args.which, since: None }).await;
    client.close().await;
    let answer = answer?;
    if args.json {
        print_json(&answer)?;
    } else if answer.stopped.is_empty() {
        print("nothing runs that could be stopped")?;
    } else {
        print(&format!("asked to stop: {}", answer.stopped.join(", ")))?;
    }
    Ok(ExitCode::SUCCESS)
}
