//! Examining bytes: compiling them and asking them what they are, with nothing granted.
//!
//! The problem: a file of a few KiB can keep a compiler busy for minutes, or sleep while it describes itself, and whoever may drop files into the folder
//! may drop a hundred of them. The contract: nobody who decides, pins or looks waits for bytes that he did not name. So bytes are examined beside
//! everything else, never while the catalogue is being changed; what came of it is remembered by their hash for as long as the process lives, and the
//! catalogue is changed afterwards, by reading again whatever lies there by then.
//!
//! One file at a time: what is vouched for (approved, pinned, of the release) before everything else, then the small before the large, and what has taken
//! [`QUICK`] gives way to those that had no turn yet. Somebody's yes goes before all of them, and takes the compiler from a stranger's file.
//!
//! Bounds: [`REMEMBERED`] outcomes with [`TEXT`] of manifests among them, without the compiled code; the compiler's own limits; [`DESCRIBE_MS`] for each answer of bytes that nobody vouches for.

use super::{
    Listing, ModuleState,
    folder::{self, MAX_FILES},
    one_line,
    store_copy::{Copies, hash},
};
use sha2::{Digest, Sha256};
use sluice_model::Manifest;
use sluice_sandbox::{CallError, Engine, LoadError, Module};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Outcomes that are remembered: of a full folder, and of as many copies. The oldest make room, and are examined again when they are asked about.
const REMEMBERED: usize = 2 * MAX_FILES;
/// Bytes of the manifests that are remembered: a usual one has some KiB, the largest 64.
const TEXT: usize = 32 << 20;
/// For each of the two answers of `describe`, ms by the clock. It has a second of CPU; a sleeper is not waited for.
const DESCRIBE_MS: u64 = 2_000;
/// After this long a stranger's file makes room for those that had no turn yet, and comes again after them.
pub const QUICK: Duration = Duration::from_secs(5);
/// What failed for the host's own reasons (no process, no memory) may be tried again after this long.
const AGAIN: Duration = Duration::from_secs(60);
/// How long somebody's yes waits for compiled code before it takes the compiler: code that was kept is there at once.
const GRACE: Duration = Duration::from_millis(500);

/// The line of what nobody has examined yet; it ends with it. Whoever reads it is told how far it is.
pub const UNSEEN: &str = "not looked at yet: compiling it takes a while, and goes on once the host serves";

/// Bytes without which no more can be said of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The instance.
    pub name: String,
    /// The file in the folder.
    pub file: String,
    /// Lower-case hex SHA-256 of the bytes.
    pub hash: String,
    /// Of the file.
    pub size: u64,
    /// Somebody said yes to them.
    pub vouched: bool,
}

/// What bytes say of themselves.
pub struct Said {
    /// What they declare.
    pub manifest: Arc<Manifest>,
    /// How long compiling them took, ms.
    pub compile_ms: u64,
    text: [u8; 32],
    bytes: usize,
}

/// Bytes that have said what they are, and their compiled code.
#[derive(Clone)]
pub struct Examined {
    /// What they said.
    pub said: Arc<Said>,
    /// The code.
    pub module: Module,
}

/// What came of it; the error is one line for the operator.
pub type Outcome = Result<Examined, String>;
/// Outcomes that are at hand, by hash.
pub type Hand = BTreeMap<String, Outcome>;

/// Why bytes cannot be used.
#[derive(Clone)]
struct Failure {
    why: String,
    again: Again,
}

/// When they may be tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// They would fail again.
    Never,
    /// They took longer than a stranger's may.
    WhenVouched,
    /// It was not their fault.
    From(Instant),
}

#[derive(Default)]
struct Memory {
    known: BTreeMap<String, Result<Arc<Said>, Failure>>,
    order: VecDeque<String>,
    /// Bytes of manifests among them.
    text: usize,
    /// Those that took long.
    slow: BTreeSet<String>,
    /// What is being examined: hash, file, since when.
    at_it: Vec<(String, String, Instant)>,
}

impl Memory {
    fn insert(&mut self, hash: &str, known: Result<Arc<Said>, Failure>) {
        let bytes = |known: &Result<Arc<Said>, Failure>| known.as_ref().map_or(0, |said| said.bytes);
        self.text += bytes(&known);
        match self.known.insert(hash.to_owned(), known) {
            Some(before) => self.text -= bytes(&before),
            None => self.order.push_back(hash.to_owned()),
        }
        while self.order.len() > REMEMBERED || self.text > TEXT {
            let Some(oldest) = self.order.pop_front() else { break };
            self.text -= self.known.remove(&oldest).as_ref().map_or(0, bytes);
        }
    }
}

