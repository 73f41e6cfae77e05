//! A command's way to a host: over the socket of a running one, or into one opened for the occasion.

use super::{
    ControlError,
    knock::{Silence, Stuck, knock, patiently, peer, speak},
    router,
};
use crate::{
    app::{App, StartError, Surroundings},
    config::Config,
    runs::Scheduler,
};
use axum::{
    Router,
    body::{Body, Bytes},
};
use http::{Method, Request, header};
use http_body_util::{BodyExt, LengthLimitError};
use serde::{Serialize, de::DeserializeOwned};
use sluice_store::OpenError;
use sluice_vault::KeyFile;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{net::UnixStream, time::Instant};
use tower::ServiceExt;

/// The largest answer that is read at once.
const MAX_ANSWER: usize = 64 << 20;

/// How long a command waits for whoever has the data folder and does not answer yet.
const STARTING: Duration = Duration::from_secs(15);
/// How long a host that is there may take for an answer: most come from memory or from one look into the database. Only a disk or a database that hangs
/// takes longer.
const QUICK: Duration = Duration::from_secs(30);
/// The same where a provider is asked, much is deleted, or connectors are compiled, on top of what compiling one of them may take.
const LONG: Duration = Duration::from_secs(3600);
/// Between two tries.
const KNOCK_EVERY: Duration = Duration::from_millis(100);

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The host said no.
    #[error("{0}")]
    Refused(ControlError),
    /// No host runs, and this command could not open the data folder itself.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The host went away in the middle.
    #[error("the running host did not answer: {0}")]
    Gone(String),
    /// There is more to say than a command reads.
    #[error("the host's answer has more than {mib} MiB, and no command reads more: ask for less, or for one thing by its name", mib = MAX_ANSWER >> 20)]
    TooLarge,
    /// The host is there and says nothing.
    #[error("{0}\n  {advice}", advice = .0.advice())]
    Silent(Silence),
    /// The host is there and does not come to an answer.
    #[error("{0}\n  {advice}", advice = .0.advice())]
    Stuck(Stuck),
}

/// Where requests go.
enum Way {
    Socket(PathBuf, Bounds),
    Here { router: Router, app: Arc<App>, scheduler: Option<Scheduler> },
}

/// How long the host behind a socket is waited for.
#[derive(Clone, Copy)]
struct Bounds {
    quick: Duration,
    long: Duration,
}

impl Bounds {
    fn of(config: &Config) -> Self {
        Self { quick: QUICK, long: LONG.saturating_add(config.compile.wall) }
    }
}

/// A host, wherever it is.
pub struct Client(Way);

/// An answer.
pub type Answer<T> = Result<T, ClientError>;

impl Client {
    /// Reaches the running host, or opens the data folder in this process. `runs` says whether this command needs runs to happen.
    ///
    /// # Errors
    /// Neither is possible.
    pub async fn open(config: Config, runs: bool) -> Answer<Self> {
        let (deadline, bounds) = (Instant::now() + STARTING, Bounds::of(&config));
        let app = loop {
            match knock(config.socket()).await? {
                Some(socket) => return Ok(Self(Way::Socket(socket, bounds))),
                None => match App::open(config.clone(), Surroundings::system()).await {
                    Ok(opened) => {
                        // Whoever begins with a command hears of the key as one who begins with `serve` does.
                        if let KeyFile::Created(path) = &opened.key {
                            eprintln!(
                                "made the host key {}\n  back it up with your data: without it no stored key can be opened",
                                path.display()
                            );
                        }
                        break opened.app;
                    }
                    // A host that starts or stops has the folder and no socket; another command has it for a moment.
                    Err(StartError::Store(OpenError::Locked(_))) if Instant::now() < deadline => {
                        tokio::time::sleep(KNOCK_EVERY).await;
                    }
                    Err(error) => return Err(error.into()),
                },
            }
        };
        let scheduler = if runs { Some(Scheduler::start(app.clone()).await.map_err(StartError::from)?) } else { None };
        Ok(Self(Way::Here { router: router(app.clone()), app, scheduler }))
    }

    /// Reaches the running host, if there is one; nothing is opened.
    ///
    /// # Errors
    /// Something is there, and cannot be talked to.
    pub async fn running(config: &Config) -> Answer<Option<Self>> {
        Ok(knock(config.socket()).await?.map(|socket| Self(Way::Socket(socket, Bounds::of(config)))))
    }

