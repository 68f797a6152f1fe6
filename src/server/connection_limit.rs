//! How many connections a port may have at a time. Each takes a file descriptor, and storage must
//! never lack one.

use detcd_rt::Instant;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Between two log lines about a limit that was reached.
const WARN_PERIOD: Duration = Duration::from_secs(60);
/// What a new connection may be silent for, though others wait for its place.
const SILENCE_MIN: Duration = Duration::from_secs(1);

/// The limit of all listeners of a port. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ConnectionLimit {
    inner: Arc<Inner>,
}

struct Inner {
    /// Whose connections they are.
    whose: &'static str,
    max: usize,
    permits: Arc<Semaphore>,
    /// How many listeners wait for a permit.
    waiting: watch::Sender<usize>,
    warned: Mutex<Option<Instant>>,
}

impl ConnectionLimit {
    pub fn new(whose: &'static str, max: usize) -> ConnectionLimit {
        let max = max.min(Semaphore::MAX_PERMITS);
        let inner = Inner {
            whose,
            max,
            permits: Arc::new(Semaphore::new(max)),
            waiting: watch::Sender::new(0),
            warned: Mutex::new(None),
        };
        ConnectionLimit {
            inner: Arc::new(inner),
        }
    }

    /// Waits until one more connection may be taken. It counts until the permit is dropped.
    pub async fn permit(&self) -> OwnedSemaphorePermit {
        let permits = self.inner.permits.clone();
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return permit;
        }
        self.warn();
        let _waiting = Waiting::begin(&self.inner);
        let permit = permits.acquire_owned().await;
        permit.expect("nobody closes the semaphore")
    }

    /// Waits until a new connection says something. `false` if it says nothing for `silence_max`,
    /// or for a short while in which others wait for its place.
    pub async fn hears(&self, stream: &TcpStream, silence_max: Duration) -> bool {
        let crowded = async {
            detcd_rt::sleep(SILENCE_MIN).await;
            let mut waiting = self.inner.waiting.subscribe();
            // The sender is here.
            let _ = waiting.wait_for(|waiting| *waiting > 0).await;
        };
        let mut first = [0];
        tokio::select! {
            biased;
            // Readiness alone may be reported without anything to read.
            _ = stream.peek(&mut first) => true,
            () = crowded => false,
            () = detcd_rt::sleep(silence_max) => false,
        }
    }

    fn warn(&self) {
        let now = Instant::now();
        let warned = self.inner.warned.lock();
        let mut warned = warned.unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|at| now < at + WARN_PERIOD) {
            return;
        }
        *warned = Some(now);
        tracing::warn!(
            connections = self.inner.max,
            "there are as many connections of {} as file descriptors allow: new ones wait until \
             others end; allow the process more (ulimit -n)",
            self.inner.whose
        );
    }
}

/// A listener that waits for a permit.
struct Waiting<'a> {
    waiting: &'a watch::Sender<usize>,
}

impl Waiting<'_> {
    fn begin(inner: &Inner) -> Waiting<'_> {
        inner.waiting.send_modify(|waiting| *waiting += 1);
        Waiting {
            waiting: &inner.waiting,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiting.send_modify(|waiting| *waiting -= 1);
    }
}
