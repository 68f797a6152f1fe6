//! Keys, ranges, puts, deletes and compactions.

use crate::etcdserverpb as pb;
use crate::mvccpb;
use bytes::Bytes;
use detcd_core::api::{
    CompactRequest, DeleteRangeReply, DeleteRangeRequest, KeyRange, KeyValue, LeaseId, PutReply,
    PutRequest, RangeReply, RangeRequest, SortOrder, SortTarget,
};
use detcd_core::error::Error;
use pb::range_request;

/// A range as etcd writes it: `key` and `range_end`.
pub fn key_and_end(range: KeyRange) -> (Bytes, Bytes) {
    match range {
        KeyRange::One(key) => (key, Bytes::new()),
        KeyRange::Span { start, end: None } => (start, Bytes::from_static(&[0])),
        KeyRange::Span {
            start,
            end: Some(end),
        } => {
            // These two ends mean something else on the wire; no parsed range has them.
            assert!(
                !end.is_empty() && end[..] != [0],
                "no range of etcd's ends at {end:?}"
            );
            (start, end)
        }
    }
}

impl From<KeyValue> for mvccpb::KeyValue {
    fn from(kv: KeyValue) -> Self {
        mvccpb::KeyValue {
            key: kv.key,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            value: kv.value,
            lease: kv.lease.0,
        }
    }
}

impl From<mvccpb::KeyValue> for KeyValue {
    fn from(kv: mvccpb::KeyValue) -> Self {
        KeyValue {
            key: kv.key,
            value: kv.value,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: LeaseId(kv.lease),
        }
    }
}

impl TryFrom<pb::RangeRequest> for RangeRequest {
    type Error = Error;

    fn try_from(request: pb::RangeRequest) -> Result<Self, Error> {
        Ok(RangeRequest {
            sort_order: sort_order(request.sort_order)?,
            sort_target: sort_target(request.sort_target)?,
            range: KeyRange::of(request.key, request.range_end),
            limit: request.limit,
            revision: request.revision,
            serializable: request.serializable,
            keys_only: request.keys_only,
            count_only: request.count_only,
            min_mod_revision: request.min_mod_revision,
            max_mod_revision: request.max_mod_revision,
            min_create_revision: request.min_create_revision,
            max_create_revision: request.max_create_revision,
        })
    }
}

impl From<RangeRequest> for pb::RangeRequest {
    fn from(request: RangeRequest) -> Self {
        let order = match request.sort_order {
            SortOrder::None => range_request::SortOrder::None,
            SortOrder::Ascend => range_request::SortOrder::Ascend,
            SortOrder::Descend => range_request::SortOrder::Descend,
        };
        let target = match request.sort_target {
            SortTarget::Key => range_request::SortTarget::Key,
            SortTarget::Version => range_request::SortTarget::Version,
            SortTarget::Create => range_request::SortTarget::Create,
            SortTarget::Mod => range_request::SortTarget::Mod,
            SortTarget::Value => range_request::SortTarget::Value,
        };
        let (key, range_end) = key_and_end(request.range);
        pb::RangeRequest {
            key,
            range_end,
            limit: request.limit,
            revision: request.revision,
            sort_order: order.into(),
            sort_target: target.into(),
            serializable: request.serializable,
            keys_only: request.keys_only,
            count_only: request.count_only,
            min_mod_revision: request.min_mod_revision,
            max_mod_revision: request.max_mod_revision,
            min_create_revision: request.min_create_revision,
            max_create_revision: request.max_create_revision,
        }
    }
}

impl From<RangeReply> for pb::RangeResponse {
    fn from(reply: RangeReply) -> Self {
        pb::RangeResponse {
            header: None,
            kvs: reply.kvs.into_iter().map(Into::into).collect(),
            more: reply.more,
            count: reply.count,
        }
    }
}

