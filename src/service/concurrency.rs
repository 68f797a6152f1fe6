//! What locks and elections share, as etcd's own clients do it, so that they and the service
//! exclude each other: a queue is the keys below one prefix, each bound to a lease and named after
//! it. The key that was created first owns what the queue is for.

use crate::error::ConcurrencyError;
use crate::method::METHODS;
use crate::{Call, Rpc};
use bytes::Bytes;
use detcd_core::error::Error;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::mvccpb::KeyValue;
use detcd_wire::mvccpb::event::EventType;
use futures::stream::{self, BoxStream, StreamExt as _};
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request;
use pb::response_op::Response;
use pb::watch_request::RequestUnion;
use std::future::Future;
use tokio::sync::oneshot;

/// What a lease lives that a client did not bring (etcd: a session).
const SESSION_TTL_SECONDS: i64 = 60;

/// The queue of one name, as the caller may use it.
#[derive(Clone)]
pub(crate) struct Queue {
    call: Call,
    prefix: Bytes,
}

/// A key in the queue.
pub(crate) struct Entry {
    /// Of the transaction that found or created the key.
    pub header: Option<pb::ResponseHeader>,
    pub key: Bytes,
    pub create_revision: i64,
    /// The value that it had before. `None` if the key was created.
    pub found: Option<Bytes>,
    /// Whether it was the first of the queue.
    pub is_first: bool,
}

impl Call {
    /// A call of another method that this one makes for the same client.
    fn inner(&self, rpc: Rpc) -> Call {
        Call {
            method: &METHODS[rpc as usize],
            ..self.clone()
        }
    }

    /// The lease that the client brings, or a new one.
    pub(crate) async fn session_lease(&self, lease: i64) -> Result<i64, Error> {
        if lease != 0 {
            return Ok(lease);
        }
        let request = pb::LeaseGrantRequest {
            ttl: SESSION_TTL_SECONDS,
            id: 0,
        };
        Ok(self.inner(Rpc::LeaseGrant).lease_grant(request).await?.id)
    }

