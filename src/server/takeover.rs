//! A connection that speaks HTTP no longer. What speaks on it runs in the connection's task: it holds
//! the connection's place, and ends when the port does.

use futures::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};

/// Where a request leaves what is to go on with its connection. Its response says so to the client.
#[derive(Clone, Default)]
pub(crate) struct Takeover(Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

impl Takeover {
    pub fn set(&self, speaker: BoxFuture<'static, ()>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(speaker);
    }

    pub fn take(&self) -> Option<BoxFuture<'static, ()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
