//! How many connections a port may have at a time. Each takes a file descriptor, and storage must
//! never lack one.

use crate::limits::SILENCE_MIN;
use crate::stream::Stream;
use detcd_rt::{Instant, RepeatedLines};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The limit of all listeners of a port. Cheap to clone.
#[derive(Clone)]
pub struct ConnectionLimit {
    inner: Arc<Inner>,
}

struct Inner {
    /// Whose connections they are.
    whose: &'static str,
    max: usize,
    permits: Arc<Semaphore>,
    /// How many listeners wait for a permit.
    waiting: watch::Sender<usize>,
    lines: RepeatedLines,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
}

impl ConnectionLimit {
    pub fn new(whose: &'static str, max: usize) -> ConnectionLimit {
        let max = max.min(Semaphore::MAX_PERMITS);
        let inner = Inner {
            whose,
            max,
            permits: Arc::new(Semaphore::new(max)),
            waiting: watch::Sender::new(0),
            lines: RepeatedLines::default(),
        };
        ConnectionLimit {
            inner: Arc::new(inner),
        }
    }

    /// Waits until one more connection may be taken.
    pub async fn permit(&self) -> ConnectionPermit {
        let permits = self.inner.permits.clone();
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return ConnectionPermit { _permit: permit };
        }
        self.warn();
        let _waiting = Waiting::begin(&self.inner);
        let permit = permits.acquire_owned().await;
        ConnectionPermit {
            _permit: permit.expect("nobody closes the semaphore"),
        }
    }

    /// Waits until a new connection says something. `false` if it says nothing for `silence_max`,
    /// or for a short while in which others wait for its place.
    pub async fn hears(&self, stream: &Stream, silence_max: Duration) -> bool {
        let crowded = async {
            detcd_rt::sleep(SILENCE_MIN).await;
            let mut waiting = self.inner.waiting.subscribe();
            // The sender is here.
            let _ = waiting.wait_for(|waiting| *waiting > 0).await;
        };
        tokio::select! {
            biased;
            _ = stream.wait_for_bytes() => true,
            () = crowded => false,
            () = detcd_rt::sleep(silence_max) => false,
        }
    }

    fn warn(&self) {
        if let Some(left_out) = self.inner.lines.take("full", Instant::now()) {
            tracing::warn!(
                connections = self.inner.max,
                left_out,
                "there are as many connections of {} as file descriptors allow: new ones wait \
                 until others end; allow the process more (ulimit -n)",
                self.inner.whose
            );
        }
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
