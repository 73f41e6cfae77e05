//! A run's log: what the connector wrote, made harmless and kept within its bound.
//!
//! Lines come from the contract's `log` and from stdout and stderr. Text of a stranger ends up in terminals and pages, so characters that move a cursor,
//! reverse the direction of writing or break a line are made visible here, once, before anything keeps the text. Every line costs its bytes and a little
//! more, so that a flood of empty lines ends as surely as one long one; at the bound one line says so, and the rest is dropped without being stored.

use crate::words::Words;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a line costs beyond its text: about what it takes to keep one.
const LINE_COST: u64 = 16;
/// Where a stream without line ends is broken.
const LONGEST_STREAM_LINE: usize = 4096;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What happened.
    Info,
    /// Not as expected, and coped with.
    Warn,
    /// What went wrong.
    Error,
}

impl Level {
    /// The contract's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line of a run's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When, ms since the epoch, by the host's clock.
    pub at: i64,
    /// How much it matters.
    pub level: Level,
    /// The text, inert.
    pub text: String,
}

/// Whether a character may reach a terminal as it is: no control character, nothing that changes direction, breaks lines or hides. The two joiners
/// stay: names in several scripts, and many emoji, need them.
#[must_use]
pub fn harmless(c: char) -> bool {
    let acts = matches!(c,
        '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !(c.is_control() || acts)
}

/// Text of a stranger with everything made visible that a terminal or a page would act on; a tab becomes a blank.
#[must_use]
pub fn inert(text: &str) -> String {
    if text.chars().all(harmless) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            c if harmless(c) => out.push(c),
            c => out.extend(c.escape_default()),
        }
    }
    out
}

/// The longest beginning of `text` that fits into `bytes`.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// One of the guest's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error, where a Rust panic says why.
    Err,
}

/// The log of a call, shared by everything that writes into it.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Inner>>);

struct Inner {
    lines: Vec<LogLine>,
    used: u64,
    limit: u64,
    cut: bool,
    /// The host's clock as last heard: the streams have no way to ask.
    now: i64,
    out: Vec<u8>,
    err: Vec<u8>,
    /// What a crash quotes.
    words: Words,
}

impl Log {
    pub(crate) fn new(limit: u64, now: i64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            lines: Vec::new(),
            used: 0,
            limit,
            cut: false,
            now,
            out: Vec::new(),
            err: Vec::new(),
            words: Words::default(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line; `now` is the host's clock.
    pub(crate) fn write(&self, now: i64, level: Level, text: &str) {
        let mut inner = self.lock();
        inner.now = now;
        if level == Level::Error {
            inner.words.failed(text);
        }
        inner.push(level, text);
    }

    /// Takes bytes of a stream, which become lines as their ends arrive.
    pub(crate) fn stream(&self, stream: Stream, bytes: &[u8]) {
        self.lock().stream(stream, bytes);
    }

    /// The host's clock as last heard: to be had even where the host has just failed.
    pub(crate) fn last_heard(&self) -> i64 {
        self.lock().now
    }

    /// What it said last, in one line: why it crashed, if anything says so.
    pub(crate) fn last_words(&self) -> Option<String> {
        let mut inner = self.lock();
        inner.end_line(Stream::Err);
        inner.words.quote()
    }

    /// Everything, and nothing left behind: also a last line without an end.
    pub(crate) fn take(&self) -> Vec<LogLine> {
        let mut inner = self.lock();
        inner.end_line(Stream::Out);
        inner.end_line(Stream::Err);
        std::mem::take(&mut inner.lines)
    }
}

impl Inner {
    fn push(&mut self, level: Level, text: &str) {
        if self.cut {
            return;
        }
        let left = usize::try_from(self.limit.saturating_sub(self.used).saturating_sub(LINE_COST)).unwrap_or(usize::MAX);
        // Escapes make it longer, never shorter: cutting first keeps the work within the bound as well.
        let whole = text.len() <= left;
        let mut text = inert(cut(text, left));
        let at = self.now;
        if !whole || text.len() > left || self.used.saturating_add(LINE_COST) > self.limit {
            self.cut = true;
            text.truncate(text.floor_char_boundary(left));
            if !text.is_empty() {
                self.lines.push(LogLine { at, level, text });
            }
            let text = format!("the log reached its bound of {} bytes: the rest is left out", self.limit);
            self.lines.push(LogLine { at, level: Level::Warn, text });
            return;
        }
        self.used = self.used.saturating_add(LINE_COST).saturating_add(text.len() as u64);
        self.lines.push(LogLine { at, level, text });
    }

    fn stream(&mut self, stream: Stream, bytes: &[u8]) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            if self.cut && stream == Stream::Out {
                return;
            }
            let (text, ended) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            for piece in text.chunks(LONGEST_STREAM_LINE) {
                let held = self.partial(stream);
                if held.len().saturating_add(piece.len()) > LONGEST_STREAM_LINE {
                    self.end_line(stream);
                }
                self.partial(stream).extend_from_slice(piece);
            }
            if ended {
                self.end_line(stream);
            }
        }
    }

