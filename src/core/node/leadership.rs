//! Who leads, as far as this member knows.

use crate::api::MemberId;

/// The raft engine's last word on the leadership, and the newest term seen in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leadership {
    pub me: MemberId,
    pub term: u64,
    pub leader: Option<MemberId>,
    pub is_leader: bool,
    /// The term of the last entry applied. It may be ahead of `term`, whose news travels apart.
    pub applied_term: u64,
}

/// Where requests for the leader go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Here,
    To(MemberId),
}

impl Leadership {
    pub fn new(me: MemberId) -> Leadership {
        Leadership {
            me,
            term: 0,
            leader: None,
            is_leader: false,
            applied_term: 0,
        }
    }

    /// The engine may know itself as leader before it serves as one (or after): then nobody does.
    pub fn route(&self) -> Option<Route> {
        match self.leader {
            _ if self.is_leader => Some(Route::Here),
            Some(leader) if leader != self.me => Some(Route::To(leader)),
            _ => None,
        }
    }

    /// The least term that an entry proposed now can get.
    pub fn log_term(&self) -> u64 {
        self.term.max(self.applied_term)
    }

    /// Whether the leader of `term` is still in state.
    pub fn leads(&self, term: u64) -> bool {
        self.log_term() == term && self.leader.is_some()
    }
}
