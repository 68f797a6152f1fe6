//! Production: tokio, the machine's clocks and the machine's entropy.

use crate::buggify::Place;
use crate::{Instant, JoinError, SLEEP_MIN, YieldNow};
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A thread of this niceness gets a tenth of what one of its rivals gets: others hardly notice it, and
/// it goes on beside a full load.
#[cfg(target_os = "linux")]
const BACKGROUND_NICENESS: i32 = 10;

/// The origin of [`Instant`]: the first time that anybody asked.
fn origin() -> std::time::Instant {
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(std::time::Instant::now)
}

pub(crate) fn monotonic() -> Duration {
    origin().elapsed()
}

pub(crate) fn wall_unix_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// Nothing ever fires.
#[inline(always)]
pub(crate) const fn buggify(_: Place) -> Option<Duration> {
    None
}

pin_project! {
    /// See [`crate::sleep`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Sleep {
        #[pin]
        state: SleepState,
    }
}

pin_project! {
    #[project = SleepStateProjection]
    #[derive(Debug)]
    enum SleepState {
        Yield { yield_now: YieldNow },
        Timer {
            #[pin]
            timer: tokio::time::Sleep,
        },
    }
}

impl Sleep {
    pub(crate) fn until(deadline: Instant) -> Sleep {
        let left = deadline - Instant::now();
        let state = if left < SLEEP_MIN {
            SleepState::Yield {
                yield_now: YieldNow::default(),
            }
        } else {
            SleepState::Timer {
                timer: tokio::time::sleep(left),
            }
        };
        Sleep { state }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.project().state.project() {
            SleepStateProjection::Yield { yield_now } => Pin::new(yield_now).poll(context),
            SleepStateProjection::Timer { timer } => timer.poll(context),
        }
    }
}

/// A running task. Dropping the handle lets the task run on.
#[derive(Debug)]
pub struct JoinHandle<T>(Running<T>);

#[derive(Debug)]
enum Running<T> {
    Task(tokio::task::JoinHandle<T>),
    Thread(oneshot::Receiver<T>),
}

impl<T> JoinHandle<T> {
    /// Drops the task at its next await. A thread of `spawn_io` cannot be aborted: it ends when
    /// its future does.
    pub fn abort(&self) {
        if let Running::Task(task) = &self.0 {
            task.abort();
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut self.0 {
            Running::Task(task) => ready!(Pin::new(task).poll(context)).map_err(|error| {
                if error.is_panic() {
                    JoinError::Panicked
                } else {
                    JoinError::Cancelled
                }
            }),
            Running::Thread(end) => {
                ready!(Pin::new(end).poll(context)).map_err(|_| JoinError::Cancelled)
            }
        })
    }
}

pin_project! {
    /// A task whose panic ends the process: builds that unwind behave as the release build, which
    /// aborts.
    struct NeverPanics<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for NeverPanics<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        never_panics(|| self.project().future.poll(context))
    }
}

fn never_panics<T>(work: impl FnOnce() -> T) -> T {
    /// Dropped by unwinding alone.
    struct Abort;

    impl Drop for Abort {
        fn drop(&mut self) {
            // The panic hook has said what happened, but perhaps into a test's captured output,
            // which ends with the process.
            let _ = std::io::stderr().write_all(b"a task panicked: the process ends\n");
            std::process::abort();
        }
    }

    let abort = Abort;
    let output = work();
    std::mem::forget(abort);
    output
}

/// Runs `future` as a task of the current runtime.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    JoinHandle(Running::Task(tokio::spawn(NeverPanics { future })))
}

/// Runs `future`, which may block, on a thread of its own, named `name`. Timers of the current
/// runtime work in it.
pub fn spawn_io<F>(name: &str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let runtime = Handle::current();
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let output = never_panics(|| runtime.block_on(future));
            // Nobody need wait for the end.
            let _ = end.send(output);
        })
        .expect("the system refuses a thread; nothing works without it");
    JoinHandle(Running::Thread(ended))
}

/// Runs `work`, which blocks or computes for long, beside the tasks.
pub fn spawn_blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    JoinHandle(Running::Task(tokio::task::spawn_blocking(move || {
        never_panics(work)
    })))
}

/// How many threads can run at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Has the system prefer every other thread to this one, as long as there are others that want to run.
pub fn yield_to_others() {
    // Linux keeps this for each thread. Elsewhere the whole process would go slower.
    #[cfg(target_os = "linux")]
    {
        // A system that refuses runs the thread like the others.
        let thread = rustix::thread::gettid();
        let _ = rustix::process::setpriority_process(Some(thread), BACKGROUND_NICENESS);
    }
}

/// `future`, which is polled however much its task has done in this turn: a channel with room takes
/// what it is sent at the first poll.
pub fn unconstrained<F: Future>(future: F) -> impl Future<Output = F::Output> {
    tokio::task::coop::unconstrained(future)
}

/// Runs `future` to its end in a new runtime on this thread. For tools and tests: a server has its
/// own runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system refuses a runtime; nothing works without it")
        .block_on(future)
}

/// See [`crate::rng`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Rng;

impl rand::TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        rand::rng().try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        rand::rng().try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        rand::rng().try_fill_bytes(bytes)
    }
}
