//! Compiling a component in a child process, seen from the host.
//!
//! The child gets the component on its standard input and gives compiled code back on its standard output; it has an empty environment, nothing open
//! besides those pipes, and the limits of [`sluice_model::CompileLimits`], the first two of which it sets for itself (see `child.rs`) and the last of which is a
//! deadline here. However it ends, the answer is compiled code of this very build, or one line that says which limit was passed or what went wrong.
//! Dropping the future kills the child.

use crate::error::LoadError;
use crate::log::{cut, inert};
use crate::wire::{ANSWER_HEAD, Answer, Kind, MAX_CODE, Request};
use rustix::process::Signal;
use sluice_model::CompileLimits;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// How much of what the child complains of is read.
const COMPLAINT: u64 = 4096;
/// The first word about a compilation that takes its time; the next ones after twice as long each.
const FIRST_NOTE: Duration = Duration::from_secs(2);

/// The program that compiles: as a rule this one, with an argument that makes it call [`crate::compile_child_main`].
#[derive(Clone, Debug)]
pub struct Compiler {
    /// Its path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its limits.
    pub limits: CompileLimits,
}

impl Compiler {
    /// The running program itself with this argument, even where its file has been replaced or removed since.
    #[must_use]
    pub fn this_program(argument: &str) -> Self {
        let running = PathBuf::from("/proc/self/exe");
        let program = if running.exists() { running } else { std::env::current_exe().unwrap_or(running) };
        Self { program, args: vec![argument.into()], limits: CompileLimits::default() }
    }

    /// Compiles; what comes back is code for an engine of this hash.
    pub(crate) async fn compile(&self, reserved: bool, engine: &[u8; 32], component: &[u8]) -> Result<Vec<u8>, LoadError> {
        let began = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            let program = self.program.display();
            LoadError::Host(format!(
                "the compiler, {program}, did not start: {error}. It is this host's own program: see what keeps it from starting itself"
            ))
        })?;
        let (memory_bytes, cpu_seconds) = (self.limits.memory_bytes, self.limits.cpu_seconds);
        let request = Request { reserved, memory_bytes, cpu_seconds, length: component.len() as u64 };
        let said = tokio::time::timeout(self.limits.wall, talk(&mut child, &request, component)).await;
        if !matches!(said, Ok(Ok(Said::Nothing(_)))) {
            // Whatever it said was its last word; without one it is at it still.
            let _ = child.start_kill();
        }
        let status = child.wait().await;
        let over = |name, limit| LoadError::CompileLimit { name, limit, after_ms: millis(began.elapsed()) };
        let (answer, bytes) = match said {
            Err(_) => return Err(over("seconds by the clock", self.limits.wall.as_secs().max(1))),
            Ok(Err(error)) => return Err(LoadError::Host(format!("the compiler could not be talked to: {error}"))),
            Ok(Ok(Said::TooMuch)) => return Err(over("bytes of compiled code", MAX_CODE)),
            Ok(Ok(Said::Nonsense)) => return Err(LoadError::Host("what was started as the compiler is another program".into())),
            Ok(Ok(Said::Nothing(words))) => {
                let signal = status.as_ref().ok().and_then(ExitStatusExt::signal);
                return Err(if signal == Some(Signal::XCPU.as_raw()) {
                    over("seconds of CPU", cpu_seconds)
                } else if out_of_memory(&words) {
                    over("bytes of memory", memory_bytes)
                } else if signal == Some(Signal::KILL.as_raw()) {
                    LoadError::CompilerFailed("it was killed from outside, perhaps because this machine has no memory left".into())
                } else {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    LoadError::CompilerFailed(inert(cut(format!("{status}: {words}").trim_end_matches([':', ' ']), 300)))
                });
            }
            Ok(Ok(Said::Answer(answer, bytes))) => (answer, bytes),
        };
        if answer.kind != Kind::Code {
            let words = inert(&String::from_utf8_lossy(&bytes));
            return Err(match answer.kind {
                _ if out_of_memory(&words) => over("bytes of memory", memory_bytes),
                Kind::Refused => crate::refusal::refusal(&words),
                _ => LoadError::CompilerFailed(words),
            });
        }
        if answer.engine != *engine {
            return Err(LoadError::Host("the compiler is another build than this host: start the host again".into()));
        }
        Ok(bytes)
    }
}

/// What came out of the child.
enum Said {
    Answer(Answer, Vec<u8>),
    /// It ended, with these words on standard error.
    Nothing(String),
    Nonsense,
    TooMuch,
}

async fn talk(child: &mut Child, request: &Request, component: &[u8]) -> std::io::Result<Said> {
    let (Some(mut stdin), Some(mut stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
        return Err(std::io::Error::other("it has no pipes"));
    };
    let head = request.encode();
    // A child that ends while it is being written to has its reasons, which its status tells.
    let send = async {
        let _ = stdin.write_all(&head).await;
        let _ = stdin.write_all(component).await;
        let _ = stdin.flush().await;
    };
    let (said, ()) = tokio::join!(listen(&mut stdout), send);
    let said = match said? {
        None => {
            let mut words = Vec::new();
            stderr.take(COMPLAINT).read_to_end(&mut words).await?;
            Said::Nothing(String::from_utf8_lossy(&words).split_whitespace().collect::<Vec<_>>().join(" "))
        }
        Some(said) => said,
    };
    // Open until here: a child whose pipe closes takes its host for gone.
    drop(stdin);
    Ok(said)
}

/// The answer; none where the child ended before it was whole.
async fn listen(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<Said>> {
    let mut head = Vec::new();
    from.take(ANSWER_HEAD as u64).read_to_end(&mut head).await?;
    if head.is_empty() {
        return Ok(None);
    }
    let Some(answer) = Answer::decode(&head) else { return Ok(Some(Said::Nonsense)) };
    if answer.length > MAX_CODE {
        return Ok(Some(Said::TooMuch));
    }
    let mut bytes = Vec::new();
    from.take(answer.length).read_to_end(&mut bytes).await?;
    Ok((bytes.len() as u64 == answer.length).then_some(Said::Answer(answer, bytes)))
}

/// What Rust, the system and wasmtime say when there is no more memory.
fn out_of_memory(words: &str) -> bool {
    ["memory allocation of", "out of memory", "Cannot allocate memory", "failed to allocate", "Resource temporarily unavailable"]
        .iter()
        .any(|sign| words.contains(sign))
}

/// Says now and then that a compilation goes on, for as long as it does.
pub(crate) async fn noted<T>(name: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let (began, mut pause) = (Instant::now(), FIRST_NOTE);
    loop {
        match tokio::time::timeout(pause, &mut work).await {
            Ok(done) => return done,
            Err(_) => {
                let seconds = began.elapsed().as_secs();
                tracing::info!("compiling {}: {seconds} s", inert(cut(name, 120)));
                pause = pause.saturating_mul(2);
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
