//! What the others have acknowledged to this member as their leader, and how it reminds them.
//!
//! A member that comes back with an older disk, or with an empty one under its old id, has
//! forgotten entries that count as stored. Whoever relies on it may lose them: it may even vote for
//! a leader that lacks them. So every append tells its receiver how far it has acknowledged this
//! leader's log, and a member that does not have as much halts. (etcd's leader likewise tells a
//! follower no commit index beyond what it has acknowledged, and a follower that lacks it panics.)
//!
//! Only the leader knows, and only of its own time: a member that forgets while the leadership
//! changes is not found out. There is no remedy but not to restore disks.

use crate::types::{Types, Vote};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What an operator does about a member that has forgotten.
const ADVICE: &str = "move its data-dir away, remove the member from the cluster (member remove), \
    add it again (member add), and start it with an empty data-dir";

/// Shared by all links of a member.
#[derive(Clone, Default)]
pub(crate) struct Acknowledged {
    known: Arc<Mutex<BTreeMap<u64, AcknowledgedTo>>>,
}

/// A peer has this leader's log up to the entry before `next`.
struct AcknowledgedTo {
    vote: Vote,
    next: u64,
}

impl Acknowledged {
    /// The index after the last entry that the peer has acknowledged to this leader.
    pub(crate) fn next_of(&self, peer: u64, vote: &Vote) -> u64 {
        match self.known().get(&peer) {
            Some(known_of) if known_of.vote == *vote => known_of.next,
            _ => 0,
        }
    }

    /// Takes in an answer. False if it denies what was acknowledged before.
    pub(crate) fn note(
        &self,
        peer: u64,
        request: &AppendEntriesRequest<Types>,
        response: &AppendEntriesResponse<Types>,
    ) -> bool {
        let before = request.prev_log_id.map_or(0, |prev| prev.index() + 1);
        let next = match response {
            AppendEntriesResponse::Success => before + request.entries.len() as u64,
            AppendEntriesResponse::PartialSuccess(matching) => {
                matching.map_or(0, |matching| matching.index() + 1)
            }
            AppendEntriesResponse::Conflict => return self.next_of(peer, &request.vote) < before,
            AppendEntriesResponse::HigherVote(_) => return true,
        };
        let mut known = self.known();
        let known_of = known.entry(peer).or_insert(AcknowledgedTo {
            vote: request.vote,
            next: 0,
        });
        if known_of.vote != request.vote {
            (known_of.vote, known_of.next) = (request.vote, 0);
        }
        known_of.next = known_of.next.max(next);
        true
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<u64, AcknowledgedTo>> {
        self.known
            .lock()
            .expect("nothing panics while it holds the acknowledged")
    }
}

/// Why a member whose log ends before `held` must not go on, having acknowledged all before
/// `acknowledged`.
pub(crate) fn forgotten(held: u64, acknowledged: u64) -> String {
    format!(
        "this member has acknowledged the entries up to {}, but its log ends before entry {held}: \
         its data-dir was emptied, or restored from an older copy; {ADVICE}",
        acknowledged - 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    fn request(term: u64, prev: u64) -> AppendEntriesRequest<Types> {
        AppendEntriesRequest {
            vote: Vote::new_committed(term, 1),
            prev_log_id: Some(log_id(term, prev)),
            entries: Vec::new(),
            leader_commit: None,
        }
    }

    #[test]
    fn acknowledged_grow_and_end_with_the_leadership() {
        let acknowledged = Acknowledged::default();
        let vote = request(3, 0).vote;
        assert_eq!(acknowledged.next_of(7, &vote), 0);
        assert!(acknowledged.note(7, &request(3, 9), &AppendEntriesResponse::Conflict));
        assert!(acknowledged.note(7, &request(3, 5), &AppendEntriesResponse::Success));
        assert!(acknowledged.note(7, &request(3, 2), &AppendEntriesResponse::Success));
        let partial = AppendEntriesResponse::PartialSuccess(Some(log_id(3, 4)));
        assert!(acknowledged.note(7, &request(3, 9), &partial));
        assert_eq!(acknowledged.next_of(7, &vote), 6);
        assert!(!acknowledged.note(7, &request(3, 5), &AppendEntriesResponse::Conflict));
        assert!(acknowledged.note(7, &request(3, 6), &AppendEntriesResponse::Conflict));
        let later = request(4, 1);
        assert_eq!(acknowledged.next_of(7, &later.vote), 0);
        assert!(acknowledged.note(7, &later, &AppendEntriesResponse::Success));
        assert_eq!(acknowledged.next_of(7, &later.vote), 2);
        assert_eq!(acknowledged.next_of(7, &vote), 0);
    }
}
