//! Keys and values.

use crate::{Call, CallError, response_header};
use detcd_core::api;
use detcd_core::error::Error;
use detcd_driver::{Header, RangeStream};
use detcd_wire::etcdserverpb as pb;
use futures::stream::{self, Stream};

impl Call {
    pub(crate) async fn range(self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        // Before the request is looked at closely, as in etcd.
        if !request.serializable && self.handle().is_learner() {
            return Err(Error::LearnerUnsupported);
        }
        let (header, reply) = self.handle().range(request.try_into()?).await?;
        Ok(pb::RangeResponse {
            header: response_header(header),
            ..reply.into()
        })
    }

    pub(crate) async fn range_stream(
        self,
        request: pb::RangeRequest,
    ) -> Result<impl Stream<Item = Result<pb::RangeStreamResponse, CallError>> + use<>, Error> {
        let (header, chunks) = self.handle().range_stream(request.try_into()?).await?;
        let ahead = Chunks {
            header,
            chunks,
            next: None,
        };
        Ok(stream::try_unfold(ahead, Chunks::step))
    }

    pub(crate) async fn put(self, request: pb::PutRequest) -> Result<pb::PutResponse, Error> {
        let (header, reply) = self.handle().put(request.into()).await?;
        Ok(pb::PutResponse {
            header: response_header(header),
            ..reply.into()
        })
    }

    pub(crate) async fn delete_range(
        self,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Error> {
        let (header, reply) = self.handle().delete_range(request.into()).await?;
        Ok(pb::DeleteRangeResponse {
            header: response_header(header),
            ..reply.into()
        })
    }

    pub(crate) async fn txn(self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        let (header, reply) = self.handle().txn(request.try_into()?).await?;
        Ok(pb::TxnResponse {
            header: response_header(header),
            ..reply.into()
        })
    }

    pub(crate) async fn compact(
        self,
        request: pb::CompactionRequest,
    ) -> Result<pb::CompactionResponse, Error> {
        let header = self.handle().compact(request.into()).await?;
        Ok(pb::CompactionResponse {
            header: response_header(header),
        })
    }
}

/// A streamed range, one chunk ahead: the last chunk carries the header, and which one is the last
/// shows only when there is none after it.
struct Chunks {
    header: Header,
    chunks: RangeStream,
    next: Option<api::RangeReply>,
}

impl Chunks {
    async fn step(mut self) -> Result<Option<(pb::RangeStreamResponse, Chunks)>, CallError> {
        let current = match self.next.take() {
            Some(current) => current,
            None => match self.chunks.next().await {
                Some(first) => first?,
                None => return Ok(None),
            },
        };
        self.next = self.chunks.next().await.transpose()?;
        let mut response = pb::RangeResponse::from(current);
        if self.next.is_none() {
            response.header = response_header(self.header);
        }
        let response = pb::RangeStreamResponse {
            range_response: Some(response),
        };
        Ok(Some((response, self)))
    }
}
