//! Transactions: conditions, operations and their answers.

use crate::etcdserverpb as pb;
use crate::header::nested;
use crate::kv::key_and_end;
use bytes::Bytes;
use detcd_core::api::{
    Compare, CompareOp, CompareTarget, KeyRange, LeaseId, Op, OpReply, TxnReply, TxnRequest,
};
use detcd_core::error::Error;
use pb::compare::{self, TargetUnion};
use pb::request_op::Request;
use pb::response_op::Response;

impl TryFrom<pb::TxnRequest> for TxnRequest {
    type Error = Error;

    fn try_from(request: pb::TxnRequest) -> Result<Self, Error> {
        Ok(TxnRequest {
            compare: request.compare.into_iter().map(Into::into).collect(),
            success: request
                .success
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            failure: request
                .failure
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<TxnRequest> for pb::TxnRequest {
    fn from(request: TxnRequest) -> Self {
        pb::TxnRequest {
            compare: request.compare.into_iter().map(Into::into).collect(),
            success: request.success.into_iter().map(Into::into).collect(),
            failure: request.failure.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<pb::Compare> for Compare {
    /// The target decides which value counts; a value of another kind, or none, is zero. That and
    /// the meaning of unknown numbers are what etcd does (measured on 3.5.1): an unknown operator
    /// always holds, except for the value of a key that does not exist, which nothing holds for;
    /// an unknown target compares as equal.
    fn from(compare: pb::Compare) -> Self {
        let range = KeyRange::of(compare.key, compare.range_end);
        let target = compare::CompareTarget::try_from(compare.target);
        let (op, target) = match (compare::CompareResult::try_from(compare.result), target) {
            (Ok(result), Ok(target)) => (operator(result), operand(target, compare.target_union)),
            (Err(_), Ok(compare::CompareTarget::Value)) => EXISTS,
            (Err(_), _) | (Ok(compare::CompareResult::Equal), Err(_)) => ALWAYS,
            (Ok(_), Err(_)) => NEVER,
        };
        Compare { range, op, target }
    }
}

impl From<Compare> for pb::Compare {
    fn from(compare: Compare) -> Self {
        let result = match compare.op {
            CompareOp::Equal => compare::CompareResult::Equal,
            CompareOp::Greater => compare::CompareResult::Greater,
            CompareOp::Less => compare::CompareResult::Less,
            CompareOp::NotEqual => compare::CompareResult::NotEqual,
        };
        let (target, union) = match compare.target {
            CompareTarget::Version(n) => (compare::CompareTarget::Version, TargetUnion::Version(n)),
            CompareTarget::Create(n) => (
                compare::CompareTarget::Create,
                TargetUnion::CreateRevision(n),
            ),
            CompareTarget::Mod(n) => (compare::CompareTarget::Mod, TargetUnion::ModRevision(n)),
            CompareTarget::Value(v) => (compare::CompareTarget::Value, TargetUnion::Value(v)),
            CompareTarget::Lease(id) => (compare::CompareTarget::Lease, TargetUnion::Lease(id.0)),
        };
        let (key, range_end) = key_and_end(compare.range);
        pb::Compare {
            result: result.into(),
            target: target.into(),
            key,
            range_end,
            target_union: Some(union),
        }
    }
}

impl TryFrom<pb::RequestOp> for Op {
    type Error = Error;

    /// An operation without a request is answered as etcd does, with "key not found".
    fn try_from(op: pb::RequestOp) -> Result<Self, Error> {
        match op.request {
            Some(Request::RequestRange(range)) => range.try_into().map(Op::Range),
            Some(Request::RequestPut(put)) => Ok(Op::Put(put.into())),
            Some(Request::RequestDeleteRange(delete)) => Ok(Op::DeleteRange(delete.into())),
            Some(Request::RequestTxn(txn)) => txn.try_into().map(Op::Txn),
            None => Err(Error::KeyNotFound),
        }
    }
}

impl From<Op> for pb::RequestOp {
    fn from(op: Op) -> Self {
        let request = match op {
            Op::Range(range) => Request::RequestRange(range.into()),
            Op::Put(put) => Request::RequestPut(put.into()),
            Op::DeleteRange(delete) => Request::RequestDeleteRange(delete.into()),
            Op::Txn(txn) => Request::RequestTxn(txn.into()),
        };
        pb::RequestOp {
            request: Some(request),
        }
    }
}

impl From<TxnReply> for pb::TxnResponse {
    fn from(reply: TxnReply) -> Self {
        assert_eq!(
            reply.responses.len(),
            reply.revisions.len(),
            "a revision for each response"
        );
        let responses = reply.responses.into_iter().zip(reply.revisions);
        pb::TxnResponse {
            header: None,
            succeeded: reply.succeeded,
            responses: responses
                .map(|(reply, revision)| response_op(reply, revision))
                .collect(),
        }
    }
}

impl TryFrom<pb::TxnResponse> for TxnReply {
    type Error = Error;

    fn try_from(response: pb::TxnResponse) -> Result<Self, Error> {
        let mut reply = TxnReply {
            succeeded: response.succeeded,
            ..Default::default()
        };
        for op in response.responses {
            let (op, header) = match op.response {
                Some(Response::ResponseRange(mut range)) => {
                    let header = range.header.take();
                    (OpReply::Range(range.into()), header)
                }
                Some(Response::ResponsePut(mut put)) => {
                    let header = put.header.take();
                    (OpReply::Put(put.into()), header)
                }
                Some(Response::ResponseDeleteRange(mut delete)) => {
                    let header = delete.header.take();
                    (OpReply::DeleteRange(delete.into()), header)
                }
                Some(Response::ResponseTxn(mut txn)) => {
                    let header = txn.header.take();
                    (OpReply::Txn(txn.try_into()?), header)
                }
                None => return Err(Error::Malformed("a response without content")),
            };
            reply.responses.push(op);
            reply.revisions.push(header.unwrap_or_default().revision);
        }
        Ok(reply)
    }
}

/// No version is below zero, so this holds for every key, present or not.
const ALWAYS: (CompareOp, CompareTarget) = (CompareOp::NotEqual, CompareTarget::Version(-1));
const EXISTS: (CompareOp, CompareTarget) = (CompareOp::Greater, CompareTarget::Version(0));
const NEVER: (CompareOp, CompareTarget) = (CompareOp::Equal, CompareTarget::Version(-1));

fn operator(result: compare::CompareResult) -> CompareOp {
    match result {
        compare::CompareResult::Equal => CompareOp::Equal,
        compare::CompareResult::Greater => CompareOp::Greater,
        compare::CompareResult::Less => CompareOp::Less,
        compare::CompareResult::NotEqual => CompareOp::NotEqual,
    }
}

fn operand(target: compare::CompareTarget, union: Option<TargetUnion>) -> CompareTarget {
    use compare::CompareTarget as Target;
    match (target, union) {
        (Target::Version, Some(TargetUnion::Version(n))) => CompareTarget::Version(n),
        (Target::Version, _) => CompareTarget::Version(0),
        (Target::Create, Some(TargetUnion::CreateRevision(n))) => CompareTarget::Create(n),
        (Target::Create, _) => CompareTarget::Create(0),
        (Target::Mod, Some(TargetUnion::ModRevision(n))) => CompareTarget::Mod(n),
        (Target::Mod, _) => CompareTarget::Mod(0),
        (Target::Value, Some(TargetUnion::Value(value))) => CompareTarget::Value(value),
        (Target::Value, _) => CompareTarget::Value(Bytes::new()),
        (Target::Lease, Some(TargetUnion::Lease(id))) => CompareTarget::Lease(LeaseId(id)),
        (Target::Lease, _) => CompareTarget::Lease(LeaseId::NONE),
    }
}

/// A nested transaction's own header stays empty (measured on etcd 3.5.1).
fn response_op(reply: OpReply, revision: i64) -> pb::ResponseOp {
    let response = match reply {
        OpReply::Range(range) => Response::ResponseRange(pb::RangeResponse {
            header: Some(nested(revision)),
            ..range.into()
        }),
        OpReply::Put(put) => Response::ResponsePut(pb::PutResponse {
            header: Some(nested(revision)),
            ..put.into()
        }),
        OpReply::DeleteRange(delete) => Response::ResponseDeleteRange(pb::DeleteRangeResponse {
            header: Some(nested(revision)),
            ..delete.into()
        }),
        OpReply::Txn(txn) => Response::ResponseTxn(pb::TxnResponse {
            header: Some(nested(0)),
            ..txn.into()
        }),
    };
    pb::ResponseOp {
        response: Some(response),
    }
}
