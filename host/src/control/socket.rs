//! The Unix socket: made in the data folder, for its owner alone.

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustix::fs::Mode;
use std::{io, os::unix::fs::MetadataExt, path::Path, time::Duration};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

/// How long a command may take to say what it wants.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{path}: the socket for commands cannot be made: {source}")]
pub struct SocketError {
    path: String,
    source: io::Error,
}

/// Serves until `stop`. The caller holds the data folder's lock, so a socket that lies there is a dead one and is replaced.
///
/// # Errors
/// The socket cannot be bound.
pub async fn serve(path: &Path, router: Router, stop: CancellationToken) -> Result<(), SocketError> {
    let wrap = |source| SocketError { path: path.display().to_string(), source };
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(wrap(e)),
        _ => {}
    }
    // Narrow from the first moment on: the mode is set by the mask, not after the fact.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener.map_err(wrap)?;
    let ours = which(path);
    let path = path.to_owned();
    tokio::spawn(async move {
        accept(listener, router, stop).await;
        // Not the socket of a host that took the folder over.
        if ours.is_some() && which(&path) == ours {
            let _ = std::fs::remove_file(path);
        }
    });
    Ok(())
}

async fn accept(listener: UnixListener, router: Router, stop: CancellationToken) {
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("a command could not connect: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("a command went away: {error}");
            }
        });
    }
}

/// Which file lies there.
fn which(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
