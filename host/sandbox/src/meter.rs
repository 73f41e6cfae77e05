//! How much CPU a guest has used.
//!
//! Measured by the thread's own CPU clock, so that a busy machine costs nobody his budget: a slice begins when an executor polls the call and ends when
//! that poll returns. Waiting (for an answer, a commit, its turn) lies between polls and costs nothing. Work of the host's own that may be long (sending a
//! request, unpacking an answer, a commit) is left out by [`Meter::host_time`]: the guest's slice ends with its beginning and goes on after its end, in
//! whatever poll that is, so that a request costs two looks at a clock that only the kernel can read. What the host does synchronously on the guest's word
//! (reading its lists, checking its entries, random bytes) counts as the guest's: otherwise it could spend the host's time for nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// The CPU clock of one call. Only the thread that is polling the call touches it.
#[derive(Default)]
pub(crate) struct Meter {
    /// Nanoseconds of the slices that ended.
    spent: AtomicU64,
    /// The thread's clock when this slice began.
    began: AtomicU64,
    /// The guest waits for work of the host's own: there is no slice.
    away: AtomicBool,
    /// How many times it is to have moved on.
    step: AtomicUsize,
}

/// The calling thread's CPU time, in nanoseconds.
fn thread_clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}

impl Meter {
    /// Nanoseconds used, within a slice.
    pub(crate) fn used(&self) -> u64 {
        let slice = thread_clock().saturating_sub(self.began.load(Ordering::Relaxed));
        self.spent.load(Ordering::Relaxed).saturating_add(slice)
    }

    fn begin(&self) {
        self.began.store(thread_clock(), Ordering::Relaxed);
    }

    fn end(&self) {
        self.spent.store(self.used(), Ordering::Relaxed);
    }

    fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Nanoseconds used, after the call.
    pub(crate) fn total(&self) -> u64 {
        self.spent.load(Ordering::Relaxed)
    }

    /// How many times the call is to have moved on: not at all on the shared workers.
    pub(crate) fn step(&self) -> usize {
        self.step.load(Ordering::Relaxed)
    }

    /// From now on the call belongs that many places on; never back.
    pub(crate) fn move_on(&self, step: usize) {
        self.step.fetch_max(step, Ordering::Relaxed);
    }

    /// Polls the call with everything it does charged to the guest, but for what [`Meter::host_time`] leaves out.
    pub(crate) fn guest_slice<T>(&self, poll: impl FnOnce() -> T) -> T {
        if !self.is_away() {
            self.begin();
        }
        let out = poll();
        if !self.is_away() {
            self.end();
        }
        out
    }

    /// A future of the host's, awaited inside a slice, that is not charged to the guest.
    pub(crate) fn host_time<'a, F: Future + Unpin>(&'a self, future: F) -> HostTime<'a, F> {
        HostTime { meter: self, future }
    }
}

/// See [`Meter::host_time`].
pub(crate) struct HostTime<'a, F> {
    meter: &'a Meter,
    future: F,
}

impl<F: Future + Unpin> Future for HostTime<'_, F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.meter.is_away() {
            self.meter.end();
            self.meter.away.store(true, Ordering::Relaxed);
        }
        let out = Pin::new(&mut self.future).poll(cx);
        if out.is_ready() {
            self.back();
        }
        out
    }
}

impl<F> HostTime<'_, F> {
    /// The guest goes on.
    fn back(&self) {
        if self.meter.away.swap(false, Ordering::Relaxed) {
            self.meter.begin();
        }
    }
}

/// One that is given up before its end gives the guest its clock back as well.
impl<F> Drop for HostTime<'_, F> {
    fn drop(&mut self) {
        self.back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn burn(time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn sleeping_and_the_hosts_own_work_cost_the_guest_nothing() {
        let meter = Meter::default();
        meter.guest_slice(|| std::thread::sleep(Duration::from_millis(30)));
        assert!(meter.total() < 15_000_000, "{}", meter.total());
        let mut host = meter.host_time(Box::pin(async { burn(Duration::from_millis(30)) }));
        let polled = meter.guest_slice(|| Pin::new(&mut host).poll(&mut Context::from_waker(std::task::Waker::noop())));
        assert!(polled.is_ready());
        drop(host);
        assert!(meter.total() < 15_000_000, "{}", meter.total());
        // Over several polls, and what the guest does after it is the guest's again.
        let mut turns = 0;
        let mut host = meter.host_time(std::future::poll_fn(|_| {
            burn(Duration::from_millis(15));
            turns += 1;
            if turns < 3 { Poll::Pending } else { Poll::Ready(()) }
        }));
        while meter.guest_slice(|| Pin::new(&mut host).poll(&mut Context::from_waker(std::task::Waker::noop()))).is_pending() {}
        drop(host);
        assert!(meter.total() < 15_000_000, "{}", meter.total());
        let mut given_up = meter.host_time(std::future::pending::<()>());
        assert!(meter.guest_slice(|| Pin::new(&mut given_up).poll(&mut Context::from_waker(std::task::Waker::noop()))).is_pending());
        drop(given_up);
        // A busy machine gives a spinning thread less than the wall says; never nothing.
        while meter.total() < 20_000_000 {
            meter.guest_slice(|| burn(Duration::from_millis(5)));
        }
    }
}
