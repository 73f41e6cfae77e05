//! Whether somebody is there on the other side of the socket.
//!
//! The system takes connections and requests for a process that stands still (stopped by a signal, or hung), so a command cannot tell long work from a
//! host that will never answer by waiting alone. So it asks beside: a request that a host answers from memory. A command asks once before it begins, and
//! again each time that it has waited long for what it really wants; a long sync may be silent for hours as long as its host says that it is there.

use super::{Answer, ClientError};
use axum::body::Body;
use http::{Request, header};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::UnixStream;

/// How long a host may take to say that it is there. It does so within a millisecond; a machine that swaps may need seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// What it is asked. Whatever comes back, a host of another version included, is an answer.
pub(super) const ALIVE: &str = "/v1/alive";

/// The socket, when somebody answers there.
///
/// # Errors
/// Something is there that cannot be talked to, or does not answer.
pub(super) async fn knock(socket: PathBuf) -> Answer<Option<PathBuf>> {
    let stream = match UnixStream::connect(&socket).await {
        Ok(stream) => stream,
        // A path that is too long for a socket is no host's either.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidInput) => {
            return Ok(None);
        }
        // As many wait there already as may wait.
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(ClientError::Silent(Silence::default())),
        Err(e) => return Err(ClientError::Gone(format!("{}: {e}", socket.display()))),
    };
    let silence = Silence { pid: peer(&stream) };
    let asked = async {
        let request = Request::builder().uri(ALIVE).header(header::HOST, "sluice").body(Body::empty()).ok()?;
        speak(stream).await.ok()?.send_request(request).await.ok()
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Some(_)) => Ok(Some(socket)),
        // It went away in this moment.
        Ok(None) => Ok(None),
        Err(_) => Err(ClientError::Silent(silence)),
    }
}

/// The process on the other side, where the system tells.
pub(super) fn peer(stream: &UnixStream) -> Option<i32> {
    stream.peer_cred().ok().and_then(|peer| peer.pid()).filter(|pid| *pid > 0)
}

/// A connection on which requests can be made.
pub(super) async fn speak(stream: UnixStream) -> Result<SendRequest<Body>, hyper::Error> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Waits for what comes from the host behind a socket, for as long as that host says that it is there. Without a socket the host is this process.
///
/// # Errors
/// [`ClientError::Silent`].
pub(super) async fn patiently<T>(socket: Option<&Path>, what: impl Future<Output = T>) -> Answer<T> {
    let silence = async {
        let Some(socket) = socket else { return std::future::pending().await };
        loop {
            tokio::time::sleep(PATIENCE).await;
            // A host that stops takes its socket away first, and ends what it is asked for then.
            if let Err(error @ ClientError::Silent(_)) = knock(socket.to_owned()).await {
                return error;
            }
        }
    };
    tokio::select! {
        biased;
        come = what => Ok(come),
        error = silence => Err(error),
    }
}

/// A host that is there and says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    /// Its process, where the system tells.
    pub pid: Option<i32>,
}

impl Silence {
    /// What whoever waits for it can do.
    #[must_use]
    pub fn advice(self) -> String {
        let pid = self.pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
        format!(
            "look at it (ps -o pid,stat,etime,args -p {pid}) and at its log; one that was stopped (T) goes on with kill -CONT {pid}; any other \
             is ended with kill -KILL {pid}, which loses nothing that it acknowledged, and started again"
        )
    }
}

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = self.pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
        write!(f, "the running host{who} does not answer: nothing came within {} s", PATIENCE.as_secs())
    }
}

/// A host that is there, and does not come to an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stuck {
    /// Its process, where the system tells.
    pub pid: Option<i32>,
    /// How long it was waited for.
    pub waited: Duration,
}

impl Stuck {
    /// What whoever waits for it can do.
    #[must_use]
    pub fn advice(self) -> String {
        let pid = self.pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
        format!(
            "its log and `sluice doctor` say more (a disk that hangs, most likely); what was asked for may still be done, so look before asking again. If \
             it stays so, end it with kill -KILL {pid}, which loses nothing that it acknowledged, and start it again"
        )
    }
}

impl std::fmt::Display for Stuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = self.pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
        write!(f, "the running host{who} is there, but did not come to an answer within {} s", self.waited.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_host_is_named_with_what_to_do() {
        let stuck = Stuck { pid: Some(4711), waited: Duration::from_secs(30) };
        assert_eq!(stuck.to_string(), "the running host (process 4711) is there, but did not come to an answer within 30 s");
        assert!(stuck.advice().contains("sluice doctor") && stuck.advice().contains("kill -KILL 4711"), "{}", stuck.advice());
    }

    #[test]
    fn a_silent_host_is_named_with_what_to_do() {
        let known = Silence { pid: Some(4711) };
        assert_eq!(known.to_string(), "the running host (process 4711) does not answer: nothing came within 10 s");
        assert!(known.advice().contains("kill -CONT 4711") && known.advice().contains("kill -KILL 4711"), "{}", known.advice());
        let unknown = Silence::default();
        assert_eq!(unknown.to_string(), "the running host does not answer: nothing came within 10 s");
        assert!(unknown.advice().contains("-p PID"), "{}", unknown.advice());
    }
}
