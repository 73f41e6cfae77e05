//! Guests that compute for long, out of the way of everybody else.
//!
//! The problem: runs share a few worker threads with pages, commands and each other. A guest gives its turn away at every tick, but a tick is 10 ms, and a
//! run that waits for an answer a few times would wait a few times behind every guest that is busy computing: ten endless loops on two processors make
//! a run of 2 ms one of 200. Turns among tasks know no priorities; threads do.
//!
//! So a call begins on the workers, where most end within a millisecond. One that turns out to compute for long is moved, as it stands, to a thread of
//! its own in the scheduler's idle class: it has what the others leave, and whoever was waiting for the network or the disk goes before it at once,
//! where a mere lower priority would let them wait for the end of its turn. On an idle machine it is as quick as before. A connector whose last call
//! computed for long, or was ended by a limit or a crash, begins its next one there.
//!
//! Where the others leave nothing for very long, a call in the idle class would end by its time on the wall, for nothing it did. Half of that time is
//! therefore the end of its patience: it moves on to a thread that has a tenth of the others' share. (To a new one: a thread without privileges can't
//! come back from the idle class.)
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

/// Whether a call in the idle class has waited too long for a processor: half of its time on the wall is gone.
pub(crate) fn is_starved(since: Duration, wall: Duration) -> bool {
    since >= wall / 2
}

/// Where a call computes that is no longer on the shared workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind everything else: it has what the others leave.
    Idle,
    /// Behind the others, with a tenth of their share.
    Back,
    /// Beside everything else: for a call that has little time by the clock, and little to compute.
    Beside,
}

/// Where calls go from the shared workers, one place after the other, as [`Meter::step`] counts.
pub(crate) type Places = &'static [Place];
/// For calls that bring data.
pub(crate) const LONG: Places = &[Place::Idle, Place::Back];
/// For calls that answer a question.
pub(crate) const SHORT: Places = &[Place::Beside];

/// The threads' name.
const NAME: &str = "busy-guest";

type Call<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs a call to its end: here, and in these places from when its meter says so. Dropped, it drops the call, wherever that is by then.
pub(crate) async fn run<T: Send + 'static>(call: Call<T>, meter: Arc<Meter>, places: Places) -> T {
    let stage = |call, step: usize| Stage { call: Some(call), meter: Arc::clone(&meter), step, last: step == places.len() };
    let mut unfinished = match stage(call, 0).await {
        Ok(done) => return done,
        Err(call) => call,
    };
    for (step, place) in (1..).zip(places) {
        match aside(stage(unfinished, step), *place).await {
            Ok(done) => return done,
            Err(call) => unfinished = call,
        }
    }
    // Nobody moves on from the last place.
    unfinished.await
}

/// A call in one place, given back unfinished when it is to move on.
struct Stage<T> {
    call: Option<Call<T>>,
    meter: Arc<Meter>,
    /// How many times it has moved.
    step: usize,
    last: bool,
}

impl<T> Stage<T> {
    fn moves_on(&self) -> bool {
        !self.last && self.meter.step() > self.step
    }
}

impl<T> Future for Stage<T> {
    type Output = Result<T, Call<T>>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut call) = self.call.take() else { return Poll::Pending };
        if self.moves_on() {
            return Poll::Ready(Err(call));
        }
        if let Poll::Ready(done) = call.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if self.moves_on() {
            return Poll::Ready(Err(call));
        }
        self.call = Some(call);
        Poll::Pending
    }
}

