//! How the domain types read in one line of a log or a transcript. Bytes are shown as escaped
//! ASCII.

use crate::api::{
    Alarm, AlarmKind, ChangeKind, KeyChange, KeyRange, LeaseId, LeaseInfo, Outcome, Reply,
    WatchCreate, WatchRequest, WatchResponse,
};
use core::fmt;

/// etcdctl's way: hexadecimal.
impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lease {:x}", self.0)
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyRange::One(key) => write!(f, "{}", key.escape_ascii()),
            KeyRange::Span {
                start,
                end: Some(end),
            } => {
                write!(f, "[{}, {})", start.escape_ascii(), end.escape_ascii())
            }
            KeyRange::Span { start, end: None } => write!(f, "[{}, ..)", start.escape_ascii()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(reply) => write!(f, "{reply}, revision {}", self.revision),
            Err(error) => write!(f, "error: {error}, revision {}", self.revision),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Put(_) => f.write_str("put"),
            Reply::DeleteRange(reply) => write!(f, "deleted {}", reply.deleted),
            Reply::Txn(reply) => {
                let branch = if reply.succeeded {
                    "success"
                } else {
                    "failure"
                };
                write!(f, "txn took {branch}")
            }
            Reply::Compact => f.write_str("compacted"),
            Reply::LeaseGrant { id, ttl } => write!(f, "granted {id} for {ttl} s"),
            Reply::LeaseRevoke => f.write_str("revoked"),
            Reply::AlarmRaise(alarm) => write!(f, "raised {alarm}"),
            Reply::AlarmDisarm(Some(alarm)) => write!(f, "disarmed {alarm}"),
            Reply::AlarmDisarm(None) => f.write_str("disarmed nothing"),
            Reply::Downgrade(Some(target)) => write!(f, "downgrade to {target}"),
            Reply::Downgrade(None) => f.write_str("no downgrade"),
            Reply::V2(_, Ok(event)) => {
                write!(f, "v2 {} at {}", event.action.name(), event.index())
            }
            Reply::V2(_, Err(refused)) => {
                write!(f, "v2 refused: {}", refused.code.message())
            }
            Reply::V2Auth(Ok(_)) => f.write_str("v2 users changed"),
            Reply::V2Auth(Err(refused)) => write!(f, "v2 users not changed: {refused}"),
            Reply::Authenticated { revision, .. } => {
                write!(f, "authenticated at auth revision {revision}")
            }
            Reply::Done => f.write_str("done"),
        }
    }
}

/// etcd's names.
impl fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        })
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "alarm {} of member {}", self.kind, self.member)
    }
}

impl fmt::Display for LeaseInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} has {} s of {} s",
            self.id, self.ttl, self.granted_ttl
        )
    }
}

impl fmt::Display for WatchRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WatchRequest::Create(create) => write!(f, "create {create}"),
            WatchRequest::Cancel(id) => write!(f, "cancel {}", id.0),
            WatchRequest::Progress => f.write_str("progress"),
        }
    }
}

impl fmt::Display for WatchCreate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} from {}",
            self.id.0, self.range, self.start_revision
        )?;
        let options = [
            (self.progress_notify, " progress_notify"),
            (self.no_put, " no_put"),
            (self.no_delete, " no_delete"),
            (self.prev_kv, " prev_kv"),
            (self.fragment, " fragment"),
        ];
        options
            .into_iter()
            .filter(|(on, _)| *on)
            .try_for_each(|(_, name)| f.write_str(name))
    }
}

impl fmt::Display for WatchResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "watch {} revision {}", self.watch_id, self.revision)?;
        if self.created {
            f.write_str(" created")?;
        }
        if self.canceled {
            f.write_str(" canceled")?;
        }
        if !self.cancel_reason.is_empty() {
            write!(f, " ({})", self.cancel_reason)?;
        }
        if self.compact_revision != 0 {
            write!(f, " compacted {}", self.compact_revision)?;
        }
        if self.fragment {
            f.write_str(" fragment")?;
        }
        self.events
            .iter()
            .try_for_each(|change| write!(f, " {change}"))
    }
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.kv.key.escape_ascii();
        match self.kind {
            ChangeKind::Put => write!(f, "put({key}={}", self.kv.value.escape_ascii())?,
            ChangeKind::Delete => write!(f, "delete({key}")?,
        }
        write!(f, " @{}", self.kv.mod_revision)?;
        if let Some(prev) = &self.prev_kv {
            write!(
                f,
                " was {} @{}",
                prev.value.escape_ascii(),
                prev.mod_revision
            )?;
        }
        f.write_str(")")
    }
}