    fn partial(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    fn end_line(&mut self, stream: Stream) {
        let bytes = std::mem::take(self.partial(stream));
        if bytes.is_empty() {
            return;
        }
        let level = if stream == Stream::Out { Level::Info } else { Level::Warn };
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches('\r');
        if stream == Stream::Err {
            self.words.heard(text);
        }
        self.push(level, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_made_visible() {
        assert_eq!(inert("plain – ünïcödé 日本"), "plain – ünïcödé 日本");
        assert_eq!(inert("a\u{1b}[2Jb\r\nc\td"), "a\\u{1b}[2Jb\\r\\nc d");
        assert_eq!(inert("x\u{202e}y\u{2066}z\u{feff}"), "x\\u{202e}y\\u{2066}z\\u{feff}");
    }

    #[test]
    fn a_flood_ends_with_one_line_that_says_so() {
        for text in ["", "x", "a somewhat longer line of log", "\u{1b}\u{1b}\u{1b}"] {
            let log = Log::new(1000, 7);
            for _ in 0..10_000 {
                log.write(7, Level::Info, text);
            }
            let lines = log.take();
            assert!(lines.len() <= 1000 / 16 + 2, "{} lines of {text:?}", lines.len());
            assert!(lines.iter().map(|l| l.text.len()).sum::<usize>() < 1100);
            assert_eq!(lines.iter().filter(|l| l.text.contains("bound of 1000 bytes")).count(), 1);
            assert!(lines.last().unwrap().text.contains("left out"));
        }
    }

    #[test]
    fn a_line_over_the_bound_keeps_its_beginning() {
        let log = Log::new(116, 0);
        log.write(0, Level::Error, &"é".repeat(5000));
        let lines = log.take();
        assert_eq!(lines[0].text, "é".repeat(50));
        assert_eq!(lines[0].level, Level::Error);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn the_last_words_are_those_of_the_error_and_survive_a_full_log() {
        for limit in [100_000, 40] {
            let log = Log::new(limit, 0);
            assert_eq!(log.last_words(), None);
            log.stream(Stream::Out, b"hello\n");
            log.write(0, Level::Warn, "slow");
            assert_eq!(log.last_words(), None);
            for line in
                ["Traceback:", "ValueError: \u{1b}[2J", "thread panicked at x.rs:1:2:", "it threw", "note: run with RUST_BACKTRACE=1"]
            {
                log.stream(Stream::Err, format!("{line}\n").as_bytes());
            }
            assert_eq!(log.last_words().unwrap(), "ValueError: \\u{1b}[2J / thread panicked at x.rs:1:2: / it threw");
            log.write(0, Level::Error, &"é".repeat(5000));
            log.stream(Stream::Err, b"without an end");
            assert_eq!(log.last_words().unwrap(), format!("{} / without an end", "é".repeat(100)));
        }
    }

    #[test]
    fn streams_become_lines() {
        let log = Log::new(100_000, 5);
        log.stream(Stream::Out, b"one\ntw");
        log.stream(Stream::Err, b"oops");
        log.stream(Stream::Out, b"o\r\n\nrest");
        let lines: Vec<_> = log.take().into_iter().map(|l| (l.level, l.text)).collect();
        assert_eq!(
            lines,
            [(Level::Info, "one".into()), (Level::Info, "two".into()), (Level::Info, "rest".into()), (Level::Warn, "oops".into())]
        );
        log.stream(Stream::Out, &[b'x'; 10_000]);
        assert_eq!(log.take().iter().map(|l| l.text.len()).collect::<Vec<_>>(), [4096, 4096, 1808]);
    }
}