impl From<pb::RangeResponse> for RangeReply {
    fn from(response: pb::RangeResponse) -> Self {
        RangeReply {
            kvs: response.kvs.into_iter().map(Into::into).collect(),
            more: response.more,
            count: response.count,
        }
    }
}

impl From<pb::PutRequest> for PutRequest {
    fn from(request: pb::PutRequest) -> Self {
        PutRequest {
            key: request.key,
            value: request.value,
            lease: LeaseId(request.lease),
            prev_kv: request.prev_kv,
            ignore_value: request.ignore_value,
            ignore_lease: request.ignore_lease,
        }
    }
}

impl From<PutRequest> for pb::PutRequest {
    fn from(request: PutRequest) -> Self {
        pb::PutRequest {
            key: request.key,
            value: request.value,
            lease: request.lease.0,
            prev_kv: request.prev_kv,
            ignore_value: request.ignore_value,
            ignore_lease: request.ignore_lease,
        }
    }
}

impl From<PutReply> for pb::PutResponse {
    fn from(reply: PutReply) -> Self {
        pb::PutResponse {
            header: None,
            prev_kv: reply.prev_kv.map(Into::into),
        }
    }
}

impl From<pb::PutResponse> for PutReply {
    fn from(response: pb::PutResponse) -> Self {
        PutReply {
            prev_kv: response.prev_kv.map(Into::into),
        }
    }
}

impl From<pb::DeleteRangeRequest> for DeleteRangeRequest {
    fn from(request: pb::DeleteRangeRequest) -> Self {
        DeleteRangeRequest {
            range: KeyRange::of(request.key, request.range_end),
            prev_kv: request.prev_kv,
        }
    }
}

impl From<DeleteRangeRequest> for pb::DeleteRangeRequest {
    fn from(request: DeleteRangeRequest) -> Self {
        let (key, range_end) = key_and_end(request.range);
        pb::DeleteRangeRequest {
            key,
            range_end,
            prev_kv: request.prev_kv,
        }
    }
}

impl From<DeleteRangeReply> for pb::DeleteRangeResponse {
    fn from(reply: DeleteRangeReply) -> Self {
        pb::DeleteRangeResponse {
            header: None,
            deleted: reply.deleted,
            prev_kvs: reply.prev_kvs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<pb::DeleteRangeResponse> for DeleteRangeReply {
    fn from(response: pb::DeleteRangeResponse) -> Self {
        DeleteRangeReply {
            deleted: response.deleted,
            prev_kvs: response.prev_kvs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<pb::CompactionRequest> for CompactRequest {
    fn from(request: pb::CompactionRequest) -> Self {
        CompactRequest {
            revision: request.revision,
            physical: request.physical,
        }
    }
}

impl From<CompactRequest> for pb::CompactionRequest {
    fn from(request: CompactRequest) -> Self {
        pb::CompactionRequest {
            revision: request.revision,
            physical: request.physical,
        }
    }
}

fn sort_order(number: i32) -> Result<SortOrder, Error> {
    match range_request::SortOrder::try_from(number) {
        Ok(range_request::SortOrder::None) => Ok(SortOrder::None),
        Ok(range_request::SortOrder::Ascend) => Ok(SortOrder::Ascend),
        Ok(range_request::SortOrder::Descend) => Ok(SortOrder::Descend),
        Err(_) => Err(Error::InvalidSortOption),
    }
}

/// An unknown target panics etcd 3.5.1; later versions refuse it as we do.
fn sort_target(number: i32) -> Result<SortTarget, Error> {
    match range_request::SortTarget::try_from(number) {
        Ok(range_request::SortTarget::Key) => Ok(SortTarget::Key),
        Ok(range_request::SortTarget::Version) => Ok(SortTarget::Version),
        Ok(range_request::SortTarget::Create) => Ok(SortTarget::Create),
        Ok(range_request::SortTarget::Mod) => Ok(SortTarget::Mod),
        Ok(range_request::SortTarget::Value) => Ok(SortTarget::Value),
        Err(_) => Err(Error::InvalidSortOption),
    }
}
