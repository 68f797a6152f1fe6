//! openraft's messages to other members, over the peer transport.

use crate::acknowledged::Acknowledged;
use crate::machine::SnapshotData;
use crate::message;
use crate::purge::Purge;
use crate::snapshot;
use crate::types::{Peer, Types, Vote};
use crate::validate::{Refusal, answer};
use bytes::Bytes;
use detcd_core::encoding::DecodeError;
use detcd_peer::{Kind, Transport, TransportError};
use detcd_rt::buggify::{Place, maybe_wait};
use detcd_rt::{Instant, RepeatedLines};
use detcd_storage::store::Store;
use futures::future::{Either, select};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, alias};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// Pauses between attempts to reach a member that cannot be reached; the last one repeats.
const BACKOFF_MS: [u64; 5] = [10, 20, 50, 100, 200];

pub(crate) struct Network<S> {
    transport: Arc<dyn Transport>,
    timeout: Duration,
    purge: Purge,
    chunk_bytes: usize,
    acknowledged: Acknowledged,
    lines: Arc<RepeatedLines>,
    store: PhantomData<fn() -> S>,
}

impl<S> Network<S> {
    /// `timeout`: what a message with entries may take; the peer syncs them before it answers.
    /// `chunk_bytes`: rows of a snapshot are sent once they are so many.
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        timeout: Duration,
        purge: Purge,
        chunk_bytes: usize,
        acknowledged: Acknowledged,
    ) -> Network<S> {
        Network {
            transport,
            timeout,
            purge,
            chunk_bytes,
            acknowledged,
            lines: Arc::default(),
            store: PhantomData,
        }
    }
}

impl<S: Store> RaftNetworkFactory<Types> for Network<S> {
    type Network = Link<S>;

    async fn new_client(&mut self, target: u64, _node: &Peer) -> Link<S> {
        Link {
            transport: self.transport.clone(),
            timeout: self.timeout,
            purge: self.purge.clone(),
            chunk_bytes: self.chunk_bytes,
            acknowledged: self.acknowledged.clone(),
            lines: self.lines.clone(),
            to: target,
            store: PhantomData,
        }
    }
}

/// The way to one member.
pub(crate) struct Link<S> {
    transport: Arc<dyn Transport>,
    timeout: Duration,
    purge: Purge,
    chunk_bytes: usize,
    acknowledged: Acknowledged,
    lines: Arc<RepeatedLines>,
    to: u64,
    store: PhantomData<fn() -> S>,
}

impl<S> Link<S> {
    async fn call<R>(
        &self,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
        decode: impl FnOnce(Bytes) -> Result<R, DecodeError>,
    ) -> Result<R, RPCError<Types>> {
        let answer = self
            .transport
            .call(self.to, kind, body, timeout)
            .await
            .map_err(rpc_error)?;
        decode(answer).map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }

    async fn ask_vote(
        &self,
        kind: Kind,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let body = message::encode_vote_request(&request);
        let decode = message::decode_vote_response;
        let response = self.call(kind, body, option.soft_ttl(), decode).await?;
        self.check(answer::check_voted(&request, &response))?;
        Ok(response)
    }

    /// What no member answers is as good as no answer.
    fn check(&self, checked: Result<(), Refusal>) -> Result<(), RPCError<Types>> {
        let Err(refusal) = checked else {
            return Ok(());
        };
        if let Some(left_out) = self.lines.take("answer", Instant::now()) {
            let from = format_args!("{:x}", self.to);
            warn!(from, %refusal, left_out, "refused an answer of a peer");
        }
        Err(RPCError::Unreachable(Unreachable::new(&refusal)))
    }
}

