//! Simulated time: the one true clock of a run, beneath the nodes' own clocks.
//!
//! Network and disks live in true time; a node's skewed clock is the business of `detcd_rt`.
//! Built without the engine (unit tests), time stands still and a sleep only yields.

use std::time::Duration;

/// True time since the run began.
#[cfg(madsim)]
pub fn now() -> Duration {
    madsim::time::TimeHandle::try_current().map_or(Duration::ZERO, |time| time.elapsed())
}

/// Sleeps in true time. The engine's timers are no finer than a millisecond.
#[cfg(madsim)]
pub async fn sleep(duration: Duration) {
    if !duration.is_zero() {
        madsim::time::sleep(duration).await;
    }
}

#[cfg(not(madsim))]
pub fn now() -> Duration {
    Duration::ZERO
}

#[cfg(not(madsim))]
pub async fn sleep(duration: Duration) {
    let mut yielded = duration.is_zero();
    std::future::poll_fn(|context| {
        if yielded {
            return std::task::Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
