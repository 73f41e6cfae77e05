//! Why a guest crashed, in its own words: what its language wrote to standard error, or as an error into the log, before it ended.
//!
//! Languages differ in where they say it. Rust and Python come to it at the end, so the latest lines are quoted. Go comes to it first (`panic: …`), as
//! zig does for C, and any number of lines of stack stand behind it: such a line is quoted alone, whatever follows. Of several the latest counts, since
//! a panic within a panic is told in that order.

use crate::log::{cut, inert};
use std::collections::VecDeque;

/// How many of the latest lines are quoted: an interpreter's error and the panic that it led to are three.
const LINES: usize = 3;
/// Bytes of each of them.
const LINE_BYTES: usize = 200;
/// Bytes of a line that is quoted alone.
const CAUSE_BYTES: usize = 600;

/// The words, as they come. They are kept also when the log is full: a crash is to be understood most of all in the run that said too much.
#[derive(Default)]
pub(crate) struct Words {
    /// The latest lines of standard error, or the latest line that was written as an error and what came after it.
    latest: VecDeque<String>,
    /// The line by which a runtime that tells the cause first did so.
    cause: Option<Cause>,
}

struct Cause {
    text: String,
    /// Remarks of Go's runtime stand before its fatal errors, and among the lines of a stack.
    remark: bool,
}

impl Words {
    /// A line of standard error.
    pub(crate) fn heard(&mut self, line: &str) {
        let line = line.trim();
        // Rust's advice about an environment variable, which nobody can set in here.
        if line.starts_with("note: ") {
            return;
        }
        let remark = line.starts_with("runtime: ");
        if line.starts_with("panic: ") || line.starts_with("fatal error: ") || (remark && self.cause.as_ref().is_none_or(|c| c.remark)) {
            self.cause = Some(Cause { text: inert(cut(line, CAUSE_BYTES)), remark });
        } else if line.starts_with("Traceback (") || (line.starts_with("thread ") && line.contains(" panicked at ")) {
            // Those who come to it at the end have begun.
            self.cause = None;
        }
        if self.latest.len() == LINES {
            self.latest.pop_front();
        }
        self.latest.push_back(inert(cut(line, LINE_BYTES)));
    }

    /// A line that was written as an error: what was said before is another story.
    pub(crate) fn failed(&mut self, line: &str) {
        *self = Self::default();
        self.heard(line);
    }

    /// Why it crashed, in one line, if anything says so.
    pub(crate) fn quote(&self) -> Option<String> {
        match &self.cause {
            Some(cause) => Some(cause.text.clone()),
            None if self.latest.is_empty() => None,
            None => Some(self.latest.iter().map(String::as_str).collect::<Vec<_>>().join(" / ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO: &str = "goroutine 1 [running]:\nwit_component/rain.read()\n\t/src/rain/rain.go:61 +0xbc\nmain.wasm_export_sync()\n\t/src/wit_exports.go:126 +0x2";

    fn quoted(text: &str) -> String {
        let mut words = Words::default();
        text.lines().for_each(|line| words.heard(line));
        words.quote().unwrap_or_default()
    }

    #[test]
    fn the_cause_is_quoted_wherever_a_language_puts_it() {
        for (text, wanted) in [
            ("", ""),
            // Go: first, before the stack.
            (&format!("panic: a row that nobody expected\n\n{GO}"), "panic: a row that nobody expected"),
            (&format!("panic: first\n\tpanic: second [recovered]\n\n{GO}"), "panic: second [recovered]"),
            (&format!("runtime: out of memory\nfatal error: out of memory\nruntime: some remark\n{GO}"), "fatal error: out of memory"),
            (&format!("runtime: no such page\nruntime: bad pointer\n{GO}"), "runtime: bad pointer"),
            // zig, for C.
            ("panic: store of null pointer of type 'int'\nCannot print stack trace", "panic: store of null pointer of type 'int'"),
            ("Assertion failed: n == 77 (rain.c: read: 12)", "Assertion failed: n == 77 (rain.c: read: 12)"),
            // Rust and Python: at the end.
            (
                "thread 'main' panicked at src/lib.rs:3:5:\nno such day\nnote: run with `RUST_BACKTRACE=1`",
                "thread 'main' panicked at src/lib.rs:3:5: / no such day",
            ),
            (
                "Traceback (most recent call last):\n  File \"app.py\", line 3, in sync\n    1 / 0\nZeroDivisionError: division by zero",
                "File \"app.py\", line 3, in sync / 1 / 0 / ZeroDivisionError: division by zero",
            ),
            // What looks like the one and comes before the other is chatter.
            (
                "panic: none so far\nTraceback (most recent call last):\nValueError: no",
                "panic: none so far / Traceback (most recent call last): / ValueError: no",
            ),
            (
                "panic: not yet\na\nthread '<unnamed>' (1) panicked at a.rs:1:2:\nno",
                "a / thread '<unnamed>' (1) panicked at a.rs:1:2: / no",
            ),
        ] {
            assert_eq!(quoted(text), wanted, "{text}");
        }
    }

    #[test]
    fn an_error_in_the_log_begins_anew_and_a_panic_after_it_counts() {
        let mut words = Words::default();
        words.heard("panic: an old one");
        words.failed("page 3 cannot be read");
        assert_eq!(words.quote().unwrap(), "page 3 cannot be read");
        words.heard("panic: \u{1b}[2J");
        words.heard("goroutine 1 [running]:");
        assert_eq!(words.quote().unwrap(), "panic: \\u{1b}[2J");
        words.heard(&format!("panic: {}", "é".repeat(5000)));
        assert_eq!(words.quote().unwrap().len(), 599);
    }
}
