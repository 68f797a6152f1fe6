//! A transport that notices when others refuse this member as removed.

use super::{Input, Inputs};
use bytes::Bytes;
use detcd_core::membership::admission::{Event, REMOVED};
use detcd_peer::{Kind, Transport, TransportError};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct RemovalListener {
    transport: Arc<dyn Transport>,
    inputs: Inputs,
}

impl RemovalListener {
    pub fn new(transport: Arc<dyn Transport>, inputs: Inputs) -> RemovalListener {
        RemovalListener { transport, inputs }
    }
}

impl Transport for RemovalListener {
    fn set_peer(&self, id: u64, peer_urls: Vec<String>) {
        self.transport.set_peer(id, peer_urls);
    }

    fn remove_peer(&self, id: u64) {
        self.transport.remove_peer(id);
    }

    fn call(
        &self,
        to: u64,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let call = self.transport.call(to, kind, body, timeout);
        // Heartbeats and entries are never refused so, and are many.
        if kind == Kind::AppendEntries {
            return call;
        }
        let inputs = self.inputs.clone();
        async move {
            let answer = call.await;
            if matches!(&answer, Err(TransportError::Refused(_, reason)) if reason == REMOVED) {
                // A member that stops needs not know.
                let _ = inputs.send(Input::Event(Event::ToldRemoved));
            }
            answer
        }
        .boxed()
    }

    fn stream(
        &self,
        to: u64,
        kind: Kind,
        chunks: BoxStream<'static, Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        self.transport.stream(to, kind, chunks)
    }

    fn is_connected(&self, to: u64) -> bool {
        self.transport.is_connected(to)
    }

    fn reconnect(&self, to: u64) -> BoxFuture<'static, bool> {
        self.transport.reconnect(to)
    }
}