/// Who examines, and what is known.
#[derive(Default)]
pub struct Examiner {
    memory: Mutex<Memory>,
    urgent: AtomicUsize,
    works: AtomicBool,
    /// What waits has changed, or who goes first.
    pub news: Notify,
}

/// Where bytes are read from.
pub struct Source {
    /// The modules folder.
    pub folder: PathBuf,
    /// The approved copies.
    pub copies: Copies,
}

impl Source {
    /// The bytes of that hash; none where they are no longer there.
    async fn bytes(&self, need: &Need) -> Option<Vec<u8>> {
        let (copies, path, wanted) = (self.copies.clone(), self.folder.join(&need.file), need.hash.clone());
        let read = tokio::task::spawn_blocking(move || {
            let copy = copies.get(&wanted).ok();
            copy.or_else(|| folder::read(&path).ok().filter(|bytes| hash(bytes) == wanted))
        });
        read.await.ok().flatten()
    }
}

/// Something that lasts as long as this is held.
struct Held<F: FnMut()>(F);

impl<F: FnMut()> Drop for Held<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Examiner {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of these bytes; none where they are to be examined first.
    pub fn known(&self, hash: &str, vouched: bool) -> Option<Result<Arc<Said>, String>> {
        match self.memory().known.get(hash)? {
            Ok(said) => Some(Ok(said.clone())),
            Err(failure) => {
                let again = match failure.again {
                    Again::Never => false,
                    Again::WhenVouched => vouched,
                    Again::From(at) => vouched || at <= Instant::now(),
                };
                (!again).then(|| Err(failure.why.clone()))
            }
        }
    }

    /// Compiles the bytes and asks them what they are. None where they are no longer there. Dropped, it ends.
    pub async fn examine(&self, engine: &Engine, source: &Source, need: &Need) -> Option<Outcome> {
        self.memory().at_it.push((need.hash.clone(), need.file.clone(), Instant::now()));
        let _at_it = Held(|| {
            let at_it = &mut self.memory().at_it;
            if let Some(n) = at_it.iter().position(|(hash, _, _)| *hash == need.hash) {
                at_it.remove(n);
            }
        });
        let bytes = source.bytes(need).await?;
        Some(self.note(&need.hash, ask(engine, need, &bytes).await))
    }

    /// The same before everything else, for somebody who waits for it.
    pub async fn examine_now(&self, engine: &Engine, source: &Source, need: &Need) -> Option<Outcome> {
        let mut work = std::pin::pin!(self.examine(engine, source, need));
        let compiled = self.known(&need.hash, true).is_some();
        if compiled && let Ok(done) = tokio::time::timeout(GRACE, &mut work).await {
            return done;
        }
        self.urgent.fetch_add(1, Ordering::AcqRel);
        let _urgent = Held(|| {
            self.urgent.fetch_sub(1, Ordering::AcqRel);
            self.news.notify_one();
        });
        self.news.notify_one();
        work.await
    }

    fn note(&self, hash: &str, outcome: Result<Examined, Failure>) -> Outcome {
        let mut memory = self.memory();
        let outcome = match (outcome, memory.known.get(hash)) {
            // What was shown is what counts: another answer is no answer.
            (Ok(new), Some(Ok(old))) if new.said.text != old.text => {
                Err(Failure { why: silent(&CallError::Changing), again: Again::Never })
            }
            (outcome, _) => outcome,
        };
        // A stranger's words are in it.
        let outcome = outcome.map_err(|failure| Failure { why: one_line(&failure.why), ..failure });
        memory.insert(hash, outcome.as_ref().map(|examined| examined.said.clone()).map_err(Clone::clone));
        outcome.map_err(|failure| failure.why)
    }

