//! `sluice entries`: what was collected, as a table, CSV or JSON.

use super::{
    CliError, Outcome,
    table::{Align, layout},
    terminal::{local_time, print},
};
use crate::{
    config::Config,
    control::{
        Client,
        api::{EntriesPage, EntriesRequest, EntryRow},
    },
    web::csv,
};
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub struct EntriesArgs {
    /// One connector's; without it, all, by time.
    connector: Option<String>,
    /// One metric's.
    #[arg(long)]
    metric: Option<String>,
    /// From then on: a day (2026-11-21), an instant (RFC 3339) or a span back from now (7d).
    #[arg(long)]
    since: Option<String>,
    /// Comma-separated, all columns, for spreadsheets.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// One JSON array.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: EntriesArgs, config: Config) -> Outcome {
    let client = Client::open(config, false).await?;
    let result = show(&client, args).await;
    client.close().await;
    result
}

async fn show(client: &Client, args: EntriesArgs) -> Outcome {
    let mut request =
        EntriesRequest { connector: args.connector.clone(), metric: args.metric.clone(), since: args.since.clone(), after: None };
    let mut shown = 0_usize;
    if args.csv {
        print(csv::HEAD)?;
    }
    loop {
        let page: EntriesPage = client.post("/v1/entries", &request).await?;
        print_page(&args, &page.rows, shown)?;
        shown += page.rows.len();
        match page.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    match (args.json, args.csv, shown) {
        (true, _, 0) => print("[]")?,
        (true, ..) => print("]")?,
        (false, false, 0) => print("nothing was collected that fits; `sluice run` syncs now")?,
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn print_page(args: &EntriesArgs, rows: &[EntryRow], before: usize) -> Result<(), CliError> {
    if args.json {
        for (index, row) in rows.iter().enumerate() {
            let lead = if before + index == 0 { "[" } else { "," };
            print(&format!("{lead}{}", row.to_json()))?;
        }
        return Ok(());
    }
    if args.csv {
        for row in rows {
            print(&csv::line(row))?;
        }
        return Ok(());
    }
    if rows.is_empty() {
        return Ok(());
    }
    let heads = [
        ("when", Align::Left),
        ("connector", Align::Left),
        ("account", Align::Left),
        ("metric", Align::Left),
        ("value", Align::Right),
        ("unit", Align::Left),
        ("what", Align::Left),
    ];
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let text = layout(&heads, &rows);
    // One head for the whole table, whatever the pages.
    let text = if before == 0 { text } else { text.split_once('\n').map_or(text.clone(), |(_, rest)| rest.to_owned()) };
    print(&text)
}

fn cells(row: &EntryRow) -> Vec<String> {
    let when = row.start.map_or_else(|| row.day.clone(), local_time);
    let what = row.series_label.clone().or_else(|| row.series.clone()).or_else(|| named(row)).unwrap_or_default();
    vec![
        when,
        row.connector.clone(),
        row.account.clone(),
        row.metric.clone(),
        number(row.value),
        row.unit.clone(),
        what.chars().take(80).collect(),
    ]
}

/// What an entry with an id is called: the texts of its detail.
fn named(row: &EntryRow) -> Option<String> {
    let detail: serde_json::Map<String, serde_json::Value> = serde_json::from_str(row.detail.as_deref()?).ok()?;
    let texts: Vec<&str> = detail.values().filter_map(|v| v.as_str()).filter(|t| !t.is_empty()).take(3).collect();
    (!texts.is_empty()).then(|| texts.join(" — "))
}

/// Whole numbers without a point.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value}") }
}
