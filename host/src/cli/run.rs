//! `sluice run`: sync now, and wait.

use super::{
    CliError, Outcome, print_json,
    table::{Align, layout},
    terminal::{duration, inert, print, until_ctrl_c, watched},
};
use crate::{
    config::Config,
    control::{
        Client,
        api::{RunLine, RunRequest, RunSummary},
    },
};
use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{collections::HashMap, process::ExitCode, time::Duration};

#[derive(Args)]
pub struct RunArgs {
    /// A connector, or the id of one connection; without it, all.
    which: Option<String>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: RunArgs, config: Config) -> Outcome {
    let client = Client::open(config, true).await?;
    let result = until_ctrl_c(follow(&client, RunRequest { which: args.which, since: None })).await;
    client.close().await;
    let summaries = result?;
    if args.json {
        print_json(&summaries)?
    } else {
        print(&summary(&summaries))?
    }
    Ok(exit_code(&summaries))
}

/// 1 as soon as one of them failed.
pub fn exit_code(summaries: &[RunSummary]) -> ExitCode {
    ExitCode::from(u8::from(summaries.iter().any(|s| s.outcome != "complete")))
}

/// Asks for runs and shows how they go, until each has ended.
pub async fn follow(client: &Client, request: RunRequest) -> Result<Vec<RunSummary>, CliError> {
    let mut lines = client.lines("/v1/run", &request).await?;
    let mut begun = 0_usize;
    let mut bars = Bars::new();
    let mut summaries = Vec::new();
    while let Some(line) = lines.next::<RunLine>().await? {
        match line {
            RunLine::Started { connection, connector, account } => {
                begun += 1;
                bars.start(connection, format!("{} ({})", inert(&connector), inert(&account)));
            }
            RunLine::Progress { connection, done, total } => bars.progress(&connection, done, total),
            RunLine::Finished(summary) => {
                bars.finish(&summary.connection);
                summaries.push(summary);
            }
        }
    }
    if summaries.len() < begun {
        return Err(CliError::Usage(format!(
            "the host stopped before {} of {begun} runs had ended; they go on by themselves when it runs again",
            begun - summaries.len()
        )));
    }
    summaries.sort_by(|a, b| (&a.connector, &a.account).cmp(&(&b.connector, &b.account)));
    Ok(summaries)
}

/// The table, and below it what somebody should do.
pub fn summary(summaries: &[RunSummary]) -> String {
    let heads = [
        ("connector", Align::Left),
        ("account", Align::Left),
        ("outcome", Align::Left),
        ("inserted", Align::Right),
        ("updated", Align::Right),
        ("unchanged", Align::Right),
        ("deleted", Align::Right),
        ("older", Align::Right),
        ("time", Align::Right),
    ];
    let rows: Vec<Vec<String>> = summaries
        .iter()
        .map(|s| {
            vec![
                s.connector.clone(),
                s.account.clone(),
                s.outcome.clone(),
                s.inserted.to_string(),
                s.updated.to_string(),
                s.unchanged.to_string(),
                s.deleted.to_string(),
                s.older.to_string(),
                duration(s.took_ms),
            ]
        })
        .collect();
    let mut text = layout(&heads, &rows);
    for s in summaries.iter().filter(|s| s.outcome != "complete") {
        if let Some(message) = &s.message {
            text.push_str(&format!("\n\n{} ({}): {}", s.connector, inert(&s.account), inert(message)));
        }
    }
    text
}

/// A bar for each run, where somebody watches.
struct Bars {
    all: Option<MultiProgress>,
    bars: HashMap<String, ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        Self { all: watched().then(MultiProgress::new), bars: HashMap::new() }
    }

    fn start(&mut self, connection: String, title: String) {
        let Some(all) = &self.all else { return };
        let bar = all.add(ProgressBar::new_spinner().with_message(title));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.bars.insert(connection, bar);
    }

    fn progress(&self, connection: &str, done: u64, total: Option<u64>) {
        let Some(bar) = self.bars.get(connection) else { return };
        if let Some(total) = total {
            if bar.length() != Some(total)
                && let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {pos}/{len}")
            {
                bar.set_style(style);
                bar.set_length(total);
            }
        } else if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos}") {
            bar.set_style(style);
        }
        bar.set_position(done);
    }

    fn finish(&mut self, connection: &str) {
        if let Some(bar) = self.bars.remove(connection) {
            bar.finish_and_clear();
        }
    }
}
