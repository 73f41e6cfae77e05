//! `sluice audit`: who did what, and when.

use super::{
    Outcome, print_json,
    table::{Align, layout},
    terminal::{local_time, print},
};
use crate::{
    config::Config,
    control::{
        Client,
        api::{AuditRequest, AuditRow},
    },
};
use clap::Args;
use std::process::ExitCode;

/// So many notes are printed unless somebody says otherwise: what happened lately, on a few screens.
const LIMIT: u16 = 100;
/// As many as the host gives in one answer.
const MOST: i64 = 10_000;

#[derive(Args)]
pub struct AuditArgs {
    /// The latest so many notes.
    #[arg(long, value_name = "N", default_value_t = LIMIT, value_parser = clap::value_parser!(u16).range(1..=MOST))]
    limit: u16,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: AuditArgs, config: Config) -> Outcome {
    let client = Client::open(config, false).await?;
    let rows = client.post::<_, Vec<AuditRow>>("/v1/audit", &AuditRequest { limit: usize::from(args.limit) }).await;
    client.close().await;
    let rows = rows?;
    if args.json {
        print_json(&rows)?;
    } else if rows.is_empty() {
        print("nothing was noted yet: sign-ins, linked and left accounts, and decisions about connectors will be")?;
    } else {
        let heads = [("when", Align::Left), ("who", Align::Left), ("what", Align::Left), ("connection", Align::Left), ("", Align::Left)];
        let none = || "—".to_owned();
        let cells = |row: &AuditRow| {
            let (who, connection) = (row.who.clone().unwrap_or_else(none), row.connection.clone().unwrap_or_else(none));
            vec![local_time(row.at), who, row.what.clone(), connection, row.detail.clone()]
        };
        print(&layout(&heads, &rows.iter().map(cells).collect::<Vec<_>>()))?;
    }
    Ok(ExitCode::SUCCESS)
}
