//! A provider whose answers wait until they are let through, so that a test has a sync that is under way for exactly as long as it wants.
//!
//! It answers everything with an empty object, and remembers what it was asked, and with which key.

use crate::PATIENCE;
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Instant,
};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its path.
    pub path: String,
    /// Its `Authorization` header.
    pub key: Option<String>,
}

#[derive(Default)]
struct State {
    held: bool,
    asked: Vec<Asked>,
}

/// The provider. Its thread ends with the program.
pub struct Door {
    url: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Default for Door {
    fn default() -> Self {
        Self::new()
    }
}

impl Door {
    /// One that lets everything through at first.
    #[must_use]
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::<(Mutex<State>, Condvar)>::default();
        let theirs = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&theirs);
                thread::spawn(move || answer(stream, &state));
            }
        });
        Self { url, state }
    }

    /// Its address, for an upstream.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/", self.url)
    }

    /// From now on answers wait.
    pub fn hold(&self) {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).held = true;
    }

    /// Lets those through that wait, and those to come.
    pub fn let_through(&self) {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).held = false;
        self.state.1.notify_all();
    }

    /// Everything that was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }

    /// Waits until so much was asked.
    #[track_caller]
    pub fn until_asked(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        while state.asked.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain to be asked {count} times: {:?}", state.asked);
            (state, _) = self.state.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn answer(mut stream: TcpStream, state: &(Mutex<State>, Condvar)) {
    let mut asked = Asked { path: String::new(), key: None };
    let mut lines = BufReader::new(&stream);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if asked.path.is_empty() {
            asked.path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if let Some((_, value)) = line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            asked.key = Some(value.to_owned());
        }
    }
    let mut held = state.0.lock().unwrap_or_else(PoisonError::into_inner);
    held.asked.push(asked);
    state.1.notify_all();
    while held.held {
        held = state.1.wait(held).unwrap_or_else(PoisonError::into_inner);
    }
    drop(held);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
}
