//! The responses of a watch stream, with etcd's texts (measured at etcd 3.5.1).

use super::window::change_bytes;
use crate::api::{KeyChange, WatchResponse};
use crate::error::Error;
use alloc::string::ToString;
use alloc::vec::Vec;

const RANGE_EMPTY: &str = "mvcc: watcher range is empty";
/// Ours: etcd has no such limit.
const TOO_MANY: &str = "detcd: too many watchers on the stream";
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";

/// Why a watcher was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The range's end is not behind its start.
    RangeEmpty,
    /// The client chose an id that a watcher of the stream has.
    DuplicateId,
    /// The stream has as many watchers as it may.
    TooMany,
    /// The client may not read the range.
    Denied(&'static str),
}

/// etcd's answer to a create request that fails: created and canceled at once, as watcher -1.
pub(super) fn refused(refusal: Refusal, revision: i64) -> WatchResponse {
    let reason = match refusal {
        Refusal::RangeEmpty => RANGE_EMPTY,
        Refusal::DuplicateId => DUPLICATE_ID,
        Refusal::TooMany => TOO_MANY,
        Refusal::Denied(reason) => reason,
    };
    WatchResponse {
        watch_id: -1,
        revision,
        created: true,
        canceled: true,
        cancel_reason: reason.to_string(),
        ..WatchResponse::default()
    }
}

pub(super) fn created(watch_id: i64, revision: i64) -> WatchResponse {
    WatchResponse {
        watch_id,
        revision,
        created: true,
        ..WatchResponse::default()
    }
}

/// How Go prints the error by which a client may not watch: etcd's clients compare it.
pub(super) fn denial(error: &Error) -> &'static str {
    match error {
        Error::InvalidAuthToken => {
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
        }
        Error::AuthOldRevision => {
            "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old"
        }
        Error::UserEmpty => {
            "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
        }
        _ => "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
    }
}

/// A watcher that was created may not watch any more.
pub(super) fn taken_back(watch_id: i64, revision: i64, error: &Error) -> WatchResponse {
    WatchResponse {
        cancel_reason: denial(error).to_string(),
        ..canceled(watch_id, revision)
    }
}

pub(super) fn canceled(watch_id: i64, revision: i64) -> WatchResponse {
    WatchResponse {
        watch_id,
        revision,
        canceled: true,
        ..WatchResponse::default()
    }
}

/// What a watcher needs is compacted. etcd gives no header revision and no reason here: clients
/// know the case by `compact_revision`.
pub(super) fn compacted(watch_id: i64, compact_revision: i64) -> WatchResponse {
    WatchResponse {
        watch_id,
        canceled: true,
        compact_revision,
        ..WatchResponse::default()
    }
}

/// Everything up to `revision` has been delivered. Watcher -1 stands for the whole stream.
pub(super) fn progress(watch_id: i64, revision: i64) -> WatchResponse {
    WatchResponse {
        watch_id,
        revision,
        ..WatchResponse::default()
    }
}

/// `events` as one response or, if `fragment_bytes` is given, as fragments of at most that size
/// (or of one event, if that is larger).
pub(super) fn events(
    watch_id: i64,
    revision: i64,
    events: Vec<KeyChange>,
    fragment_bytes: Option<usize>,
) -> Vec<WatchResponse> {
    let whole = WatchResponse {
        watch_id,
        revision,
        events,
        ..WatchResponse::default()
    };
    let Some(bytes_max) = fragment_bytes else {
        return Vec::from([whole]);
    };
    if whole.events.iter().map(change_bytes).sum::<usize>() <= bytes_max {
        return Vec::from([whole]);
    }
    let mut fragments = Vec::new();
    let mut fragment = progress(watch_id, revision);
    let mut bytes = 0;
    for event in whole.events {
        let event_bytes = change_bytes(&event);
        if !fragment.events.is_empty() && bytes + event_bytes > bytes_max {
            fragment.fragment = true;
            fragments.push(core::mem::replace(
                &mut fragment,
                progress(watch_id, revision),
            ));
            bytes = 0;
        }
        bytes += event_bytes;
        fragment.events.push(event);
    }
    fragments.push(fragment);
    fragments
}
