//! Guests that compute for long, out of the way of everybody else.
//!
//! The problem: runs share a few worker threads with pages, commands and each other. A guest gives its turn away at every tick, but a tick is 10 ms, and a
//! run that waits for an answer a few times would wait a few times behind every guest that is busy computing: ten endless loops on two processors make
//! a run of 2 ms one of 200. Turns among tasks know no priorities; threads do.
//!
//! So a call begins on the workers, where most end within a millisecond. One that turns out to compute for long is moved, as it stands, to a thread of
//! its own that steps back behind everything else of this program. The system's scheduler does the rest: such guests share what the others leave, evenly,
//! and whoever was waiting for the network or the disk goes before them at once. On an idle machine they are as quick as before.
//!
//! What bounds it: there are never more of these threads than calls, whose slots they hold. A thread costs some 50 µs, once, after [`HEAVY`] of computing.
//! On systems where a thread has no priority of its own, they only have their own threads.

use crate::meter::Meter;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Computing that every call may do on the shared workers: parsing a page of some thousand rows takes less.
const HEAVY: Duration = Duration::from_millis(20);
/// After that, whoever has computed for more than this part of its time (one in so many) steps aside...
const SHARE: u32 = 4;
/// ...and after this much, whoever it is: little turns add up as well.
const ENOUGH: Duration = Duration::from_secs(1);

/// Whether a call that has computed for so long, in so much time, is to step aside.
pub(crate) fn is_heavy(computed: Duration, since: Duration) -> bool {
    computed >= HEAVY && (computed.saturating_mul(SHARE) >= since || computed >= ENOUGH)
}

/// Where a call computes that is no longer on the shared workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind everything else.
    Back,
    /// Beside everything else: for a call that has little time by the clock, and little to compute.
    Beside,
}

/// The threads' name.
const NAME: &str = "busy-guest";

type Call<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs a call to its end: here, and aside from when its meter says that it is heavy. Dropped, it drops the call, wherever that is by then.
pub(crate) async fn run<T: Send + 'static>(call: Call<T>, meter: Arc<Meter>, place: Place) -> T {
    match (Shared { call: Some(call), meter }).await {
        Ok(done) => done,
        Err(call) => aside(call, place).await,
    }
}

/// A call on the shared workers, given back unfinished when it is heavy.
struct Shared<T> {
    call: Option<Call<T>>,
    meter: Arc<Meter>,
}

impl<T> Future for Shared<T> {
    type Output = Result<T, Call<T>>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut call) = self.call.take() else { return Poll::Pending };
        if let Poll::Ready(done) = call.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if self.meter.is_heavy() {
            return Poll::Ready(Err(call));
        }
        self.call = Some(call);
        Poll::Pending
    }
}

/// Ends a call on a thread of its own.
async fn aside<T: Send + 'static>(call: Call<T>, place: Place) -> T {
    let (mut send, receive) = oneshot::channel();
    let runtime = Handle::current();
    // Kept where it can be taken back from, should the system have no thread for it.
    let kept = Arc::new(Mutex::new(Some(call)));
    let theirs = Arc::clone(&kept);
    let take = |kept: &Mutex<Option<Call<T>>>| kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    let started = thread::Builder::new().name(NAME.into()).spawn(move || {
        if place == Place::Back {
            step_back();
        }
        let Some(call) = take(&theirs) else { return };
        let ended = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                tokio::select! {
                    done = call => Some(done),
                    () = send.closed() => None,
                }
            })
        }));
        match ended {
            Ok(Some(done)) => drop(send.send(Ok(done))),
            Ok(None) => {}
            Err(panic) => drop(send.send(Err(panic))),
        }
    });
    if let Err(error) = started
        && let Some(call) = take(&kept)
    {
        tracing::warn!("no thread for a connector that computes for long: {error}; it stays beside the others");
        return call.await;
    }
    match receive.await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => resume_unwind(panic),
        // It says something however it ends, as long as somebody listens; and here somebody does.
        Err(lost) => resume_unwind(Box::new(lost.to_string())),
    }
}

/// Lets this thread, and nothing but this thread, step back behind the others.
#[cfg(target_os = "linux")]
fn step_back() {
    let _ = rustix::process::nice(BACK);
}

/// As far as compiling does: a tenth of the others' share where all have something to do. Further back, programs besides this one would starve it.
#[cfg(target_os = "linux")]
const BACK: i32 = 10;

/// Elsewhere a priority is that of the whole process.
#[cfg(not(target_os = "linux"))]
fn step_back() {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn who_waits_most_of_the_time_stays_and_who_computes_steps_aside() {
        let ms = Duration::from_millis;
        for (computed, since, heavy) in
            [(5, 5, false), (19, 19, false), (20, 20, true), (20, 80, true), (20, 81, false), (300, 5_000, false), (1_000, 60_000, true)]
        {
            assert_eq!(is_heavy(ms(computed), ms(since)), heavy, "{computed} ms of {since}");
        }
    }

    fn heavy() -> Arc<Meter> {
        let meter = Arc::<Meter>::default();
        meter.set_heavy();
        meter
    }

    async fn named(turns: u32) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..turns {
            names.push(thread::current().name().unwrap_or_default().to_owned());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        names
    }

    #[tokio::test]
    async fn a_heavy_call_goes_on_where_it_was_on_a_thread_of_its_own() {
        let names = run(Box::pin(named(3)), heavy(), Place::Back).await;
        assert_ne!(names[0], NAME, "it begins where it was called");
        assert_eq!(names[1..], [NAME, NAME], "timers of the runtime wake it there");
        assert!(!run(Box::pin(named(3)), Arc::default(), Place::Back).await.contains(&NAME.to_owned()));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_that_thread_steps_back() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let call = async move {
            tokio::task::yield_now().await;
            own()
        };
        assert_eq!(run(Box::pin(call), heavy(), Place::Back).await, (before + BACK).min(19));
        assert_eq!(own(), before);
        assert_eq!(thread::spawn(own).join().unwrap(), before);
    }

    #[tokio::test]
    async fn who_is_no_longer_wanted_is_dropped_there() {
        struct Noted(Arc<AtomicBool>);
        impl Drop for Noted {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicBool::new(false));
        let noted = Noted(Arc::clone(&dropped));
        let call = async move {
            let _noted = noted;
            loop {
                tokio::task::yield_now().await;
            }
        };
        let running = tokio::time::timeout(Duration::from_millis(50), run::<()>(Box::pin(call), heavy(), Place::Back));
        assert!(running.await.is_err());
        while !dropped.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_panic_in_it_is_one_of_whoever_called() {
        let call = async {
            tokio::task::yield_now().await;
            resume_unwind(Box::new("on purpose"));
        };
        let ended = tokio::spawn(run::<()>(Box::pin(call), heavy(), Place::Back)).await.unwrap_err();
        assert_eq!(ended.into_panic().downcast_ref::<&str>(), Some(&"on purpose"));
    }
}
