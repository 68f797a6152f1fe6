//! Requests as the workloads put them together.

use crate::client::Client;
use crate::client_records::{Listing, Page};
use crate::history::{Outcome, Reply, Request};
use bytes::Bytes;
use detcd_core::api::{
    Compare, CompareOp, CompareTarget, DeleteRangeRequest, KeyRange, KeyValue, Op, OpReply,
    PutRequest, RangeReply, RangeRequest, TxnReply, TxnRequest,
};
use std::time::Duration;

pub fn one(key: &Bytes) -> KeyRange {
    KeyRange::One(key.clone())
}

/// The range of all keys that begin so.
pub fn prefix(prefix: &str) -> KeyRange {
    let start = Bytes::copy_from_slice(prefix.as_bytes());
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        None => KeyRange::Span {
            start: Bytes::from_static(&[0]),
            end: None,
        },
        Some(last) => {
            *last = last.checked_add(1).expect("a prefix is text");
            KeyRange::Span {
                start,
                end: Some(Bytes::from(end)),
            }
        }
    }
}

pub fn get(key: &Bytes) -> RangeRequest {
    RangeRequest::of(one(key))
}

pub fn put(key: &Bytes, value: impl Into<Bytes>) -> PutRequest {
    PutRequest {
        key: key.clone(),
        value: value.into(),
        ..PutRequest::default()
    }
}

pub fn delete(range: KeyRange, prev_kv: bool) -> DeleteRangeRequest {
    DeleteRangeRequest { range, prev_kv }
}

/// A transaction that does this if all of that holds.
pub fn when(
    guards: impl IntoIterator<Item = Compare>,
    then: impl IntoIterator<Item = Op>,
) -> TxnRequest {
    TxnRequest {
        compare: guards.into_iter().collect(),
        success: then.into_iter().collect(),
        failure: Vec::new(),
    }
}

pub fn compare(key: &Bytes, op: CompareOp, target: CompareTarget) -> Compare {
    Compare {
        range: one(key),
        op,
        target,
    }
}

/// That a key is as it was seen (`None`: not there).
pub fn unchanged(key: &Bytes, seen: Option<&KeyValue>) -> Compare {
    let revision = seen.map_or(0, |kv| kv.mod_revision);
    compare(key, CompareOp::Equal, CompareTarget::Mod(revision))
}

/// That a key was created at this revision, zero if it is not to be there.
pub fn created_at(key: &Bytes, revision: i64) -> Compare {
    compare(key, CompareOp::Equal, CompareTarget::Create(revision))
}

/// All these keys at one moment, with the header's revision; `None` without an answer.
pub async fn read_all(
    client: &mut Client,
    keys: &[Bytes],
    timeout: Duration,
) -> Option<(i64, Vec<Option<KeyValue>>)> {
    let txn = when([], keys.iter().map(|key| Op::Range(get(key))));
    let (_, revision, reply) = client.execute(Request::Txn(txn), timeout).await?;
    let Reply::Txn(reply) = reply else {
        unreachable!("a transaction is answered as one")
    };
    let kvs = reply.responses.into_iter().map(|response| match response {
        OpReply::Range(range) => range.kvs.into_iter().next(),
        _ => unreachable!("a read is answered as one"),
    });
    Some((revision, kvs.collect()))
}

/// One key, with the header's revision; `None` without an answer.
pub async fn read(
    client: &mut Client,
    key: &Bytes,
    timeout: Duration,
) -> Option<(i64, Option<KeyValue>)> {
    let request = Request::Range(get(key));
    let (_, revision, reply) = client.execute(request, timeout).await?;
    let Reply::Range(range) = reply else {
        unreachable!("a read is answered as one")
    };
    Some((revision, range.kvs.into_iter().next()))
}

/// How a guarded transaction ended.
#[derive(Clone, Debug)]
pub enum Guarded {
    /// The guards held, and this is the revision.
    Done(i64, TxnReply),
    /// They did not, or it was refused: nothing happened.
    Not(Option<TxnReply>),
    Unknown,
}

pub async fn guarded(client: &mut Client, txn: TxnRequest, timeout: Duration) -> Guarded {
    match client.attempt(Request::Txn(txn), timeout).await {
        Outcome::Done {
            revision,
            reply: Reply::Txn(reply),
        } => {
            if reply.succeeded {
                Guarded::Done(revision, reply)
            } else {
                Guarded::Not(Some(reply))
            }
        }
        Outcome::Done { .. } => unreachable!("a transaction is answered as one"),
        Outcome::Refused(_) | Outcome::Failed(_) => Guarded::Not(None),
        Outcome::Unknown(_) => Guarded::Unknown,
    }
}

/// Creates keys once, however often it takes: all of them together, unless the first is there.
pub async fn create_once(client: &mut Client, puts: Vec<PutRequest>, timeout: Duration) {
    let first = puts.first().expect("there is something to create");
    let unless_there = [created_at(&first.key, 0)];
    let request = Request::Txn(when(unless_there, puts.into_iter().map(Op::Put)));
    while client.execute(request.clone(), timeout).await.is_none() {}
}

/// Reads a range in pages, all at the revision of the first, and writes the whole down. `None` if
/// a page cannot be had: nobody answers, or the revision was compacted meanwhile.
pub async fn list(
    client: &mut Client,
    range: &KeyRange,
    limit: i64,
    timeout: Duration,
) -> Option<Listing> {
    let KeyRange::Span { start, end } = range.clone() else {
        panic!("a listing is of a range")
    };
    let mut listing = Listing {
        client: client.number(),
        range: range.clone(),
        revision: 0,
        limit,
        pages: Vec::new(),
    };
    let mut from = start;
    loop {
        let end = end.clone();
        let mut request = RangeRequest::of(KeyRange::Span { start: from, end });
        (request.limit, request.revision) = (limit, listing.revision);
        let (_, revision, reply) = client.execute(Request::Range(request), timeout).await?;
        let Reply::Range(RangeReply { kvs, more, count }) = reply else {
            unreachable!("a read is answered as one")
        };
        if listing.revision == 0 {
            listing.revision = revision;
        }
        let last = kvs.last().map(|kv| kv.key.clone());
        listing.pages.push(Page { kvs, more, count });
        match last {
            // The first key behind the last one.
            Some(last) if more => from = [&last[..], &[0]].concat().into(),
            _ => break,
        }
    }
    client.note(|history| history.listings.push(listing.clone()));
    Some(listing)
}
