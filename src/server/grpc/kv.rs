//! Keys and values.

use super::{fail, ok, pb_header};
use crate::server::Context;
use detcd_core::api;
use detcd_core::error::Error;
use detcd_driver::Header;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::header::Headed as _;
use futures::stream::{self, BoxStream, StreamExt as _};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub(super) struct Kv {
    context: Arc<Context>,
}

impl Kv {
    pub fn new(context: Arc<Context>) -> Kv {
        Kv { context }
    }

    /// Counts writes that ended without anybody knowing how.
    fn settle<T>(&self, result: Result<T, Error>) -> Result<T, Status> {
        result.map_err(|error| {
            let unknown = matches!(
                error,
                Error::Timeout
                    | Error::TimeoutLeaderLost
                    | Error::TimeoutConnectionLost
                    | Error::TimeoutApply
                    | Error::Stopped
            );
            if unknown {
                self.context.metrics.proposals_failed.inc();
            }
            fail(&error)
        })
    }
}

#[tonic::async_trait]
impl pb::kv_server::Kv for Kv {
    type RangeStreamStream = BoxStream<'static, Result<pb::RangeStreamResponse, Status>>;

    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let request = request.into_inner();
        // Before the request is looked at closely, as in etcd.
        if !request.serializable && self.context.handle.is_learner() {
            return Err(fail(&Error::LearnerUnsupported));
        }
        let request = request.try_into().map_err(|error| fail(&error))?;
        let (header, reply) = self
            .context
            .handle
            .range(request)
            .await
            .map_err(|error| fail(&error))?;
        ok(header, reply)
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let request: api::RangeRequest = request
            .into_inner()
            .try_into()
            .map_err(|error| fail(&error))?;
        let (header, chunks) = self
            .context
            .handle
            .range_stream(request)
            .await
            .map_err(|error| fail(&error))?;
        let ahead = Chunks {
            header,
            chunks,
            next: None,
        };
        Ok(Response::new(
            stream::try_unfold(ahead, Chunks::step).boxed(),
        ))
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        let request = request.into_inner().into();
        let (header, reply) = self.settle(self.context.handle.put(request).await)?;
        ok(header, reply)
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let request = request.into_inner().into();
        let (header, reply) = self.settle(self.context.handle.delete_range(request).await)?;
        ok(header, reply)
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        let request: api::TxnRequest = request
            .into_inner()
            .try_into()
            .map_err(|error| fail(&error))?;
        let (header, reply) = self.settle(self.context.handle.txn(request).await)?;
        ok(header, reply)
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let request = request.into_inner().into();
        let header = self.settle(self.context.handle.compact(request).await)?;
        ok(header, pb::CompactionResponse::default())
    }
}

/// A streamed range, one chunk ahead: the last chunk carries the header, and which one is the last
/// shows only when there is none after it.
struct Chunks {
    header: Header,
    chunks: detcd_driver::RangeStream,
    next: Option<api::RangeReply>,
}

impl Chunks {
    async fn step(mut self) -> Result<Option<(pb::RangeStreamResponse, Chunks)>, Status> {
        let current = match self.next.take() {
            Some(current) => current,
            None => match self.chunks.next().await {
                Some(first) => first.map_err(|error| fail(&error))?,
                None => return Ok(None),
            },
        };
        self.next = self
            .chunks
            .next()
            .await
            .transpose()
            .map_err(|error| fail(&error))?;
        let mut response: pb::RangeResponse = current.into();
        if self.next.is_none() {
            response = response.with_header(pb_header(self.header));
        }
        Ok(Some((
            pb::RangeStreamResponse {
                range_response: Some(response),
            },
            self,
        )))
    }
}
