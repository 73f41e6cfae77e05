//! The bytes: answers as they should be, and answers that drip, end early, never end or are cut off with a reset.

use super::header;
use crate::fault::Kind;
use crate::http::Answer;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Every body that is sent.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A connection that can be made to end with a reset instead of an orderly close.
pub(super) struct Wire {
    stream: TcpStream,
    cut: Arc<AtomicBool>,
}

/// Marks a connection for a reset.
#[derive(Clone)]
pub(super) struct Cutter(Arc<AtomicBool>);

impl Cutter {
    pub(super) fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Wire {
        let _ = stream.set_nodelay(true);
        Wire { stream, cut: Arc::default() }
    }

    pub(super) fn cutter(&self) -> Cutter {
        Cutter(Arc::clone(&self.cut))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.cut.load(Ordering::SeqCst) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The answer as it is.
pub(super) fn response(answer: Answer) -> Response<Body> {
    let body = whole(answer.body.clone());
    framed(&answer, body)
}

fn whole(bytes: Bytes) -> Body {
    Body::new(Full::new(bytes).map_err(|never: Infallible| match never {}))
}

fn framed(answer: &Answer, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    if let Ok(status) = http::StatusCode::from_u16(answer.status) {
        *response.status_mut() = status;
    }
    for (name, value) in &answer.headers {
        if let Some((name, value)) = header(name, value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The answer with whatever these faults do to its bytes.
pub(super) fn spoiled(mut answer: Answer, kinds: &[Kind]) -> Response<Body> {
    let whole = answer.body.len();
    for kind in kinds {
        match kind {
            Kind::Half => answer.body.truncate(whole / 2),
            Kind::WrongType { content_type } => answer.set("content-type", content_type),
            Kind::Drip { chunk, every_ms } => {
                let body = pieces(answer.body.clone(), *chunk, Duration::from_millis(*every_ms), false);
                return sized(&answer, body, answer.body.len() as u64);
            }
            Kind::Truncate { keep } => {
                let kept = answer.body.slice(..keep.unwrap_or(whole / 2).min(whole));
                let body = pieces(kept, usize::MAX, Duration::from_millis(5), true);
                return sized(&answer, body, (whole as u64).max(1));
            }
            Kind::Flood { bytes } => {
                let body = flood(*bytes);
                return framed(&answer, body);
            }
            _ => {}
        }
    }
    response(answer)
}

fn sized(answer: &Answer, body: Body, length: u64) -> Response<Body> {
    let mut response = framed(answer, body);
    response.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Sends the bytes piece by piece, and then ends as it should or breaks off.
fn pieces(bytes: Bytes, chunk: usize, wait: Duration, break_off: bool) -> Body {
    let chunk = chunk.max(1);
    Body::new(StreamBody::new(stream::unfold((bytes, false, false), move |(mut rest, begun, broken)| async move {
        if broken {
            return None;
        }
        // The head must be out before a body that breaks off at once.
        if begun || rest.is_empty() {
            tokio::time::sleep(wait).await;
        }
        if rest.is_empty() {
            return break_off.then(|| (Err(io::ErrorKind::UnexpectedEof.into()), (rest, true, true)));
        }
        let piece = rest.split_to(chunk.min(rest.len()));
        Some((Ok(Frame::data(piece)), (rest, true, false)))
    })))
}

fn flood(bytes: u64) -> Body {
    const PIECE: usize = 64 * 1024;
    Body::new(StreamBody::new(stream::unfold(bytes, |left| async move {
        if left == 0 {
            return None;
        }
        let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        Some((Ok(Frame::data(Bytes::from(vec![b' '; size]))), left - size as u64))
    })))
}
