//! `sluice modules list | show | approve | refuse | rollback | remove`.

use super::{
    CliError, Outcome, compiling, print_json,
    table::{Align, layout},
    terminal::{duration, inert, local_time, print},
};
use crate::{
    config::Config,
    control::{Client, api::ModuleDecision},
    modules::{Verb, bytes_words, cpu_words, named},
};
use clap::Subcommand;
use serde_json::Value;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum ModulesCommand {
    /// Every file of the folder, and what became of it.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// One connector: what it may do, what it records, how its app is registered.
    Show {
        /// Its name.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say yes to what waits: these bytes, and what they ask for.
    Approve {
        /// As `list` and `show` have it; at least 8 letters of the hash.
        #[arg(value_name = "NAME@HASH")]
        which: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say no to what waits; what served before serves on.
    Refuse {
        /// As `list` and `show` have it; at least 8 letters of the hash.
        #[arg(value_name = "NAME@HASH")]
        which: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let the version before serve again; runs under way end on the present one.
    Rollback {
        /// Its name; with @HASH, only if that is what serves.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove the file from the folder, and forget what was decided about it. Accounts and data stay.
    Remove {
        /// Its name; with @HASH, only if the file has these bytes.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(command: ModulesCommand, config: Config) -> Outcome {
    let client = compiling::opened(config).await?;
    let result = match command {
        ModulesCommand::List { json } => list(&client, json).await,
        ModulesCommand::Show { name, json } => show(&client, &name, json).await,
        ModulesCommand::Approve { which, json } => decide(&client, Verb::Approve, &which, json).await,
        ModulesCommand::Refuse { which, json } => decide(&client, Verb::Refuse, &which, json).await,
        ModulesCommand::Rollback { name, json } => decide(&client, Verb::Rollback, &name, json).await,
        ModulesCommand::Remove { name, json } => decide(&client, Verb::Remove, &name, json).await,
    };
    client.close().await;
    result.map(|()| ExitCode::SUCCESS)
}

fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Null) | None => "—".to_owned(),
        Some(other) => other.to_string(),
    }
}

async fn list(client: &Client, json: bool) -> Result<(), CliError> {
    let rows: Vec<Value> = client.get("/v1/modules").await?;
    if json {
        return print_json(&rows);
    }
    if rows.is_empty() {
        return print("the modules folder is empty; `cargo xtask build` makes the bundled connectors");
    }
    let heads = [("name", Align::Left), ("state", Align::Left), ("version", Align::Left), ("sha256", Align::Left), ("", Align::Left)];
    let cells = |v: &Value| {
        let hash: String = text(v, "sha256").chars().take(12).collect();
        vec![text(v, "name"), text(v, "state"), text(v, "version"), hash, text(v, "line")]
    };
    print(&layout(&heads, &rows.iter().map(cells).collect::<Vec<_>>()))
}

async fn decide(client: &Client, verb: Verb, which: &str, json: bool) -> Result<(), CliError> {
    let (name, hash) = named(which);
    let asked = ModuleDecision { verb, name: name.to_owned(), hash: hash.map(str::to_owned) };
    let now: Value = compiling::told(client, name, client.post_long("/v1/modules/decision", &asked)).await?;
    if json {
        return print_json(&now);
    }
    let mut out = format!("{}: {}, {}\n", inert(&text(&now, "name")), text(&now, "state"), inert(&text(&now, "line")));
    if verb == Verb::Approve {
        lines(&mut out, "may do", now.get("authority"));
    }
    print(out.trim_end())
}

fn lines(out: &mut String, head: &str, value: Option<&Value>) {
    let lines: Vec<&str> = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if !lines.is_empty() {
        out.push_str(&format!("\n{head}\n"));
        for line in lines {
            out.push_str(&format!("  {}\n", inert(line)));
        }
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn time(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_i64).map_or_else(|| "—".to_owned(), local_time)
}

async fn show(client: &Client, name: &str, json: bool) -> Result<(), CliError> {
    let path: String = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).collect();
    let shown: Value = client.get(&format!("/v1/modules/{path}")).await?;
    if json {
        return print_json(&shown);
    }
    let mut out = format!("{} — {}\n", inert(&text(&shown, "name")), inert(&text(&shown, "line")));
    let mut fact = |head: &str, said: String| out.push_str(&format!("  {head:<8} {}\n", inert(&said)));
    for (head, key) in [("state", "state"), ("file", "file"), ("sha256", "sha256")] {
        fact(head, text(&shown, key));
    }
    fact("size", bytes_words(number(&shown, "size")));
    if let Some(ms) = shown.get("compile_ms").and_then(Value::as_i64) {
        fact("compiled", format!("in {}", duration(ms)));
    }
    if let Some(command) = shown.get("command").and_then(Value::as_str) {
        fact("approve", command.to_owned());
    }
    let runs = shown.get("runs").filter(|r| r.is_object());
    if let Some(runs) = runs {
        let of = |key: &str, words: &dyn Fn(u64) -> String| match shown.get(key).and_then(Value::as_u64) {
            Some(limit) => format!(" (at most {})", words(limit)),
            None => String::new(),
        };
        fact("memory", format!("up to {} a run{}", bytes_words(number(runs, "memory_bytes")), of("memory_limit", &bytes_words)));
        let limit = of("cpu_limit_ms", &|ms| cpu_words(ms.saturating_mul(1_000)));
        let over = match number(runs, "runs") {
            1 => "over 1 run".to_owned(),
            n => format!("over {n} runs"),
        };
        fact("CPU", format!("{} a run, {over}{limit}", cpu_words(number(runs, "cpu_us"))));
        fact("refused", format!("{} by the gate, of its requests", number(runs, "denied")));
    }
    if let Some(before) = shown.get("before").filter(|b| b.is_object()) {
        let hash: String = text(before, "sha256").chars().take(12).collect();
        fact("before", format!("{} {hash}; back to it: sluice modules rollback {}", text(before, "version"), text(&shown, "name")));
    }
    if shown.get("stores").is_some_and(Value::is_string) {
        fact("since", format!("it {}", text(&shown, "stores")));
    }
    for app in shown.get("apps").and_then(Value::as_array).into_iter().flatten() {
        out.push_str(&format!("\n  its app is {}: {}\n", text(app, "state"), inert(&text(app, "reason"))));
    }
    for (head, key) in [("may do", "authority"), ("records", "metrics")] {
        lines(&mut out, head, shown.get(key));
    }
    if let Some(waiting) = shown.get("waiting").filter(|w| w.is_object()) {
        out.push_str(&format!("\nin the folder: {} {}\n  {}\n", text(waiting, "version"), text(waiting, "sha256"), text(waiting, "line")));
        if let Some(command) = waiting.get("command").and_then(Value::as_str) {
            out.push_str(&format!("  {:<8} {}\n", "approve", inert(command)));
        }
        lines(&mut out, "it asks for what was not approved", waiting.get("difference"));
        lines(&mut out, "it would do", waiting.get("authority"));
    }
    if let Some(runs) = runs {
        out.push_str(&recent(runs));
    }
    if let Some(setup) = shown.get("setup").and_then(Value::as_str) {
        let setup: Vec<String> = setup.lines().map(inert).collect();
        out.push_str(&format!("\nset-up\n{}", setup.join("\n")));
    }
    print(out.trim_end())
}

/// Its latest runs, and what went wrong.
fn recent(runs: &Value) -> String {
    let rows = |key: &str| runs.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let heads = [
        ("when", Align::Left),
        ("version", Align::Left),
        ("runs", Align::Right),
        ("CPU", Align::Right),
        ("memory", Align::Right),
        ("refused", Align::Right),
        ("outcome", Align::Left),
    ];
    let cells = |run: &Value| {
        vec![
            time(run, "at"),
            text(run, "version"),
            text(run, "repeats"),
            cpu_words(number(run, "cpu_us")),
            bytes_words(number(run, "memory_bytes")),
            text(run, "denied"),
            text(run, "outcome"),
        ]
    };
    let table = layout(&heads, &rows("latest").iter().map(cells).collect::<Vec<_>>());
    let mut out = "\nlatest runs\n".to_owned();
    for line in table.lines() {
        out.push_str(&format!("  {}\n", line.trim_end()));
    }
    let error = |e: &Value| Value::from(format!("{} {} {}: {}", time(e, "at"), text(e, "version"), text(e, "code"), text(e, "message")));
    lines(&mut out, "last errors", Some(&Value::from(rows("errors").iter().map(error).collect::<Vec<_>>())));
    out
}
