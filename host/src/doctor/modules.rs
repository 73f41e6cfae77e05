//! The connectors: what a running host says of each, or else what the folder holds.

use super::Finding;
use crate::{
    config::Config,
    control::Client,
    modules::{ModuleState, Standing, stand},
};
use serde::Deserialize;
use sluice_sandbox::inert;

/// As much of a listing as is looked at.
#[derive(Deserialize)]
struct Row {
    name: String,
    file: String,
    state: String,
    line: String,
    command: Option<String>,
    waiting: Option<Waiting>,
}

#[derive(Deserialize)]
struct Waiting {
    line: String,
    command: Option<String>,
}

/// What the host itself says.
pub async fn of_a_running_host(all: &mut Vec<Finding>, host: Client) {
    let rows: Vec<Row> = match host.get("/v1/modules").await {
        Ok(rows) => rows,
        Err(why) => {
            return all.push(Finding::problem("connectors", format!("the host does not list them: {why}"), "look at its log; restart it"));
        }
    };
    let serving = rows.iter().filter(|row| row.state == "running").count();
    all.push(match serving {
        0 => {
            Finding::warning("connectors", "none serves", "put .wasm files into the modules folder, and approve them: sluice modules list")
        }
        n => Finding::ok("connectors", format!("{n} of {} serve", rows.len())),
    });
    for row in rows {
        let row = Row { name: inert(&row.name), file: inert(&row.file), ..row };
        if row.state == "examining" {
            all.push(Finding::warning("connectors", format!("{}: {}", row.file, row.line), "look again in a while: sluice modules list"));
        } else if row.state != "running" {
            let next = row.command.unwrap_or_else(|| format!("put it right, or take {} out of the folder", row.file));
            all.push(Finding::warning("connectors", format!("{} is {}: {}", row.name, row.state, row.line), next));
        } else if let Some(waiting) = row.waiting {
            let next = waiting.command.unwrap_or_else(|| format!("put {} right, or take it out of the folder", row.file));
            all.push(Finding::warning("connectors", format!("{} serves, and another file waits: {}", row.name, waiting.line), next));
        }
    }
}

/// What lies in the folder, without a host: kinds and pins, nothing compiled. What was approved by command is in the database, for the next start.
pub async fn of_the_folder(all: &mut Vec<Finding>, config: &Config) {
    let wanted = config.clone();
    let Ok(files) = tokio::task::spawn_blocking(move || stand(&wanted)).await else {
        return all.push(Finding::problem("modules folder", "looking at it failed", "report this; sluice modules list says more"));
    };
    let folder = config.modules.display();
    if !config.modules.is_dir() {
        return all.push(Finding::warning(
            "modules folder",
            format!("{folder} is not there"),
            "make it, and put connectors in; `cargo xtask build` makes those that ship",
        ));
    }
    if files.is_empty() {
        return all.push(Finding::warning(
            "modules folder",
            format!("{folder} is empty"),
            "put connectors in; `cargo xtask build` makes those that ship",
        ));
    }
    let (mut pinned, mut others) = (0, 0);
    for Standing { name, file, state, pinned: yes, line } in files {
        match (state, yes) {
            (ModuleState::Pending, true) => pinned += 1,
            (ModuleState::Pending, false) => others += 1,
            _ => {
                let (name, file) = (inert(&name), inert(&file));
                let line = format!("{name} ({file}): {line}");
                all.push(Finding::warning("modules folder", line, format!("put it right, or take {file} out of {folder}")));
            }
        }
    }
    all.push(Finding::ok(
        "modules folder",
        format!("{folder}: {pinned} of this build or pinned, {others} that run only if they were approved (sluice modules list)"),
    ));
}