/// Goes on with a call on a thread of its own.
async fn aside<T: Send + 'static>(stage: Stage<T>, place: Place) -> Result<T, Call<T>> {
    let (mut send, receive) = oneshot::channel();
    let runtime = Handle::current();
    // Kept where it can be taken back from, should the system have no thread for it.
    let kept = Arc::new(Mutex::new(Some(stage)));
    let theirs = Arc::clone(&kept);
    let take = |kept: &Mutex<Option<Stage<T>>>| kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    let started = thread::Builder::new().name(NAME.into()).spawn(move || {
        step_back(place);
        let Some(stage) = take(&theirs) else { return };
        let ended = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                tokio::select! {
                    done = stage => Some(done),
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
        && let Some(stage) = take(&kept)
    {
        tracing::warn!("no thread for a connector that computes for long: {error}; it stays beside the others");
        return stage.await;
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
fn step_back(place: Place) {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
    };
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let stepped = match place {
        Place::Beside => return,
        Place::Back => false,
        Place::Idle => set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).is_ok(),
    };
    // Where the idle class is forbidden, as some containers do, this is the next best.
    if !stepped {
        let _ = rustix::process::nice(BACK);
    }
}

/// As far as compiling does: a tenth of the others' share where all have something to do.
#[cfg(target_os = "linux")]
const BACK: i32 = 10;

/// Elsewhere a priority is that of the whole process.
#[cfg(not(target_os = "linux"))]
fn step_back(_: Place) {}

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

    #[test]
    fn half_of_its_time_is_the_end_of_ones_patience() {
        let s = Duration::from_secs;
        assert!(!is_starved(s(299), s(600)) && is_starved(s(300), s(600)));
    }

    fn heavy() -> Arc<Meter> {
        let meter = Arc::<Meter>::default();
        meter.move_on(1);
        meter
    }

    /// Gives its turn away once, then does this.
    async fn later<T>(what: impl FnOnce() -> T) -> T {
        tokio::task::yield_now().await;
        what()
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
        let meter = Arc::<Meter>::default();
        let turns = Arc::clone(&meter);
        let call = async move {
            let mut names = named(1).await;
            turns.move_on(1);
            names.extend(named(3).await);
            names
        };
        let names = run(Box::pin(call), meter, LONG).await;
        assert_ne!(names[0], NAME, "it begins where it was called");
        assert_eq!(names[2..], [NAME, NAME], "timers of the runtime wake it there");
        assert!(!run(Box::pin(named(3)), Arc::default(), LONG).await.contains(&NAME.to_owned()));
    }

    #[tokio::test]
    async fn who_is_known_to_compute_for_long_begins_there() {
        assert_eq!(run(Box::pin(named(2)), heavy(), LONG).await, [NAME, NAME]);
    }

    #[cfg(target_os = "linux")]
    fn own() -> (i32, bool) {
        use thread_priority::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy};
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        (rustix::process::getpriority_process(None).unwrap(), thread_schedule_policy().unwrap() == idle)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_that_thread_steps_back() {
        let before = own();
        assert!(!before.1);
        assert!(run(Box::pin(later(own)), heavy(), LONG).await.1);
        assert_eq!(run(Box::pin(later(own)), heavy(), &[Place::Back]).await, ((before.0 + BACK).min(19), false));
        assert_eq!(run(Box::pin(later(own)), heavy(), SHORT).await, before);
        assert_eq!(own(), before);
        assert_eq!(thread::spawn(own).join().unwrap(), before);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_gets_no_turn_in_the_idle_class_leaves_it() {
        let meter = heavy();
        let theirs = Arc::clone(&meter);
        let before = own();
        let call = async move {
            let idle = own();
            theirs.move_on(2);
            tokio::task::yield_now().await;
            let back = own();
            // There is nowhere else to go.
            theirs.move_on(3);
            tokio::task::yield_now().await;
            (idle, back, own())
        };
        let (idle, back, last) = run(Box::pin(call), meter, LONG).await;
        assert!(idle.1);
        assert_eq!((back, last), (((before.0 + BACK).min(19), false), back));
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
        let running = tokio::time::timeout(Duration::from_millis(50), run::<()>(Box::pin(call), heavy(), LONG));
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
        let ended = tokio::spawn(run::<()>(Box::pin(call), heavy(), LONG)).await.unwrap_err();
        assert_eq!(ended.into_panic().downcast_ref::<&str>(), Some(&"on purpose"));
    }
}
