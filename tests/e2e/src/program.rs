//! The real `sluice`, started as a person or a service manager would: commands with their output, and a host that can be killed at any instant.
//!
//! A program gets an environment of its own (no variable of whoever runs the tests reaches it), its standard error goes to a file in the folder, and it
//! is killed when its handle is dropped.

use crate::{
    PATIENCE,
    folder::{Folder, target},
};
use serde::de::DeserializeOwned;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

/// What a command said.
#[derive(Debug)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Its answer to programs.
    #[track_caller]
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// Itself, when the code is that.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// The program's file.
#[must_use]
pub fn binary() -> PathBuf {
    let path = target().join("sluice");
    assert!(path.is_file(), "{} is not there; build it: cargo xtask build --dev", path.display());
    path
}

impl Folder {
    /// `sluice` with this folder's settings and an empty environment.
    #[must_use]
    pub fn sluice(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.env_clear().env("HOME", self.path("home")).env("TZ", "UTC").current_dir(self.path("")).args(args);
        command.arg("--config").arg(self.config());
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, "")
    }

    /// The same with something on standard input.
    #[track_caller]
    pub fn run_with(&self, args: &[&str], input: &str) -> Output {
        finish(&mut self.sluice(args), input)
    }

    /// Starts the host and waits until it serves.
    #[track_caller]
    pub fn serve(&self) -> Serving {
        self.serve_with(&mut self.sluice(&["serve"]))
    }

    /// The same for a command that was changed (variables, a log level).
    #[track_caller]
    pub fn serve_with(&self, command: &mut Command) -> Serving {
        Serving::start(command, self.path("sluice.log"))
    }

    /// Everything that the host wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("sluice.log")).unwrap_or_default()
    }
}

/// Runs any command to its end.
#[track_caller]
pub fn finish(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("standard input");
    let input = input.to_owned();
    // Written beside the reading: a program that reads nothing must not block the test.
    let writing = thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let mut stderr = child.stderr.take().expect("standard error");
    let errors = thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let mut out = child.stdout.take().expect("standard output");
    let reading = thread::spawn(move || {
        let mut text = String::new();
        let _ = out.read_to_string(&mut text);
        text
    });
    let status = wait(&mut child, PATIENCE * 2).unwrap_or_else(|| {
        let _ = child.kill();
        panic!("{command:?} did not end");
    });
    let _ = writing.join();
    Output { code: status.code().unwrap_or(-1), stdout: reading.join().unwrap_or_default(), stderr: errors.join().unwrap_or_default() }
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("the program's end") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A host that serves.
pub struct Serving {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Serving {
    fn start(command: &mut Command, log: PathBuf) -> Self {
        let errors = File::options().create(true).append(true).open(&log).expect("the log's file");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn().expect("the host starts");
        let (send, receive) = mpsc::channel();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let out = child.stdout.take().expect("standard output");
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let serves = line.contains(" serves ");
                kept.lock().expect("the lines").push(line);
                if serves {
                    let _ = send.send(());
                }
            }
        });
        if receive.recv_timeout(PATIENCE).is_err() {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "the host does not serve: {:?}\n{}",
                lines.lock().expect("the lines"),
                std::fs::read_to_string(&log).unwrap_or_default()
            );
        }
        Self { child, lines }
    }

    /// What it printed so far.
    #[must_use]
    pub fn printed(&self) -> Vec<String> {
        self.lines.lock().expect("the lines").clone()
    }

    /// A word that it printed (or prints within a moment) and that has this in it.
    #[track_caller]
    #[must_use]
    pub fn word(&self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let printed = self.printed();
            if let Some(word) = printed.iter().flat_map(|line| line.split_whitespace()).find(|word| word.contains(part)) {
                return word.to_owned();
            }
            assert!(Instant::now() < deadline, "nothing with {part} was printed: {printed:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and nothing else.
    pub fn kill(mut self) {
        self.child.kill().expect("the host is killed");
        self.child.wait().expect("the host is dead");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).expect("the host is signalled");
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// How it ends by itself.
    #[track_caller]
    #[must_use]
    pub fn ends(mut self) -> ExitStatus {
        wait(&mut self.child, PATIENCE).expect("the host ends")
    }

    /// SIGTERM, and how it ended.
    #[track_caller]
    #[must_use]
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        wait(&mut self.child, PATIENCE).expect("the host stops when it is asked to")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
