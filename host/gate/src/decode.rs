//! Bodies are decoded here, piece by piece, into a buffer that refuses to grow past its limit: a few KiB that unfold to gigabytes stop at the
//! limit, not in the machine's memory.
//!
//! Decoders are fed (push), so one pass over each network piece decodes it and counts both sides. `gzip` and `br` are offered; anything else
//! was not asked for and is an error, as are two encodings one over the other.

use brotli_decompressor::writer::DecompressorWriter;
use flate2::write::MultiGzDecoder;
use sluice_model::request::FetchError;
use std::io::{self, Write};

/// What the gate offers in `Accept-Encoding`.
pub(crate) const OFFERED: &str = "gzip, br";

/// A buffer with an end.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    over: bool,
}

impl Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.len() > self.limit - self.bytes.len() {
            self.over = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Coding {
    Identity(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
    Brotli(Box<DecompressorWriter<Bounded>>),
}

/// Takes in the pieces of one body.
pub(crate) struct Decoder {
    coding: Coding,
    wire: u64,
    limit: u64,
}

impl Decoder {
    /// A decoder for an answer's `Content-Encoding`, of which `expected` bytes will come when that is known.
    ///
    /// # Errors
    /// An encoding that was not offered.
    pub(crate) fn new(encoding: Option<&str>, expected: Option<u64>, limit: u64) -> Result<Self, FetchError> {
        if expected.is_some_and(|n| n > limit) {
            return Err(FetchError::TooLarge(limit));
        }
        let cap = usize::try_from(limit).unwrap_or(usize::MAX);
        // What the other side promises is believed up to a MiB; past that, memory follows bytes that arrived.
        let room = usize::try_from(expected.unwrap_or(0)).unwrap_or(0).min(1 << 20);
        let bounded = Bounded { bytes: Vec::with_capacity(room), limit: cap, over: false };
        let coding = match encoding.map(|e| e.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "identity") => Coding::Identity(bounded),
            Some("gzip" | "x-gzip") => Coding::Gzip(Box::new(MultiGzDecoder::new(bounded))),
            Some("br") => Coding::Brotli(Box::new(DecompressorWriter::new(bounded, 16 << 10))),
            Some(other) => {
                let shown: String = other.chars().filter(char::is_ascii_graphic).take(40).collect();
                return Err(FetchError::Other(format!("the answer is encoded as “{shown}”, which was not offered (offered: {OFFERED})")));
            }
        };
        Ok(Self { coding, wire: 0, limit })
    }

    /// Takes in one piece.
    ///
    /// # Errors
    /// Too large on either side, or damaged.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), FetchError> {
        self.wire += piece.len() as u64;
        if self.wire > self.limit {
            return Err(FetchError::TooLarge(self.limit));
        }
        let (done, over) = match &mut self.coding {
            Coding::Identity(bounded) => (bounded.write_all(piece), bounded.over),
            Coding::Gzip(gzip) => (gzip.write_all(piece), gzip.get_ref().over),
            Coding::Brotli(brotli) => (brotli.write_all(piece), brotli.get_ref().over),
        };
        match done {
            Ok(()) => Ok(()),
            Err(_) if over => Err(FetchError::TooLarge(self.limit)),
            Err(_) => Err(damaged()),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// The encoded stream is not at its end.
    pub(crate) fn finish(self) -> Result<Vec<u8>, FetchError> {
        let (limit, empty) = (self.limit, self.wire == 0);
        let bounded = match self.coding {
            Coding::Identity(bounded) => bounded,
            // An empty body is empty in any encoding (304, HEAD, and servers that say gzip and send nothing).
            Coding::Gzip(_) | Coding::Brotli(_) if empty => return Ok(Vec::new()),
            Coding::Gzip(mut gzip) => match gzip.try_finish() {
                Ok(()) => gzip.finish().map_err(|_| damaged())?,
                Err(_) if gzip.get_ref().over => return Err(FetchError::TooLarge(limit)),
                Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => return Err(FetchError::Interrupted),
                Err(_) => return Err(damaged()),
            },
            Coding::Brotli(brotli) => match brotli.into_inner() {
                Ok(bounded) => bounded,
                Err(bounded) if bounded.over => return Err(FetchError::TooLarge(limit)),
                Err(_) => return Err(FetchError::Interrupted),
            },
        };
        Ok(bounded.bytes)
    }
}

fn damaged() -> FetchError {
    FetchError::Other("the answer's compressed body is damaged".to_owned())
}
