//! The listener: HTTP/1.1 with a clock on everything that a client could leave half done.
//!
//! The problem: a server without timers holds a half-sent header for ever, and one without a bound on connections has as many tasks and buffers
//! as anybody cares to open. What bounds this one: [`CONNECTIONS`] at a time (further ones wait in the kernel's queue), [`HEADER_TIME`] for
//! a request's head and between two requests of one connection, [`HEADERS`] header fields and [`BUFFER`] bytes of them; forms have the
//! guard's bounds; an answer that is not taken, [`UNREAD`]. At the end, [`GRACE`] for answers under way.

use super::{patience::Patience, router};
use crate::app::App;
use axum::body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Connections at a time; half of the 1,024 open files that a process usually may have.
const CONNECTIONS: usize = 512;
/// For the head of a request, and for a connection that asks nothing more.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Header fields of a request; browsers send some twenty.
const HEADERS: usize = 64;
/// Bytes of a request's head.
const BUFFER: usize = 32 << 10;
/// For a client to take some of an answer: a tunnel on a train, and no more.
const UNREAD: Duration = Duration::from_secs(30);
/// For answers under way when the host stops.
const GRACE: Duration = Duration::from_secs(10);

/// Who is at the other end of a connection, and where they reached us.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Theirs.
    pub remote: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
}

/// Serves the pages until `stop`, then lets answers under way end.
///
/// # Errors
/// The listener has no address.
pub async fn serve(app: Arc<App>, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
    let address = listener.local_addr()?;
    let router = router(app);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_headers(HEADERS).max_buf_size(BUFFER);
    tracing::info!(%address, "pages are served");
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(why) => {
                // Out of files, most likely: connections that end give some back.
                tracing::warn!("a connection could not be accepted: {why}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(local) = stream.local_addr() else { continue };
        // Small answers go out at once; where the system refuses that they still go out.
        if let Err(why) = stream.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY: {why}");
        }
        let (router, peer) = (router.clone(), Peer { remote, local });
        let service = service_fn(move |request: http::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router.clone().oneshot(request)
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(Patience::new(stream, UNREAD)), service));
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(why) = connection.await {
                tracing::debug!("a connection ended early: {why}");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("answers were still under way after {} s, and are cut off", GRACE.as_secs());
    }
    Ok(())
}