    /// Whether the host lives in this process: nothing goes on after the command.
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self.0, Way::Here { .. })
    }

    /// `GET`.
    ///
    /// # Errors
    /// The host refused, went away, or did not answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        let request = Request::builder().method(Method::GET).uri(path).header(header::HOST, "sluice").body(Body::empty());
        self.answer(request, |bounds| bounds.quick).await
    }

    /// `POST` with a JSON body.
    ///
    /// # Errors
    /// The host refused, went away, or did not answer.
    pub async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Answer<T> {
        self.answer(json(path, body)?, |bounds| bounds.quick).await
    }

    /// The same where the answer takes its time: a provider is asked, data is deleted, a connector is compiled.
    ///
    /// # Errors
    /// The host refused, went away, or did not answer.
    pub async fn post_long<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Answer<T> {
        self.answer(json(path, body)?, |bounds| bounds.long).await
    }

    /// `POST`, answered line by line: soon with the first, and with the others as they come.
    ///
    /// # Errors
    /// The host refused, went away, or did not answer.
    pub async fn lines<B: Serialize>(&self, path: &str, body: &B) -> Answer<Lines> {
        let response = self.send(json(path, body)?, |bounds| bounds.quick).await?;
        Ok(Lines { body: response.into_body(), rest: Vec::new(), socket: self.socket().map(Path::to_owned) })
    }

    /// Ends what was opened for this command. Runs that still go on come to a checkpoint.
    pub async fn close(self) {
        if let Way::Here { app, scheduler, router } = self.0 {
            drop(router);
            if let Some(scheduler) = scheduler
                && let Err(error) = scheduler.stop().await
            {
                tracing::warn!("{error}");
            }
            app.store.close().await;
        }
    }

    async fn answer<T: DeserializeOwned>(&self, request: BuiltRequest, within: fn(&Bounds) -> Duration) -> Answer<T> {
        let response = self.send(request, within).await?;
        serde_json::from_slice(&self.whole(response).await?).map_err(gone)
    }

    async fn send(&self, request: BuiltRequest, within: fn(&Bounds) -> Duration) -> Answer<http::Response<Body>> {
        let request = request.map_err(gone)?;
        let response = match &self.0 {
            Way::Here { router, .. } => router.clone().oneshot(request).await.map_err(gone)?,
            Way::Socket(path, bounds) => {
                let stream = UnixStream::connect(path).await.map_err(gone)?;
                let stuck = Stuck { pid: peer(&stream), waited: within(bounds) };
                let mut sender = speak(stream).await.map_err(gone)?;
                let answered = patiently(self.socket(), sender.send_request(request));
                let answered = tokio::time::timeout(stuck.waited, answered).await.map_err(|_| ClientError::Stuck(stuck))?;
                answered?.map_err(gone)?.map(Body::new)
            }
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let bytes = self.whole(response).await?;
        let refusal =
            serde_json::from_slice(&bytes).unwrap_or_else(|_| ControlError { status, error: String::from_utf8_lossy(&bytes).into_owned() });
        Err(ClientError::Refused(refusal))
    }

    async fn whole(&self, response: http::Response<Body>) -> Answer<Bytes> {
        let body = http_body_util::Limited::new(response.into_body(), MAX_ANSWER).collect();
        let collected = match &self.0 {
            Way::Here { .. } => body.await,
            // What follows the head of an answer is ready by then.
            Way::Socket(path, Bounds { quick, .. }) => {
                let stuck = ClientError::Stuck(Stuck { pid: None, waited: *quick });
                tokio::time::timeout(*quick, patiently(Some(path), body)).await.map_err(|_| stuck)??
            }
        };
        match collected {
            Ok(whole) => Ok(whole.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(ClientError::TooLarge),
            Err(error) => Err(gone(error)),
        }
    }

    fn socket(&self) -> Option<&Path> {
        match &self.0 {
            Way::Socket(path, _) => Some(path),
            Way::Here { .. } => None,
        }
    }
}

type BuiltRequest = Result<Request<Body>, http::Error>;

fn json<B: Serialize>(path: &str, body: &B) -> Answer<BuiltRequest> {
    let bytes = serde_json::to_vec(body).map_err(gone)?;
    Ok(Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, "sluice")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(bytes)))
}

fn gone(error: impl std::fmt::Display) -> ClientError {
    ClientError::Gone(error.to_string())
}

/// One JSON object a line, as they come.
pub struct Lines {
    body: Body,
    rest: Vec<u8>,
    /// Of the host that tells them, unless that is this process.
    socket: Option<PathBuf>,
}

impl Lines {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// The host went away, or a line is none that this command knows.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Answer<Option<T>> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(gone);
            }
            if self.rest.len() > MAX_ANSWER {
                return Err(ClientError::TooLarge);
            }
            match patiently(self.socket.as_deref(), self.body.frame()).await? {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.rest.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(gone(error)),
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(gone("its answer broke off")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::knock::ALIVE;
    use axum::{http::StatusCode, routing};
    use tokio_util::sync::CancellationToken;

    /// A host whose socket answers that it is there, and that answers nothing else.
    async fn stuck(dir: &Path) -> (Client, CancellationToken) {
        let (path, stop) = (dir.join("sluice.sock"), CancellationToken::new());
        let router = Router::new().route(ALIVE, routing::get(async || StatusCode::NO_CONTENT)).fallback(std::future::pending::<StatusCode>);
        super::super::serve(&path, router, stop.clone()).await.unwrap();
        let bounds = Bounds { quick: Duration::from_millis(1_200), long: Duration::from_millis(2_300) };
        (Client(Way::Socket(path, bounds)), stop)
    }

    #[tokio::test]
    async fn a_host_that_is_there_and_answers_nothing_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (client, stop) = stuck(dir.path()).await;
        assert!(knock(dir.path().join("sluice.sock")).await.unwrap().is_some(), "it is there");
        let me = i32::try_from(std::process::id()).unwrap();
        let ends = |answer: Answer<()>, waited: u64| match answer {
            Err(ClientError::Stuck(stuck)) => assert_eq!((stuck.pid, stuck.waited.as_millis()), (Some(me), u128::from(waited))),
            other => panic!("{other:?}"),
        };
        ends(client.get("/v1/connections").await, 1_200);
        ends(client.post("/v1/runs", &()).await, 1_200);
        ends(client.post_long("/v1/modules/decision", &()).await, 2_300);
        ends(client.lines("/v1/run", &()).await.map(|_| ()), 1_200);
        stop.cancel();
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_is_called_so() {
        let client = Client(Way::Socket("nowhere".into(), Bounds { quick: Duration::from_secs(60), long: Duration::from_secs(60) }));
        let fits = client.whole(http::Response::new(Body::from(vec![b' '; 1_000]))).await;
        assert_eq!(fits.map(|whole| whole.len()).unwrap(), 1_000);
        let over = client.whole(http::Response::new(Body::from(vec![b' '; MAX_ANSWER + 1]))).await.unwrap_err().to_string();
        assert!(over.contains("more than 64 MiB") && over.contains("by its name"), "{over}");
    }
}
