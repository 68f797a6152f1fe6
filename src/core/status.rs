//! What a member shows of its applied state and of its raft engine.

use crate::api::{Member, MemberId, Millis};
use crate::auth::AuthState;
use crate::query::At;
use crate::view::View;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The applied state, as it stood after some entry. Replaced as a whole after every batch.
pub struct Published {
    pub view: Arc<dyn View + Send + Sync>,
    pub applied: u64,
    /// The term of the entry applied last.
    pub term: u64,
    pub revision: i64,
    pub compact_revision: i64,
    pub roster: Arc<Roster>,
    /// Who may do what in this view.
    pub auth: Arc<AuthState>,
}

impl Published {
    /// Where the view stands.
    pub fn at(&self) -> At {
        At {
            revision: self.revision,
            compact_revision: self.compact_revision,
        }
    }
}

/// Who belongs to the cluster, by the membership that was applied last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    pub own_id: MemberId,
    /// As clients see them, but without what the members publish themselves. Empty on a member
    /// that has yet to hear of its cluster.
    pub members: Vec<Member>,
    /// Everybody who was ever removed.
    pub removed: BTreeSet<MemberId>,
}

impl Roster {
    /// Whether this member is one of those that were removed.
    pub fn is_removed(&self) -> bool {
        self.removed.contains(&self.own_id)
    }

    /// Whether this member was added as a learner, and not promoted since.
    pub fn is_learner(&self) -> bool {
        let mut learners = self.members.iter().filter(|member| member.is_learner);
        learners.any(|member| member.id == self.own_id)
    }
}

/// What the engine says of itself. Indexes are zero where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftStatus {
    pub term: u64,
    /// Who led last, as far as this member knows. It may be out of contact.
    pub leader: Option<MemberId>,
    /// What this member believes. Without a recent `last_quorum_acked` it may be wrong.
    pub is_leader: bool,
    pub is_learner: bool,
    pub last_log_index: u64,
    pub committed: u64,
    pub applied: u64,
    pub applied_term: u64,
    /// The last entry that the latest snapshot covers.
    pub snapshot: u64,
    pub purged: Option<u64>,
    /// When, by the local clock, a quorum had last acknowledged this member as leader.
    pub last_quorum_acked: Option<Millis>,
    /// The members of the effective membership, by raft's knowledge (no client URLs).
    pub members: Vec<Member>,
}
