//! Keys and values.

use super::stream::RangeStream;
use super::write::unreachable_reply;
use super::{Handle, Header};
use detcd_core::api::{
    CompactRequest, DeleteRangeReply, DeleteRangeRequest, PutReply, PutRequest, RangeReply,
    RangeRequest, Reply, TxnReply, TxnRequest,
};
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::{query, validate};

impl Handle {
    pub async fn range(&self, request: RangeRequest) -> Result<(Header, RangeReply), Error> {
        validate::range(&request)?;
        let published = self.view_for(request.serializable).await?;
        self.permit(&published, |judge| Ok(judge.range(&request)?))?;
        let at = published.at();
        let header = self.header(at.revision);
        let reply = if query::is_short(&*published.view, at, &request) {
            self.settle(query::range(&*published.view, at, &request))?
        } else {
            self.query_aside(move || query::range(&*published.view, at, &request))
                .await?
        };
        self.shared.stats.ranges.add(1);
        Ok((header, reply))
    }

    /// The chunks of a range read, in key order, all of one revision. The last one alone carries
    /// `count` and `more`.
    pub async fn range_stream(
        &self,
        request: RangeRequest,
    ) -> Result<(Header, RangeStream), Error> {
        validate::range(&request)?;
        let published = self.view_for(request.serializable).await?;
        self.permit(&published, |judge| Ok(judge.range(&request)?))?;
        let header = self.header(published.at().revision);
        let stream = RangeStream::new(self.clone(), published, request);
        self.shared.stats.ranges.add(1);
        Ok((header, stream))
    }

    pub async fn put(&self, request: PutRequest) -> Result<(Header, PutReply), Error> {
        validate::put(&request)?;
        match self.write(Command::Put(request)).await? {
            (header, Reply::Put(reply)) => Ok((header, reply)),
            (_, other) => unreachable_reply("put", &other),
        }
    }

    pub async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<(Header, DeleteRangeReply), Error> {
        validate::delete_range(&request)?;
        match self.write(Command::DeleteRange(request)).await? {
            (header, Reply::DeleteRange(reply)) => Ok((header, reply)),
            (_, other) => unreachable_reply("delete range", &other),
        }
    }

    /// A transaction without writes is a read: it never enters the log.
    pub async fn txn(&self, request: TxnRequest) -> Result<(Header, TxnReply), Error> {
        validate::txn(&request, &self.shared.settings.limits)?;
        if request.is_read_only() {
            let published = self.view_for(request.is_serializable()).await?;
            self.permit(&published, |judge| judge.txn(&request, &published.view))?;
            let at = published.at();
            let header = self.header(at.revision);
            let reply = if query::is_short_txn(&*published.view, at, &request) {
                self.settle(query::txn(&*published.view, at, &request))?
            } else {
                self.query_aside(move || query::txn(&*published.view, at, &request))
                    .await?
            };
            self.shared.stats.read_txn(&reply);
            return Ok((header, reply));
        }
        match self.write(Command::Txn(request)).await? {
            (header, Reply::Txn(reply)) => Ok((header, reply)),
            (_, other) => unreachable_reply("txn", &other),
        }
    }

    /// With `physical`, answers only when this member has removed the rows.
    pub async fn compact(&self, request: CompactRequest) -> Result<Header, Error> {
        let (header, _) = self.write(Command::Compact(request)).await?;
        if request.physical {
            let mut finished = self.shared.compacted.subscribe();
            finished
                .wait_for(|revision| *revision >= request.revision)
                .await
                .map_err(|_| Error::Stopped)?;
        }
        Ok(header)
    }
}
