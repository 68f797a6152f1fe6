//! Whether the leader is there, as far as this member can tell.
//!
//! To the engine a leader leads until another one is elected, however long it has been silent, and
//! a leader leads though nobody follows any more. Clients have to be told better: so a leader is
//! shown as one only as long as it was heard from lately, by this member or, if this member leads,
//! in the form of a quorum's answers. Nothing that keeps the cluster right depends on it.

use crate::api::{MemberId, Millis};

/// What the engine says of the leadership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineLeader {
    pub leader: Option<MemberId>,
    /// Whether this member is the leader.
    pub is_leader: bool,
    /// When a quorum had last acknowledged this member as the leader.
    pub quorum_acked: Option<Millis>,
}

/// Which leader this member has heard from last, and when.
#[derive(Clone, Copy, Debug)]
pub struct LeaderLiveness {
    silence_max: Millis,
    heard: Option<(MemberId, Millis)>,
}

impl LeaderLiveness {
    /// A leader may be silent as long as it takes until the last of those who follow it stands for
    /// election in its place. With less, members that merely were slow would be said to have no
    /// leader; with more, they would be without one, and say so to nobody.
    pub fn new(election_timeout: Millis) -> LeaderLiveness {
        LeaderLiveness {
            silence_max: Millis(election_timeout.0 * 3 / 2),
            heard: None,
        }
    }

    /// `leader` has sent something, and no newer one is known.
    pub fn heard_from(&mut self, now: Millis, leader: MemberId) {
        self.heard = Some((leader, now));
    }

    /// The leader, if it was heard from lately.
    pub fn leader(&self, now: Millis, engine: &EngineLeader) -> Option<MemberId> {
        let leader = engine.leader?;
        let last = match engine.is_leader {
            true => engine.quorum_acked?,
            false => self.heard.filter(|(from, _)| *from == leader)?.1,
        };
        (now - last < self.silence_max).then_some(leader)
    }
}
