//! A request before the node, from its beginning to its end.

use super::Handle;
use crate::inbox::{Input, Requests, Waiter};
use detcd_core::error::Error;
use detcd_core::event::{Event, Seq};
use tokio::sync::oneshot;

impl Handle {
    /// Puts a request before the node and waits for its answer. If the caller goes away first,
    /// the node is told to forget the request.
    pub(crate) async fn ask<T>(
        &self,
        input: impl FnOnce(Seq, Waiter<T>) -> Input,
    ) -> Result<T, Error> {
        let seq = Seq(self.shared.names.next());
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(input(seq, answer))
            .await
            .map_err(|_| Error::Stopped)?;
        let forget = Forget {
            seq: Some(seq),
            requests: &self.requests,
        };
        let result = answered.await.map_err(|_| Error::Stopped);
        forget.defuse();
        result?
    }
}

/// Tells the node that nobody waits any more, when a request's task is dropped.
struct Forget<'a> {
    seq: Option<Seq>,
    requests: &'a Requests,
}

impl Forget<'_> {
    fn defuse(mut self) {
        self.seq = None;
    }
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(seq) = self.seq {
            // Under a full queue the request is dropped by its deadline instead.
            let _ = self.requests.try_send(Input::Event(Event::Forget { seq }));
        }
    }
}
