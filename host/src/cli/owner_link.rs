//! `sluice owner-link`: gives the pages a password, or a new one.

use super::{
    Outcome, print_json,
    terminal::{local_time, print},
};
use crate::{
    config::Config,
    control::{Client, api::OwnerLink},
};
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub struct OwnerLinkArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: OwnerLinkArgs, config: Config) -> Outcome {
    let client = Client::open(config, false).await?;
    let link = client.post::<_, OwnerLink>("/v1/owner-link", &()).await;
    let here = client.is_here();
    client.close().await;
    let link = link?;
    if args.json {
        print_json(&link)?;
    } else {
        let hint = if here { "\nno host is running: start it with `sluice serve`, then open the link" } else { "" };
        print(&format!("{}\nworks once, until {}{hint}", link.url, local_time(link.expires_at)))?;
    }
    Ok(ExitCode::SUCCESS)
}
