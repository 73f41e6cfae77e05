//! A connection whose client takes nothing is not kept for ever.
//!
//! hyper has a clock for what a client sends, and none for what it does not take: whoever asks for a download and never reads it would hold a slot,
//! a task and the buffers for as long as they like. So writing is timed here, below hyper: once the kernel takes no more, the client has
//! [`Patience::within`] to take [`LEAST`] bytes, or everything that there was. Whoever drips a byte now and then has no longer than whoever takes nothing,
//! and a slow line is far above it: some 500 bytes a second.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// Bytes that must go out in each span of patience.
const LEAST: usize = 16 << 10;

/// A stream, with a clock on its writing.
pub struct Patience<S> {
    inner: S,
    within: Duration,
    /// Runs since the kernel took no more; what went out since.
    waiting: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Patience<S> {
    /// Puts a clock on `inner`.
    pub fn new(inner: S, within: Duration) -> Self {
        Self { inner, within, waiting: None }
    }

    /// What became of writing `wanted` bytes, as the clock sees it.
    fn judge(&mut self, cx: &mut Context<'_>, wanted: usize, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(written)) => {
                if let Some((_, since)) = &mut self.waiting {
                    *since = since.saturating_add(written);
                    if written == wanted || *since >= LEAST {
                        self.waiting = None;
                    }
                }
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let within = self.within;
                let (clock, _) = self.waiting.get_or_insert_with(|| (Box::pin(sleep_until(Instant::now() + within)), 0));
                ready!(clock.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client took too little of the answer for too long")))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.judge(cx, buf.len(), outcome)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.judge(cx, bufs.iter().map(|buf| buf.len()).sum(), outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx).map_ok(|()| 0);
        self.judge(cx, usize::MAX, outcome).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(cx).map_ok(|()| 0);
        self.judge(cx, usize::MAX, outcome).map_ok(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use bytes::Bytes;
    use hyper_util::rt::{TokioIo, TokioTimer};
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    /// Far beyond what any of these takes, and well below for ever.
    const AT_MOST: Duration = Duration::from_secs(30);

    /// Serves an answer without an end to the other end of this stream; how the connection ended.
    fn endless(within: Duration) -> (DuplexStream, tokio::task::JoinHandle<Result<(), hyper::Error>>) {
        let (theirs, ours) = duplex(8 << 10);
        let service = hyper::service::service_fn(|_| async {
            let chunk = Bytes::from_static(&[b'x'; 64 << 10]);
            let body = futures_util::stream::repeat_with(move || Ok::<_, Infallible>(chunk.clone()));
            Ok::<_, Infallible>(http::Response::new(Body::from_stream(body)))
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new());
        (theirs, tokio::spawn(http.serve_connection(TokioIo::new(Patience::new(ours, within)), service).into_future()))
    }

    async fn ended(connection: tokio::task::JoinHandle<Result<(), hyper::Error>>) -> String {
        let ended = tokio::time::timeout(AT_MOST, connection).await.expect("it ends").unwrap();
        format!("{:?}", ended.expect_err("there is more to send"))
    }

    #[tokio::test]
    async fn who_reads_nothing_is_left() {
        let (mut client, connection) = endless(Duration::from_millis(300));
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let why = ended(connection).await;
        assert!(why.contains("TimedOut"), "{why}");
    }

    #[tokio::test]
    async fn who_drips_is_left_as_well() {
        let (mut client, connection) = endless(Duration::from_millis(300));
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let dripping = tokio::spawn(async move {
            // Until there is nothing more to take.
            while client.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let why = ended(connection).await;
        assert!(why.contains("TimedOut"), "{why}");
        dripping.abort();
    }

    #[tokio::test]
    async fn who_is_only_slow_gets_everything() {
        // Generous, so that a busy machine does not take the client for one that drips.
        let within = Duration::from_millis(1_500);
        let (mut client, connection) = endless(within);
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut chunk = vec![0; 2 * LEAST];
        let began = Instant::now();
        // More than one span of patience, in each of which enough is taken.
        while began.elapsed() < 2 * within {
            client.read_exact(&mut chunk).await.expect("it goes on");
            tokio::time::sleep(within / 10).await;
        }
        assert!(!connection.is_finished());
        connection.abort();
    }
}
