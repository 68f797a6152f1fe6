//! Simulated time: the one true clock of a run, beneath the nodes' own clocks.
//!
//! Network and disks live in true time; a node's skewed clock is the business of `detcd_rt`.
//! Outside a run (unit tests), time stands still and a sleep only yields.

use std::task::Poll;
use std::time::Duration;

/// True time since the run began.
pub fn now() -> Duration {
    engine_time().unwrap_or_default()
}

/// Sleeps in true time. The engine's timers are no finer than a millisecond.
pub async fn sleep(duration: Duration) {
    if duration.is_zero() {
        return;
    }
    if engine_time().is_none() {
        return yield_once().await;
    }
    engine_sleep(duration).await;
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(madsim)]
fn engine_time() -> Option<Duration> {
    madsim::time::TimeHandle::try_current().map(|time| time.elapsed())
}

#[cfg(madsim)]
async fn engine_sleep(duration: Duration) {
    madsim::time::sleep(duration).await;
}

#[cfg(not(madsim))]
fn engine_time() -> Option<Duration> {
    None
}

#[cfg(not(madsim))]
async fn engine_sleep(_: Duration) {
    unreachable!("there is no engine in this build")
}
