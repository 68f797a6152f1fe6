//! Clock, tasks, sleep and entropy: tokio in production, madsim in simulation.
//!
//! This is the only room of `src` that knows of the simulator (`cfg(madsim)`). Both backends offer
//! the same functions, so that everything above runs unchanged in both worlds:
//!
//! - Time is a node's own: [`Instant`] counts from the start of the process (in simulation: from
//!   the start of the run, through the node's skewed clock). Sleeps hold deadlines of that clock.
//! - A panic in a task ends the process in production and the run in simulation. A broken
//!   invariant is never swallowed by a task that nobody joins.
//! - [`buggify`] names places at which a simulated member now and then waits; production never
//!   does.
//! - [`spawn_io`] gives a future that may block (file IO) its own thread in production; in
//!   simulation nothing blocks and it is an ordinary task.

pub mod buggify;
#[cfg(madsim)]
pub mod clock;
mod instant;
#[cfg(not(madsim))]
mod production;
mod repeated;
#[cfg(madsim)]
mod simulation;
mod task;
mod timer;

#[cfg(test)]
mod tests;

#[cfg(not(madsim))]
use production as backend;
#[cfg(madsim)]
use simulation as backend;

pub use backend::{
    JoinHandle, Rng, Sleep, block_on, cores, spawn, spawn_blocking, spawn_io, unconstrained,
    yield_to_others,
};
pub use instant::Instant;
pub use repeated::RepeatedLines;
#[cfg(madsim)]
pub use simulation::decide_buggify;
pub use task::JoinError;
pub use timer::{Elapsed, Timeout, YieldNow};

use std::future::Future;
use std::time::Duration;

/// A sleep shorter than this yields once instead. Timers tick in milliseconds in both worlds, and
/// a caller that asks for less means "soon", not "in a millisecond".
pub const SLEEP_MIN: Duration = Duration::from_micros(50);

/// Milliseconds of the node's monotonic clock. Only differences mean anything.
pub fn now_ms() -> u64 {
    Instant::now().as_millis()
}

/// Milliseconds since the Unix epoch, by the node's wall clock: it may step and lie. For people's
/// eyes only (log lines, metrics); nothing is decided by it.
pub fn wall_unix_ms() -> u64 {
    backend::wall_unix_ms()
}

/// Ends once `duration` has passed on the node's monotonic clock.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

/// Ends once the node's monotonic clock shows `deadline`.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::until(deadline)
}

/// The output of `future`, or [`Elapsed`] (and the future is dropped with the `Timeout`) after
/// `duration`.
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    timeout_at(Instant::now() + duration, future)
}

/// As [`timeout`], with a deadline.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout::new(future, Sleep::until(deadline))
}

/// Lets other ready tasks run first.
pub fn yield_now() -> YieldNow {
    YieldNow::default()
}

/// The process's entropy; the seed's in simulation.
pub fn rng() -> Rng {
    Rng
}

/// A random number, each value equally likely.
pub fn random_u64() -> u64 {
    rand::Rng::next_u64(&mut rng())
}
