//! `sluice serve`: the host itself.

use super::{
    CliError, Outcome,
    terminal::{end_at_once_on, tell},
};
use crate::{
    app::{App, Surroundings},
    config::{self, Config},
    control, link, modules,
    runs::Scheduler,
    upkeep, web,
};
use clap::Args;
use sluice_vault::KeyFile;
use std::{process::ExitCode, sync::Arc};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

#[derive(Args)]
pub struct ServeArgs {}

pub async fn run(_: ServeArgs, config: Config) -> Outcome {
    harden();
    let listener = TcpListener::bind(config.listen).await.map_err(|e| {
        CliError::Usage(format!(
            "{} cannot be listened on: {e}\n  another program has the port, or another sluice runs: say --listen 127.0.0.1:PORT",
            config.listen
        ))
    })?;
    let opened = App::open(config, Surroundings::system()).await.map_err(control::ClientError::from)?;
    let app = opened.app;
    if let KeyFile::Created(path) = &opened.key {
        tell(&format!("made the host key {}\n  back it up with your data: without it no stored key can be opened", path.display()));
    }
    // From here on: a host that is asked to stop in its first moments ends in order, too.
    let mut asked = Asked::listen();
    let stop = CancellationToken::new();
    control::serve(&app.config.socket(), control::router(app.clone()), stop.clone()).await.map_err(|e| CliError::Usage(e.to_string()))?;
    let mut scheduler = Scheduler::start(app.clone()).await.map_err(|e| CliError::Usage(e.to_string()))?;
    tokio::spawn(link::revocations(app.clone(), stop.clone()));
    tokio::spawn(upkeep::run(app.clone(), stop.clone()));
    tokio::spawn(modules::watch(app.clone(), stop.clone()));
    tokio::spawn(config::follow(app.clone(), stop.clone()));
    let pages = tokio::spawn(web::serve(app.clone(), listener, stop.clone()));
    greet(&app).await?;

    let code = tokio::select! {
        () = asked.stop() => {
            tracing::info!("stopping: runs come to a checkpoint, leases are given back; asked again, it ends at once");
            end_at_once_on(async move { asked.stop().await; true });
            ExitCode::SUCCESS
        }
        ended = scheduler.ended() => {
            tracing::error!("{}", ended.err().map_or_else(|| "the schedule ended by itself".to_owned(), |e| e.to_string()));
            return Ok(ExitCode::from(2));
        }
        why = app.store.fatal() => {
            // Nothing that was acknowledged is lost; what is in flight is not acknowledged. The next start recovers.
            tracing::error!("the database failed: {why}; stopping, so that the next start can recover");
            return Ok(ExitCode::from(2));
        }
    };
    if let Err(error) = scheduler.stop().await {
        tracing::warn!("{error}");
    }
    stop.cancel();
    let _ = pages.await;
    app.store.close().await;
    Ok(code)
}

/// What the operator reads first.
async fn greet(app: &Arc<App>) -> Result<(), CliError> {
    let running = app.modules.running().count();
    tell(&format!("sluice {} serves {} ({running} connectors)", env!("CARGO_PKG_VERSION"), app.config.public_url));
    if let Some(link) = web::make_setup_link(app).await.map_err(|error| CliError::Usage(error.to_string()))? {
        tell(&format!("first start: open {} to make your account", link.url));
    }
    Ok(())
}

/// No core dump may hold a secret.
fn harden() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Core, none) {
        tracing::warn!("core dumps cannot be turned off: {error}");
    }
}

/// SIGTERM and Ctrl-C. Where the system gives no such signal, its default stays.
struct Asked {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Asked {
    fn listen() -> Self {
        Self { terminate: signal(SignalKind::terminate()).ok(), interrupt: signal(SignalKind::interrupt()).ok() }
    }

    async fn stop(&mut self) {
        let one = async |signal: &mut Option<Signal>| match signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        };
        tokio::select! {
            () = one(&mut self.terminate) => {}
            () = one(&mut self.interrupt) => {}
        }
    }
}
