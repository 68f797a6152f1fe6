//! Simulation: madsim, the nodes' skewed clocks and the seed's entropy.

use crate::buggify::Place;
use crate::{Instant, JoinError, SLEEP_MIN, clock};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// A sleep looks at its clock at least this often (true time), so that a jump or a new rate is
/// seen by sleeps that are under way.
const REARM: Duration = Duration::from_secs(1);

pub(crate) use clock::{monotonic, wall_unix_ms};

/// Says whether a place fires that a member comes to, and what it waits then.
type Decide = Box<dyn FnMut(Place) -> Option<Duration>>;

thread_local! {
    // One run has one thread, and one process has one run.
    static DECIDE: RefCell<Option<Decide>> = const { RefCell::new(None) };
}

/// Has `decide` say from now on whether places fire; `None`: nothing fires.
pub fn decide_buggify(decide: Option<Decide>) {
    DECIDE.set(decide);
}

/// Whether the place fires, and what is to be waited then.
pub(crate) fn buggify(place: Place) -> Option<Duration> {
    DECIDE.with_borrow_mut(|decide| decide.as_mut()?(place))
}

/// See [`crate::sleep`].
///
/// Holds a deadline of the node's clock, and one timer of madsim at a time: madsim's own sleep
/// adds a timer at every poll.
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    deadline: Instant,
    armed: Option<(Pin<Box<madsim::time::Sleep>>, Waker)>,
    yielded: bool,
}

impl Sleep {
    pub(crate) fn until(deadline: Instant) -> Sleep {
        Sleep {
            deadline,
            armed: None,
            yielded: false,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // What is left by a clock that all but stands still is long, however little it shows:
            // who slept until then and found it was not yet then would come back at once, for ever.
            let left = clock::true_time_until(self.deadline.since_origin());
            if left < SLEEP_MIN {
                // As in production, even a sleep of no time lets others run once.
                if self.yielded || self.armed.is_some() {
                    return Poll::Ready(());
                }
                self.yielded = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some((timer, waker)) = &self.armed
                && !timer.is_elapsed()
                && waker.will_wake(context.waker())
            {
                return Poll::Pending;
            }
            let mut timer = Box::pin(madsim::time::sleep(left.min(REARM)));
            if timer.as_mut().poll(context).is_pending() {
                self.armed = Some((timer, context.waker().clone()));
                return Poll::Pending;
            }
        }
    }
}

/// A running task. Dropping the handle lets the task run on.
#[derive(Debug)]
pub struct JoinHandle<T>(madsim::task::JoinHandle<T>);

impl<T> JoinHandle<T> {
    /// Drops the task at its next await.
    pub fn abort(&self) {
        self.0.abort();
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(
            ready!(Pin::new(&mut self.0).poll(context)).map_err(|error| {
                if error.is_panic() {
                    JoinError::Panicked
                } else {
                    JoinError::Cancelled
                }
            }),
        )
    }
}

/// Runs `future` as a task of the current node. A panic ends the run.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    JoinHandle(madsim::task::spawn(future))
}

/// An ordinary task: simulated disks do not block.
pub fn spawn_io<F>(_name: &str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    spawn(future)
}

/// Runs `work` in a task: it takes no simulated time.
pub fn spawn_blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn(async move { work() })
}

/// A simulated member is one thread.
pub fn cores() -> usize {
    1
}

/// Tasks take no simulated time.
pub fn yield_to_others() {}

/// `future`: here no task is held back.
pub fn unconstrained<F: Future>(future: F) -> F {
    future
}

/// Runs `future` to its end in a new simulation.
pub fn block_on<F: Future>(future: F) -> F::Output {
    madsim::runtime::Runtime::new().block_on(future)
}

/// See [`crate::rng`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Rng;

impl rand::TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(madsim::rand::RngCore::next_u32(
            &mut madsim::rand::thread_rng(),
        ))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(madsim::rand::RngCore::next_u64(
            &mut madsim::rand::thread_rng(),
        ))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        madsim::rand::RngCore::fill_bytes(&mut madsim::rand::thread_rng(), bytes);
        Ok(())
    }
}
