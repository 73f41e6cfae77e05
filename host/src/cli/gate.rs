//! `sluice gate explain`: would this request be sent, and why.

use super::{CliError, Outcome, print_json, terminal::print};
use crate::{
    config::Config,
    control::{
        Client,
        api::{Explain, Explained},
    },
};
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum GateCommand {
    /// Say whether a connector's request would be sent, and why; exit code 0 when it would, 1 when not.
    #[command(override_usage = "sluice gate explain CONNECTOR [METHOD] URL")]
    Explain {
        /// The connector.
        connector: String,
        /// The method, when it is not GET, and the URL.
        #[arg(required = true, num_args = 1..=2, value_names = ["METHOD", "URL"])]
        request: Vec<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(command: GateCommand, config: Config) -> Outcome {
    let GateCommand::Explain { connector, request, json } = command;
    let (method, url) = match request.as_slice() {
        [url] => ("GET".to_owned(), url.clone()),
        [method, url] => (method.to_ascii_uppercase(), url.clone()),
        _ => return Err(CliError::Usage("sluice gate explain CONNECTOR [METHOD] URL".to_owned())),
    };
    let client = Client::open(config, false).await?;
    let answer = client.post::<_, Explained>("/v1/gate/explain", &Explain { connector, method, url }).await;
    client.close().await;
    let answer = answer?;
    if json {
        print_json(&answer)?
    } else {
        print(&answer.text)?
    }
    Ok(ExitCode::from(u8::from(!answer.allowed)))
}
