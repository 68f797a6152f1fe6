//! A client's watch stream.

use crate::handle::Handle;
use crate::inbox::{Input, Requests};
use crate::stats::Stats;
use detcd_core::api::{StreamId, WatchRequest, WatchResponse};
use detcd_core::auth::Principal;
use detcd_core::error::Error;
use detcd_core::event::Event;
use detcd_core::limits::WATCH_STREAM_CREDITS;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Credits given back at a time: an event for each response would cost more than the response.
const CREDIT_BATCH: u32 = WATCH_STREAM_CREDITS / 4;

/// One stream of watchers. The stream is closed when this is dropped.
///
/// The node queues at most `limits::WATCH_STREAM_CREDITS` responses ahead of [`Watch::recv`]: a
/// consumer that does not read costs the member nothing more.
pub struct Watch {
    stream: StreamId,
    requests: Requests,
    /// On whose behalf; `None` if nobody's permissions matter.
    client: Option<Handle>,
    responses: mpsc::UnboundedReceiver<Result<WatchResponse, Error>>,
    stats: Arc<Stats>,
    /// Responses taken and not yet told to the node.
    taken: u32,
}

/// The sending half of a watch stream, for the task that reads the client's requests.
#[derive(Clone)]
pub struct WatchSender {
    stream: StreamId,
    requests: Requests,
    client: Option<Handle>,
}

impl Watch {
    pub(crate) async fn open(
        stream: StreamId,
        requests: Requests,
        stats: Arc<Stats>,
        client: Option<Handle>,
    ) -> Option<Watch> {
        let (sender, responses) = mpsc::unbounded_channel();
        requests
            .send(Input::WatchOpen {
                stream,
                responses: sender,
            })
            .await
            .ok()?;
        Some(Watch {
            stream,
            requests,
            client,
            responses,
            stats,
            taken: 0,
        })
    }

    pub fn sender(&self) -> WatchSender {
        WatchSender {
            stream: self.stream,
            requests: self.requests.clone(),
            client: self.client.clone(),
        }
    }

    /// Sends a request. Does nothing if the member has stopped; `recv` then ends.
    pub async fn send(&self, request: WatchRequest) {
        self.sender().send(request).await;
    }

    /// The next response; `None` when the stream ends because the member stops. After an error
    /// nothing more comes. Dropping the future loses nothing: credit is given back before a
    /// response is taken, never between.
    pub async fn recv(&mut self) -> Option<Result<WatchResponse, Error>> {
        if self.taken >= CREDIT_BATCH {
            let credit = Event::WatchCredit {
                stream: self.stream,
                n: self.taken,
            };
            // The loop has ended if this fails, and then so do the responses.
            let _ = self.requests.send(Input::Event(credit)).await;
            self.taken = 0;
        }
        let response = self.responses.recv().await?;
        self.count(&response);
        self.taken += 1;
        Some(response)
    }

    fn count(&self, response: &Result<WatchResponse, Error>) {
        let events = response.as_ref().map_or(0, |it| it.events.len());
        self.stats.events_pending.subtract(events as u64);
    }
}

impl WatchSender {
    /// Sends a request. Does nothing if the member has stopped.
    pub async fn send(&self, request: WatchRequest) {
        let stream = self.stream;
        let event = match self.principal(&request).await {
            Ok(principal) => Event::WatchRequest {
                stream,
                request,
                principal,
            },
            Err(error) => Event::WatchRefused { stream, error },
        };
        let _ = self.requests.send(Input::Event(event)).await;
    }
}

impl WatchSender {
    /// On whose behalf a watcher is created, if there is a client; whether it may, the node judges.
    async fn principal(&self, request: &WatchRequest) -> Result<Option<Arc<Principal>>, Error> {
        match (request, &self.client) {
            (WatchRequest::Create(create), Some(client)) => client.watcher(&create.range).await,
            _ => Ok(None),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Nobody will take what is left, and after this nothing more can come.
        self.responses.close();
        while let Ok(response) = self.responses.try_recv() {
            self.count(&response);
        }
        let requests = self.requests.clone();
        let close = Input::Event(Event::WatchClose {
            stream: self.stream,
        });
        // A full queue must not block a destructor, and must not lose the close either.
        if let Err(mpsc::error::TrySendError::Full(close)) = requests.try_send(close) {
            detcd_rt::spawn(async move {
                let _ = requests.send(close).await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use detcd_core::api::StreamId;
    use futures::FutureExt;

    #[test]
    fn a_dropped_wait_loses_neither_response_nor_credit() {
        let (requests, mut inputs) = mpsc::channel(1);
        let (responses, received) = mpsc::unbounded_channel();
        let stream = StreamId(1);
        let mut watch = Watch {
            stream,
            requests: requests.clone(),
            client: None,
            responses: received,
            stats: Arc::default(),
            taken: 0,
        };
        for revision in 1..=i64::from(CREDIT_BATCH) + 1 {
            let response = WatchResponse {
                revision,
                ..WatchResponse::default()
            };
            responses.send(Ok(response)).unwrap();
        }
        let mut next = || {
            let response = watch.recv().now_or_never()?;
            Some(response.expect("the stream is open").unwrap().revision)
        };
        for revision in 1..=i64::from(CREDIT_BATCH) {
            assert_eq!(next(), Some(revision));
        }
        // The loop is busy: the credit waits, and with it the next response.
        requests.try_send(Input::Stop).ok().unwrap();
        assert_eq!(next(), None);
        assert!(matches!(inputs.try_recv(), Ok(Input::Stop)));
        assert_eq!(next(), Some(i64::from(CREDIT_BATCH) + 1));
        let Ok(Input::Event(Event::WatchCredit { n, .. })) = inputs.try_recv() else {
            panic!("no credit was given back");
        };
        assert_eq!(n, CREDIT_BATCH);
    }
}