    pub(crate) async fn inner_range(
        &self,
        request: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Error> {
        self.inner(Rpc::Range).range(request).await
    }

    pub(crate) async fn inner_txn(&self, txn: pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        self.inner(Rpc::Txn).txn(txn).await
    }

    pub(crate) async fn inner_delete(
        &self,
        key: Bytes,
    ) -> Result<Option<pb::ResponseHeader>, Error> {
        let request = pb::DeleteRangeRequest {
            key,
            ..Default::default()
        };
        let deleted = self.inner(Rpc::DeleteRange).delete_range(request).await?;
        Ok(deleted.header)
    }

    /// The changes of a range from a revision on.
    pub(crate) async fn inner_watch(
        &self,
        key: Bytes,
        range_end: Bytes,
        start_revision: i64,
    ) -> Result<Changes, Error> {
        let create = pb::WatchCreateRequest {
            key,
            range_end,
            start_revision,
            ..Default::default()
        };
        let request = pb::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        let requests = stream::iter([Ok(request)]);
        let responses = self.inner(Rpc::Watch).watch(requests).await?;
        let responses = responses.map(|it| it.map_err(ConcurrencyError::from));
        Ok(Changes(responses.boxed()))
    }
}

/// The responses of a watch.
pub(crate) struct Changes(BoxStream<'static, Result<pb::WatchResponse, ConcurrencyError>>);

impl Changes {
    /// The next response; `None` if history was compacted meanwhile, so that the state has to be
    /// read again.
    pub async fn next(&mut self) -> Result<Option<pb::WatchResponse>, ConcurrencyError> {
        let response = self.0.next().await.ok_or(Error::Stopped)??;
        match (response.canceled, response.compact_revision) {
            (true, 0) => Err(ConcurrencyError::Refused(response.cancel_reason)),
            (true, _) => Ok(None),
            (false, _) => Ok(Some(response)),
        }
    }
}

impl Queue {
    pub fn new(call: Call, name: &[u8]) -> Queue {
        let prefix = [name, b"/"].concat().into();
        Queue { call, prefix }
    }

    pub fn call(&self) -> &Call {
        &self.call
    }

    /// Where the range of the queue's keys ends: the prefix ends with a slash.
    pub fn end(&self) -> Bytes {
        let name = &self.prefix[..self.prefix.len() - 1];
        [name, b"0"].concat().into()
    }

    pub fn prefix(&self) -> Bytes {
        self.prefix.clone()
    }

    /// Creates the lease's key if it is not there yet.
    pub async fn enter(&self, lease: i64, value: Bytes) -> Result<Entry, Error> {
        let key = Bytes::from([&self.prefix[..], hexadecimal(lease).as_bytes()].concat());
        let put = Request::RequestPut(pb::PutRequest {
            key: key.clone(),
            value,
            lease,
            ..Default::default()
        });
        let get = Request::RequestRange(pb::RangeRequest {
            key: key.clone(),
            ..Default::default()
        });
        let first = Request::RequestRange(self.first());
        let txn = pb::TxnRequest {
            compare: vec![created_at(key.clone(), 0)],
            success: operations([put, first.clone()]),
            failure: operations([get, first]),
        };
        let reply = self.call.inner_txn(txn).await?;
        let mut found = reply.responses.into_iter().map(kvs);
        let (own, first) = (found.next().flatten(), found.next().flatten());
        let revision = reply.header.map_or(0, |header| header.revision);
        let create_revision = own.as_ref().map_or(revision, |kv| kv.create_revision);
        Ok(Entry {
            header: reply.header,
            key,
            create_revision,
            found: own.map(|kv| kv.value),
            is_first: first.is_none_or(|kv| kv.create_revision == create_revision),
        })
    }

    /// Waits until no key is left that was created before this revision.
    pub async fn wait_until_first(&self, create_revision: i64) -> Result<(), ConcurrencyError> {
        loop {
            let request = pb::RangeRequest {
                sort_order: SortOrder::Descend.into(),
                max_create_revision: create_revision - 1,
                keys_only: true,
                ..self.first()
            };
            let found = self.call.inner_range(request).await?;
            let Some(before) = found.kvs.into_iter().next() else {
                return Ok(());
            };
            let revision = found.header.map_or(0, |header| header.revision);
            self.wait_for_delete(before.key, revision + 1).await?;
            if detcd_core::mutant!(LockTrustsOneDelete) {
                return Ok(());
            }
        }
    }

    async fn wait_for_delete(&self, key: Bytes, start: i64) -> Result<(), ConcurrencyError> {
        let mut changes = self.call.inner_watch(key, Bytes::new(), start).await?;
        while let Some(response) = changes.next().await? {
            if response.events.iter().any(|event| !is_put(event)) {
                break;
            }
        }
        Ok(())
    }

    /// Deletes the key if it still is the one that was created at this revision.
    pub async fn leave(
        &self,
        key: Bytes,
        create_revision: i64,
    ) -> Result<Option<pb::ResponseHeader>, Error> {
        leave(&self.call, key, create_revision).await
    }

    /// The read of the queue's first key.
    pub fn first(&self) -> pb::RangeRequest {
        pb::RangeRequest {
            key: self.prefix(),
            range_end: self.end(),
            limit: 1,
            sort_order: SortOrder::Ascend.into(),
            sort_target: SortTarget::Create.into(),
            ..Default::default()
        }
    }
}

/// Deletes a key of a queue if it still is the one that was created at this revision.
pub(crate) async fn leave(
    call: &Call,
    key: Bytes,
    create_revision: i64,
) -> Result<Option<pb::ResponseHeader>, Error> {
    let delete = Request::RequestDeleteRange(pb::DeleteRangeRequest {
        key: key.clone(),
        ..Default::default()
    });
    let txn = pb::TxnRequest {
        compare: vec![created_at(key, create_revision)],
        success: operations([delete]),
        failure: Vec::new(),
    };
    Ok(call.inner_txn(txn).await?.header)
}

/// Waits for its turn in a task of its own, which outlives the call: a client that goes away must
/// not leave its key in the queue. `enter` is never interrupted, because only its outcome says
/// what is to be taken back.
pub(crate) async fn take_turn<T, F, W>(
    queue: Queue,
    enter: impl Future<Output = Result<Entry, ConcurrencyError>> + Send + 'static,
    wait: F,
) -> Result<T, ConcurrencyError>
where
    T: Send + 'static,
    F: FnOnce(Queue, Entry) -> W + Send + 'static,
    W: Future<Output = Result<T, ConcurrencyError>> + Send + 'static,
{
    let (mut sender, receiver) = oneshot::channel();
    detcd_rt::spawn(async move {
        let entry = match enter.await {
            Ok(entry) => entry,
            Err(error) => {
                let _ = sender.send(Err(error));
                return;
            }
        };
        let (key, create_revision) = (entry.key.clone(), entry.create_revision);
        // A key that was first before is in use already: a client that goes away keeps it.
        let keeps = entry.is_first && entry.found.is_some();
        let turn = tokio::select! {
            biased;
            turn = wait(queue.clone(), entry) => Some(turn),
            () = sender.closed() => None,
        };
        let gives_up = match turn {
            None => !keeps,
            Some(turn) => {
                let failed = turn.is_err();
                let unheard = sender.send(turn).is_err();
                failed || unheard && !keeps
            }
        };
        if gives_up {
            // Without an answer the key stays until its lease ends.
            let _ = queue.leave(key, create_revision).await;
        }
    });
    receiver.await.unwrap_or(Err(Error::Stopped.into()))
}

/// Holds if the key was created at this revision; 0: if it does not exist.
pub(crate) fn created_at(key: Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key,
        target_union: Some(TargetUnion::CreateRevision(revision)),
        range_end: Bytes::new(),
    }
}

pub(crate) fn operations<const N: usize>(requests: [Request; N]) -> Vec<pb::RequestOp> {
    let operation = |request| pb::RequestOp {
        request: Some(request),
    };
    requests.into_iter().map(operation).collect()
}

pub(crate) fn is_put(event: &detcd_wire::mvccpb::Event) -> bool {
    event.r#type() == EventType::Put
}

/// The first key that a read of a transaction found; `None` for a write.
fn kvs(response: pb::ResponseOp) -> Option<KeyValue> {
    match response.response {
        Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
        _ => None,
    }
}

/// As Go prints it: with a sign.
fn hexadecimal(lease: i64) -> String {
    match lease < 0 {
        true => format!("-{:x}", lease.unsigned_abs()),
        false => format!("{lease:x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_written_as_go_writes_them() {
        assert_eq!(hexadecimal(0x1b4a), "1b4a");
        assert_eq!(hexadecimal(-255), "-ff");
        assert_eq!(hexadecimal(i64::MIN), "-8000000000000000");
    }
}