    /// Whose turn it is.
    pub fn next<'a>(&self, needs: &'a [Need]) -> Option<&'a Need> {
        let urgent = self.urgent.load(Ordering::Acquire) > 0;
        let memory = self.memory();
        let rank = |need: &&Need| (!need.vouched, memory.slow.contains(&need.hash), need.size, need.name.clone());
        needs.iter().filter(|_| !urgent).min_by_key(rank)
    }

    /// Whether what is being examined makes room for something else.
    pub fn gives_way(&self, need: &Need, needs: &[Need]) -> bool {
        if self.urgent.load(Ordering::Acquire) > 0 || !needs.iter().any(|other| other.hash == need.hash) {
            return true;
        }
        let memory = self.memory();
        let class = |need: &Need| (!need.vouched, memory.slow.contains(&need.hash));
        needs.iter().any(|other| class(other) < class(need))
    }

    /// It has taken long.
    pub fn is_slow(&self, need: &Need) {
        self.memory().slow.insert(need.hash.clone());
    }

    /// Forgets who took long among those that nobody waits for any more.
    pub fn keep_slow(&self, needs: &[Need]) {
        self.memory().slow.retain(|hash| needs.iter().any(|need| need.hash == *hash));
    }

    /// From now on somebody examines whatever waits.
    pub fn works(&self) {
        self.works.store(true, Ordering::Release);
    }

    /// A row as it is to be read now: how far the examination is.
    pub fn told(&self, mut row: Listing) -> Listing {
        let memory = self.memory();
        let since = |hash: Option<&String>| memory.at_it.iter().find(|(of, _, _)| Some(of) == hash).map(|(_, _, since)| since.elapsed());
        let words = |since: Option<Duration>| match since {
            Some(time) => format!("being examined for {} s: it is compiled, and asked what it is", time.as_secs()),
            None if !self.works.load(Ordering::Acquire) => UNSEEN.to_owned(),
            None => match memory.at_it.first() {
                Some((_, file, _)) => format!("waits to be examined: {} is being examined", one_line(file)),
                None => "waits to be examined".to_owned(),
            },
        };
        let ms = |since: Option<Duration>| since.map(super::connector::ms);
        if row.state == ModuleState::Examining {
            let since = since(row.sha256.as_ref());
            row.line = row.line.replace(UNSEEN, &words(since));
            row.examined_for_ms = ms(since);
        }
        if let Some(waiting) = row.waiting.as_mut().filter(|waiting| waiting.state == ModuleState::Examining) {
            let since = since(waiting.sha256.as_ref());
            let words = words(since);
            waiting.line = waiting.line.replace(UNSEEN, &words);
            waiting.examined_for_ms = ms(since);
            row.line = row.line.replace(UNSEEN, &words);
        }
        row
    }
}

fn silent(error: &CallError) -> String {
    format!("`describe` did not answer: {error}")
}

/// From bytes to what they describe, whatever the settings are. Whoever describes itself in two ways would be approved for one and run by the other.
async fn ask(engine: &Engine, need: &Need, bytes: &[u8]) -> Result<Examined, Failure> {
    let never = |why: String| Failure { why, again: Again::Never };
    let module = engine.load_named(&need.name, bytes).await.map_err(|error| {
        let again = match error {
            LoadError::Host(_) | LoadError::CompilerFailed(_) => Again::From(Instant::now() + AGAIN),
            _ => Again::Never,
        };
        Failure { why: unloaded(&error), again }
    })?;
    let described = if need.vouched { module.describe().await } else { module.describe_within(DESCRIBE_MS).await };
    let text = described.map_err(|error| {
        let again = match error {
            CallError::Limit { name: "wall-ms", .. } if !need.vouched => Again::WhenVouched,
            CallError::Limit { name: "wall-ms", .. } | CallError::Host(_) => Again::From(Instant::now() + AGAIN),
            _ => Again::Never,
        };
        Failure { why: silent(&error), again }
    })?;
    let manifest = Manifest::parse(&text).map_err(|e| never(format!("its manifest is refused: {e}")))?;
    let exports = module.exports();
    if !exports.identity || !exports.source {
        return Err(never("it exports no `identity` and `source`, so there is nothing this host could run".to_owned()));
    }
    let said = Said {
        manifest: Arc::new(manifest),
        compile_ms: super::connector::ms(module.compile_time()),
        text: Sha256::digest(&text).into(),
        bytes: text.len(),
    };
    Ok(Examined { said: Arc::new(said), module })
}

