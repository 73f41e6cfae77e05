//! The settings, the address, and the host that runs, if one does.

use super::Finding;
use crate::{
    app::authorities,
    config::Config,
    control::{Client, ClientError, api},
};
use std::{future::Future, io, net::TcpListener, path::Path, time::Duration};

/// How long a host may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// The file, and the secrets that it points to.
pub fn settings(all: &mut Vec<Finding>, config: &Config) {
    let there = config.file.is_file();
    let line = format!("{}{}", config.file.display(), if there { "" } else { " is not there: every setting has its default" });
    all.push(Finding::ok("settings", line));
    let base = config.file.parent().unwrap_or(Path::new("/"));
    let mut read = 0;
    for (name, connector) in &config.connectors {
        for (key, value) in connector.app.iter().filter(|(_, value)| !value.is_plain()) {
            match value.read(base) {
                Ok(_) => read += 1,
                Err(why) => all.push(Finding::warning(
                    "secrets",
                    format!("[connectors.{name}.app] {key}: {why}"),
                    "put it there; a service has its own environment, so look there before you believe this",
                )),
            }
        }
    }
    if read > 0 {
        all.push(Finding::ok("secrets", format!("{read} that the settings point to can be read")));
    }
    if let Some(path) = &config.ca_file {
        all.push(match authorities(path) {
            Ok(roots) => {
                let line = format!("{}: {} of your own, believed beside the machine's", path.display(), roots.count());
                Finding::ok("authorities", line)
            }
            Err(why) => Finding::problem(
                "authorities",
                why.to_string(),
                "put the PEM file there, readable for the user that runs sluice serve, or take ca-file out of the settings: a start without it is refused",
            ),
        });
    }
}

/// Whether a host runs; if none does, whether one could listen. Answers with the host where there is one that talks.
pub async fn host(all: &mut Vec<Finding>, config: &Config) -> Option<Client> {
    match Client::running(config).await {
        Ok(Some(client)) => match in_time(client.get::<api::Status>("/v1/status")).await {
            Ok(status) => {
                running(all, &status);
                Some(client)
            }
            Err(why) => {
                all.push(Finding::problem("host", format!("it runs and does not answer: {why}"), "look at its log; restart it"));
                None
            }
        },
        Ok(None) => {
            all.push(Finding::ok("host", "none runs for this data folder; `sluice serve` starts one"));
            all.push(address(config));
            None
        }
        Err(ClientError::Silent(silence)) => {
            all.push(Finding::problem("host", silence.to_string(), silence.advice()));
            None
        }
        Err(why) => {
            all.push(Finding::problem(
                "host",
                format!("its socket cannot be reached: {why}"),
                "run this as the user that runs sluice serve",
            ));
            None
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let late = || ClientError::Gone(format!("nothing came within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(late()))
}

fn running(all: &mut Vec<Finding>, status: &api::Status) {
    let ours = env!("CARGO_PKG_VERSION");
    let line = format!("{} serves {} ({} linked accounts)", status.version, status.public_url, status.connections);
    all.push(if status.version == ours {
        Finding::ok("host", line)
    } else {
        Finding::warning("host", format!("{line}; this command is {ours}"), "restart the host, so that both are of one build")
    });
    if !status.owner {
        all.push(Finding::warning("owner", "nobody has set this host up", "open the link that sluice serve printed, or sluice owner-link"));
    }
    for app in &status.paused_apps {
        let why = app.reason.as_deref().unwrap_or("no reason is known");
        let line = format!("{} is paused: {why}", app.connector);
        all.push(Finding::warning("apps", line, format!("mend the registration, then sluice apps resume {}", app.connector)));
    }
}

fn address(config: &Config) -> Finding {
    match TcpListener::bind(config.listen) {
        Ok(_) => Finding::ok("address", format!("{} is free; the pages are {}", config.listen, config.public_url)),
        Err(why) => {
            let line = format!("{} cannot be listened on: {why}", config.listen);
            Finding::problem(
                "address",
                line,
                match why.kind() {
                    io::ErrorKind::AddrInUse => "end the program that has the port, or set another with listen",
                    io::ErrorKind::PermissionDenied => "take a port from 1024 on, with a proxy in front",
                    _ => "set listen to an address of this machine",
                },
            )
        }
    }
}