impl<S: Store> RaftNetworkV2<Types> for Link<S> {
    type SnapshotData = SnapshotData<S>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        // openraft's limit is one heartbeat, which a batch on a slow disk may exceed: giving up
        // then would only send the same batch again.
        let timeout = if request.entries.is_empty() {
            option.soft_ttl()
        } else {
            self.timeout
        };
        maybe_wait(Place::SendAppend).await;
        let acknowledged = self.acknowledged.next_of(self.to, &request.vote);
        let body = message::encode_append(&request, acknowledged);
        let answer = self.call(
            Kind::AppendEntries,
            body,
            timeout,
            message::decode_append_response,
        );
        let answer = answer.await;
        let lost = answer.is_err() && !request.entries.is_empty();
        if detcd_core::mutant!(StaleAck) && lost {
            return Ok(AppendEntriesResponse::Success);
        }
        if detcd_core::mutant!(LateConflict) && lost {
            return Ok(AppendEntriesResponse::Conflict);
        }
        let response = answer?;
        self.check(answer::check_append(&request, &response))?;
        if !self.acknowledged.note(self.to, &request, &response) {
            let to = self.to;
            let what = format!("member {to:x} denies entries that it has acknowledged");
            warn!("{what}");
            let error = TransportError::Refused(to, what);
            return Err(RPCError::Unreachable(Unreachable::new(&error)));
        }
        Ok(response)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        maybe_wait(Place::AskVote).await;
        self.ask_vote(Kind::Vote, request, option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(Kind::PreVote, request, option).await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let body = message::encode_transfer(&request);
        let timeout = option.soft_ttl();
        self.call(
            Kind::TransferLeader,
            body,
            timeout,
            message::decode_transfer_response,
        )
        .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: alias::SnapshotOf<Types, SnapshotData<S>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let SnapshotData::Frozen(view) = snapshot.snapshot else {
            let error = std::io::Error::other("only a view of the store can be sent");
            return Err(StreamingError::Network(NetworkError::new(&error)));
        };
        let header = snapshot::Header {
            vote,
            meta: snapshot.meta,
        };
        let to = self.to;
        let _sending = self.purge.begin();
        let chunks = snapshot::chunks(&header, view, self.chunk_bytes, move |fault| {
            warn!(to = format_args!("{to:x}"), %fault, "a snapshot cannot be read, and is not sent");
        });
        let sending = pin!(self.transport.stream(to, Kind::Snapshot, chunks));
        let cancel = pin!(cancel);
        let answer = match select(cancel, sending).await {
            Either::Left((closed, _)) => return Err(StreamingError::Closed(closed)),
            Either::Right((Ok(answer), _)) => answer,
            Either::Right((Err(error), _)) => {
                // It is tried again, for as long as it takes, and the member lags all that time.
                warn!(to = format_args!("{to:x}"), %error, "a snapshot could not be sent");
                return Err(streaming_error(error));
            }
        };
        let answered = message::decode_vote(answer)
            .map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
        answer::check_vote(&vote, &answered)
            .map_err(|refusal| StreamingError::Network(NetworkError::new(&refusal)))?;
        Ok(SnapshotResponse { vote: answered })
    }

    fn backoff(&self) -> Option<Backoff> {
        let last = BACKOFF_MS[BACKOFF_MS.len() - 1];
        let pauses = BACKOFF_MS.into_iter().chain(std::iter::repeat(last));
        Some(Backoff::new(pauses.map(Duration::from_millis)))
    }
}

fn rpc_error(error: TransportError) -> RPCError<Types> {
    match error {
        // A refusal is no news that a retry at once would change.
        TransportError::Unreachable(..) | TransportError::Refused(..) => {
            RPCError::Unreachable(Unreachable::new(&error))
        }
        TransportError::Lost(..) => RPCError::Network(NetworkError::new(&error)),
    }
}

fn streaming_error(error: TransportError) -> StreamingError<Types> {
    match error {
        TransportError::Unreachable(..) | TransportError::Refused(..) => {
            StreamingError::Unreachable(Unreachable::new(&error))
        }
        TransportError::Lost(..) => StreamingError::Network(NetworkError::new(&error)),
    }
}
