//! `sluice apps list | resume`: the registrations at the providers, and which of them are paused.

use super::{
    Outcome, print_json,
    table::{Align, layout},
    terminal::{local_time, print},
};
use crate::{
    config::Config,
    control::{
        Answer, Client,
        api::{AppRow, ResumeApps, Resumed},
    },
};
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum AppsCommand {
    /// Every app, and why one is paused.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let a connector's paused apps run again, once what paused them is mended.
    Resume {
        /// The connector.
        connector: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(command: AppsCommand, config: Config) -> Outcome {
    let client = Client::open(config, false).await?;
    match command {
        AppsCommand::List { json } => {
            let rows = client.get::<Vec<AppRow>>("/v1/apps").await;
            client.close().await;
            list(&rows?, json)
        }
        AppsCommand::Resume { connector, json } => {
            let resumed: Answer<Resumed> = client.post("/v1/apps/resume", &ResumeApps { connector: connector.clone() }).await;
            client.close().await;
            let resumed = resumed?;
            if json {
                print_json(&resumed)?;
            } else if resumed.opened == 0 {
                print(&format!("{connector} was not paused"))?;
            } else {
                print(&format!("{connector} is open again; what is due runs now"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list(rows: &[AppRow], json: bool) -> Outcome {
    if json {
        print_json(&rows)?;
    } else if rows.is_empty() {
        print("no account is linked yet, so no app is in use: sluice connect github --key token=-")?;
    } else {
        let heads = [
            ("connector", Align::Left),
            ("registration", Align::Left),
            ("state", Align::Left),
            ("until", Align::Left),
            ("why", Align::Left),
        ];
        let cells = |r: &AppRow| {
            let registration: String = r.registration.chars().take(8).collect();
            vec![
                r.connector.clone(),
                if registration.is_empty() { "—".to_owned() } else { registration },
                r.state.clone(),
                r.blocked_until.map_or_else(|| "—".to_owned(), local_time),
                r.reason.clone().unwrap_or_default(),
            ]
        };
        print(&layout(&heads, &rows.iter().map(cells).collect::<Vec<_>>()))?;
    }
    Ok(ExitCode::SUCCESS)
}
