//! Whether the engine still runs. It logs an error for every message that it gets after its end, so
//! nobody sends it one then.

use crate::runtime::WatchReceiver as Metrics;
use crate::types::Types;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this member is stopping")]
pub(crate) struct Stopped;

#[derive(Clone)]
pub(crate) struct Running {
    metrics: Metrics<RaftMetrics<Types>>,
    stopping: Arc<AtomicBool>,
}

impl Running {
    pub(crate) fn new(metrics: Metrics<RaftMetrics<Types>>) -> Running {
        Running {
            metrics,
            stopping: Arc::default(),
        }
    }

    /// From now on the engine is given nothing more.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Calls the engine as long as it runs. A call under way at its end is given up unheard.
    pub(crate) async fn call<T>(&self, call: impl Future<Output = T>) -> Result<T, Stopped> {
        let mut call = pin!(call);
        poll_fn(|context| match self.is_over() {
            true => Poll::Ready(Err(Stopped)),
            false => call.as_mut().poll(context).map(Ok),
        })
        .await
    }

    pub(crate) fn is_over(&self) -> bool {
        let is_stopping = self.stopping.load(Ordering::Relaxed);
        is_stopping || self.metrics.borrow_watched().running_state.is_err()
    }
}