/// Why it could not be loaded, and which setting bounds that.
fn unloaded(error: &LoadError) -> String {
    let setting = match error {
        LoadError::CompileLimit { name: "bytes of memory", .. } => "memory-mib",
        LoadError::CompileLimit { name: "seconds of CPU", .. } => "cpu-s",
        LoadError::CompileLimit { name: "seconds by the clock", .. } => "wall-s",
        _ => return error.to_string(),
    };
    format!("{error}; the limit is {setting} under [compile] in plugins.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(name: &str, size: u64, vouched: bool) -> Need {
        Need { name: name.to_owned(), file: format!("{name}.wasm"), hash: format!("hash of {name}"), size, vouched }
    }

    #[test]
    fn what_is_vouched_for_goes_first_then_the_small_and_what_took_long_last() {
        let examiner = Examiner::default();
        let (large, small, pinned) = (need("large", 9, false), need("small", 1, false), need("pinned", 99, true));
        let name = |needs: &[Need]| examiner.next(needs).map(|need| need.name.clone());
        assert_eq!(name(&[large.clone(), small.clone(), pinned.clone()]).as_deref(), Some("pinned"));
        assert_eq!(name(&[large.clone(), small.clone()]).as_deref(), Some("small"));
        assert!(!examiner.gives_way(&large, &[large.clone(), small.clone()]), "it had its turn, and was not long at it");
        assert!(examiner.gives_way(&large, &[large.clone(), pinned.clone()]));
        assert!(examiner.gives_way(&large, std::slice::from_ref(&small)), "nobody waits for it any more");
        examiner.is_slow(&small);
        assert_eq!(name(&[large.clone(), small.clone()]).as_deref(), Some("large"));
        assert!(examiner.gives_way(&small, &[large.clone(), small.clone()]));
        assert!(!examiner.gives_way(&small, std::slice::from_ref(&small)), "nobody else waits");
        examiner.keep_slow(std::slice::from_ref(&large));
        assert_eq!(name(&[large, small]).as_deref(), Some("small"));
    }

    #[test]
    fn a_row_tells_how_far_its_examination_is() {
        let examiner = Examiner::default();
        let row = |name: &str| Listing {
            sha256: Some(format!("hash of {name}")),
            ..Listing::of_file(name.to_owned(), format!("{name}.wasm"), ModuleState::Examining, UNSEEN.to_owned())
        };
        assert_eq!(examiner.told(row("fit")).line, UNSEEN, "nobody is at it, nor will be");
        examiner.works();
        assert_eq!(examiner.told(row("fit")).line, "waits to be examined");
        examiner.memory().at_it.push(("hash of bomb".to_owned(), "bomb\n.wasm".to_owned(), Instant::now()));
        assert_eq!(examiner.told(row("fit")).line, "waits to be examined: bomb .wasm is being examined");
        let bomb = examiner.told(row("bomb"));
        assert_eq!(bomb.line, "being examined for 0 s: it is compiled, and asked what it is");
        assert!(bomb.examined_for_ms.is_some());
        let serves = Listing { state: ModuleState::Running, line: format!("Fit 1.0.0; the file: {UNSEEN}"), ..row("fit") };
        let waiting = super::super::Waiting { state: ModuleState::Examining, ..super::super::Waiting::of(&row("bomb"), UNSEEN.to_owned()) };
        let serves = examiner.told(Listing { waiting: Some(waiting), ..serves });
        assert_eq!(serves.line, "Fit 1.0.0; the file: being examined for 0 s: it is compiled, and asked what it is");
        assert!(serves.waiting.is_some_and(|new| new.examined_for_ms.is_some()) && serves.examined_for_ms.is_none());
    }

    #[test]
    fn what_fails_is_tried_again_only_where_that_may_help_and_only_so_much_is_remembered() {
        let examiner = Examiner::default();
        let fail = |hash: &str, again| drop(examiner.note(hash, Err(Failure { why: "no".to_owned(), again })));
        let known = |hash: &str, vouched| examiner.known(hash, vouched).is_some();
        fail("bad", Again::Never);
        fail("sleepy", Again::WhenVouched);
        fail("unlucky", Again::From(Instant::now()));
        fail("later", Again::From(Instant::now() + AGAIN));
        assert!(known("bad", false) && known("bad", true));
        assert!(known("sleepy", false) && !known("sleepy", true));
        assert!(!known("unlucky", false) && known("later", false) && !known("new", false));
        for n in 0..REMEMBERED {
            fail(&n.to_string(), Again::Never);
        }
        assert!(!known("bad", false) && known("0", false));
        assert_eq!(examiner.memory().known.len(), REMEMBERED);
    }
}
