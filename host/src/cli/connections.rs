//! `sluice connections` and `sluice disconnect`.

use super::{
    Outcome, print_json,
    table::{Align, layout},
    terminal::{local_time, print},
};
use crate::{
    config::Config,
    control::{
        Client,
        api::{ConnectionRow, Disconnect},
    },
};
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub struct ConnectionsArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct DisconnectArgs {
    /// The connection's id, from `sluice connections`.
    connection: String,
    /// Delete its entries as well.
    #[arg(long)]
    delete_data: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub async fn list(args: ConnectionsArgs, config: Config) -> Outcome {
    let client = Client::open(config, false).await?;
    let rows = client.get::<Vec<ConnectionRow>>("/v1/connections").await;
    client.close().await;
    let rows = rows?;
    if args.json {
        print_json(&rows)?;
    } else if rows.is_empty() {
        print("no account is linked yet: sluice connect github --key token=-")?;
    } else {
        let heads = [
            ("id", Align::Left),
            ("connector", Align::Left),
            ("account", Align::Left),
            ("state", Align::Left),
            ("next run", Align::Left),
            ("why", Align::Left),
        ];
        let cells = |r: &ConnectionRow| {
            let why = r.message.clone().filter(|_| r.state != "ok").or_else(|| r.next_reason.clone());
            vec![
                r.id.clone(),
                r.connector.clone(),
                r.account.clone(),
                r.state.clone(),
                r.next_due.map_or_else(|| "—".to_owned(), local_time),
                why.unwrap_or_default(),
            ]
        };
        print(&layout(&heads, &rows.iter().map(cells).collect::<Vec<_>>()))?;
        if rows.iter().any(|r| r.state == "app-paused") {
            print("\nan app is paused until somebody mends it: `sluice apps list` says why")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn disconnect(args: DisconnectArgs, config: Config) -> Outcome {
    let client = Client::open(config, false).await?;
    let request = Disconnect { connection: args.connection, delete: args.delete_data };
    let report = client.post_long::<_, crate::link::Disconnected>("/v1/disconnect", &request).await;
    client.close().await;
    let report = report?;
    if args.json {
        print_json(&report)?
    } else {
        print(&report.to_string())?
    }
    Ok(ExitCode::SUCCESS)
}
