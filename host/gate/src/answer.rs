//! Reads an answer's body within its bounds.

use crate::deadline::Deadline;
use crate::decode::Decoder;
use crate::gate::Timeouts;
use crate::wire;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method};
use sluice_model::request::FetchError;

/// An answer as it came, decoded, before anything is scrubbed from it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Reads the body: at most `limit` bytes on the wire and decoded, no pause longer than between-bytes, all before the deadline.
pub(crate) async fn read(
    mut response: reqwest::Response,
    method: &Method,
    limit: u64,
    timeouts: &Timeouts,
    deadline: &mut Deadline,
) -> Result<Answer, FetchError> {
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    if method == Method::HEAD || matches!(status, 204 | 304) {
        return Ok(Answer { status, headers, body: Vec::new() });
    }
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = encodings.next().map(|v| v.to_str().unwrap_or("?"));
    let encoding = if encodings.next().is_some() { Some("several") } else { encoding };
    let expected = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.trim().parse().ok());
    let mut decoder = Decoder::new(encoding, expected, limit)?;
    loop {
        let piece = deadline.wait(timeouts.between_bytes, response.chunk()).await?;
        match piece.map_err(|why| wire::classify(&why))? {
            Some(piece) => decoder.push(&piece)?,
            None => break,
        }
    }
    Ok(Answer { status, headers, body: decoder.finish()? })
}
