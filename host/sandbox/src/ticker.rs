//! The tick by which running connectors are interrupted.
//!
//! Compiled code compares a counter with its deadline at every loop and function; this thread moves the counter. It is a plain OS thread, so that busy
//! async workers can't hold it up, and it knows the engine only weakly, so that it ends with it. When nothing has run for a while it sleeps until the
//! next call begins: an idle host does not wake a hundred times a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a guest runs at most before somebody looks at the clock, and others get their turn.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// After this many ticks without a call the thread sleeps (one second).
const IDLE_TICKS: u32 = 100;

#[derive(Default)]
struct Activity {
    running: AtomicUsize,
    asleep: AtomicBool,
}

/// The thread's handle; dropping it lets the thread find that the engine is gone.
pub(crate) struct Ticker {
    activity: Arc<Activity>,
    thread: JoinHandle<()>,
}

impl Ticker {
    pub(crate) fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        let activity = Arc::<Activity>::default();
        let weak = engine.weak();
        let theirs = Arc::clone(&activity);
        let thread = thread::Builder::new().name("sandbox-tick".into()).spawn(move || {
            let mut idle = 0;
            loop {
                thread::sleep(TICK);
                let Some(engine) = weak.upgrade() else { return };
                engine.increment_epoch();
                drop(engine);
                idle = if theirs.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
                if idle >= IDLE_TICKS {
                    // Said before looking once more: a call that begins now either sees it, or is seen.
                    theirs.asleep.store(true, Ordering::SeqCst);
                    if theirs.running.load(Ordering::SeqCst) == 0 {
                        thread::park();
                    }
                    theirs.asleep.store(false, Ordering::SeqCst);
                    idle = 0;
                }
            }
        })?;
        Ok(Self { activity, thread })
    }

    /// Keeps the ticks coming until the guard is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        self.activity.running.fetch_add(1, Ordering::SeqCst);
        if self.activity.asleep.load(Ordering::SeqCst) {
            self.thread.thread().unpark();
        }
        Running(&self.activity)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.thread.thread().unpark();
    }
}

/// A call that is under way.
pub(crate) struct Running<'a>(&'a Activity);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
